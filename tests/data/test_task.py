"""X_p, X̃_f and the test sets of an experiment."""

import dataclasses

import numpy as np
from PIL import Image
import pytest

from augment_gen import config
from augment_gen.config import errors
from augment_gen.data import task

SMALL = config.DataConfig(
    image_size=12, pretrain="rendered:latin?per_class=1&classes=5",
    finetune="rendered:scripts?per_class=6&classes=4", finetune_per_class=4)


def _data(**changes):
  return dataclasses.replace(SMALL, **changes)


def _save(path, labels, names, count=8, seed=0):
  images = np.random.default_rng(seed).integers(0, 256, (count, 12, 12), np.uint8)
  np.savez(path, images=images, labels=labels, names=np.array(names))
  return f"npz:{path}?classes=names"


def test_implicit_augmentation_makes_the_four_sets():
  result = task.load_task(SMALL)
  assert list(result.tests) == ["C", "D"]
  assert (len(result.pretrain), len(result.finetune)) == (5, 16)
  assert result.num_classes == 4
  clean, dotted = result.tests["C"], result.tests["D"]
  assert len(clean) == len(dotted) == 8
  np.testing.assert_array_equal(clean.labels, dotted.labels)
  np.testing.assert_array_equal(
      result.finetune.labels, result.finetune_clean.labels)
  # Dots add ink to every image and change nothing else.
  for a, b in ((result.finetune_clean, result.finetune), (clean, dotted)):
    added = b.images.astype(int) - a.images
    assert (added >= 0).all() and (added.max((1, 2, 3)) > 0).all()
  assert result.fingerprints == {
      "pretrain": result.pretrain.fingerprint,
      "finetune": result.finetune.fingerprint,
      "test/C": clean.fingerprint, "test/D": dotted.fingerprint}
  assert len(set(result.fingerprints.values())) == 4


@pytest.mark.parametrize("changes", [{}, {"implicit": "none", "development": 0.25}])
def test_the_fine_tuning_set_can_be_had_alone(changes):
  data = _data(**changes)
  alone, whole = task.load_finetune(data), task.load_task(data).finetune
  assert alone.fingerprint == whole.fingerprint and len(alone) == len(whole)


def test_fine_tuning_and_test_sets_share_no_image_and_no_dots():
  result = task.load_task(SMALL)
  used = {image.tobytes() for image in result.finetune_clean.images}
  assert not used & {image.tobytes() for image in result.tests["C"].images}

  def dots(augmented, clean):
    return augmented.images != clean.images
  trained = dots(result.finetune, result.finetune_clean)[:8]
  tested = dots(result.tests["D"], result.tests["C"])
  assert (trained != tested).any((1, 2, 3)).all()


def test_sets_follow_the_implicit_seed_alone():
  first, again = task.load_task(SMALL), task.load_task(SMALL)
  other = task.load_task(_data(implicit_seed=1))
  assert first.fingerprints == again.fingerprints
  assert first.fingerprints["pretrain"] == other.fingerprints["pretrain"]
  for name in ("finetune", "test/C", "test/D"):
    assert first.fingerprints[name] != other.fingerprints[name]


def test_dots_follow_the_implicit_seed(tmp_path):
  """All images are black, so only the dots can differ, whatever the split."""
  np.savez(tmp_path / "set.npz", images=np.zeros((8, 12, 12), np.uint8),
           labels=[0, 1, 2, 3] * 2)
  spec = f"npz:{tmp_path}/set.npz"
  sets = [task.load_task(_data(finetune=spec, finetune_per_class=1,
                               implicit_seed=seed)) for seed in (0, 1)]
  for images in (lambda s: s.finetune.images, lambda s: s.tests["D"].images):
    assert not np.array_equal(images(sets[0]), images(sets[1]))


def test_without_implicit_augmentation():
  result = task.load_task(_data(implicit="none"))
  assert list(result.tests) == ["D"]
  assert result.finetune_clean is None
  assert (len(result.finetune), len(result.tests["D"])) == (16, 8)


def test_named_tests_are_renumbered_by_class_name(tmp_path):
  train = _save(tmp_path / "train.npz", [0, 1, 2] * 3, ["a", "b", "c"], 9)
  test = _save(tmp_path / "test.npz", [0, 1, 0, 1, 0, 1, 0, 1], ["c", "a"], seed=1)
  same = _save(tmp_path / "same.npz", [0, 1, 2] * 3, ["a", "b", "c"], 9, seed=2)
  result = task.load_task(_data(
      finetune=train, finetune_per_class=0, implicit="none",
      tests=f"R={test}, S={same}"))
  assert list(result.tests) == ["R", "S"]
  assert len(result.finetune) == 9
  assert result.tests["R"].labels.tolist() == [2, 0, 2, 0, 2, 0, 2, 0]
  assert result.tests["R"].class_names == ("a", "b", "c")
  assert result.tests["S"].labels.tolist() == result.finetune.labels.tolist()


def test_links_in_a_set_that_is_divided_are_refused(tmp_path):
  for name in "ab":
    for number in range(4):
      path = tmp_path / name / f"{number}.png"
      path.parent.mkdir(exist_ok=True)
      Image.new("L", (12, 12), 20 * number + 9 * (name == "b")).save(path)
  data = _data(finetune=f"folder:{tmp_path}", finetune_per_class=2, implicit="none")
  assert len(task.load_task(data).tests["D"]) == 4
  (tmp_path / "a" / "4.png").symlink_to(tmp_path / "a" / "1.png")
  with pytest.raises(errors.UserError, match="1 files more than once, by links .*a/1.png"):
    task.load_task(data)


def test_arrays_are_not_tested_on_what_they_were_trained_on(tmp_path):
  train = _save(tmp_path / "train.npz", [0, 1] * 4, ["a", "b"])
  again = _save(tmp_path / "again.npz", [0, 1] * 2, ["a", "b"], 4)
  for tests in (f"R={train}", f"R={again}"):
    for implicit in ("none", "blur"):
      with pytest.raises(errors.UserError, match="'R'.* no image that is not in X̃_f"):
        task.load_task(_data(finetune=train, finetune_per_class=0, implicit=implicit,
                             tests=tests))
  # Equal images alone are no mistake: they may be blank.
  more = _save(tmp_path / "more.npz", [0, 1] * 5, ["a", "b"], 10)
  result = task.load_task(_data(finetune=train, finetune_per_class=0, implicit="none",
                                tests=f"R={more}"))
  assert "8 of 10 images are in X̃_f" in result.tests["R"].notes[-1]


def test_named_tests_come_as_they_are_beside_the_augmented(tmp_path):
  train = _save(tmp_path / "train.npz", [0, 1] * 4, ["a", "b"])
  result = task.load_task(_data(
      finetune=train, finetune_per_class=2, tests=f"R={train}"))
  assert list(result.tests) == ["C", "D", "R"]
  stored = np.load(tmp_path / "train.npz")["images"]
  np.testing.assert_array_equal(result.tests["R"].images[..., 0], stored)


def test_named_test_with_a_class_of_its_own(tmp_path):
  train = _save(tmp_path / "train.npz", [0, 1] * 4, ["a", "b"])
  test = _save(tmp_path / "test.npz", [0, 1] * 4, ["a", "z"])
  with pytest.raises(errors.UserError, match="'R'.*1 classes.*'z'"):
    task.load_task(_data(finetune=train, finetune_per_class=2,
                         tests=f"R={test}"))


def test_unlabelled_sets_are_refused(tmp_path):
  spec = _save(tmp_path / "set.npz", [0, 1] * 4, ["a", "b"])
  with pytest.raises(errors.UserError, match="data.finetune.*no labels"):
    task.load_task(_data(finetune=spec + "&labels=none"))
  with pytest.raises(errors.UserError, match="test set 'R'.*no labels"):
    task.load_task(_data(finetune=spec, finetune_per_class=2,
                         tests=f"R={spec}&labels=none"))


def test_too_few_images_of_a_class():
  with pytest.raises(errors.UserError, match="finetune_per_class"):
    task.load_task(_data(finetune_per_class=6))


@pytest.mark.parametrize("changes,words", [
    ({"implicit": "dotz"}, "'dotz' is unknown; there are none, dots"),
    ({"finetune_per_class": 0}, "nothing to test on"),
    ({"mean": (0.1, 0.2)}, "mean must hold one number"),
    ({"tests": "rendered:scripts?seed=1"}, "is not NAME=SPEC"),
    ({"tests": "D=rendered:scripts"}, "two test sets are called 'D'"),
    ({"clean_name": "D"}, "two test sets are called 'D'"),
    ({"pretrain": "folder:{root}/x"}, "--config.data.root=FOLDER"),
    ({"tests": "R=nfs:x"}, "unknown kind 'nfs'"),
    ({"max_resident_gib": 1e-9}, "need streaming"),
])
def test_problems_known_beforehand(changes, words):
  problems = task.check_data(_data(**changes))
  assert problems and all(words in p for p in problems), problems
  with pytest.raises(errors.UserError):
    task.load_task(_data(**changes))


def test_all_problems_are_listed_at_once():
  assert task.check_data(SMALL) == []
  problems = task.check_data(_data(
      pretrain="nfs:a", finetune="rendered:runes", tests="R=npz:none.npz",
      implicit="y"))
  assert len(problems) == 4


def test_size_is_checked_after_loading_where_only_that_tells(monkeypatch):
  monkeypatch.setattr("augment_gen.data.sources.examine", lambda *_: ([], None))
  data = _data(max_resident_gib=1e-9)
  assert task.check_data(data) == []
  with pytest.raises(errors.UserError, match="5 images.*need streaming"):
    task.load_task(data)


@pytest.mark.parametrize("implicit", ["dots", "none"])
def test_a_development_split_leaves_the_test_sets_alone(implicit):
  whole = task.load_task(_data(implicit=implicit))
  part = task.load_task(_data(implicit=implicit, development=0.25))
  assert list(part.tests) == (["C", "D"] if implicit == "dots" else ["D"])
  # One of four images per class is held out, with the augmentation it has in X̃_f.
  assert (len(part.finetune), len(part.tests["D"])) == (12, 4)
  bytes_of = lambda images: {image.tobytes() for image in images.images}
  held, kept = bytes_of(part.tests["D"]), bytes_of(part.finetune)
  assert held | kept == bytes_of(whole.finetune) and not held & kept
  assert not held & bytes_of(whole.tests["D"])
  if implicit == "dots":
    assert bytes_of(part.tests["C"]) | bytes_of(part.finetune_clean) == bytes_of(
        whole.finetune_clean)
  assert bytes_of(part.pretrain) == bytes_of(whole.pretrain)


def test_a_development_split_is_taken_from_x_p_where_it_is_the_same_set():
  spec = "rendered:latin?per_class=5"
  part = task.load_task(_data(
      pretrain=spec, finetune=spec, finetune_per_class=0, implicit="none",
      tests="test=rendered:latin?per_class=1&seed=1", development=0.2))
  assert list(part.tests) == ["D"]
  assert part.fingerprints["pretrain"] == part.fingerprints["finetune"]


def test_one_class_is_no_task():
  spec = "rendered:latin?per_class=5&classes=1"
  with pytest.raises(errors.UserError, match="one class alone"):
    task.load_task(_data(finetune=spec))


def test_memory_is_that_of_all_sets_and_copies():
  """X_p has 5 images; X̃_f and its clean copy have 24 each; an image has 144 bytes."""
  size = lambda images: images * 12 * 12 / 2**30
  enough = lambda gib, **more: not task.check_data(
      _data(max_resident_gib=gib), **more)
  assert enough(size(53.5)) and not enough(size(52.5))
  assert enough(size(53.5 + 58), copies=2)
  assert not enough(size(52.5 + 58), copies=2)
  (problem,) = task.check_data(_data(max_resident_gib=size(1)), copies=2)
  assert "with 5 images" in problem and "2 copies for the devices" in problem
