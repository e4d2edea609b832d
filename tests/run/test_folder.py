"""The rules of the run folder, and the detection of damaged checkpoints."""

import errno
import json
import os
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from augment_gen.config import default_config, plain
from augment_gen.config.errors import UserError
from augment_gen.run.checkpoint import Checkpoints, checksum
from augment_gen.run.folder import is_finished, RunFolder, seconds
from augment_gen.run.metrics import MetricWriter
from augment_gen.run.sinks import Sinks
from augment_gen.run.takeover import problems


@pytest.fixture
def values():
  return plain(default_config())


@pytest.fixture
def folder(tmp_path, values):
  folder = RunFolder(tmp_path / "run", values)
  yield folder
  folder.close()


def test_config_json_is_the_resolved_config(folder, values):
  assert json.loads((folder.path / "config.json").read_text()) == values


def test_another_config_or_seed_is_refused_and_named(folder, values):
  folder.close()
  other = json.loads(json.dumps(values))
  other["seed"] = 7
  other["moco"]["dim"] = 64
  with pytest.raises(UserError) as error:
    RunFolder(folder.path, other)
  text = str(error.value)
  assert "config.seed: 0 there, 7 here" in text
  assert "config.moco.dim: 128 there, 64 here" in text


def test_other_stages_arms_and_logging_may_go_on(folder, values):
  folder.close()
  other = json.loads(json.dumps(values))
  other["stages"] = "evaluate"
  other["log"]["every_steps"] = 3
  other["retrain"]["arms"] = "control"
  other["data"]["on_bad_image"] = "skip"  # if a file was bad, that ended the run
  other["experiment"] = "Another name"
  other["byol"]["dim"] = other["tac"]["crop"] = 7  # of what is not trained
  RunFolder(folder.path, other).close()
  other["pretrain"]["method"] = "byol"
  with pytest.raises(UserError) as error:
    RunFolder(folder.path, other)
  assert [line.strip() for line in error.value.problems[1:]] == [
      "config.pretrain.method: 'moco_v2' there, 'byol' here"]
  other["pretrain"]["method"] = "moco_v2"
  RunFolder(folder.path, other).close()


def test_how_much_memory_is_used_may_change(folder, values):
  """Also in a run of code that did not have these settings yet."""
  (folder.path / "checkpoints" / "pretrain" / "3").mkdir(parents=True)
  folder.close()
  other = json.loads(json.dumps(values))
  other["remat"] = True
  other["pretrain"]["micro_batch"] = 32
  other["data"]["max_device_gib"] = 1.0
  RunFolder(folder.path, other).close()
  for section in (values, values["pretrain"], values["data"]):
    for name in ("remat", "micro_batch", "max_device_gib"):
      section.pop(name, None)
  (folder.path / "config.json").write_text(json.dumps(values))
  RunFolder(folder.path, other).close()
  other["pretrain"]["from_run"] = str(folder.path)
  assert not list(problems(other))
  other["pretrain"]["batch_size"] = 8
  (problem,) = problems(other)
  assert "config.pretrain.batch_size=256" in problem


def test_a_start_that_ended_well_with_this_config_is_finished(folder, values):
  def finished(**other):
    return is_finished(folder.path, {**values, **other})
  assert not finished() and seconds(folder.path) is None
  with pytest.raises(KeyboardInterrupt), folder.start({"command": "a"}):
    raise KeyboardInterrupt
  with folder.start({"command": "b"}):
    assert not finished(stages="pretrain") and seconds(folder.path) is None
  starts = json.loads((folder.path / "environment.json").read_text())
  assert [(s["command"], s["finished"]) for s in starts] == [("a", False), ("b", True)]
  assert seconds(folder.path) == sum(s["seconds"] for s in starts)
  assert not finished()  # there are no results
  folder.write_results({"rows": []})
  assert finished(log={**values["log"], "every_steps": 7})
  assert not finished(seed=1) and not finished(stages="evaluate")
  assert not finished(retrain={**values["retrain"], "arms": "control"})


@pytest.mark.parametrize("text, words", [
    ("", "is no run folder"), ("[]", "is no run folder"),
    ("{}", "is a run of other code")])
@pytest.mark.parametrize("stage", ["pretrain", "generator"])
def test_what_cannot_be_taken_over_is_said(tmp_path, values, stage, text, words):
  (tmp_path / "config.json").write_text(text)
  values[stage]["from_run"] = str(tmp_path)
  (problem,) = problems(values)
  assert problem.startswith(f"config.{stage}.from_run") and words in problem


@pytest.mark.parametrize("text", ["", "[]", "{}"])
def test_a_damaged_config_is_not_another_config(folder, values, text):
  folder.close()
  (folder.path / "config.json").write_text(text)
  with pytest.raises(UserError, match="config.json is damaged"):
    RunFolder(folder.path, values)


def test_a_folder_in_use_by_another_process_is_refused(folder, values):
  code = ("import sys, json\n"
          "from augment_gen.run.folder import RunFolder\n"
          "from augment_gen.config.errors import UserError\n"
          "try: RunFolder(sys.argv[1], json.loads(sys.argv[2]))\n"
          "except UserError as e: print(e)")
  args = [sys.executable, "-c", code, str(folder.path), json.dumps(values)]
  out = subprocess.run(args, capture_output=True, text=True, check=True)
  assert "is in use by another process" in out.stdout
  folder.close()
  out = subprocess.run(args, capture_output=True, text=True, check=True)
  assert out.stdout == ""


def test_a_drive_without_locks_is_said(tmp_path, values, monkeypatch):
  def flock(*args):
    raise OSError(errno.ENOLCK, "No locks available")
  monkeypatch.setattr("fcntl.flock", flock)
  with pytest.raises(UserError, match="without file locks .No locks available"):
    RunFolder(tmp_path / "run", values)


def test_a_start_that_ended_as_it_wrote_its_config_leaves_a_folder_to_use(tmp_path, values):
  (tmp_path / "config.json.partial").write_text('{"seed"')
  RunFolder(tmp_path, values).close()
  assert json.loads((tmp_path / "config.json").read_text()) == values


def test_foreign_folders_and_files_are_refused(tmp_path, values):
  (tmp_path / "thesis.tex").write_text("precious")
  with pytest.raises(UserError, match="holds no run"):
    RunFolder(tmp_path, values)
  with pytest.raises(UserError, match="is a file"):
    RunFolder(tmp_path / "thesis.tex", values)
  assert sorted(p.name for p in tmp_path.iterdir()) == ["thesis.tex"]


def test_metrics_past_the_resumed_step_are_forgotten(folder):
  writer = MetricWriter(folder, Sinks({}))
  for step in (1, 2, 3):
    writer.scalars("pretrain", step, {"loss": step})
  writer.scalars("generator", 3, {"loss": 9.0})
  with open(folder.metrics_path, "a") as f:
    f.write('{"step": 4, "sta')  # a line cut off by a crash
  writer.resume("pretrain", 2)
  writer.scalars("pretrain", 3, {"loss": 30.0})
  writer.close()
  assert [(m["stage"], m["step"], m["loss"]) for m in folder.read_metrics()
          ] == [("pretrain", 1, 1.0), ("pretrain", 2, 2.0),
                ("generator", 3, 9.0), ("pretrain", 3, 30.0)]


def test_what_was_made_of_an_earlier_checkpoint_is_made_again(folder):
  def written(path, second):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    os.utime(path, (second, second))

  written(folder.checkpoints("generator") / "4", 1)
  assert not folder.has_drawn("generator", ["a.png"])
  assert folder.read_learned("generator") is None
  written(folder.figures / "a.png", 2)
  written(folder.path / "learned.json", 2)
  assert folder.has_drawn("generator", ["a.png"])
  assert not folder.has_drawn("generator", ["a.png", "b.png"])
  assert folder.read_learned("generator") == {}
  written(folder.checkpoints("generator") / "8", 3)
  assert not folder.has_drawn("generator", ["a.png"])
  assert folder.read_learned("generator") is None


def state_at(step):
  return {"w": jnp.arange(2000.0) + step, "step": jnp.asarray(step, jnp.int32)}


def save_two(path, log=print):
  checkpoints = Checkpoints(path, keep=2, log=log)
  for step in (1, 2, 3):
    checkpoints.save(step, state_at(step))
  return checkpoints


def test_what_lies_behind_the_saved_step_is_not_kept_in_its_place(tmp_path):
  """Training has come back to step 2, as 3 is damaged."""
  checkpoints = save_two(tmp_path)
  checkpoints.save(2, state_at(2))
  assert checkpoints.steps() == [2]


def test_checkpoints_round_trip_and_keep_the_newest(tmp_path):
  checkpoints = save_two(tmp_path)
  assert checkpoints.steps() == [2, 3]
  restored = checkpoints.restore(state_at(0))
  np.testing.assert_array_equal(restored["w"], state_at(3)["w"])
  assert restored["step"].dtype == np.int32
  assert checkpoints.restore(state_at(0), at_least=4) is None


def biggest_file(path):
  return max((p for p in path.rglob("*") if p.is_file()),
             key=lambda p: p.stat().st_size)


@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, damage):
  lines = []
  checkpoints = save_two(tmp_path, lines.append)
  file = biggest_file(tmp_path / "3")
  data = bytearray(file.read_bytes())
  if damage == "flip":
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)
  elif damage == "cut":
    file.write_bytes(data[:len(data) // 2])
  else:
    file.unlink()
  restored = checkpoints.restore(state_at(0))
  assert int(restored["step"]) == 2
  assert len(lines) == 1 and "is damaged" in lines[0]
  # For a stage that must be finished: it is not, but it need not start anew.
  assert checkpoints.restore(state_at(0), at_least=3) is None


def test_when_all_are_damaged_the_user_is_told_what_to_do(tmp_path):
  checkpoints = save_two(tmp_path, lambda _: None)
  for step in (2, 3):
    biggest_file(tmp_path / str(step)).unlink()
  with pytest.raises(UserError, match="delete that folder"):
    checkpoints.restore(state_at(0))


@pytest.mark.parametrize("error, words", [
    (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
    (OSError(errno.EACCES, "Permission denied"), "Permission denied"),
    (MemoryError(), "MemoryError")])
def test_what_passes_is_not_called_damage(tmp_path, monkeypatch, error, words):
  lines = []
  checkpoints = save_two(tmp_path, lines.append)

  def read(*args):
    raise error
  monkeypatch.setattr(checkpoints, "_read", read)
  with pytest.raises(UserError, match=rf"cannot be read now \(.*{words}\): start the same"):
    checkpoints.restore(state_at(0))
  assert not lines


@pytest.mark.parametrize("like", [
    {"w": jnp.zeros(1999), "step": jnp.zeros((), jnp.int32)},
    {"w": jnp.zeros(2000, jnp.float16), "step": jnp.zeros((), jnp.int32)},
    {"w": jnp.zeros(2000)},
    {**state_at(0), "more": jnp.zeros(3)}])
def test_a_checkpoint_of_other_networks_is_not_called_damaged(tmp_path, like):
  checkpoints = save_two(tmp_path)
  with pytest.raises(UserError, match="1 arrays differ, such as ") as error:
    checkpoints.restore(like)
  assert "delete" not in str(error.value)


def test_checksum_sees_one_bit():
  a = {"w": np.zeros(10, np.float32)}
  b = {"w": np.zeros(10, np.float32)}
  assert checksum(a) == checksum(b)
  b["w"].view(np.uint8)[3] ^= 1
  assert checksum(a) != checksum(b)
