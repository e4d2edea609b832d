"""JPEG files by simplejpeg and OpenCV, compared with Pillow."""

import io

import numpy as np
from PIL import ExifTags, Image
import pytest

from augment_gen.config import DataConfig
from augment_gen.config.errors import UserError
from augment_gen.data import jpeg, pictures, sources
from augment_gen.data.base import Request
from augment_gen.data.decoding import Decoder
from augment_gen.data.task import check_data

pytest.importorskip("simplejpeg")
pytest.importorskip("cv2")


def scene(height=96, width=128):
  """A smooth picture without any symmetry, uint8 [H, W, 3]."""
  y, x = np.mgrid[:height, :width] / max(height, width)
  return np.stack([255 * x, 200 * y, 255 * x * (1 - y)], -1).astype(np.uint8)


def encoded(image, mode="RGB", kind="JPEG", **options):
  file = io.BytesIO()
  Image.fromarray(image).convert(mode).save(file, kind, **options)
  return pictures.Encoded(file.getvalue(), "a picture")


def squares(file, size=40, resize="crop", channels=3, convert=False, **options):
  """The square by Pillow and by simplejpeg, float32 [2, S, S, C]."""
  out = []
  for name in ("pillow", "simplejpeg"):
    decoder = Decoder(Request("set", size, channels, jpeg_decoder=name), resize, convert,
                      **options)
    picture, have = decoder.picture(file)
    assert have == channels or convert
    out.append(decoder.square(picture).astype(np.float32))
  return np.stack(out)


def difference(both):
  return np.abs(both[0] - both[1]).mean()


@pytest.mark.parametrize("resize", ["crop", "squash"])
@pytest.mark.parametrize("size", [23, 40, 96, 130])
def test_squares_are_those_of_pillow_up_to_the_filter(size, resize):
  both = squares(encoded(scene(), quality=95), size, resize)
  assert both.shape == (2, size, size, 3) and difference(both) < 1.5


def test_other_sides_are_far_from_pillow():
  """The tolerance above sees a picture that is shifted or mirrored."""
  both = squares(encoded(scene(), quality=95))
  assert difference(both) < 1.5
  assert np.abs(both[0] - both[1][:, ::-1]).mean() > 20
  assert np.abs(both[0] - np.roll(both[1], 2, 1)).mean() > 3


@pytest.mark.parametrize("turn", range(10))
def test_pictures_stand_upright(turn):
  exif = Image.Exif()
  exif[ExifTags.Base.Orientation] = turn
  file = encoded(scene(), quality=95, exif=exif)
  assert difference(squares(file, resize="squash")) < 1.5


def test_grey_files_and_grey_sets():
  grey = encoded(scene(), "L", quality=95)
  assert difference(squares(grey, channels=1)) < 1.5
  assert difference(squares(grey, channels=3, convert=True)) < 1.5
  assert difference(squares(encoded(scene(), quality=95), channels=1, convert=True)) < 1.5
  in_colour = encoded(np.repeat(scene()[..., :1], 3, -1), quality=95)
  assert difference(squares(in_colour, channels=1)) < 1.5  # and it counts as grey


def test_fine_patterns_do_not_alias():
  """Stripes of a pixel, reduced to an eighth and less, become their mean."""
  stripes = np.zeros((640, 640, 3), np.uint8)
  stripes[:, ::2] = 255
  for size in (40, 56):
    _, fast = squares(encoded(stripes, quality=95, subsampling=0), size)
    assert np.abs(fast - 127.5).max() < 12


@pytest.mark.parametrize("shape", [(90, 3000), (3000, 90)])
def test_fine_patterns_do_not_alias_where_one_side_is_enlarged(shape):
  stripes = np.zeros((*shape, 3), np.uint8)
  stripes.swapaxes(0, np.argmax(shape))[::2] = 255
  pillow, fast = squares(encoded(stripes, quality=95, subsampling=0), 224, "squash")
  assert pillow.std() < 5 and fast.std() < 5


@pytest.mark.parametrize("mode, kind", [("CMYK", "JPEG"), ("RGB", "PNG"), ("P", "GIF")])
def test_what_it_does_not_know_is_left_to_pillow(mode, kind):
  file = encoded(scene(), mode, kind)
  assert jpeg.read(file, 40) is None
  assert difference(squares(file)) == 0


def test_another_white_is_left_to_pillow():
  file = encoded(scene() // 4, "L", quality=95)
  both = squares(file, channels=1, white=100.0)
  assert difference(both) == 0 and both.max() > 64


def test_large_files_are_decoded_at_an_eighth_that_is_large_enough():
  file = encoded(scene(400, 500))
  assert jpeg.read(file, 224).pixels.shape == (250, 313, 3)
  assert jpeg.read(file, 50).pixels.shape == (50, 63, 3)
  assert jpeg.read(file, 600).pixels.shape == (400, 500, 3)


def test_damaged_files_are_as_bad_as_to_pillow(tmp_path):
  (tmp_path / "a.jpg").write_bytes(encoded(scene()).data)
  (tmp_path / "b.jpg").write_bytes(encoded(scene(), quality=95).data[:1500])
  said = []
  for name in ("pillow", "simplejpeg"):
    with pytest.raises(UserError) as caught:
      sources.load(f"folder:{tmp_path}?labels=none", image_size=8, channels=3,
                   jpeg_decoder=name)
    said.append(str(caught.value))
    images = sources.load(f"folder:{tmp_path}?labels=none", image_size=8, channels=3,
                          jpeg_decoder=name, on_bad_image="skip")
    assert len(images) == images.skipped == 1
  assert said[0] == said[1] and "b.jpg cannot be read" in said[0]


def test_streamed_sets_are_decoded_alike_and_have_their_own_fingerprint(tmp_path):
  for number in range(3):
    (tmp_path / f"{number}.jpg").write_bytes(encoded(scene(60 + number, 80)).data)
  prints = []
  for name in ("pillow", "simplejpeg"):
    options = {"image_size": 20, "channels": 3, "jpeg_decoder": name}
    streamed = sources.stream(f"folder:{tmp_path}?labels=none", **options)
    held = sources.load(f"folder:{tmp_path}?labels=none", **options)
    np.testing.assert_array_equal(streamed.read(np.arange(3)), held.images)
    prints += [streamed.fingerprint, held.fingerprint]
  assert len(set(prints)) == 4


def test_without_its_libraries_it_says_what_to_install(monkeypatch, tmp_path):
  assert jpeg.problem() is None
  monkeypatch.setattr(jpeg.importlib.util, "find_spec", lambda name: None)
  with pytest.raises(UserError, match=r"augment_gen\[jpeg\]"):
    Decoder(Request("set", 8, 3, jpeg_decoder="simplejpeg"))
  found = check_data(DataConfig(jpeg_decoder="simplejpeg"))
  assert any("augment_gen[jpeg]" in problem for problem in found)
  assert not check_data(DataConfig())
