"""Test sets by condition, and that nothing is tested on what it was trained on."""

import dataclasses

import numpy as np
import pictured
import pytest

from augment_gen.config import DataConfig
from augment_gen.config.errors import UserError
from augment_gen.data import conditions
from augment_gen.data.task import check_data, load_task


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return pictured.write(tmp_path_factory.mktemp("conditions") / "set")


def _data(folder, where="&where=light=spot", **changes):
  """X̃_f are the pictures under the spotlight; the tests are the whole folder."""
  whole = "folder:{root}?metadata=m.csv&label=product"
  return dataclasses.replace(DataConfig(
      root=str(folder), image_size=4, pretrain="folder:{root}?labels=none",
      finetune=whole + where, finetune_per_class=0, implicit="none",
      finetune_name="spot", tests=whole, conditions="light"), **changes)


def _numbers(images):
  return (images.images[:, 0, 0, 0] // 10).tolist()


def test_a_bare_spec_gives_one_test_set_for_each_value(folder):
  task = load_task(_data(folder))
  assert _numbers(task.finetune) == [3, 4, 5, 9, 10, 11]
  assert {name: _numbers(test) for name, test in task.tests.items()} == {
      "room": [0, 1, 2, 6, 7, 8]}
  assert task.tests["room"].labels.tolist() == [1, 1, 1, 0, 0, 0]
  assert "all images of 'spot' are in X̃_f: there is no such test set" in (
      task.finetune.notes)
  assert set(task.fingerprints) == {"pretrain", "finetune", "test/room"}


def test_what_is_held_out_is_the_rest_of_the_condition(folder):
  """finetune_per_class divides the condition of X̃_f; the others are whole."""
  task = load_task(_data(folder, finetune_per_class=2))
  assert list(task.tests) == ["spot", "room"]
  trained, held = _numbers(task.finetune), _numbers(task.tests["spot"])
  assert len(trained) == 4 and sorted(trained + held) == [3, 4, 5, 9, 10, 11]
  assert _numbers(task.tests["room"]) == [0, 1, 2, 6, 7, 8]
  assert "the rest of 'spot' is what the test set 'spot' holds" in task.finetune.notes
  # So it is where the table calls X̃_f otherwise.
  again = load_task(_data(folder, finetune_per_class=2, finetune_name="D"))
  assert list(again.tests) == ["D", "room"] and _numbers(again.tests["D"]) == held


def test_images_of_the_fine_tuning_set_are_left_out(folder):
  """X̃_f is camera a under the spotlight, and "spot" has both cameras."""
  data = _data(folder, "&where=light=spot;camera=a")
  task = load_task(data)
  assert _numbers(task.finetune) == [4, 10]
  assert _numbers(task.tests["spot"]) == [3, 5, 9, 11]
  assert task.tests["spot"].notes[-1] == "2 images left out that are in X̃_f"
  # Neither is the whole of the other here, so they need two names.
  data = dataclasses.replace(data, finetune_per_class=1, finetune=data.finetune.replace(
      ";camera=a", ""), tests=data.tests + "&where=camera=b")
  with pytest.raises(UserError, match="two test sets are called 'spot'.*images differ"):
    load_task(data)
  assert list(load_task(dataclasses.replace(data, finetune_name="D")).tests) == [
      "D", "room", "spot"]


def test_a_named_set_is_measured_whole_and_by_condition(folder):
  data = _data(folder, "&where=light=spot;camera=a",
               tests="b=folder:{root}?metadata=m.csv&label=product&where=camera=b")
  task = load_task(data)
  assert {name: _numbers(test) for name, test in task.tests.items()} == {
      "b": [1, 3, 5, 7, 9, 11], "b room": [1, 7], "b spot": [3, 5, 9, 11]}


def test_what_is_held_out_is_measured_by_condition(folder):
  data = _data(folder, where="", finetune_per_class=3, tests="", finetune_name="D")
  task = load_task(data)
  whole = task.tests["D"]
  assert list(task.tests) == ["D", "D room", "D spot"]
  parts = _numbers(task.tests["D room"]), _numbers(task.tests["D spot"])
  assert sorted(parts[0] + parts[1]) == sorted(_numbers(whole))
  assert all(number // 3 % 2 == 0 for number in parts[0])
  assert all(number // 3 % 2 == 1 for number in parts[1])
  # Clean images and the development split are divided likewise.
  both = load_task(dataclasses.replace(data, implicit="inversion"))
  assert list(both.tests) == ["C", "C room", "C spot", "D", "D room", "D spot"]
  np.testing.assert_array_equal(
      both.tests["C room"].images, 255 - both.tests["D room"].images)
  held = load_task(dataclasses.replace(data, development=0.7))
  assert list(held.tests) == ["D", "D room", "D spot"]


@pytest.mark.parametrize("tests", [
    "all=folder:{root}?metadata=m.csv&label=product",
    "all=folder:{root}/linked?labels=folders"])
def test_no_file_is_trained_and_tested_on(folder, tests):
  """Also where the test set reaches the file by a link, in a set without a table."""
  for product in ("9", "10"):
    (folder / "linked" / product).mkdir(parents=True, exist_ok=True)
    link = folder / "linked" / product / "x.png"
    if not link.exists():
      link.symlink_to(folder / "images" / ("09.png" if product == "9" else "03.png"))
  with pytest.raises(UserError, match=r"^test set 'all' holds \d images that are in X̃_f "
                     r"\(the first: .*images/0[39].png\)") as info:
    load_task(_data(folder, tests=tests, conditions=""))
  assert len(info.value.problems) == 1


def test_parts_count_for_the_memory_limit(folder):
  problem, = check_data(_data(folder, max_resident_gib=1e-9))
  assert "&where=light=room' with 6 images" in problem


def test_nothing_left_to_test_on(folder):
  with pytest.raises(UserError, match="nothing to test on: all images of 'room'.*'spot'"):
    load_task(_data(folder, where=""))


@pytest.mark.parametrize("changes,words", [
    ({"conditions": "lamp"}, ["conditions=lamp", "it has: file_name, product, light"]),
    ({"conditions": ""}, ["is not NAME=SPEC"]),
    ({"tests": "folder:{root}?labels=none"}, ["has no table", "metadata=FILE"]),
    ({"tests": "a=rendered:latin", "finetune": "rendered:latin"},
     ["conditions=light: no set has a table"]),
    ({"tests": "folder:{root}?metadata=m.csv&where=light=x"}, ["no 'x' in the column"]),
])
def test_problems_of_conditions(folder, changes, words):
  problem, = check_data(_data(folder, **changes))
  assert all(word in problem for word in words), problem


def test_values_that_are_no_conditions(folder, monkeypatch):
  pictured.table(folder, "gaps.csv", leave_out=(0,), more=["images/00.png,10,,a"])
  problem, = check_data(_data(
      folder, tests="folder:{root}?metadata=gaps.csv&label=product"))
  assert "conditions=light is empty for 1 images" in problem and "00.png" in problem
  (folder / "gaps.csv").unlink()
  monkeypatch.setattr(conditions, "MOST", 1)
  problem, = check_data(_data(folder))
  assert "conditions=light has 2 values" in problem and "(room, spot)" in problem
