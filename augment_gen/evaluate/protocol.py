"""Stage 4: how every row of the table is measured.

The features of each set are computed once. Each protocol trains its probe once,
on X̃_f, and reports it on every test set.
"""

from collections.abc import Callable
import dataclasses
import hashlib
import time
from typing import Any

import jax
from jax.sharding import Mesh
import numpy as np

from augment_gen import config as config_lib
from augment_gen.config import errors, EvaluateConfig
from augment_gen.data.base import evenly
from augment_gen.data.task import Task
from augment_gen.evaluate import features as features_lib
from augment_gen.evaluate import gauges, knn, linear, logistic

GAUGE_IMAGES = 2048

# (features [m, d], labels [m]) -> accuracy in percent.
Score = Callable[[np.ndarray, np.ndarray], float]


def protocol_fingerprint(config: EvaluateConfig) -> str:
  """Equal for runs whose accuracies may be compared with each other."""
  values = dataclasses.asdict(config)
  # How features are batched does not change them; which protocols and rows were
  # asked for does not change the others.
  del values["batch_size"], values["protocols"], values["controls"]
  values["l2_tolerance"] = logistic.TOLERANCE
  return config_lib.fingerprint(values)


def evaluate_encoder(
    encode: features_lib.Encode, variables: Any, task: Task,
    config: EvaluateConfig, *, method: str, pretrain_data: str,
    experiment_seed: int, train_name: str, mesh: Mesh | None = None,
    log: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
  """Scores a frozen encoder under all protocols on all test sets.

  Args:
    encode: (variables, images [b, H, W, C] in [0, 1]) -> features [b, d], in
      inference mode.
    variables: of the encoder; must come out as they went in.
    task: X̃_f as `finetune` and the named test sets as `tests`.
    config: the protocols and their settings.
    method: of the row, such as "MoCo v2 + G_A".
    pretrain_data: what F was trained on, such as "X_p".
    experiment_seed: of the run; also seeds the probes.
    train_name: what the table calls X̃_f.
    mesh: cuts the feature extraction over devices.
    log: takes lines for the reader.

  Returns:
    One row per protocol and test set, as in results.json: "method",
    "pretrain_data", "train", "test", "feature", "protocol", "seed", "accuracy"
    (percent), "classes", "train_images", "test_images"; of "l2" also
    "l2_strength", "iterations" and "converged" (whether the fit ended by its
    tolerance, not by the limit); and the gauges of the encoder on X̃_f,
    "uniformity", "feature_std", "effective_rank", and, where X_f is known,
    "alignment" of F(X_f) and F(X̃_f).

  Raises:
    NonFiniteError: the encoder or a probe puts out NaN or infinite values.
    RuntimeError: the encoder's variables changed.
  """
  before = _checksum(variables)

  features_of = lambda images: features_lib.extract(
      encode, variables, images, config.batch_size, mesh)

  train = features_of(task.finetune)
  tests = {name: features_of(images)
           for name, images in task.tests.items()}
  clean = None
  if task.finetune_clean is not None:
    clean = features_of(task.finetune_clean)
  rows = evaluate_features(
      train, tests, task, config, method=method, pretrain_data=pretrain_data,
      experiment_seed=experiment_seed, train_name=train_name, log=log,
      clean=clean)
  if _checksum(variables) != before:
    raise RuntimeError(
        f"the weights of '{method}' changed during evaluation; they must be "
        "frozen")
  return rows


def evaluate_features(
    train: np.ndarray, tests: dict[str, np.ndarray], task: Task,
    config: EvaluateConfig, *, method: str, pretrain_data: str,
    experiment_seed: int, train_name: str, feature: str = "f",
    clean: np.ndarray | None = None, further: dict[str, Any] | None = None,
    log: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
  """Scores features that have been computed already; see `evaluate_encoder`.

  Args:
    train: [n, d] float32, of X̃_f, whose labels `task.finetune` holds.
    tests: [m, d] float32 by test set.
    task: for the labels.
    config: the protocols and their settings.
    method: of the row.
    pretrain_data: what F was trained on.
    experiment_seed: of the run; also seeds the probes.
    train_name: what the table calls X̃_f.
    feature: which output of the encoder these are: "f", or "head".
    clean: [n, d] float32, of X_f, where it is known.
    further: fields that every row gets.
    log: takes lines for the reader.

  Raises:
    NonFiniteError: features or a probe hold NaN or infinite values.
  """
  for name, features in {train_name: train, **tests}.items():
    if not np.all(np.isfinite(features)):
      raise errors.NonFiniteError(
          f"the encoder of '{method}' gives NaN or infinite features for set "
          f"'{name}': its training diverged; see the loss in metrics.jsonl and "
          "lower the learning rate")
  further = _gauges(train, clean) | (further or {})
  rows = []
  for protocol in config_lib.names(config.protocols):
    start = time.monotonic()
    score, info = _fit(protocol, train, task.finetune.labels, task.num_classes,
                       config, experiment_seed)
    for name, test in tests.items():
      rows.append({
          "method": method, "pretrain_data": pretrain_data,
          "train": train_name, "test": name, "feature": feature,
          "protocol": protocol, "seed": experiment_seed,
          "accuracy": score(test, task.tests[name].labels),
          "classes": task.num_classes, "train_images": len(train),
          "test_images": len(test), **info, **further})
    log(f"{method}, {protocol}: " + ", ".join(
        f"{row['train']} → {row['test']} {row['accuracy']:.2f} %"
        for row in rows if row["protocol"] == protocol)
        + f" ({time.monotonic() - start:.0f} s)")
    if not info.get("converged", True):
      log(f"WARNING: {method}, {protocol}: the probe was still improving after "
          f"{info['iterations']} iterations; raise config.evaluate.l2_iterations")
  return rows


def _fit(protocol: str, features: np.ndarray, labels: np.ndarray,
         num_classes: int, config: EvaluateConfig, seed: int,
         ) -> tuple[Score, dict[str, Any]]:
  """Trains one probe; returns its score and what its rows tell of it."""
  if protocol == "knn":
    def score(test_features, test_labels):
      return knn.knn_accuracy(
          features, labels, test_features, test_labels, num_classes,
          config.knn_k, config.knn_temperature)
    return score, {}

  info = {}
  if protocol == "l2":
    probe, fit = linear.fit_l2(
        features, labels, num_classes, strengths=config.l2_strengths,
        holdout=config.l2_holdout, iterations=config.l2_iterations, seed=seed)
    info = {name: fit[name]
            for name in ("l2_strength", "iterations", "converged")}
  else:
    probe = linear.fit_moco(
        features, labels, num_classes, lr=config.moco_lr,
        epochs=config.moco_epochs, batch_size=config.moco_batch_size, seed=seed)
  if not np.all(np.isfinite(probe.weights)):
    raise errors.NonFiniteError(
        f"the linear probe '{protocol}' has NaN or infinite weights: lower "
        f"config.evaluate.moco_lr, or leave '{protocol}' out of "
        "config.evaluate.protocols")
  return lambda x, y: linear.accuracy(probe, x, y), info


def _gauges(augmented: np.ndarray, clean: np.ndarray | None
            ) -> dict[str, float]:
  """What the features tell without labels; see gauges.py."""
  # All pairs are compared.
  some = evenly(len(augmented), min(len(augmented), GAUGE_IMAGES))
  measured = {
      "uniformity": gauges.uniformity(augmented[some]),
      "feature_std": gauges.feature_std(augmented[some]),
      "effective_rank": gauges.effective_rank(augmented[some])}
  if clean is not None:
    measured["alignment"] = gauges.alignment(clean[some], augmented[some])
  return {name: float(value) for name, value in measured.items()}


def _checksum(variables: Any) -> str:
  """Hash of the names and bytes of all arrays of a pytree."""
  digest = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
    digest.update(jax.tree_util.keystr(path).encode())
    digest.update(np.ascontiguousarray(leaf).tobytes())
  return digest.hexdigest()
