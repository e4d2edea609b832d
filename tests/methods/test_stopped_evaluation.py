"""An evaluation that is stopped keeps the rows of an earlier start."""

import json
import threading
import types

import pytest

from augment_gen.config import default_config, typed
from augment_gen.evaluate import protocol
from augment_gen.methods.augmentation_generator import method as generator_method
from augment_gen.methods.crl_tac import method as tac_method
from augment_gen.run.preemption import Preempted


class Folder:
  """A run's folder with results.json alone."""
  path = "unused"
  results = None

  def read_results(self):
    return self.results

  def write_results(self, results):
    self.results = json.loads(json.dumps(results))


class Crops:
  one_crop = summary = staticmethod(lambda name: None)
  kinds = staticmethod(lambda encoder: ["P", "uniform"])


@pytest.fixture
def start(monkeypatch):
  """`(method, states, protocols, stop_at) -> rows` of a start; networks are strings."""
  folder, terminated = Folder(), threading.Event()

  def generator_rows(run, title, state, adapted, before, finetune):
    for portion in protocol.portions(protocol.missing(
        run.config.evaluate, before, run.task.tests)):
      yield measured(run, title, {}, portion)

  def tac_rows(run, name, state, kind, crops, protocols):
    return measured(run, tac_method.ENCODERS[name], {"crops": kind}, protocols)

  def measured(run, title, fields, protocols):
    if title == run.stop_at:
      terminated.set()
    return [{"method": title, "protocol": name, "test": "C", **fields}
            for name in protocols.protocols.split(",") if name]

  for module, rows in ((generator_method, generator_rows), (tac_method, tac_rows)):
    monkeypatch.setattr(module, "_rows", rows)
    monkeypatch.setattr(module, "checksum", lambda state: state)
    monkeypatch.setattr(module.provenance, "of_results", lambda run, protocols, ends: {
        **protocols, "stages": ends, "data": {}})
    monkeypatch.setattr(module.costs, "of_stages", lambda *args: {})
  monkeypatch.setattr(generator_method.watch, "last_gauges", lambda run: {})
  monkeypatch.setattr(generator_method, "_last_health", lambda run: {})
  monkeypatch.setattr(tac_method, "_Crops", lambda *args: Crops)

  def run_it(method, states, protocols, stop_at=None):
    terminated.clear()
    config = default_config()
    config.evaluate.protocols, config.evaluate.controls = protocols, ""
    run = types.SimpleNamespace(
        config=typed(config), folder=folder, terminated=terminated, devices=1,
        log=lambda line: None, stop_at=stop_at,
        task=types.SimpleNamespace(fingerprints={}, finetune=None, tests={"C": None}))
    arguments = (states, "g") if method is generator_method else (states,)
    if stop_at:
      with pytest.raises(Preempted):
        method._evaluate(run, *arguments)
    else:
      method._evaluate(run, *arguments)
    return {(row["method"], row.get("crops"), row["protocol"])
            for row in folder.results["rows"]}

  return run_it


def test_rows_of_other_arms_stay(start):
  every = {"pretrain": "p", "generator": "a", "control": "b", "oracle": "o"}
  first = start(generator_method, every, "l2")
  assert len(first) == 4
  some = {"pretrain": "p", "generator": "a"}
  stopped = start(generator_method, some, "l2,knn", stop_at="MoCo v2")
  assert stopped == first | {("MoCo v2", None, "knn")}
  whole = start(generator_method, some, "l2,knn")
  assert whole == stopped | {("MoCo v2 + G_A", None, "knn")}


def test_rows_of_networks_that_have_changed_do_not_stay(start):
  start(generator_method, {"pretrain": "p", "generator": "a", "control": "b"}, "l2")
  stopped = start(generator_method, {"pretrain": "p", "generator": "other"}, "l2,knn",
                  stop_at="MoCo v2")
  assert {method for method, _, _ in stopped} == {"MoCo v2", "MoCo v2 + control"}


def test_rows_of_other_crops_and_encoders_stay(start):
  states = {"tac": "t", "simclr": "s"}
  first = start(tac_method, states, "l2")
  assert len(first) == 4
  name = next(iter(tac_method.ENCODERS[encoder] for encoder in tac_method.ENCODERS
                   if encoder in states))
  stopped = start(tac_method, states, "l2,knn", stop_at=name)
  assert stopped == first | {(name, "P", "knn")}
  assert len(start(tac_method, states, "l2,knn")) == 8
