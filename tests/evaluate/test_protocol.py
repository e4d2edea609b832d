"""The evaluation protocol, which is the same for all rows."""

import dataclasses
import types

import jax.numpy as jnp
import numpy as np
import pytest

from augment_gen.config import errors, EvaluateConfig
from augment_gen.data import base
from augment_gen.evaluate import features, protocol
from augment_gen.run import parallel

CONFIG = EvaluateConfig(
    batch_size=16, l2_strengths=(1e-4, 1e-2), l2_iterations=40, moco_epochs=8,
    moco_batch_size=16, knn_k=3)


def _set(num_per_class, seed, noise=20):
  """Three classes; the class is the third of the image that is bright."""
  rng = np.random.default_rng(seed)
  labels = np.repeat(np.arange(3), num_per_class).astype(np.int32)
  images = rng.integers(0, noise, (len(labels), 6, 6, 1))
  for image, label in zip(images, labels):
    image[2 * label:2 * label + 2] += 200
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


def test_fingerprint_sees_what_changes_accuracies():
  base = protocol.protocol_fingerprint(CONFIG)
  same = dataclasses.replace(CONFIG, batch_size=64, protocols="knn")
  assert protocol.protocol_fingerprint(same) == base
  for change in ({"knn_k": 5}, {"l2_holdout": 0.1}, {"moco_lr": 3.0},
                 {"l2_strengths": (1e-4,)}):
    other = dataclasses.replace(CONFIG, **change)
    assert protocol.protocol_fingerprint(other) != base, change
