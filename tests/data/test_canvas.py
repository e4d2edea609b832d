"""Images on a larger canvas."""

import dataclasses

import numpy as np
import pytest

from augment_gen.config import DataConfig, errors
from augment_gen.data import base, canvas
from augment_gen.data.task import check_data, load_task


def some(n=500, name="some"):
  rng = np.random.default_rng(0)
  return base.ImageSet(
      name, rng.integers(1, 255, (n, 4, 4, 2), dtype=np.uint8),
      np.arange(n, dtype=np.int32) % 3, ("a", "b", "c"))


def test_each_image_lies_whole_at_its_place_on_black():
  images = some()
  result = canvas.put_on(images, 9, seed=1)
  assert result.images.shape == (500, 9, 9, 2)
  for whole, image, (top, left) in zip(
      result.images, images.images, result.places):
    np.testing.assert_array_equal(whole[top:top + 4, left:left + 4], image)
    assert whole.astype(int).sum() == image.astype(int).sum()
  assert result.fingerprint != images.fingerprint
  np.testing.assert_array_equal(result.labels, images.labels)


def test_places_are_uniform_and_of_seed_and_name():
  places = canvas.put_on(some(6000), 9, seed=1).places
  counts = np.bincount(places[:, 0] * 6 + places[:, 1], minlength=36)
  assert np.all(np.abs(counts - 6000 / 36) < 5 * np.sqrt(6000 / 36))
  same = canvas.put_on(some(6000), 9, seed=1).places
  np.testing.assert_array_equal(places, same)
  for other in (canvas.put_on(some(6000), 9, seed=2),
                canvas.put_on(some(6000, "other"), 9, seed=1)):
    assert np.mean(other.places == places) < 0.5


def test_places_stay_with_their_images():
  images = canvas.put_on(some(), 9, seed=1)
  part = images.select(np.array([7, 3]))
  np.testing.assert_array_equal(part.places, images.places[[7, 3]])
  assert some().select(np.array([1])).places is None


DATA = DataConfig(
    image_size=8, canvas=20, pretrain="rendered:latin?per_class=1",
    finetune="rendered:latin?per_class=1", finetune_per_class=0,
    tests="T=rendered:latin?per_class=1&seed=1", implicit="none")


def test_a_task_on_a_canvas():
  task = load_task(DATA)
  assert task.pretrain.images.shape[1:] == (20, 20, 1)
  assert task.finetune.images is task.pretrain.images  # equal specs are read once
  assert task.tests["T"].images.shape[1:] == (20, 20, 1)
  assert len(np.unique(task.tests["T"].places, axis=0)) > 10
  dotted = load_task(dataclasses.replace(
      DATA, implicit="dots", finetune="rendered:scripts?per_class=3&classes=4",
      finetune_per_class=2, tests=""))
  np.testing.assert_array_equal(
      dotted.finetune.places, dotted.finetune_clean.places)


def test_a_canvas_smaller_than_its_images_is_refused():
  problems = check_data(dataclasses.replace(DATA, canvas=7))
  assert any("config.data.canvas is 7" in line for line in problems)
  with pytest.raises(errors.UserError):
    load_task(dataclasses.replace(DATA, canvas=7))
