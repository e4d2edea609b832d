"""Sinks behind one interface: services are stood in for, or run offline if installed."""

import dataclasses
import importlib.machinery
import json
import sys
import types

import numpy as np
import pytest

from augment_gen.config import Config, LogConfig
from augment_gen.config.errors import Preempted, UserError
from augment_gen.run import session, sinks
from augment_gen.run.folder import RunFolder
from augment_gen.run.metrics import MetricWriter

VALUES = {"seed": 0, "data": {"mean": [0.5], "root": "x" * 600}}
IMAGE = np.zeros((2, 3, 3), np.uint8)


def config_of(names, experiment="A: b"):
  return Config(experiment=experiment, log=LogConfig(sinks=names))


def module(name, **members):
  found = types.ModuleType(name)
  found.__spec__ = importlib.machinery.ModuleSpec(name, None)
  vars(found).update(members)
  return found


@pytest.fixture(autouse=True)
def fresh_writers(monkeypatch):
  """Modules that import a service are imported anew, with what the test puts there."""
  for name in ("wandb", "mlflow"):
    monkeypatch.delitem(sys.modules, f"augment_gen.run.sinks.{name}", raising=False)
    monkeypatch.delattr(sinks, name, raising=False)
  for name in ("WANDB_PROJECT", "MLFLOW_EXPERIMENT_NAME"):
    monkeypatch.delenv(name, raising=False)


@pytest.fixture(name="calls")
def calls_fixture(monkeypatch):
  """Stand-ins for wandb and mlflow; returns what they are told."""
  told = []
  note = lambda name, result=None: lambda *args, **kwargs: (
      told.append((name, args, kwargs)), result)[1]
  run = types.SimpleNamespace(log=note("log"), define_metric=note("define_metric"),
                              finish=note("finish"))
  monkeypatch.setitem(sys.modules, "wandb", module(
      "wandb", init=note("init", run), Image=lambda image: ("image", image.shape),
      Settings=dict))

  class Client:
    get_experiment_by_name = staticmethod(note("get_experiment"))
    create_experiment = staticmethod(note("create_experiment", "7"))
    create_run = staticmethod(note("create_run", types.SimpleNamespace(
        info=types.SimpleNamespace(run_id="run-1"))))
    update_run, log_batch = staticmethod(note("update_run")), staticmethod(note("batch"))
    log_image = staticmethod(note("log_image"))
    set_terminated = staticmethod(note("set_terminated"))

  entities = module("mlflow.entities", Param=lambda *a: a, Metric=lambda *a: a)
  monkeypatch.setitem(sys.modules, "mlflow", module(
      "mlflow", MlflowClient=Client, entities=entities))
  monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
  return told


@pytest.fixture
def folder(tmp_path):
  found = RunFolder(tmp_path / "run", VALUES)
  yield found
  found.close()


def write(folder, names, log=print):
  """A start of a run that writes two stages and a figure."""
  opened = sinks.open_all(config_of(names), VALUES, folder, log)
  with MetricWriter(folder, opened) as writer:
    writer.scalars("pretrain", 5, {"loss": 0.5})
    writer.scalars("pretrain", 10, {"loss": 0.25})
    writer.scalars("generator", 5, {"loss": 2.0})
    writer.image("figures/examples", 0, IMAGE)


def test_wandb_has_an_axis_for_each_stage_and_one_run_for_all_starts(folder, calls):
  write(folder, "jsonl,wandb")
  (_, _, started), = [call for call in calls if call[0] == "init"]
  assert (started["project"], started["name"]) == ("A- b", "run")
  assert started["resume"] == "allow" and started["config"] == VALUES
  assert [call[1] for call in calls if call[0] == "define_metric"] == [
      ("pretrain/step",), ("pretrain/*",), ("generator/step",), ("generator/*",)]
  assert [call[1][0] for call in calls if call[0] == "log"] == [
      {"pretrain/loss": 0.5, "pretrain/step": 5},
      {"pretrain/loss": 0.25, "pretrain/step": 10},
      {"generator/loss": 2.0, "generator/step": 5},
      {"figures/examples": [("image", IMAGE.shape)]}]
  assert calls[-1][0] == "finish"
  assert calls[-1][2] == {"exit_code": 0}
  write(folder, "wandb")
  ids = [call[2]["id"] for call in calls if call[0] == "init"]
  assert ids[0] == ids[1] == json.loads((folder.path / "sinks.json").read_text())["wandb"]


@pytest.mark.parametrize("error, failed", [
    (ValueError, True), (KeyboardInterrupt, True), (Preempted, False)])
def test_services_hear_of_an_error_that_ended_the_run(error, failed, folder, calls):
  with (pytest.raises(error),
        MetricWriter(folder, sinks.open_all(config_of("wandb,mlflow"), VALUES, folder))):
    raise error
  assert [call[2] for call in calls[-2:]] == [
      {"exit_code": int(failed)}, {"status": "FAILED" if failed else "FINISHED"}]


def test_mlflow_has_the_config_and_one_run_for_all_starts(folder, calls):
  write(folder, "mlflow")
  assert [name for name, *_ in calls] == [
      "get_experiment", "create_experiment", "create_run", "batch", "batch", "batch",
      "batch", "log_image", "set_terminated"]
  params = dict(calls[3][2]["params"])
  assert params["seed"] == "0" and params["data.mean"] == "[0.5]"
  assert len(params["data.root"]) == 500
  (name, value, _, step), = calls[4][2]["metrics"]
  assert (name, value, step) == ("pretrain/loss", 0.5, 5)
  assert calls[-2][2] == {"artifact_file": "figures/examples.png"}
  before = len(calls)
  write(folder, "mlflow")
  assert calls[before][:2] == ("update_run", ("run-1",))
  assert "create_run" not in [name for name, *_ in calls[before:]]


def test_a_sink_that_fails_is_left_out_and_said_once(folder, calls):
  def fails(*args, **kwargs):
    raise OSError("the network is down\nand more")
  sys.modules["mlflow"].MlflowClient.log_batch = staticmethod(
      lambda run, params=None, metrics=None: fails() if metrics else None)
  said = []
  write(folder, "mlflow,wandb", said.append)
  assert said == [
      "WARNING: config.log.sinks: mlflow failed (the network is down) and gets nothing "
      "more from this start; metrics.jsonl has everything"]
  assert len(folder.read_metrics()) == 3
  assert len([call for call in calls if call[0] == "log"]) == 4


def test_a_service_that_does_not_start_ends_the_command(folder, calls):
  def refuses(**kwargs):
    raise RuntimeError("no API key configured")
  sys.modules["wandb"].init = refuses
  with pytest.raises(UserError, match=r"wandb cannot be started \(no API key") as error:
    sinks.open_all(config_of("mlflow,wandb"), VALUES, folder)
  assert len(error.value.problems) == 1
  assert calls[-1][0] == "set_terminated"  # what was open is closed


def test_a_missing_package_is_said_before_anything_starts(monkeypatch):
  monkeypatch.setattr(sinks.importlib.util, "find_spec", lambda name: None)
  assert list(sinks.problems(config_of("jsonl,tensorboard"))) == []
  (problem,) = sinks.problems(config_of("jsonl,wandb"))
  assert "pip install 'augment_gen[wandb]'" in problem
  config = dataclasses.replace(Config(), log=LogConfig(sinks="mlflow"))
  assert any("augment_gen[mlflow]" in line for line in session.problems(config, 1))


def test_unknown_sinks_are_refused():
  assert any("config.log.sinks names 'neptune'" in line
             for line in session.problems(config_of("neptune"), 1))


def test_metrics_are_written_without_any_sink(folder):
  write(folder, "")
  assert [line["loss"] for line in folder.read_metrics()] == [0.5, 0.25, 2.0]
  assert not (folder.path / "tensorboard").exists()


@pytest.mark.slow  # the real packages, where they are installed; no network
def test_real_services_offline(folder, tmp_path, monkeypatch):
  pytest.importorskip("wandb")
  mlflow = pytest.importorskip("mlflow")
  monkeypatch.setenv("WANDB_MODE", "offline")
  monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
  monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3.7 asks for it
  said = []
  for _ in range(2):
    write(folder, "wandb,mlflow", said.append)
  assert not said
  ids = json.loads((folder.path / "sinks.json").read_text())
  client = mlflow.MlflowClient()
  history = client.get_metric_history(ids["mlflow"], "pretrain/loss")
  assert [(m.step, m.value) for m in history] == [(5, 0.5), (10, 0.25)] * 2
  assert client.get_run(ids["mlflow"]).data.params["seed"] == "0"
  assert client.get_run(ids["mlflow"]).info.status == "FINISHED"
  runs = list((folder.path / "wandb").glob(f"offline-run-*-{ids['wandb']}"))
  assert runs and all(list(run.glob("*.wandb")) for run in runs)
