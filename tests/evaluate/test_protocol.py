"""The evaluation protocol, which is the same for all rows."""

import dataclasses
import types

import jax.numpy as jnp
import numpy as np
import pytest

from augment_gen.config import errors, EvaluateConfig
from augment_gen.data import base, splits
from augment_gen.evaluate import features, linear, protocol
from augment_gen.run import parallel

CONFIG = EvaluateConfig(
    batch_size=16, l2_strengths=(1e-4, 1e-2), l2_iterations=40, moco_epochs=8,
    moco_batch_size=16, knn_k=3)


def _set(num_per_class, seed, noise=20, bright=200):
  """Three classes; the class is the third of the image that is bright."""
  rng = np.random.default_rng(seed)
  labels = np.repeat(np.arange(3), num_per_class).astype(np.int32)
  images = rng.integers(0, noise, (len(labels), 6, 6, 1))
  for image, label in zip(images, labels):
    image[2 * label:2 * label + 2] += bright
  images = np.minimum(images, 255)
  return base.ImageSet("set", images.astype(np.uint8), labels, ("a", "b", "c"))


TASK = types.SimpleNamespace(
    finetune=_set(8, seed=0), finetune_clean=_set(8, seed=0, noise=5),
    num_classes=3,
    tests={"C": _set(4, seed=1), "wrong": _set(5, seed=2)})
TASK.tests["wrong"] = dataclasses.replace(
    TASK.tests["wrong"], labels=(TASK.tests["wrong"].labels + 1) % 3)
VARIABLES = {"w": np.random.default_rng(0).normal(size=(36, 12)).astype("f")}


def _encode(variables, images):
  return images.reshape(images.shape[0], -1) @ variables["w"]


def _evaluate(encode=_encode, config=CONFIG, variables=None, **kwargs):
  return protocol.evaluate_encoder(
      encode, variables or VARIABLES, TASK, config, method="MoCo v2",
      pretrain_data="X_p", experiment_seed=5, train_name="D", **kwargs)


def test_rows():
  lines = []
  rows = _evaluate(mesh=parallel.make_mesh(), log=lines.append)
  assert [(r["protocol"], r["test"]) for r in rows] == [
      (p, t) for p in ("l2", "moco", "knn") for t in ("C", "wrong")]
  for row in rows:
    assert row["accuracy"] == (100.0 if row["test"] == "C" else 0.0)
    assert (row["method"], row["pretrain_data"], row["train"], row["feature"],
            row["seed"]) == ("MoCo v2", "X_p", "D", "f", 5)
    assert (row["classes"], row["train_images"]) == (3, 24)
    assert row["test_images"] == {"C": 12, "wrong": 15}[row["test"]]
    assert ("l2_strength" in row) == (row["protocol"] == "l2")
    assert 1 <= row["effective_rank"] <= 12
    assert -8 <= row["uniformity"] <= 0 and 0 <= row["feature_std"] <= 1
    assert 0 < row["alignment"] < 0.5
  assert rows[0]["iterations"] >= 1
  assert "D → C 100.00 %, D → wrong 0.00 %" in lines[0]


def test_features_are_computed_once_per_set(monkeypatch):
  sizes = []
  extract = features.extract

  def counting(encode, variables, images, *args):
    sizes.append(len(images))
    return extract(encode, variables, images, *args)

  monkeypatch.setattr(features, "extract", counting)
  _evaluate(config=dataclasses.replace(CONFIG, protocols="knn,l2"))
  assert sizes == [24, 12, 15, 24]  # X̃_f, the tests, X_f


def test_non_finite_features_name_the_encoder_and_the_set():
  with pytest.raises(errors.NonFiniteError, match="'MoCo v2'.*'D'"):
    _evaluate(lambda v, x: jnp.log(_encode(v, x)))


def test_changed_weights_are_noticed(monkeypatch):
  variables = {"w": VARIABLES["w"].copy()}
  extract = features.extract

  def careless(*args):
    result = extract(*args)
    variables["w"][0, 0] += 1e-6
    return result

  monkeypatch.setattr(features, "extract", careless)
  with pytest.raises(RuntimeError, match="frozen"):
    _evaluate(config=dataclasses.replace(CONFIG, protocols="knn"),
              variables=variables)


def _with_labels(**changes):
  return dataclasses.replace(
      CONFIG, protocols="labels", labels=dataclasses.replace(CONFIG.labels, **changes))


def test_few_labels_against_a_probe_of_each_draw(monkeypatch):
  monkeypatch.setattr(TASK, "finetune", _set(8, seed=0, noise=200, bright=60))
  monkeypatch.setattr(TASK, "tests", {"C": _set(20, seed=1, noise=200, bright=60)})
  config = _with_labels(per_class=(1, 3, 1), draws=4)
  rows = _evaluate(config=config)
  assert [row["protocol"] for row in rows] == ["labels:1", "labels:3"]
  train, test = (features.extract(_encode, VARIABLES, images, 16)
                 for images in (TASK.finetune, TASK.tests["C"]))
  for row, count in zip(rows, (1, 3)):
    found = []
    for draw in range(1, 5):
      chosen = splits.few_of_each(TASK.finetune.labels, count, 5, draw)
      probe, _ = linear.fit_l2_at(train[chosen], TASK.finetune.labels[chosen], 3,
                                  config.labels.l2_strength, config.l2_iterations)
      found.append(linear.accuracy(probe, test, TASK.tests["C"].labels))
    assert len(set(found)) > 1
    assert (row["train_images"], row["draws"]) == (3 * count, 4)
    assert row["accuracy_of_draws"] == found
    assert row["accuracy"] == pytest.approx(np.mean(found))
    assert row["draws_std"] == pytest.approx(np.std(found, ddof=1))


def test_protocols_that_have_rows_are_not_missing():
  config = dataclasses.replace(CONFIG, protocols="labels,l2,finetune,knn")
  rows = [{"protocol": "labels:1", "test": "C"}, {"protocol": "l2", "test": "C"}]
  assert protocol.missing(config, rows, ["C"]).protocols == "knn"
  assert protocol.missing(config, rows, ["C"], with_finetune=True
                          ).protocols == "finetune,knn"
  # A test set that is new has no rows yet.
  rows.append({"protocol": "l2", "test": "D"})
  assert protocol.missing(config, rows, ["C", "D"]).protocols == "labels,knn"


def test_rows_that_are_measured_anew_replace_those_of_their_protocol():
  rows = [{"protocol": name, "test": "C"} for name in ("l2", "labels:1", "labels:5")]
  new = [{"protocol": "labels:1", "test": test} for test in "CD"]
  assert protocol.replaced(rows, new) == [rows[0], *new]


def test_fine_tuning_is_a_portion_of_its_own():
  config = dataclasses.replace(CONFIG, protocols="finetune,l2,knn")
  assert [c.protocols for c in protocol.portions(config)] == ["l2,knn", "finetune"]
  config = dataclasses.replace(CONFIG, protocols="finetune")
  assert [c.protocols for c in protocol.portions(config)] == ["finetune"]


def test_each_protocol_has_the_fingerprint_of_its_own_settings():
  every = dataclasses.replace(CONFIG, protocols="finetune,labels,l2,moco,knn")
  base = protocol.fingerprints(every)["protocols"]
  assert set(base) == {"finetune", "labels", "l2", "moco", "knn"}
  for of, change in (
      ({"finetune"}, {"finetune": dataclasses.replace(CONFIG.finetune, head_lr=9.0)}),
      ({"labels"}, {"labels": dataclasses.replace(CONFIG.labels, l2_strength=9.0)}),
      ({"labels", "l2"}, {"l2_iterations": 7}), ({"l2"}, {"l2_holdout": 0.1}),
      ({"l2"}, {"l2_strengths": (1e-4,)}), ({"moco"}, {"moco_lr": 3.0}),
      ({"moco"}, {"moco_batch_size": 3}), ({"knn"}, {"knn_k": 5}),
      (set(), {"controls": ""}), (set(), {"batch_size": 64})):
    other = protocol.fingerprints(dataclasses.replace(every, **change))["protocols"]
    assert {name for name in base if base[name] != other[name]} == of, change


def test_fingerprints_of_rows_that_stay_are_kept():
  before = protocol.fingerprints(dataclasses.replace(CONFIG, protocols="labels"))
  after = protocol.fingerprints(dataclasses.replace(CONFIG, protocols="l2"), before)
  assert set(after["protocols"]) == {"labels", "l2"}
  assert after["protocols"]["labels"] == before["protocols"]["labels"]
  without = dataclasses.replace(CONFIG, protocols="l2", controls="")
  assert "adabn_batch_size" not in protocol.fingerprints(without, {"stages": {}})
  assert protocol.fingerprints(without, after)["adabn_batch_size"] == CONFIG.batch_size


def _results(config, *rows):
  return {"rows": list(rows), "provenance": protocol.fingerprints(config)}


def test_rows_of_protocols_with_other_settings_are_dropped():
  config = dataclasses.replace(CONFIG, protocols="l2,labels,knn")
  l2, few, knn_row = ({"protocol": name, "test": "C"} for name in ("l2", "labels:5", "knn"))
  before, said = _results(config, l2, few, knn_row), []
  assert protocol.fresh(before, config, said.append) == before and not said
  changed = dataclasses.replace(config, l2_iterations=7)
  assert protocol.fresh(before, changed, said.append)["rows"] == [knn_row]
  assert [line.split("'")[1] for line in said] == ["l2", "labels"]
  # What this start does not ask for stays, and so do results of nothing.
  other = dataclasses.replace(changed, protocols="knn")
  assert protocol.fresh(before, other, said.append) == before and len(said) == 2
  assert protocol.fresh({"rows": []}, changed, said.append) == {"rows": []}


def test_adabn_depends_on_the_batch_size_and_other_rows_do_not():
  assert "adabn" in CONFIG.controls
  adapted = {"protocol": "knn", "batch_norm": protocol.ADAPTED}
  plain = {"protocol": "knn", "batch_norm": "as trained"}
  config, said = dataclasses.replace(CONFIG, protocols="knn"), []
  before = _results(config, plain, adapted)
  smaller = dataclasses.replace(config, batch_size=64)
  assert protocol.fresh(before, smaller, said.append)["rows"] == [plain]
  assert len(said) == 1 and "AdaBN has other settings" in said[0]
  without = dataclasses.replace(smaller, controls="")
  assert protocol.fresh(before, without, said.append) == before
