"""Images that change between two starts of a run."""

import json
import subprocess

import pytest

from augment_gen.config import default_config, plain
from augment_gen.config.errors import UserError
from augment_gen.methods import METHODS
from augment_gen.run import provenance

READS = METHODS["augmentation_generator"].reads_finetune
PRINTS = {"pretrain": "p0", "finetune": "f0", "test/C": "c0", "test/D": "d0"}


@pytest.fixture
def values():
  return plain(default_config())


def problems(folder, values, stages=(), **changed):
  provenance.write(folder, PRINTS)
  for stage in stages:
    (folder / "checkpoints" / stage / "3").mkdir(parents=True)
  return list(provenance.problems(
      folder, values, PRINTS | changed, READS))


def test_x_p_may_not_change_once_a_stage_is_made_of_it(tmp_path, values):
  (line,) = problems(tmp_path, values, ["pretrain"], pretrain="p1")
  assert "X_p (config.data.pretrain)" in line and "p0" in line and "p1" in line


@pytest.mark.parametrize("stages, found", [
    ([], 0), (["pretrain"], 0), (["retrain-control"], 0), (["tac", "simclr"], 0),
    (["generator"], 1), (["pretrain", "retrain-generator"], 1)])
def test_x_f_matters_to_stages_that_read_it(tmp_path, values, stages, found):
  assert len(problems(tmp_path, values, stages, finetune="f1")) == found


def test_x_f_matters_to_stage_1_if_it_is_trained_on(tmp_path, values):
  values["pretrain"]["with_finetune"] = True
  assert len(problems(tmp_path, values, ["pretrain"], finetune="f1")) == 1


def test_nothing_is_said_without_change_checkpoints_or_record(tmp_path, values):
  assert not problems(tmp_path, values, ["generator"])
  assert not problems(tmp_path, values, **{"test/C": "c1"})
  (tmp_path / "data.json").unlink()
  assert not list(provenance.problems(
      tmp_path, values, {**PRINTS, "pretrain": "x"}, READS))


def test_an_unfinished_checkpoint_is_none(tmp_path, values):
  (tmp_path / "checkpoints" / "pretrain" / "3.tmp").mkdir(parents=True)
  assert not problems(tmp_path, values, pretrain="p1")


def test_a_damaged_record_is_named(tmp_path, values):
  (tmp_path / "data.json").write_text("[", encoding="utf-8")
  with pytest.raises(UserError, match="data.json is damaged"):
    list(provenance.problems(tmp_path, values, PRINTS, READS))


@pytest.mark.parametrize("last, changed, found", [
    ("pretrain", "pretrain", 1), ("pretrain", "finetune", 0),
    ("generator", "pretrain", 1), ("generator", "finetune", 1)])
def test_stages_of_other_images_are_not_taken_over(
    tmp_path, values, last, changed, found):
  values[last]["from_run"] = str(tmp_path)
  today = PRINTS | {changed: "new"}
  assert not list(provenance.takeover_problems(values, today, READS))  # no record yet
  provenance.write(tmp_path, PRINTS)
  lines = list(provenance.takeover_problems(values, today, READS))
  assert len(lines) == found
  assert all(f"config.{last}.from_run={tmp_path}" in x and "new" in x for x in lines)


WEIGHTS = {"encoder.init": "w0"}


@pytest.mark.parametrize("stages, found", [([], 0), (["pretrain"], 1), (["generator"], 1)])
def test_initial_weights_may_not_change_once_a_stage_is_made_of_them(
    tmp_path, values, stages, found):
  provenance.write(tmp_path, PRINTS | WEIGHTS)
  for stage in stages:
    (tmp_path / "checkpoints" / stage / "3").mkdir(parents=True)
  today = lambda prints: list(provenance.problems(tmp_path, values, prints, READS))
  assert not today(PRINTS | WEIGHTS)
  lines = today(PRINTS | {"encoder.init": "w1"})
  assert len(lines) == found
  assert all("config.encoder.init" in line and "w0" in line and "w1" in line
             for line in lines)


@pytest.mark.parametrize("last", ["pretrain", "generator"])
@pytest.mark.parametrize("theirs, ours", [
    ({}, WEIGHTS), (WEIGHTS, {}), (WEIGHTS, {"encoder.init": "w1"}), (None, WEIGHTS)])
def test_stages_of_other_initial_weights_are_not_taken_over(
    tmp_path, values, last, theirs, ours):
  values[last]["from_run"] = str(tmp_path)
  if theirs is not None:
    provenance.write(tmp_path, PRINTS | theirs)
  (line,) = provenance.takeover_problems(values, PRINTS | ours, READS)
  assert f"config.{last}.from_run={tmp_path}" in line
  assert "another file of initial weights" in line and "Use the same file" in line
  if theirs is not None:
    assert not list(provenance.takeover_problems(values, PRINTS | theirs, READS))


def results():
  return {"rows": [{"method": m, "test": t} for m in "ab" for t in "CD"],
          "provenance": {"data": PRINTS}}


def test_rows_of_a_test_set_that_changed_are_dropped():
  lines = []
  before, known = provenance.fresh(
      results(), {"a": "1"}, PRINTS | {"test/C": "c1"}, lines.append)
  assert [row["test"] for row in before["rows"]] == ["D", "D"] and known == {}
  (line,) = lines
  assert "c0" in line and "c1" in line and "measured anew" in line


def test_all_rows_are_dropped_where_x_f_changed():
  before, known = provenance.fresh(
      results(), {"a": "1"}, PRINTS | {"finetune": "f1"}, lambda _: None)
  assert before["rows"] == [] and known == {}


def test_rows_of_the_same_data_and_of_no_known_data_stay():
  for data in (PRINTS, {}):
    found = json.loads(json.dumps(results()))
    found["provenance"]["data"] = data
    assert provenance.fresh(found, {"a": "1"}, PRINTS, pytest.fail) == (
        found, {"a": "1"})


def test_the_commit_is_never_that_of_somebody_elses_repository(tmp_path, monkeypatch):
  subprocess.run(["git", "init", "-q", tmp_path], check=True)
  installed = tmp_path / "provenance.py"  # as in a virtual environment inside it
  installed.touch()
  monkeypatch.setattr(provenance, "__file__", str(installed))
  commit = provenance.commit.__wrapped__  # without its cache
  identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
  subprocess.run(["git", "-C", tmp_path, *identity, "commit", "-q", "--allow-empty",
                  "-m", "theirs"], check=True)
  assert commit() is None
  subprocess.run(["git", "-C", tmp_path, "add", installed], check=True)
  subprocess.run(["git", "-C", tmp_path, *identity, "commit", "-q", "-m", "a"], check=True)
  assert len(commit()) == 40
  installed.write_text("# changed")
  assert commit().endswith("+")
