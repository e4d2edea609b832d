"""Image folders, valid and invalid."""

import errno
import os
import struct
import zlib

import numpy as np
from PIL import Image
import pytest

from augment_gen.config import errors
from augment_gen.data import files, sources


def _save(path, mode="L", size=(6, 6), fill=None, **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.new(mode, size, fill or 0).save(path, **options)


def _load(path, options="", size=6, channels=1, **kwargs):
  return sources.load(f"folder:{path}{options}", image_size=size,
                      channels=channels, **kwargs)


@pytest.fixture(name="classes")
def classes_fixture(tmp_path):
  """Images with values 10 and 20 in cat/, 90 in dog/; two files to pass over."""
  _save(tmp_path / "cat" / "a.png", fill=10)
  _save(tmp_path / "cat" / "b" / "deep.PNG", fill=20)
  _save(tmp_path / "dog" / "x.bmp", fill=90)
  (tmp_path / "dog" / "notes.txt").write_text("not an image")
  _save(tmp_path / ".cache" / "thumbnail.png")
  return tmp_path


def test_classes_are_the_first_level(classes):
  images = _load(classes)
  assert images.class_names == ("cat", "dog")
  assert images.labels.tolist() == [0, 0, 1]
  assert images.images[:, 0, 0, 0].tolist() == [10, 20, 90]
  assert (images.skipped, images.passed_over) == (0, 2)
  assert images.notes == (
      "2 other files passed over (1 folder, 1 .txt): .cache/, dog/notes.txt",)
  assert sources.count(f"folder:{classes}") == 3
  assert _load(classes).fingerprint == images.fingerprint


def test_labels_none_ignores_the_folders(classes):
  images = _load(classes, "?labels=none")
  assert images.labels is None and len(images) == 3


def test_images_right_in_the_folder_are_unlabelled(tmp_path):
  _save(tmp_path / "b.png", fill=2)
  _save(tmp_path / "a.png", fill=1)
  images = _load(tmp_path)
  assert images.labels is None
  assert images.images[:, 0, 0, 0].tolist() == [1, 2]


def test_root_is_replaced(classes):
  spec = "folder:{root}/cat?labels=none"
  assert sources.check(spec, str(classes)) == []
  assert "--config.data.root=FOLDER" in sources.check(spec)[0]


def test_missing_folder_says_what_to_do(tmp_path):
  problem, = sources.check(f"folder:{tmp_path}/nowhere")
  assert "no folder" in problem and "--config.data.root" in problem
  with pytest.raises(errors.UserError, match="no folder"):
    _load(tmp_path / "nowhere")


def test_empty_folders(tmp_path, classes):
  (tmp_path / "void").mkdir()
  problem, = sources.check(f"folder:{tmp_path}/void")
  assert "holds no images" in problem
  problem, = sources.check(f"folder:{classes}")
  assert f"class folder '{classes}/void' holds no images" in problem


def test_images_beside_class_folders(classes):
  _save(classes / "stray.png")
  problem, = sources.check(f"folder:{classes}")
  assert "1 images beside the class folders" in problem
  assert sources.check(f"folder:{classes}?labels=none") == []


def test_corrupt_image_is_named_or_skipped(classes):
  (classes / "cat" / "bad.jpg").write_bytes(b"this is no picture")
  whole = (classes / "cat" / "a.png").read_bytes()
  (classes / "dog" / "cut.png").write_bytes(whole[:len(whole) // 2])
  with pytest.raises(errors.UserError, match=r"cat/bad.jpg cannot.*1 other.*"
                     "--config.data.on_bad_image=skip"):
    _load(classes)
  images = _load(classes, on_bad_image="skip")
  assert images.skipped == 2
  assert images.labels.tolist() == [0, 0, 1]
  assert images.images[:, 0, 0, 0].tolist() == [10, 20, 90]


def test_class_whose_images_are_all_corrupt(classes):
  (classes / "dog" / "x.bmp").write_bytes(b"")
  with pytest.raises(errors.UserError, match="dog' holds no image that can"):
    _load(classes, on_bad_image="skip")


def test_mixed_channels(classes):
  _save(classes / "cat" / "red.png", "RGB", fill=(255, 0, 0))
  with pytest.raises(errors.UserError,
                     match=r"1 \(of 4; the first is .*red.png\) colour"):
    _load(classes)
  with pytest.raises(errors.UserError, match=r"3 \(of 4.*grey"):
    _load(classes, channels=3)
  images = _load(classes, "?convert=1")
  assert images.images[:, 0, 0, 0].tolist() == [10, 20, 76, 90]
  images = _load(classes, "?convert=1", channels=3)
  assert images.images[2, 0, 0].tolist() == [255, 0, 0]


def test_depths_alpha_and_palettes(tmp_path):
  values = np.full((6, 6), 128 * 257, np.uint16)
  Image.fromarray(values).save(tmp_path / "a16.png")
  _save(tmp_path / "b1.png", "1", fill=1)
  _save(tmp_path / "cLA.png", "LA", fill=(200, 51))
  assert _load(tmp_path).images[:, 0, 0, 0].tolist() == [128, 255, 40]
  colour = tmp_path / "colour"
  _save(colour / "a.png", "RGBA", fill=(255, 100, 0, 51))
  Image.new("RGB", (6, 6), (0, 0, 255)).quantize(4).save(colour / "b.gif")
  _save(colour / "c.jpg", "CMYK", fill=(0, 0, 0, 0))
  images = _load(colour, channels=3).images[:, 0, 0]
  assert images.tolist() == [[51, 20, 0], [0, 0, 255], [255, 255, 255]]


def test_float_pixels_count_as_unreadable(tmp_path):
  _save(tmp_path / "a.tif", "F")
  with pytest.raises(errors.UserError, match="32-bit float"):
    _load(tmp_path)


def test_exif_orientation_is_applied(tmp_path):
  values = np.zeros((8, 8), np.uint8)
  values[:, :4] = 255  # left half
  exif = Image.Exif()
  exif[0x0112] = 6  # shown rotated clockwise, so left becomes top
  Image.fromarray(values).save(tmp_path / "a.png", exif=exif)
  image = _load(tmp_path, size=8).images[0, ..., 0]
  assert (image[:4] == 255).all() and (image[4:] == 0).all()


def test_crop_keeps_the_centre_and_squash_all(tmp_path):
  values = np.zeros((8, 16), np.uint8)
  values[:, 4:12] = 200
  Image.fromarray(values).save(tmp_path / "a.png")
  assert (_load(tmp_path, size=8).images == 200).all()
  squashed = _load(tmp_path, "?resize=squash", size=4).images[0, :, :, 0]
  assert squashed[0, 0] < 100 < squashed[0, 1]


def test_large_jpegs_keep_their_content(tmp_path):
  ramp = np.tile(np.linspace(0, 255, 640).astype(np.uint8), (480, 1))
  Image.fromarray(ramp).save(tmp_path / "a.jpg", quality=95)
  image = _load(tmp_path, "?resize=squash", size=10).images[0, 5, :, 0]
  np.testing.assert_allclose(image, np.arange(10) * 25.5 + 12.5, atol=4)


def _write(path, kind, mode="L", fill=7):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.new(mode, (6, 6), fill).save(path, format=kind)


def test_what_pillow_reads_is_read_whatever_it_is_called(tmp_path):
  for name, kind in (("a.tga", "TGA"), ("b.pgm", "PPM"), ("c.jp2", "JPEG2000"),
                     ("d", "PNG"), ("e.avif", "AVIF"), ("f.dat", "BMP"),
                     ("g.mpo", "MPO")):
    if kind in Image.SAVE:
      _write(tmp_path / name, kind)
  _write(tmp_path / "h.pbm", "PPM", "1", 1)
  (tmp_path / "i").write_text("no picture")
  (tmp_path / "j.csv").write_text("no picture")
  images = _load(tmp_path, "?convert=1")
  assert len(images) == len(list(tmp_path.iterdir())) - 2 >= 6
  assert "2 other files passed over (1 without a suffix, 1 .csv): i, j.csv" in images.notes


def test_formats_without_a_decoder_say_what_helps(tmp_path):
  _write(tmp_path / "a.png", "PNG")
  (tmp_path / "b.cr2").write_bytes(b"II*\0" + bytes(40))
  with pytest.raises(errors.UserError, match="raw file: convert it to PNG"):
    _load(tmp_path)
  (tmp_path / "b.cr2").unlink()
  (tmp_path / "b.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
  with pytest.raises(errors.UserError, match="b.heic cannot be read"):
    _load(tmp_path)
  assert _load(tmp_path, on_bad_image="skip").skipped == 1


def test_what_transparency_is_laid_over(tmp_path):
  _save(tmp_path / "a.png", "LA", fill=(200, 51))
  assert _load(tmp_path).images[0, 0, 0, 0] == 40
  assert _load(tmp_path, "?background=white").images[0, 0, 0, 0] == 244


def test_links_in_a_circle_are_visited_once(tmp_path):
  for name, fill in (("cat", 1), ("dog", 2)):
    _save(tmp_path / "set" / name / "a.png", fill=fill)
  (tmp_path / "set" / "cat" / "up").symlink_to(tmp_path / "set")
  (tmp_path / "set" / "dog" / "self").symlink_to(tmp_path / "set" / "dog")
  images = _load(tmp_path / "set")
  assert images.images[:, 0, 0, 0].tolist() == [1, 2]
  (tmp_path / "links").mkdir()
  (tmp_path / "links" / "cat").symlink_to(tmp_path / "set" / "cat")
  assert len(_load(tmp_path / "links")) == 2  # "up" leads to the dog


def test_links_that_lead_nowhere_are_bad_images(tmp_path):
  _save(tmp_path / "cat" / "a.png", fill=1)
  (tmp_path / "cat" / "loop").symlink_to("loop")
  (tmp_path / "cat" / "loop.png").symlink_to("loop.png")
  with pytest.raises(errors.UserError, match="loop.png cannot be read"):
    _load(tmp_path)
  assert len(_load(tmp_path, on_bad_image="skip")) == 1


def test_specs_may_be_longer_than_paths(tmp_path):
  where = "|".join(f"product{number}" for number in range(60))
  problems, _ = sources.examine(f"folder:{tmp_path}?metadata=m.csv&where=a={where}", "")
  assert problems and "m.csv" in problems[0]
  problems, _ = sources.examine("folder:~nobody-of-this-name/x", "")
  assert "there is no folder" in problems[0]


def test_numbered_classes_are_in_the_order_of_numbers(tmp_path):
  for name in ("1", "2", "10"):
    _save(tmp_path / name / "a.png", fill=int(name))
  assert _load(tmp_path).class_names == ("1", "2", "10")
  _save(tmp_path / "b" / "a.png")
  assert _load(tmp_path).class_names == ("1", "10", "2", "b")


def test_parts_of_a_set_are_no_classes(tmp_path):
  for part in ("train", "val"):
    _save(tmp_path / part / "cat" / "a.png")
  problem, = sources.check(f"folder:{tmp_path}")
  assert f"folder:{tmp_path}/train" in problem and "labels=folders" in problem
  assert _load(tmp_path, "?labels=folders").class_names == ("train", "val")
  assert len(_load(tmp_path, "?labels=none")) == 2


def test_thumbnails_of_a_nas_are_no_images(classes):
  _save(classes / "@eaDir" / "a.png")
  _save(classes / "cat" / "@eaDir" / "a.png")
  _save(classes / "__MACOSX" / "cat" / "a.png")
  images = _load(classes)
  assert images.class_names == ("cat", "dog") and len(images) == 3
  assert images.passed_over == 5


def test_grey_in_three_channels_or_a_palette_is_grey(tmp_path):
  _save(tmp_path / "a.png", "RGB", fill=(9, 9, 9))
  Image.new("L", (6, 6), 30).convert("P").save(tmp_path / "b.png")
  assert _load(tmp_path).images[:, 0, 0, 0].tolist() == [9, 30]


def test_depths_are_asked_for(tmp_path):
  values = np.full((6, 6), 4095, np.uint16)
  Image.fromarray(values).save(tmp_path / "a.png")
  with pytest.raises(errors.UserError, match="reach only to 4095.*max=4095"):
    _load(tmp_path)
  assert _load(tmp_path, "?max=4095").images[0, 0, 0, 0] == 255
  assert _load(tmp_path, "?max=65535").images[0, 0, 0, 0] == 16
  Image.fromarray(np.full((6, 6), 70000, np.int32)).save(tmp_path / "a.tif")
  (tmp_path / "a.png").unlink()
  with pytest.raises(errors.UserError, match="70000, outside 0..65535.*max="):
    _load(tmp_path)
  assert _load(tmp_path, "?max=140000").images[0, 0, 0, 0] == 128


def _png_of_16_bits(path, value, size=6):
  """An RGB file with 16 bits in each channel, which Pillow can only read."""
  row = b"\0" + struct.pack(">H", value) * 3 * size
  chunks = [(b"IHDR", struct.pack(">IIBBBBB", size, size, 16, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(row * size)), (b"IEND", b"")]
  path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(
      struct.pack(">I", len(data)) + name + data
      + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks))


def test_colour_of_16_bits_is_not_taken_for_black(tmp_path):
  _png_of_16_bits(tmp_path / "a.png", 4095)
  with pytest.raises(errors.UserError, match="16-bit files whose values reach only to"):
    _load(tmp_path, channels=3)
  with pytest.raises(errors.UserError, match="max= must be 65535.*with 8 bits"):
    _load(tmp_path, "?max=4095", channels=3)
  _png_of_16_bits(tmp_path / "b.png", 65535)
  for options in ("", "?max=65535"):
    assert _load(tmp_path, options, channels=3).images[:, 0, 0, 0].tolist() == [15, 255]


def test_a_white_that_8_bits_cannot_hold(tmp_path):
  _save(tmp_path / "a.png", fill=200)
  with pytest.raises(errors.UserError, match="8 bits, and so no values up to max=4095"):
    _load(tmp_path, "?max=4095")


def test_a_nearly_black_set_is_warned_of(tmp_path):
  _save(tmp_path / "a.png", fill=20)
  note, = _load(tmp_path).notes
  assert note.startswith("WARNING: the brightest pixel is 20 where 255 is white")
  _save(tmp_path / "b.png", fill=40)
  assert _load(tmp_path).notes == ()


def test_what_may_pass_is_no_bad_file(tmp_path, monkeypatch):
  """Left out in one start alone, it would change the set, and the run be refused."""
  _save(tmp_path / "a.png", fill=1)
  monkeypatch.setattr(Image, "open", lambda file: (_ for _ in ()).throw(
      OSError(errno.EIO, os.strerror(errno.EIO))))
  with pytest.raises(errors.UserError, match="Input/output error.*start the same command"):
    _load(tmp_path, on_bad_image="skip")


def test_decoders_of_rare_formats_raise_other_errors(tmp_path, monkeypatch):
  _save(tmp_path / "a.png", fill=1)
  _save(tmp_path / "b.png", fill=2)
  opened = Image.open
  def fails(file):
    if str(file).endswith("b.png"):
      raise NotImplementedError("unknown compression")
    return opened(file)
  monkeypatch.setattr(Image, "open", fails)
  with pytest.raises(errors.UserError, match="b.png cannot be read .unknown compression"):
    _load(tmp_path)
  assert len(_load(tmp_path, on_bad_image="skip")) == 1


def test_two_classes_that_are_one_folder(classes):
  (classes / "pets").symlink_to(classes / "cat")
  problem, = sources.check(f"folder:{classes}")
  assert "pets' leads to a folder that is there under another name" in problem
  assert len(_load(classes, "?labels=none")) == 3


def test_a_damaged_file_of_a_plug_in_says_what_is_wrong(tmp_path, monkeypatch):
  (tmp_path / "b.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
  with monkeypatch.context() as patched:
    patched.setattr(files, "suffixes", lambda: frozenset((".png",)))
    assert "pip install pillow-heif" in files.why_unreadable(tmp_path / "b.heic")
  monkeypatch.setattr(files, "suffixes", lambda: frozenset((".png", ".heic")))
  assert files.why_unreadable(tmp_path / "b.heic") == ""


def test_a_place_where_nothing_may_be_read_is_no_folder(tmp_path, monkeypatch):
  def forbidden(path):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
  monkeypatch.setattr(os, "stat", forbidden)
  for spec in (f"folder:{tmp_path}", f"npz:{tmp_path}/a.npz", f"daiso:{tmp_path}",
               f"hf:{tmp_path}/a"):
    problem, *_ = sources.check(spec)
    assert "there is no" in problem or "there is nothing" in problem or (
        "needs the library" in problem)


def test_masks_of_zeros_and_ones_are_black_and_white(tmp_path):
  Image.fromarray(np.eye(6, dtype=np.uint8)).save(tmp_path / "a.png")
  images = _load(tmp_path)
  np.testing.assert_array_equal(images.images[0, ..., 0], np.eye(6) * 255)
  assert "0 or 1" in images.notes[0]
