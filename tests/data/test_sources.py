"""The spec language and array files."""

import gzip

import numpy as np
import pytest

from augment_gen.config import errors
from augment_gen.data import sources


def _digits(count=5, side=6):
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (count, side, side), np.uint8)


def _load(spec, size=6, channels=1, **kwargs):
  return sources.load(spec, image_size=size, channels=channels, **kwargs)


def _save(tmp_path, **content):
  np.savez(tmp_path / "set.npz", **content)
  return f"npz:{tmp_path}/set.npz"


@pytest.mark.parametrize("spec,words", [
    ("nfs:/x", ["unknown kind 'nfs'",
                "tfds, folder, daiso, hf, npz, idx, rendered, products"]),
    ("rendered", ["unknown kind", "KIND:ADDRESS"]),
    ("npz:", ["no address"]),
    ("rendered:latin?sede=1", ["unknown option 'sede'", "per_class, seed"]),
    ("rendered:latin?seed=1&seed=2", ["option seed is given twice"]),
    ("folder:/x?metadata=m.csv&where=light=room&where=camera=a",
     ["option where is given twice", "where=A=1;B=2"]),
    ("rendered:latin?seed=x", ["seed='x'", "whole number"]),
    ("rendered:latin?variation=x", ["variation='x'", "a number"]),
    ("rendered:runes", ["rendered:runes", "rendered:scripts"]),
    ("rendered:latin?classes=63", ["62 classes", "classes=63"]),
    ("rendered:latin?per_class=-1", ["per_class=-1", "negative"]),
    ("rendered:latin?variation=nan", ["variation=nan", "negative"]),
    ("folder:x?resize=pad", ["resize='pad'", "crop, squash"]),
    ("folder:x?convert=yes", ["convert='yes'", "0 or 1"]),
    ("npz:/no/such.npz", ["no file", "--config.data.root"]),
    ("idx:/no/such", ["no file", "--config.data.root"]),
])
def test_problems_of_a_spec(spec, words):
  problem, = sources.check(spec)
  assert all(word in problem for word in words), problem


def test_all_problems_of_a_spec_are_listed():
  assert len(sources.check("rendered:latin?a=1&seed=x&b=2")) == 3
  with pytest.raises(errors.UserError) as info:
    _load("rendered:latin?a=1&b=2")
  assert len(info.value.problems) == 2


def test_npz_finds_the_usual_keys(tmp_path):
  spec = _save(tmp_path, x_train=_digits(), y_train=[0, 1, 2, 0, 1],
               x_test=_digits(2), y_test=[0, 1])
  assert (sources.check(spec), sources.count(spec)) == ([], 5)
  images = _load(spec)
  np.testing.assert_array_equal(images.images[..., 0], _digits())
  assert images.labels.tolist() == [0, 1, 2, 0, 1]
  assert images.class_names == ("0", "1", "2")
  assert _load(spec + "?labels=none").labels is None
  assert len(_load(spec + "?images=x_test&labels=y_test")) == 2


def test_npz_packed_bits(tmp_path):
  bits = np.random.default_rng(0).integers(0, 2, (4, 5, 7)).astype(bool)
  spec = _save(tmp_path, bits=np.packbits(bits.reshape(4, -1), axis=1),
               label=np.array([0, 1, 0, 1], np.int16),
               character=np.array(["alpha", "beta"]))
  images = _load(spec + "?images=bits&shape=5x7&classes=character", size=5)
  np.testing.assert_array_equal(images.images[..., 0], bits[:, :, 1:6] * 255)
  assert images.class_names == ("alpha", "beta")
  with pytest.raises(errors.UserError, match=r"uint8 \[N, 11\]"):
    _load(spec + "?images=bits&shape=9x9")
  assert "must be HxW" in sources.check(spec + "?images=bits&shape=9")[0]


@pytest.mark.parametrize("convert", [
    lambda x: x / 255, lambda x: (x / 255).astype(np.float32),
    lambda x: x.astype(np.int64), lambda x: x[..., None]])
def test_npz_number_types(tmp_path, convert):
  images = _load(_save(tmp_path, images=convert(_digits())))
  np.testing.assert_array_equal(images.images[..., 0], _digits())


def test_npz_invert_transpose_and_colour(tmp_path):
  spec = _save(tmp_path, images=_digits())
  images = _load(spec + "?invert=1&transpose=1").images
  np.testing.assert_array_equal(
      images[..., 0], 255 - _digits().transpose(0, 2, 1))
  with pytest.raises(errors.UserError, match="grey images.*convert=1"):
    _load(spec, channels=3)
  assert _load(spec + "?convert=1", channels=3).images.shape[-1] == 3


def test_npz_bad_content(tmp_path):
  spec = _save(tmp_path, image=_digits() / 100, images=_digits())
  assert "option images=KEY" in sources.check(spec)[0]
  assert "no array 'foo'" in sources.check(spec + "?images=foo")[0]
  with pytest.raises(errors.UserError, match=r"outside 0..1"):
    _load(spec + "?images=image")
  spec = _save(tmp_path, images=_digits().transpose(1, 2, 0)[None])
  with pytest.raises(errors.UserError, match=r"\(1, 6, 6, 5\)"):
    _load(spec)
  spec = _save(tmp_path, images=_digits(), labels=[0, 1, 2, 3, 4],
               names=np.array(["a", "b"]))
  with pytest.raises(errors.UserError, match="2 classes, but 3 labels"):
    _load(spec + "?classes=names")
  (tmp_path / "set.npz").write_bytes(b"no zip file")
  assert "not an npz file" in sources.check(spec)[0]


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_zeros_and_ones_are_black_and_white(tmp_path, dtype):
  bits = (_digits() > 99).astype(dtype)
  images = _load(_save(tmp_path, images=bits))
  np.testing.assert_array_equal(images.images[..., 0], bits * 255)
  assert "0 or 1" in images.notes[0]


def test_other_ranges_are_said_or_asked_for(tmp_path):
  twelve = _digits().astype(np.uint16) * 16
  spec = _save(tmp_path, images=twelve)
  with pytest.raises(errors.UserError, match="outside 0..255.*max=4095"):
    _load(spec)
  np.testing.assert_array_equal(
      _load(spec + "?max=4095").images[..., 0], np.rint(twelve * (255 / 4095)))
  assert "max=-1" in sources.check(spec + "?max=-1")[0]
  dark = _load(_save(tmp_path, images=_digits() // 16))  # values 0 to 15
  assert "WARNING: the brightest pixel is 15" in dark.notes[0]
  assert _load(_save(tmp_path, images=_digits())).notes == ()


@pytest.mark.parametrize("images, words", [
    (_digits().astype(str), "type <U"), (_digits().astype(complex), "complex128"),
    (_digits().astype("M8[s]"), "datetime64"),
    (np.where(_digits() > 9, 0.5, np.nan), "reach from nan"),
    (_digits().astype(object), "Python objects"),
    (np.zeros((5, 3, 6, 6), np.uint8), "channels come first"),
    (np.zeros((5, 6, 6, 4), np.uint8), "without transparency"),
    (np.zeros((0, 6, 6), np.uint8), "there are none")])
def test_what_is_no_image_is_refused_in_words(tmp_path, images, words):
  with pytest.raises(errors.UserError, match=words):
    _load(_save(tmp_path, images=images))


def test_grey_stored_as_rgb(tmp_path):
  grey = np.repeat(_digits()[..., None], 3, axis=-1)
  np.testing.assert_array_equal(
      _load(_save(tmp_path, images=grey)).images[..., 0], _digits())
  grey[4, 0, 0, 1] ^= 1
  with pytest.raises(errors.UserError, match="colour"):
    _load(_save(tmp_path, images=grey))


@pytest.mark.parametrize("labels, wanted, classes", [
    (np.eye(4)[[0, 3, 1, 0, 2]], [0, 3, 1, 0, 2], "0123"),
    ([0.0, 10.0, 2.0, 1.0, 2.0], [0, 3, 2, 1, 2], ("0", "1", "2", "10")),
    ([1, 2, 3, 1, 2], [0, 1, 2, 0, 1], "123"),
    ([0, 100, 7, 0, 7], [0, 2, 1, 0, 1], ("0", "7", "100")),
    ([[0], [1], [1], [0], [2]], [0, 1, 1, 0, 2], "012"),
    (np.array([b"b", b"a", b"b", b"a", b"b"]), [1, 0, 1, 0, 1], "ab")])
def test_labels_as_people_store_them(tmp_path, labels, wanted, classes):
  images = _load(_save(tmp_path, images=_digits(), labels=labels))
  assert images.labels.tolist() == wanted
  assert images.class_names == tuple(classes)


@pytest.mark.parametrize("labels, words", [
    ([0.0, 1.0, np.nan, 0.0, 1.0], "nan of image 2"),
    ([0.5, 1.0, 1.5, 0.0, 1.0], "2 labels are no whole numbers"),
    (np.ones((5, 4)), "one 1 and zeros"),
    ([0, 1], r"5 images \('images'\) but 2 labels"),
    (np.zeros(5, complex), "type complex128")])
def test_labels_that_are_none(tmp_path, labels, words):
  with pytest.raises(errors.UserError, match=words):
    _load(_save(tmp_path, images=_digits(), labels=labels))


def test_labels_of_other_images_are_not_taken(tmp_path):
  spec = _save(tmp_path, x_train=_digits(), y_train=[0, 1, 2, 0, 1],
               x_test=_digits())
  assert "labels of 'x_test'" in sources.check(spec + "?images=x_test")[0]
  assert _load(spec + "?images=x_test&labels=none").labels is None
  assert _load(spec).labels.tolist() == [0, 1, 2, 0, 1]
  spec = _save(tmp_path, x_train=_digits(), y_train=[0, 1, 2, 0, 1],
               x_test=_digits(), y_test=[2, 2, 0, 0, 1])
  assert _load(spec + "?images=x_test").labels.tolist() == [2, 2, 0, 0, 1]
  spec = _save(tmp_path, test_images=_digits(), test_labels=[1] * 5,
               train_labels=[0] * 5, train_images=_digits())
  assert _load(spec + "?images=test_images").class_names == ("1",)


def test_paths_as_people_write_them(tmp_path):
  folder = tmp_path / "what?"
  folder.mkdir()
  np.savez(folder / "set.npz", images=_digits(), labels=[0, 1, 2, 0, 1])
  for spec in (f" npz:{folder}/set.npz ", f"npz:file://{folder}/set.npz",
               f"npz:{folder}/set.npz?images=images&labels=labels"):
    assert len(_load(spec)) == 5
  assert len(_load("npz:{root}/set.npz?labels=none", root=f"{folder} ")) == 5
  problem, = sources.check(f"npz:{folder}/none.npz?labels=none")
  assert f"'{folder}/none.npz'" in problem
  problem, = sources.check("folder:/no/such?/place")
  assert "'/no/such?/place'" in problem


def test_npz_cut_short_inside_an_array(tmp_path):
  spec = _save(tmp_path, images=_digits(), labels=[0] * 5)
  content = bytearray((tmp_path / "set.npz").read_bytes())
  content[200:260] = bytes(60)  # within the images, so the checksum is wrong
  (tmp_path / "set.npz").write_bytes(content)
  with pytest.raises(errors.UserError, match="cannot be read"):
    _load(spec)


def _write_idx(path, values, opened=open):
  header = bytes([0, 0, 8, values.ndim])
  shape = np.array(values.shape, ">i4").tobytes()
  with opened(path, "wb") as file:
    file.write(header + shape + values.tobytes())


def test_idx_gzipped_and_plain(tmp_path):
  labels = np.array([3, 0, 1, 2, 3], np.uint8)
  _write_idx(tmp_path / "images.gz", _digits(), gzip.open)
  _write_idx(tmp_path / "labels", labels)
  spec = "idx:{root}/images.gz?labels={root}/labels&transpose=1"
  root = str(tmp_path)
  assert (sources.check(spec, root), sources.count(spec, root)) == ([], 5)
  images = _load(spec, root=root)
  np.testing.assert_array_equal(
      images.images[..., 0], _digits().transpose(0, 2, 1))
  assert images.labels.tolist() == [3, 0, 1, 2, 3]
  assert _load(f"idx:{tmp_path}/images.gz").labels is None


def test_idx_damaged(tmp_path):
  _write_idx(tmp_path / "images", _digits())
  whole = (tmp_path / "images").read_bytes()
  for content, word in ((whole[:-1], "announced"), (b"text", "IDX"),
                        (gzip.compress(whole)[:50], "cannot be read")):
    (tmp_path / "images").write_bytes(content)
    with pytest.raises(errors.UserError, match=word):
      _load(f"idx:{tmp_path}/images")
