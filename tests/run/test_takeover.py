"""The arm "control" that another run has trained."""

import copy

import numpy as np
import pytest

from augment_gen.config import command_line
from augment_gen.config.errors import UserError
from augment_gen.run import takeover
from augment_gen.run.checkpoint import Checkpoints
from augment_gen.run.folder import RunFolder
from augment_gen.run.takeover import take_over_control


@pytest.fixture(scope="module")
def values():
  return command_line.parse(
      ["augment-gen", "--config=quickstart", "--workdir=unused"]).config_values


def _source(path, values):
  """A run that has trained the control for two steps."""
  with RunFolder(path, values).start({}):
    state = path / "checkpoints" / "retrain-control" / "2"
    state.mkdir(parents=True)
    (state / "state").write_text("control")
  return str(path)


def _taken(source, path, values, **changes):
  changed = copy.deepcopy(values)
  for name, value in changes.items():
    section, _, field = name.partition("__")
    changed[section][field] = value
  folder = RunFolder(path, changed)
  take_over_control(source, folder, changed)
  found = path / "checkpoints" / "retrain-control" / "2" / "state"
  return found.exists() and found.read_text() == "control"


@pytest.mark.parametrize("changes", [
    {}, {"data__implicit": "blur"}, {"generator__steps": 7}, {"retrain__arms": "control"},
    {"retrain__order": "first"}, {"evaluate__protocols": "knn"},
    # The section of a pre-trainer that is not used.
    {"simsiam__dim": 7}])
def test_it_is_taken_over_where_nothing_can_change_it(tmp_path, values, changes):
  source = _source(tmp_path / "first", values)
  assert _taken(source, tmp_path / "second", values, **changes)


@pytest.mark.parametrize("changes", [
    {"retrain__epochs": 1.5}, {"retrain__batch_size": 16}, {"pretrain__epochs": 3.0},
    {"moco__queue": 64}, {"data__pretrain": "rendered:scripts"},
    {"encoder__width": 8}])
def test_it_is_trained_where_a_setting_differs(tmp_path, values, changes):
  source = _source(tmp_path / "first", values)
  assert not _taken(source, tmp_path / "second", values, **changes)


def test_it_depends_on_the_changed_images_if_stage_1_does(tmp_path, values):
  values = copy.deepcopy(values)
  values["pretrain"]["with_finetune"] = True
  source = _source(tmp_path / "first", values)
  assert _taken(source, tmp_path / "second", values, generator__steps=7)
  assert not _taken(source, tmp_path / "third", values, data__implicit="blur")


def test_a_folder_is_no_longer_needed_once_its_stages_are_copied(tmp_path, values):
  values = copy.deepcopy(values)
  values["generator"]["from_run"] = str(tmp_path / "gone")
  needed = lambda: takeover.still_needed(values, tmp_path / "run")
  assert needed() == values
  (problem,) = takeover.problems(needed())
  assert "is no run folder" in problem
  for stage in ("pretrain", "generator"):
    assert needed() == values
    (tmp_path / "run" / "checkpoints" / stage / "5").mkdir(parents=True)
  assert not list(takeover.problems(needed()))
  assert values["generator"]["from_run"]  # the config itself stays


def test_a_stage_that_a_run_has_begun_itself_is_not_taken_over(tmp_path, values):
  values = copy.deepcopy(values)
  values["pretrain"]["from_run"] = str(tmp_path / "first")
  (tmp_path / "first" / "checkpoints" / "pretrain" / "1000").mkdir(parents=True)
  folder = RunFolder(tmp_path / "run", values)
  (folder.checkpoints("pretrain") / "10").mkdir(parents=True)
  for take in (lambda: takeover.still_needed(values, folder.path),
               lambda: takeover.take_over(str(tmp_path / "first"), ("pretrain",), folder)):
    with pytest.raises(UserError, match="to step 10, and from_run=.* to step 1000: delete"):
      take()
  (folder.checkpoints("pretrain") / "10").rename(folder.checkpoints("pretrain") / "1000")
  assert not takeover.still_needed(values, folder.path)["pretrain"]["from_run"]


def test_a_copied_stage_goes_on_by_itself_whatever_the_other_run_does(tmp_path, values):
  values = copy.deepcopy(values)
  first = tmp_path / "first"
  values["pretrain"]["from_run"] = str(first)
  (first / "checkpoints" / "pretrain" / "500").mkdir(parents=True)
  folder = RunFolder(tmp_path / "run", values)
  takeover.take_over(str(first), ("pretrain",), folder)
  (folder.checkpoints("pretrain") / "500").rename(folder.checkpoints("pretrain") / "600")
  (first / "checkpoints" / "pretrain" / "1000").mkdir()
  takeover.take_over(str(first), ("pretrain",), folder)
  assert not takeover.still_needed(values, folder.path)["pretrain"]["from_run"]
  steps = [p.name for p in folder.checkpoints("pretrain").iterdir() if p.is_dir()]
  assert steps == ["600"]


def _f(run, number, stages=("pretrain",)):
  """Stages of a run that end at step 5, with an F of this number."""
  for stage in stages:
    Checkpoints(run / "checkpoints" / stage, keep=2).save(5, {"w": np.full(3, number)})


def test_later_stages_are_of_the_f_that_is_there(tmp_path, values):
  values = copy.deepcopy(values)
  first, second = tmp_path / "first", RunFolder(tmp_path / "second", values)
  with RunFolder(first, values).start({}):
    _f(first, 1, ("pretrain", "generator", "retrain-control"))
  _f(second.path, 2)  # it has trained its own
  with pytest.raises(UserError, match="has trained its own stage pretrain.*of another F"):
    takeover.take_over(str(first), ("pretrain", "generator"), second)
  take_over_control(str(first), second, values)
  assert not (second.path / "checkpoints" / "retrain-control").exists()
  _f(second.path, 1)  # and has come to the same
  takeover.take_over(str(first), ("pretrain", "generator"), second)
  take_over_control(str(first), second, values)
  assert {path.name for path in (second.path / "checkpoints").iterdir()} == {
      "pretrain", "generator", "retrain-control"}


def test_if_the_newest_checkpoint_is_damaged_the_one_before_is_there(tmp_path, values):
  first, second = tmp_path / "first", RunFolder(tmp_path / "second", values)
  source = Checkpoints(first / "checkpoints" / "pretrain", keep=2)
  for step in (5, 9):
    source.save(step, {"w": np.full(3, step)})
  for file in (first / "checkpoints" / "pretrain" / "9" / "state").rglob("*"):
    if file.is_file():
      file.write_bytes(b"")
  takeover.take_over(str(first), ("pretrain",), second)
  copied = Checkpoints(second.checkpoints("pretrain"), keep=2, log=lambda line: None)
  assert copied.restore({"w": np.zeros(3, int)})["w"].tolist() == [5, 5, 5]


def test_a_control_that_has_begun_here_stays(tmp_path, values):
  begun = tmp_path / "second" / "checkpoints" / "retrain-control" / "1"
  with RunFolder(tmp_path / "second", values).start({}):
    begun.mkdir(parents=True)
  assert not _taken(_source(tmp_path / "first", values), tmp_path / "second", values)
  assert begun.exists()


def test_without_one_nothing_happens(tmp_path, values):
  with RunFolder(tmp_path / "first", values).start({}):
    pass
  assert not _taken(str(tmp_path / "first"), tmp_path / "second", values)
  assert not _taken("", tmp_path / "third", values)
