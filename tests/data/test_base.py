"""ImageSet, resizing, channels and splits."""

import numpy as np
from PIL import Image
import pytest

from augment_gen.config import errors
from augment_gen.data import base, pixels, splits
from augment_gen.data import labels as labels_lib


def _images(count=6, side=4, channels=1):
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (count, side, side, channels), np.uint8)


def _set(labels=(0, 1, 2, 0, 1, 2), classes=("a", "b", "c")):
  labels = None if labels is None else np.array(labels, np.int32)
  return base.ImageSet("toy", _images(), labels, classes)


def test_fingerprint_follows_images_labels_and_shape():
  images, labels = _images(), np.arange(6, dtype=np.int32)
  prints = {
      base.fingerprint_arrays(images, labels),
      base.fingerprint_arrays(images, None),
      base.fingerprint_arrays(255 - images, labels),
      base.fingerprint_arrays(images, labels[::-1]),
      base.fingerprint_arrays(images.reshape(6, 2, 8, 1), labels),
  }
  assert len(prints) == 5
  assert base.fingerprint_arrays(images.copy(), labels) in prints


def test_classes_of_the_same_name_are_one_in_joined_sets():
  other = _set(labels=(0, 1, 0, 1, 0, 1), classes=("d", "b"))
  labels, names = base.labels_of(base.Joined((_set(), other)))
  assert names == ("a", "b", "c", "d")
  assert labels.tolist() == [0, 1, 2, 0, 1, 2, 3, 1, 3, 1, 3, 1]
  assert base.labels_of(base.Joined((_set(), _set(None, ())))) is None


def test_select_keeps_classes_and_has_its_own_fingerprint():
  whole = _set()
  part = whole.select(np.array([4, 0]), "part")
  np.testing.assert_array_equal(part.images, whole.images[[4, 0]])
  assert part.labels.tolist() == [1, 0]
  assert (part.name, part.num_classes, len(part)) == ("part", 3, 2)
  assert part.fingerprint != whole.fingerprint
  assert _set(labels=None, classes=()).select(np.array([1])).labels is None


@pytest.mark.parametrize("label", [3, -1])
def test_label_outside_the_classes_is_named(label):
  with pytest.raises(errors.UserError, match=f"'toy' has 3 classes.*{label} of "
                     "image 5"):
    _set(labels=(0, 1, 2, 0, 1, label))


def test_number_of_labels_must_agree():
  with pytest.raises(errors.UserError, match="6 images but 2 labels"):
    _set(labels=(0, 1))


def test_encode_labels():
  labels, names = labels_lib.encode(np.array([2, 0, 1], np.uint8), None, "x")
  assert labels.dtype == np.int32
  assert (labels.tolist(), names) == ([2, 0, 1], ("0", "1", "2"))
  labels, names = labels_lib.encode(np.array(["cat", "ant", "cat"]), None, "x")
  assert (labels.tolist(), names) == ([1, 0, 1], ("ant", "cat"))
  labels, names = labels_lib.encode(np.array(["x", "b"]), ["b", "a"], "x")
  assert (labels.tolist(), names) == ([-1, 0], ("b", "a"))
  # 2**32 must not wrap around to class 0.
  labels, _ = labels_lib.encode(np.array([2**32]), ["a"], "x")
  assert labels.tolist() == [2**31 - 1]


@pytest.mark.parametrize("source,target", [(105, 28), (28, 28), (20, 28)])
def test_resize_agrees_with_pillow(source, target):
  images = _images(3, source, 3)
  ours = pixels.resize_images(images, target)
  for image, result in zip(images, ours):
    wanted = Image.fromarray(image).resize(
        (target, target), Image.Resampling.BILINEAR)
    assert np.abs(np.asarray(wanted).astype(int) - result).max() <= 1


def test_resize_in_chunks_and_whole_are_the_same(monkeypatch):
  images = _images(7, 9)
  whole = pixels.resize_images(images, 5)
  monkeypatch.setattr(pixels, "_CHUNK_BYTES", 2 * 81)
  np.testing.assert_array_equal(pixels.resize_images(images, 5), whole)


def test_resize_keeps_the_centre_square():
  images = np.zeros((1, 4, 8, 1), np.uint8)
  images[:, :, 2:6] = 200
  np.testing.assert_array_equal(pixels.resize_images(images, 2),
                                np.full((1, 2, 2, 1), 200))


def test_channels_are_converted_only_when_allowed():
  colour = _images(2, 3, 3)
  with pytest.raises(errors.UserError, match="colour.*channels=3.*convert=1"):
    pixels.to_channels(colour, 1, False, "toy")
  grey = pixels.to_channels(colour, 1, True, "toy")
  wanted = np.stack([np.asarray(Image.fromarray(c).convert("L"))
                     for c in colour])[..., None]
  assert np.abs(grey.astype(int) - wanted).max() <= 1
  np.testing.assert_array_equal(
      pixels.to_channels(grey, 3, True, "toy"), np.repeat(grey, 3, -1))


def test_per_class_split_of_the_paper():
  labels = np.random.default_rng(1).permutation(np.repeat(np.arange(1623), 20))
  train, test = splits.per_class(labels, 15, seed=0)
  assert (len(train), len(test)) == (24345, 8115)
  assert np.bincount(labels[train]).tolist() == [15] * 1623
  np.testing.assert_array_equal(
      np.sort(np.concatenate([train, test])), np.arange(len(labels)))
  again, _ = splits.per_class(labels, 15, seed=0)
  other, _ = splits.per_class(labels, 15, seed=1)
  np.testing.assert_array_equal(train, again)
  assert not np.array_equal(train, other)


def test_per_class_needs_an_image_for_testing():
  with pytest.raises(errors.UserError, match="class 1 with 2"):
    splits.per_class(np.array([0, 0, 0, 1, 1]), 2, seed=0)


def test_holdout_is_stratified_and_keeps_each_class():
  labels = np.array([0] * 10 + [1] * 5 + [2])
  kept, held = splits.holdout(labels, 0.4, seed=0)
  assert np.bincount(labels[held], minlength=3).tolist() == [4, 2, 0]
  assert sorted(np.concatenate([kept, held])) == list(range(16))
  kept, _ = splits.holdout(labels, 0.99, seed=0)
  assert np.bincount(labels[kept]).tolist() == [1, 1, 1]
  with pytest.raises(errors.UserError, match="large enough"):
    splits.holdout(np.array([0, 1, 2]), 0.5, seed=0)


def test_few_labels_are_nested_and_follow_the_seed():
  labels = np.random.default_rng(0).permutation(np.repeat(np.arange(4), 9))
  few = lambda count, seed=0, draw=1: splits.few_of_each(labels, count, seed, draw)
  for count in (1, 5, 9):
    assert np.bincount(labels[few(count)]).tolist() == [count] * 4
  assert set(few(1)) < set(few(5)) < set(few(9))
  np.testing.assert_array_equal(few(5), few(5))
  others = (few(5, seed=1), few(5, draw=2), few(5, draw=3))
  assert len({tuple(found) for found in (few(5), *others)}) == 4


def test_a_class_with_fewer_labels_than_asked_is_an_error():
  with pytest.raises(errors.UserError, match="2 classes have fewer than 3 labelled "
                     r"images \(the first: class 1 with 2\)"):
    splits.few_of_each(np.array([0, 0, 0, 1, 1, 2]), 3, 0, 1)
