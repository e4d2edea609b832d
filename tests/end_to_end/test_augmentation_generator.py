"""Every config end to end in small: stages, hand-over, resume, traceability."""

import collections
import contextlib
import dataclasses
import json
import pathlib
import shutil
import signal
import sys
import threading
import time
import types

import numpy as np
from PIL import Image
import pytest
import tracing

from augment_gen import config as config_lib
from augment_gen import export, tables
from augment_gen.augment import recipes
from augment_gen.config.command_line import parse
from augment_gen.config.errors import UserError
from augment_gen.data import feed, sources
from augment_gen.data.task import load_task
from augment_gen.evaluate import knn, protocol
from augment_gen.evaluate.finetune import Finetuning
from augment_gen.figures import of_run
from augment_gen.main import main
from augment_gen.methods.augmentation_generator import method as experiment
from augment_gen.methods.augmentation_generator import stages
from augment_gen.methods.crl_tac import method as crl_tac_method
from augment_gen.methods.crl_tac import stages as crl_tac
from augment_gen.models.build import latent_dim
from augment_gen.run import costs, parallel, session
from augment_gen.steps import moco

pytestmark = pytest.mark.usefixtures("one_device")

ROOT = pathlib.Path(__file__).parents[2]
TINY = ["--config.log.sinks=jsonl", "--config.evaluate.protocols=l2,knn"]
# Compiling takes most of the time. test_configs_run_in_small has the presets' networks.
SMALL = [f"--config.{change}" for change in (
    "encoder.blocks=(1,)", "generator.networks.operators=specks,glare,tone",
    "generator.networks.eliminator=perceptron")]


def command(name, workdir, *args):
  return ["main.py", f"--config={ROOT}/configs/{name}.py:runlocal",
          f"--workdir={workdir}", *TINY, *(SMALL if name == "quickstart" else ()), *args]


def results(workdir):
  return (workdir / "results.json").read_bytes()


@pytest.mark.slow
def test_photos_learns_a_generator_in_small(tmp_path):
  """Stages 3 and 4 are those of daiso.py."""
  assert main(command("photos", tmp_path / "run", "--config.stages=pretrain,generator",
                      "--config.generator.networks.unet_depth=1",
                      "--config.generator.networks.unet_width=4")) == 0
  assert (tmp_path / "run" / "figures" / "round_trips.png").exists()


class Read:
  """Notes which fields of which sections are read.

  Attributes:
    sections: the classes of all sections.
    names: of the fields that were read, by the name of the class.
  """

  def __init__(self):
    self.names = collections.defaultdict(set)
    self.sections = [value for value in vars(config_lib).values()
                     if dataclasses.is_dataclass(value)]

  @contextlib.contextmanager
  def recording(self):
    with pytest.MonkeyPatch.context() as patch:
      # Checks read every field, and do not count.
      patch.setattr(session, "problems", lambda *_: [])
      for cls in self.sections:
        patch.setattr(cls, "__getattribute__", self._noting(cls), raising=False)
      yield

  def _noting(self, cls):
    original = cls.__getattribute__

    def getattribute(node, name):
      # `asdict` reads every field, to make the ConfigDict, and so does a cache's
      # `__hash__`: these do not count.
      caller = sys._getframe(1)
      if (caller.f_globals["__name__"] not in ("dataclasses", "augment_gen.config.checks")
          and caller.f_code.co_name not in ("__hash__", "__eq__", "__repr__")):
        self.names[cls.__name__].add(name)
      return original(node, name)
    return getattribute


@pytest.fixture(scope="module")
def read():
  return Read()


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory, one_device, read):
  """One whole run, with two arms of re-training; read by several tests."""
  workdir = tmp_path_factory.mktemp("runs") / "whole"
  with read.recording():
    assert main(command("quickstart", workdir)) == 0
  return workdir


def test_the_run_folder_holds_what_the_contract_says(quickstart):
  names = {p.name for p in quickstart.iterdir()}
  assert {"config.json", "environment.json", "metrics.jsonl", "results.json",
          "checkpoints", "figures"} <= names
  assert {p.name for p in (quickstart / "figures").iterdir()} == {
      "examples.png", "latents.png", "latent_line.png", "round_trips.png",
      "curves.png", "operators.png", "amounts.png", "over_training.png",
      "worst_cases.png", "told_apart.png", "embedding_map.png"}
  # The page has every figure that there is, and misses none.
  page = (quickstart / "report.html").read_text(encoding="utf-8")
  assert page.count("<img ") == 8 and "Not in this folder" not in page
  assert "The generator is" in page and "on D\N{NO-BREAK SPACE}→" in page
  described = json.loads((quickstart / "learned.json").read_text())["operators"]
  assert list(described) == ["specks", "glare", "tone"]
  assert all(found["sentence"].endswith(".") for found in described.values()
             if found["alive"])
  assert described["specks"]["amounts"]["light"]["true"]  # dots
  lines = [json.loads(line)
           for line in (quickstart / "metrics.jsonl").read_text().splitlines()]
  assert {(line["stage"], line["step"]) for line in lines} == {
      (stage, step) for step in (1, 2) for stage in
      ("pretrain", "generator", "retrain-generator", "retrain-control")}
  assert all(len(line) > 2 for line in lines)  # no line without a measurement


def test_results_have_a_row_for_each_encoder_test_set_and_protocol(quickstart):
  found = json.loads(results(quickstart))
  assert found["experiment"] == "Rendered characters, two steps"
  rows = {(r["method"], r["train"], r["test"], r["protocol"])
          for r in found["rows"]}
  assert rows == {
      (method, "D", test, protocol) for test in "CD"
      for protocol in ("l2", "knn")
      for encoder in ("untrained encoder", "MoCo v2", "MoCo v2 + G_A",
                      "MoCo v2 + control")
      for method in (encoder, f"{encoder}, AdaBN")}
  assert all(0 <= r["accuracy"] <= 100 and r["seed"] == 0 and
             r["feature"] == "f" for r in found["rows"])
  for row in found["rows"]:
    data = "-" if row["method"].startswith("untrained") else "X_p"
    assert row["pretrain_data"] == row["retraining_set"] == data
    assert (row["batch_norm"] == "X̃_f") == row["method"].endswith("AdaBN")
    if row["protocol"] == "l2":
      assert row["converged"] is (row["iterations"] < 3)
    seen = {"untrained encoder": 0, "MoCo v2": 32, "MoCo v2 + control": 64,
            "MoCo v2 + G_A": 32 + 2 * 32 + 32}  # Algorithm 1 sees X_p and X̃_f
    assert row["images_seen"]["total"] == seen[row["method"].removesuffix(", AdaBN")]
    assert row["flops"].keys() == row["images_seen"].keys()
    assert (row["flops"]["total"] > 0) == (row["images_seen"]["total"] > 0)
  (loaded,) = tables.load([str(quickstart)])
  for row in loaded["rows"]:
    assert row["seconds"].keys() == row["images_seen"].keys()
  provenance = found["provenance"]
  assert provenance["command"].endswith("--workdir=DIR")
  assert set(provenance["data"]) and set(provenance["stages"]) == {
      "untrained", "pretrain", "generator", "retrain-generator", "retrain-control"}
  assert str(quickstart) not in results(quickstart).decode()


def test_the_generators_health_is_measured_once_and_kept(quickstart):
  lines = [json.loads(line)
           for line in (quickstart / "metrics.jsonl").read_text().splitlines()]
  measured = [line for line in lines if "health/edit" in line]
  assert [(line["stage"], line["step"]) for line in measured] == [
      ("generator", 2)]
  kept = json.loads(results(quickstart))["health"]
  assert kept == {name.removeprefix("health/"): value
                  for name, value in measured[0].items()
                  if name.startswith("health/")}
  assert {"edit_ratio", "latent_r2", "pattern_share", "bank_distance",
          "cycle_error", "probe_eliminated", "cycle_requantised"} <= set(kept)
  (last,) = [line for line in lines if line["stage"] == "generator"
             and line["step"] == 2 and "discriminator/accuracy_f" in line]
  assert kept["d_f_accuracy"] == last["discriminator/accuracy_f"]


def test_the_gauges_of_f_are_measured_at_the_end_of_each_stage_and_kept(quickstart):
  lines = [json.loads(line)
           for line in (quickstart / "metrics.jsonl").read_text().splitlines()]
  measured = {line["stage"]: line for line in lines if "gauges/effective_rank" in line}
  assert {stage: line["step"] for stage, line in measured.items()} == {
      "pretrain": 2, "retrain-generator": 2, "retrain-control": 2}
  kept = json.loads(results(quickstart))["gauges"]
  assert kept.keys() == measured.keys()
  for stage, found in kept.items():
    # MoCo's loss, over log(K + 1).
    last = [line["loss"] for line in lines if line["stage"] == stage and "loss" in line][-1]
    assert found.pop("chance_ratio") == pytest.approx(last / np.log(33))
    assert found == {name.removeprefix("gauges/"): value
                     for name, value in measured[stage].items() if "gauges/" in name}
    assert 1 < found["lidar"] <= found["dimensions"]
    assert ("added_alignment" in found) == (stage == "retrain-generator")


@pytest.mark.parametrize("last", ["pretrain", "generator"])
def test_stages_are_taken_over_from_another_run(
    last, quickstart, tmp_path, capsys, monkeypatch):
  """They are copied, so that the first run's folder may go."""
  for part in ("generator", "operators"):  # drawing takes long, and plays no part here
    monkeypatch.setattr(of_run, part, lambda *_: None)
  second = tmp_path / "second"
  stages = {"pretrain": ("pretrain",), "generator": ("pretrain", "generator")}[last]
  args = command("quickstart", second, "--config.retrain.order=first",
                 f"--config.stages={','.join(stages)}")
  assert main([*args, f"--config.{last}.from_run={quickstart}"]) == 0
  out = capsys.readouterr().out
  for stage in stages:
    assert f"{stage}: finished before (2 steps)" in out
    first, taken = (run / "checkpoints" / stage / "2" for run in (quickstart, second))
    for path in first.rglob("*"):
      if path.is_file():
        assert (taken / path.relative_to(first)).read_bytes() == path.read_bytes()
  lines = lambda run: [line for line in map(
      json.loads, (run / "metrics.jsonl").read_text().splitlines())
                       if line["stage"] in stages]
  assert lines(second) == lines(quickstart)
  assert costs.read(second) == {name: costs.read(quickstart)[name] for name in stages}
  assert main(args) == 0
  assert "pretrain: finished before" in capsys.readouterr().out


def test_further_protocols_are_added_to_a_run_that_is_done(quickstart, tmp_path, capsys):
  run = shutil.copytree(quickstart, tmp_path / "run")
  before = json.loads(results(run))["rows"]
  assert main(command(
      "quickstart", run, "--config.evaluate.protocols=finetune,l2,labels,knn",
      "--config.evaluate.controls=", "--config.retrain.arms=",
      "--config.stages=evaluate")) == 0
  out = capsys.readouterr().out
  assert "protocol: finetune (encoder and linear head trained together)" in out
  after = json.loads(results(run))
  kept = [row for row in after["rows"] if row["protocol"] in ("l2", "knn")]
  assert kept == before
  assert {(row["method"], row["protocol"]) for row in after["rows"]
          if row not in before} == {
              ("MoCo v2", protocol) for protocol in ("finetune", "labels:1", "labels:2")}
  assert set(after["provenance"]["protocols"]) == {"finetune", "l2", "labels", "knn"}
  # Other settings of a protocol make its rows anew, without any training.
  assert main(command(
      "quickstart", run, "--config.evaluate.protocols=l2,knn",
      "--config.evaluate.controls=", "--config.retrain.arms=",
      "--config.evaluate.knn_k=3", "--config.stages=evaluate")) == 0
  assert "protocol 'knn' has other settings" in capsys.readouterr().out
  again = json.loads(results(run))["rows"]
  others = [[row for row in rows if row["protocol"] != "knn"]
            for rows in (after["rows"], again)]
  assert others[0] == others[1]
  renewed = {row["method"] for row in again if row["protocol"] == "knn"}
  assert renewed == {"MoCo v2"}  # the others are not measured by this start


@pytest.mark.slow
def test_a_run_goes_on_from_stage_1_of_another(quickstart, tmp_path, capsys):
  args = command("quickstart", tmp_path / "second",
                 f"--config.pretrain.from_run={quickstart}",
                 "--config.generator.losses.latent_weight=0.0",
                 "--config.retrain.arms=random", "--config.evaluate.controls=untrained")
  assert main(args) == 0
  assert "pretrain: finished before (2 steps)" in capsys.readouterr().out
  first, second = (json.loads(results(path))
                   for path in (quickstart, tmp_path / "second"))
  baseline = [[row for row in found["rows"] if row["method"] == "MoCo v2"]
              for found in (first, second)]
  assert baseline[0] == baseline[1]
  assert {row["method"].removesuffix(", AdaBN") for row in second["rows"]} == {
      "untrained encoder", "MoCo v2", "MoCo v2 + random G_A"}
  stage = lambda found, name: found["provenance"]["stages"][name]
  assert stage(first, "pretrain") == stage(second, "pretrain")
  assert stage(first, "generator") != stage(second, "generator")


@pytest.mark.slow
def test_stages_1_and_2_of_another_run_give_the_same_health(
    quickstart, tmp_path, capsys):
  first = json.loads(results(quickstart))
  second = tmp_path / "second"
  assert main(command("quickstart", second, "--config.retrain.order=first",
                      f"--config.generator.from_run={quickstart}",
                      "--config.retrain.arms=generator")) == 0
  out = capsys.readouterr().out
  assert "pretrain: finished before (2 steps)" in out
  assert "generator: finished before (2 steps)" in out
  found = json.loads(results(second))
  stages = [r["provenance"]["stages"] for r in (first, found)]
  for stage in ("pretrain", "generator"):
    assert stages[0][stage] == stages[1][stage]
  assert stages[0]["retrain-generator"] != stages[1]["retrain-generator"]
  # Its health was measured while it was trained.
  assert found["health"] == first["health"]
  # Once there, it stays, wherever the first run is by then.
  assert main(command("quickstart", second, "--config.retrain.order=first",
                      "--config.retrain.arms=generator")) == 0
  assert json.loads(results(second))["rows"] == found["rows"]


@pytest.mark.parametrize("source, change, words", [
    ("pretrain", "--config.seed=1",
     "was trained with config.seed=0, and this run has 1"),
    ("pretrain", "--config.moco.queue=64",
     "config.moco.queue=32, and this run has 64"),
    ("pretrain", "--config.pretrain.with_finetune=True",
     "config.pretrain.with_finetune="),
    ("generator", "--config.pretrain.optimizer.lr=0.5",
     "config.pretrain.optimizer.lr="),
    ("generator", "--config.generator.losses.bank_weight=3.0",
     "and this run has 3.0"),
    ("generator", "--config.data.implicit=blur",
     "config.data.implicit='dots', and this run has 'blur'"),
    ("generator", "--config.pretrain.from_run=elsewhere", "cannot both be given")])
def test_other_stages_are_not_taken_over(
    source, change, words, quickstart, tmp_path, capsys):
  assert main(command("quickstart", tmp_path / "run", change,
                      f"--config.{source}.from_run={quickstart}")) == 2
  assert words in capsys.readouterr().err
  assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("stage", ["pretrain", "generator"])
def test_a_folder_that_holds_no_run_is_not_taken_over(stage, tmp_path, capsys):
  assert main(command("quickstart", tmp_path / "run",
                      f"--config.{stage}.from_run={tmp_path}")) == 2
  assert "is no run folder" in capsys.readouterr().err


def test_the_same_command_again_repeats_nothing(quickstart, capsys, monkeypatch):
  before = results(quickstart)
  monkeypatch.setattr(
      feed.ImageFeed, "host_batch", lambda *_: pytest.fail("trained again"))
  for part in ("generator", "operators"):
    monkeypatch.setattr(of_run, part, lambda *_: pytest.fail("drawn again"))
  assert main(command("quickstart", quickstart)) == 0
  out = capsys.readouterr().out
  # Two steps teach nothing, and the run says so each time.
  assert "WARNING: " in out
  assert "learned (details in learned.json" in out
  assert out.count("finished before") == 4
  assert out.count("was evaluated before") == 8
  for stage in ("pretrain", "retrain-generator", "retrain-control"):
    assert f"{stage}: features: effective rank " in out
  assert results(quickstart) == before


def test_rows_of_arms_that_are_no_longer_asked_for_stay(
    quickstart, tmp_path, monkeypatch):
  workdir = shutil.copytree(quickstart, tmp_path / "run")
  before = json.loads(results(workdir))
  monkeypatch.setattr(
      feed.ImageFeed, "host_batch", lambda *_: pytest.fail("trained again"))
  assert main(command(
      "quickstart", workdir, "--config.retrain.arms=control")) == 0
  after = json.loads(results(workdir))
  for name in ("rows", "health"):
    assert after[name] == before[name]
  assert after["provenance"]["stages"] == before["provenance"]["stages"]


class Crash(BaseException):
  """What SIGKILL looks like from inside: nothing below may catch it."""


def crash_in(monkeypatch, stage, step):
  """The next run dies as `stage` asks for the batch of `step`."""
  host_batch = feed.ImageFeed.host_batch

  def dying(self, t):
    if self._stage == stage and t == step:
      raise Crash
    return host_batch(self, t)
  monkeypatch.setattr(feed.ImageFeed, "host_batch", dying)


def test_a_run_killed_in_each_stage_ends_with_the_same_bits(
    quickstart, tmp_path, monkeypatch, capsys):
  args = command("quickstart", tmp_path / "killed")
  for stage in ("pretrain", "generator", "retrain"):
    with monkeypatch.context() as patch:
      crash_in(patch, stage, step=1)
      with pytest.raises(Crash):
        main(args)
  # In the middle of the evaluation: after the first encoder's rows.
  with monkeypatch.context() as patch:
    evaluate = protocol.evaluate_encoder

    def dying(*args, method, **kwargs):
      if method != "MoCo v2":
        raise Crash
      return evaluate(*args, method=method, **kwargs)
    patch.setattr(protocol, "evaluate_encoder", dying)
    with pytest.raises(Crash):
      main(args)
  assert main(args) == 0
  assert "going on from step 1" in capsys.readouterr().out
  assert results(tmp_path / "killed") == results(quickstart)
  for name in ("metrics.jsonl", "report/over_training/000000001.png",
               "report/over_training/000000002.png", "report/scores.json"):
    assert (tmp_path / "killed" / name).read_bytes() == (quickstart / name).read_bytes()


@pytest.fixture
def on_folder(tmp_path):
  """The quickstart's command with X_p as files, and further arguments."""
  data = parse(command("quickstart", tmp_path)).config.data
  images = sources.load(
      data.pretrain, image_size=data.image_size, channels=data.channels)
  folder = tmp_path / "clean"
  folder.mkdir()
  for number, image in enumerate(images.images):
    Image.fromarray(image[..., 0]).save(folder / f"{number:05}.png")
  return lambda *args, run="run": command(
      "quickstart", tmp_path / run, f"--config.data.pretrain=folder:{folder}", *args)


def metrics(workdir, stage):
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  return [line for line in map(json.loads, lines) if line["stage"] == stage]


def test_a_streamed_x_p_gives_the_bits_of_one_in_memory_also_if_the_run_is_killed(
    quickstart, on_folder, tmp_path, monkeypatch, capsys):
  args = on_folder("--config.data.stream=on", "--config.stages=pretrain",
                   "--config.data.read_threads=2")
  with monkeypatch.context() as patch:
    crash_in(patch, "pretrain", step=1)
    with pytest.raises(Crash):
      main(args)
  assert main(args) == 0
  out = capsys.readouterr().out
  assert "going on from step 1" in out and "the step waited for images" in out
  assert metrics(tmp_path / "run", "pretrain") == metrics(quickstart, "pretrain")
  for _ in range(100):  # idle threads are told to end, and not waited for
    if not (left := [t for t in threading.enumerate() if "grain" in t.name]):
      break
    time.sleep(0.05)
  assert not left


@pytest.mark.slow
def test_the_generator_learns_from_a_streamed_x_p(on_folder, tmp_path):
  """Same but for rounding: embeddings of X_p are computed in the step, not cached.

  What D sees is not standardised here: for a streamed set, a sample gives the scale.
  """
  for stream in ("off", "on"):
    assert main(on_folder(
        f"--config.data.stream={stream}", "--config.stages=pretrain,generator",
        "--config.generator.networks.augmenter=perceptron",
        "--config.generator.discriminator.features=embedding", run=stream)) == 0
  held, streamed = (metrics(tmp_path / run, "generator") for run in ("off", "on"))
  assert len(held) == len(streamed) > 2  # the last line has the health
  for a, b in zip(held, streamed):
    names = [name for name in a if name != "stage" and not name.startswith("health/")]
    np.testing.assert_allclose([b[n] for n in names], [a[n] for n in names], rtol=2e-3)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sigterm_and_ctrl_c_save_and_leave_with_status_75(
    number, tmp_path, monkeypatch, capsys, foreground):
  host_batch = feed.ImageFeed.host_batch

  def terminating(self, t):
    signal.raise_signal(number)
    return host_batch(self, t)
  monkeypatch.setattr(feed.ImageFeed, "host_batch", terminating)
  args = command("quickstart", tmp_path / "run", "--config.stages=pretrain",
                 "--config.log.checkpoint_every_steps=100",
                 "--config.log.every_steps=100")
  assert threading.current_thread() is threading.main_thread()
  assert main(args) == 75
  assert ("stopped pretrain at step 1; all that was done is saved; go on with: "
          "python -m augment_gen.main --config=" in capsys.readouterr().err)
  assert (tmp_path / "run" / "checkpoints" / "pretrain" / "1").is_dir()
  # Where a run was stopped does not show in what it logs.
  assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_ctrl_c_stops_at_once_while_there_is_nothing_to_save(
    tmp_path, monkeypatch, capsys, foreground):
  monkeypatch.setattr(
      session, "load_task", lambda *_: signal.raise_signal(signal.SIGINT))
  assert main(command("quickstart", tmp_path / "run")) == 130
  err = capsys.readouterr().err
  assert err.startswith("stopped by Ctrl-C; go on with: ") and err.count("\n") == 1
  assert not (tmp_path / "run").exists()


def _with_changed(monkeypatch, change):
  """The next start finds other images: `change(task)` -> fields that are new."""
  def load(*args):
    task = load_task(*args)
    sets = change(task)
    tests = sets.get("tests", task.tests)
    prints = {name: sets.get(name, getattr(task, name)).fingerprint
              for name in ("pretrain", "finetune")}
    prints |= {f"test/{name}": images.fingerprint for name, images in tests.items()}
    return dataclasses.replace(task, **sets, fingerprints=prints)
  monkeypatch.setattr(session, "load_task", load)


def _relabelled(images):
  return dataclasses.replace(images, labels=images.labels[::-1], fingerprint="")


@pytest.mark.parametrize("name, words", [
    ("pretrain", "X_p (config.data.pretrain) has changed since generator, pretrain"),
    ("finetune", "X̃_f (config.data.finetune) has changed since generator")])
def test_images_may_not_change_under_what_was_trained_on_them(
    name, words, quickstart, tmp_path, monkeypatch, capsys):
  before = sorted((p, p.stat().st_mtime_ns) for p in quickstart.rglob("*"))
  _with_changed(monkeypatch, lambda task: {name: _relabelled(getattr(task, name))})
  assert main(command("quickstart", quickstart)) == 2
  err = capsys.readouterr().err
  assert words in err and err.count("\n") == 1
  data = json.loads((quickstart / "data.json").read_text(encoding="utf-8"))
  assert f"its fingerprint was {data[name]}" in err
  assert before == sorted(
      (p, p.stat().st_mtime_ns) for p in quickstart.rglob("*"))
  assert main(command("quickstart", tmp_path / "run",
                      f"--config.generator.from_run={quickstart}")) == 2
  assert f"{data[name]} there" in capsys.readouterr().err
  assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_rows_of_a_test_set_that_changed_are_measured_anew(
    quickstart, tmp_path, monkeypatch, capsys):
  workdir = shutil.copytree(quickstart, tmp_path / "run")
  before = json.loads(results(workdir))
  _with_changed(monkeypatch, lambda task: {
      "tests": task.tests | {"C": _relabelled(task.tests["C"])}})
  # One encoder alone is asked for: of the others the rows of D stay.
  args = command("quickstart", workdir, "--config.retrain.arms=",
                 "--config.evaluate.controls=")
  assert main(args) == 0
  assert "test/C has changed (" in capsys.readouterr().out
  after = json.loads(results(workdir))
  kept = lambda rows: [row for row in rows if row["test"] == "D"]
  assert kept(after["rows"]) == kept(before["rows"])
  anew = [row for row in after["rows"] if row["test"] == "C"]
  assert {row["method"] for row in anew} == {"MoCo v2"}
  assert not [row for row in anew if row in before["rows"]
              and row["protocol"] == "l2" and row["accuracy"] > 0]
  assert after["provenance"]["data"]["test/C"] != before["provenance"]["data"][
      "test/C"]
  assert set(after["provenance"]["stages"]) == {"pretrain", "generator"}
  assert main(args) == 0
  out = capsys.readouterr().out
  assert "has changed" not in out and "MoCo v2 was evaluated before" in out


@pytest.mark.slow
def test_sigterm_stops_an_evaluation_after_an_encoder(
    quickstart, tmp_path, monkeypatch, capsys):
  evaluate = protocol.evaluate_encoder

  def terminating(*args, **kwargs):
    signal.raise_signal(signal.SIGTERM)
    return evaluate(*args, **kwargs)
  shutil.copytree(quickstart, tmp_path / "run")
  (tmp_path / "run" / "results.json").unlink()
  args = command("quickstart", tmp_path / "run")
  with monkeypatch.context() as patch:
    patch.setattr(protocol, "evaluate_encoder", terminating)
    assert main(args) == 75
  assert "after the evaluation of untrained encoder;" in capsys.readouterr().err
  assert {row["method"] for row in json.loads(results(tmp_path / "run"))["rows"]
          } == {"untrained encoder"}
  assert main(args) == 0
  assert results(tmp_path / "run") == results(quickstart)


def test_a_stage_that_was_not_run_is_named(tmp_path, capsys):
  args = command("quickstart", tmp_path / "run", "--config.stages=generator")
  assert main(args) == 2
  assert "stage 'pretrain' is not finished" in capsys.readouterr().err


def test_non_finite_losses_name_metric_and_steps(tmp_path, monkeypatch, capsys):
  infonce = moco.infonce

  def broken(q, k_pos, k_neg, temperature):
    losses, logits = infonce(q, k_pos, k_neg, temperature)
    return losses * np.nan, logits
  monkeypatch.setattr(moco, "infonce", broken)
  assert main(command("quickstart", tmp_path / "run")) == 2
  err = capsys.readouterr().err
  assert "error: pretrain: " in err and "loss became NaN" in err
  assert "between steps 0 and 1" in err
  assert not list((tmp_path / "run" / "checkpoints").glob("*/*"))


def test_what_was_learned_is_exported(quickstart):
  learned = export.load(quickstart)
  task = load_task(learned.config.data)
  dim = latent_dim(learned.config)
  z = np.random.default_rng(0).integers(0, 2, (300, dim)).astype(np.float32)
  x = np.resize(task.pretrain.images, (300, 28, 28, 1))
  views = learned.augment(x, z)
  assert views.shape == x.shape and views.dtype == np.float32
  assert np.all(np.abs(views - learned.augment(x, 1 - z)).max((1, 2, 3)) > 0.1)
  with pytest.raises(UserError, match="300 images need one"):
    learned.augment(x, z[:200])
  for function in (learned.encode, learned.eliminate):
    with pytest.raises(UserError, match="28, 28, 1"):
      function(x[:, :14])
  images, latents = learned.eliminate(task.finetune.images)
  assert images.shape == task.finetune.images.shape and latents.shape[1] == dim
  # F is the very one whose accuracy the table has.
  for stage, method in (("pretrain", "MoCo v2"),
                        ("retrain-generator", "MoCo v2 + G_A")):
    encode = export.load(quickstart, stage).encode
    (row,) = [row for row in json.loads(results(quickstart))["rows"]
              if (row["method"], row["protocol"], row["test"]) == (
                  method, "knn", "C")]
    test, settings = task.tests["C"], learned.config.evaluate
    found = knn.knn_predict(
        encode(task.finetune.images), task.finetune.labels, encode(test.images),
        task.num_classes, settings.knn_k, settings.knn_temperature)
    assert 100 * np.mean(found == test.labels) == pytest.approx(row["accuracy"])


def test_what_is_not_there_cannot_be_exported(quickstart, tmp_path):
  with pytest.raises(UserError, match="no readable config.json"):
    export.load(tmp_path)
  with pytest.raises(UserError, match="no checkpoint of a stage 'retrain-oracle'"):
    export.load(quickstart, "retrain-oracle")


def test_another_seed_is_refused_before_anything_is_written(quickstart, capsys):
  before = sorted((p, p.stat().st_mtime_ns) for p in quickstart.rglob("*"))
  assert main(command("quickstart", quickstart, "--config.seed=1")) == 2
  assert "config.seed: 0 there, 1 here" in capsys.readouterr().err
  assert before == sorted(
      (p, p.stat().st_mtime_ns) for p in quickstart.rglob("*"))


@pytest.mark.slow
@pytest.mark.parametrize("name, sets", [("omniglot", "CD"), ("daiso", "RS")])
def test_configs_run_in_small(name, sets, tmp_path, one_device, monkeypatch):
  """photos.py has the stages of daiso.py; test_full_size.py traces it."""
  if name == "omniglot":
    monkeypatch.setattr(parallel, "make_mesh", one_device)  # all eight
  # Depth is what takes long to compile; tests/methods/test_full_size.py has it all.
  shallow = ["--config.generator.networks.unet_depth=1",
             "--config.generator.networks.unet_width=4",
             "--config.encoder.blocks=(1,1)", "--config.evaluate.protocols=knn",
             "--config.retrain.arms=generator", "--config.evaluate.controls="]
  assert main(command(name, tmp_path / name, *shallow)) == 0
  found = json.loads(results(tmp_path / name))
  tests = {row["test"] for row in found["rows"]}
  assert tests == set(sets)
  assert tables.format_table([found])


def test_every_config_field_is_read(quickstart, read):
  """A field that nothing reads is a promise not kept.

  A whole run has read most of them; what only other networks, methods and protocols
  read is built or traced here.
  """
  with read.recording():
    for changes in (
        ("pretrain.method=simclr", "generator.networks.residual_width=4",
         "generator.networks.unet_depth=1"),
        ("moco.shuffle=False", "generator.networks.augmenter=unet",
         "generator.networks.unet_depth=1", "generator.networks.unet_width=4",
         "generator.latent.layout=learned", "generator.latent.dim=49")):
      config = parse(command("quickstart", "unused", *(
          f"--config.{change}" for change in changes))).config
      task = tracing.task_of(config)
      pretrained, *_ = tracing.traced_step(lambda: stages.pretrain(config, task, 1))
      trained, *_ = tracing.generator_step(config, task, pretrained)
    for method in ("simsiam", "byol", "swav", "supervised"):
      other = parse(command("quickstart", "unused", f"--config.pretrain.method={method}",
                            "--config.encoder.blocks=(1,)",
                            "--config.supervised.classes=62")).config
      labelled = load_task(other.data)
      tracing.traced_step(lambda: stages.pretrain(other, labelled, 1))
    with pytest.MonkeyPatch.context() as patch:
      patch.setattr(stages, "latent_bank", lambda *_: np.zeros((64, 49), np.float32))
      tracing.traced_step(lambda: stages.retrain(
          config, task, 1, "policy", *map(tracing.zeros, (pretrained, trained))))
    config = parse(command("regional_mnist", "unused")).config
    load_task(config.data)  # puts the images on a canvas
    task = tracing.task_of(config)
    for stage in ("tac", "simclr", "simclr_own"):
      tracing.traced_step(
          lambda stage=stage: crl_tac.train(config, task, stage))
    for name in ("moco", "labels:1"):
      protocol._fit(name, np.eye(4, dtype=np.float32), np.arange(4) % 2, 2,
                    config.evaluate, 0)
    protocol._expanded("labels", config.evaluate)
    config = parse(command("quickstart", "unused")).config
    Finetuning(types.SimpleNamespace(
        config=config, task=load_task(config.data), mesh=parallel.make_mesh()))
  # What a CRL-TAC run alone reads, beside its stages.
  source = pathlib.Path(crl_tac_method.__file__).read_text(encoding="utf-8")
  unread = {f"{cls.__name__}.{field.name}" for cls in read.sections
            for field in dataclasses.fields(cls)
            if field.name not in read.names[cls.__name__]
            and f"tac.{field.name}" not in source}
  assert not unread


def test_arms_differ_from_the_control_by_g_a_alone(monkeypatch):
  """The same hand-made recipe, that of re-training, whatever stage 1 had."""
  config = parse(command(
      "quickstart", "unused", "--config.pretrain.recipe=none",
      "--config.retrain.recipe=crop")).config
  task = load_task(config.data)
  pretrained = stages.pretrain(config, task, 1).state
  seen = []

  def spy(name):
    seen.append(name)
    return recipes.recipe(name)
  monkeypatch.setattr(stages, "recipe", spy)
  for arm in ("control", "oracle"):
    stages.retrain(config, task, 1, arm, pretrained, None)
  assert set(seen) == {"crop"}


def test_rows_say_what_their_encoder_was_trained_on():
  config = parse(command(
      "quickstart", "unused", "--config.pretrain.with_finetune")).config
  trained_on = lambda name: tuple(experiment._trained_on(name, config).values())
  # Stage 1, then stage 3, which reads X_p alone.
  assert trained_on("pretrain") == ("X_p ∪ X̃_f", "X_p ∪ X̃_f")
  assert trained_on("generator") == ("X_p ∪ X̃_f", "X_p")
  assert trained_on("untrained") == ("-", "-")
