"""Sweeps with a command in place of the real one: order, skips, failures, stops."""

import dataclasses
import json
import os
import shlex
import signal
import sys

import pytest
from sweep_runs import leave, planned, results, write

from augment_gen import sweep
from augment_gen.config.errors import UserError
from augment_gen.sweep import processes

# Stands for augment_gen.main: leaves the folder that it has prepared, or fails.
FAKE = """
import json, os, pathlib, shutil, signal, sys, time
prepared = pathlib.Path(sys.argv[1])
folder = next(pathlib.Path(a.partition("=")[2]) for a in sys.argv if "--workdir=" in a)
with open(prepared / "started", "a") as f:
  f.write(json.dumps([*sys.argv[2:], str(os.getsid(0))]) + "\\n")
print("epoch 1\\nepoch 2")
mark = (prepared / folder.name / "how").read_text()
if mark == "refuse":
  sys.exit("error: no such images\\nerror: and no room")
if mark == "crash":
  raise MemoryError("too large")
if mark == "kill":
  os.kill(os.getpid(), signal.SIGKILL)
if mark == "wait":
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
  folder.mkdir(parents=True)
  time.sleep(20)
  sys.exit(0)
shutil.copytree(prepared / folder.name, folder)
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
  """`(runs, name=how, …)` prepares what the runs' processes do; returns the folder."""
  def fake(runs, **how):
    prepared = tmp_path / "prepared"
    for run in runs:
      folder = prepared / run.name
      folder.mkdir(parents=True, exist_ok=True)
      (folder / "how").write_text(
          next((what for part, what in how.items() if part in run.name), "finish"))
      write(folder / "config.json", run.values)
      write(folder / "environment.json", [{"seconds": 1.0, "finished": True}])
      write(folder / "results.json", results(run))
    return prepared
  script = tmp_path / "fake.py"
  script.write_text(FAKE)
  monkeypatch.setattr(
      processes, "RUN", (sys.executable, "-S", str(script), str(tmp_path / "prepared")))
  monkeypatch.setattr(processes, "config_problems", lambda runs: [])
  return fake


@pytest.fixture
def folder(tmp_path):
  return tmp_path / "sweep"


ARGS = ("--config=quickstart", "--set", "retrain.order=first,last", "--seeds=0-1")


def started(prepared):
  path = prepared / "started"
  lines = path.read_text().splitlines() if path.exists() else []
  path.unlink(missing_ok=True)
  return [next(a.rpartition("/")[2] for a in json.loads(line) if "--workdir" in a)
          for line in lines]


def test_a_sweep_runs_what_is_not_done_and_prints_the_table(fake, folder, capsys):
  runs = planned(folder, "retrain.order=first,last", seeds=(0, 1))
  leave(runs[0])
  prepared = fake(runs)
  assert sweep.main([*ARGS, f"--folder={folder}"]) == 0
  out = capsys.readouterr().out
  arguments = json.loads((prepared / "started").read_text().splitlines()[0])
  assert f"--config.generator.from_run={runs[0].folder}" in arguments
  assert arguments[-1] != str(os.getsid(0))  # a terminal's Ctrl-C does not reach it
  assert started(prepared) == [run.name for run in runs[1:]]
  assert "[3/3] order=last,seed=1: done in 0 s" in out or "done in 1 s" in out
  assert "order=first" in out and "  50.0" in out
  assert f"augment-gen tables {shlex.quote(str(runs[0].folder))}" in out
  assert (folder / "order=last,seed=0.log").read_text() == "epoch 1\nepoch 2\n"
  assert sweep.main([*ARGS, f"--folder={folder}"]) == 0
  assert not started(prepared) and "4 done" in capsys.readouterr().out


def test_a_dry_run_starts_and_writes_nothing(fake, folder, capsys):
  prepared = fake(planned(folder))
  assert sweep.main([*ARGS, f"--folder={folder}", "--dry-run"]) == 0
  out = capsys.readouterr().out
  assert "order=last,seed=1   new    pretrain, generator  order=first,seed=1  unk" in out
  assert not started(prepared) and not folder.exists()


@pytest.mark.parametrize("how, words", [
    ("refuse", "no such images; and no room"),
    ("crash", "status 1, MemoryError: too large"), ("kill", "ended by signal 9 (Killed)")])
def test_a_run_that_fails_is_reported_and_the_others_go_on(
    fake, folder, capsys, how, words):
  runs = planned(folder, "retrain.order=first,last")
  prepared = fake(runs, first=how)
  args = [*ARGS[:-1], f"--folder={folder}"]
  assert sweep.main(args) == 1
  out, err = capsys.readouterr()
  assert f"order=first,seed=0: failed: {words}" in out and "  50.0" in out
  assert err == (f"order=first,seed=0 failed: {words} (log: {folder}/order=first,"
                 "seed=0.log)\n")
  assert started(prepared) == ["order=first,seed=0", "order=last,seed=0"]
  fake(runs)
  assert sweep.main(args) == 0
  assert started(prepared) == ["order=first,seed=0"]


def test_a_failure_is_not_blamed_on_an_earlier_start(fake, folder, capsys):
  runs = planned(folder)
  args = ["--config=quickstart", f"--folder={folder}"]
  fake(runs, seed="refuse")
  assert sweep.main(args) == 1 and "no such images" in capsys.readouterr().err
  fake(runs, seed="crash")
  assert sweep.main(args) == 1
  assert "failed: status 1, MemoryError: too large (" in capsys.readouterr().err


def test_stop_ends_at_the_first_failure(fake, folder):
  prepared = fake(planned(folder, "retrain.order=first,last", seeds=(0, 1)), first="crash")
  assert sweep.main([*ARGS, f"--folder={folder}", "--stop"]) == 1
  assert started(prepared) == ["order=first,seed=0"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_run_and_ends_the_sweep(
    fake, folder, capsys, foreground, number, monkeypatch):
  prepared = fake(planned(folder, "retrain.order=first,last"), first="wait")

  signals = iter([number])

  def show(*_):  # the loop that waits for the run calls it
    if (folder / "order=first,seed=0").exists():
      for number in signals:
        os.kill(os.getpid(), number)
  monkeypatch.setattr(processes._Line, "show", show)
  monkeypatch.setattr(processes, "_POLL_SECONDS", 0.05)
  args = [*ARGS[:-1], f"--folder={folder}"]
  assert sweep.main(args) == 75
  assert started(prepared) == ["order=first,seed=0"]
  err = capsys.readouterr().err
  assert "stopped in order=first,seed=0; all that was done is saved; go on with: " in err
  assert shlex.join(["augment-gen", "sweep", *args]) in err


def test_an_interrupted_sweep_leaves_no_run_behind(fake, folder, monkeypatch):
  prepared = fake(planned(folder), seed="wait")
  waiting = []

  def show(*_):
    if (folder / "seed=0").exists():
      waiting.append(True)
      raise KeyboardInterrupt
  monkeypatch.setattr(processes._Line, "show", show)
  children = []
  popen = processes.subprocess.Popen
  monkeypatch.setattr(processes.subprocess, "Popen", lambda *args, **kwargs: (
      children.append(popen(*args, **kwargs)) or children[-1]))
  monkeypatch.setattr(processes, "_POLL_SECONDS", 0.05)
  assert sweep.main(["--config=quickstart", f"--folder={folder}"]) == 130
  assert waiting and children[0].returncode == 75 and len(started(prepared)) == 1


@pytest.mark.parametrize("args, words", [
    (["--workdir=x"], "--workdir is chosen by the sweep"),
    (["--multihost"], "--multihost: a sweep runs on one host"),
    (["--set", "a=1", "--set", "a=2"], "--set a is given twice"),
    (["--set", "moco.dim=4,8", "--config.moco.dim=8"], "are both given: choose one"),
    (["--set", "seed=1"], "--set seed: give --seeds"),
    (["--seeds=0", "--config.seed=1"], "--seeds and --config.seed are both given"),
    (["--folder=s3://bucket"], "--folder=s3://bucket is an address"),
    (["--set", "moco.dmi=1,2"], "config.moco.dmi is no field of the config; did you mean"),
    (["more"], "not understood: more")])
def test_mistakes_end_in_one_line_and_status_2(args, words, folder, capsys):
  assert sweep.main(["--config=quickstart", f"--folder={folder}", *args]) == 2
  out, err = capsys.readouterr()
  assert not out and err.startswith("error: ") and words in err and err.count("\n") == 1


def test_the_check_has_a_process_of_its_own(folder, monkeypatch):
  runs, check = planned(folder, seeds=(0, 1)), processes.CHECK
  code = "import json, sys; print(json.dumps([[a[1]] for a in json.load(sys.stdin)]))"
  monkeypatch.setattr(processes, "CHECK", (sys.executable, "-S", "-c", code))
  assert processes.config_problems(runs) == ["seed=0: --config.seed=0",
                                             "seed=1: --config.seed=1"]
  config = folder.parent / "talks.py"
  config.write_text("from augment_gen.config import default_config\n"
                    "print('loading')\nget_config = default_config\n")
  monkeypatch.setattr(processes, "CHECK", check)
  talking = [dataclasses.replace(runs[0], settings=(
      f"--config={config}", "--workdir=unused"))]
  assert processes.config_problems(talking) == []
  code = "import sys; sys.exit('RuntimeError: the TPU is in use')"
  monkeypatch.setattr(processes, "CHECK", (sys.executable, "-S", "-c", code))
  with pytest.raises(UserError, match="could not be checked: RuntimeError: the TPU is in"):
    processes.config_problems(runs)
