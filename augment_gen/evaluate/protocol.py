"""Stage 4: how every row of the table is measured.

The features of each set are computed once. Each protocol trains one probe on X̃_f and
scores it on every test set.
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
  """A fingerprint that is equal for runs whose accuracies may be compared."""
  values = dataclasses.asdict(config)
  # The batch size does not change the features, and the choice of protocols and controls
  # does not change the rows of the others.
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
    variables: the encoder's variables; must stay unchanged.
    task: X̃_f as `finetune` and the named test sets as `tests`.
    config: the protocols and their settings.
    method: the row's method, such as "MoCo v2 + G_A".
    pretrain_data: what F was trained on, such as "X_p".
    experiment_seed: the run's seed; it also seeds the probes.
    train_name: the table's name of X̃_f.
    mesh: devices that share the feature extraction.
    log: prints a line for the user.

  Returns:
    One row per protocol and test set, as in results.json: "method", "pretrain_data",
    "train", "test", "feature", "protocol", "seed", "accuracy" (percent), "classes",
    "train_images", "test_images". Rows of "l2" also have "l2_strength", "iterations"
    and "converged" (whether the fit ended by its tolerance, not by the limit). All rows
    have the gauges of the encoder on X̃_f: "uniformity", "feature_std",
    "effective_rank" and, if X_f is known, "alignment" of F(X_f) and F(X̃_f).

  Raises:
    NonFiniteError: the encoder or a probe gives NaN or infinite values.
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
  """Scores features that are already computed; see `evaluate_encoder`.

  Args:
    train: [n, d] float32, features of X̃_f, whose labels are in `task.finetune`.
    tests: [m, d] float32 by test set.
    task: gives the labels.
    config: the protocols and their settings.
    method: the row's method.
    pretrain_data: what F was trained on.
    experiment_seed: the run's seed; it also seeds the probes.
    train_name: the table's name of X̃_f.
    feature: the encoder output that these features are: "f" or "head".
    clean: [n, d] float32, features of X_f, if it is known.
    further: additional fields of every row.
    log: prints a line for the user.

  Raises:
    NonFiniteError: features or a probe contain NaN or infinite values.
  """
  for name, features in {train_name: train, **tests}.items():
    if not np.all(np.isfinite(features)):
      raise errors.NonFiniteError(
          f"the encoder of '{method}' gives NaN or infinite features for set "
          f"'{name}': its training diverged; see the loss in metrics.jsonl and "
          "lower the learning rate")
  further = _gauges(train, clean) | (further or {})
  rows = []
  assert task.finetune.labels is not None  # `load_task` refuses unlabelled sets
  for protocol in config_lib.names(config.protocols):
    start = time.monotonic()
    score, info = _fit(protocol, train, task.finetune.labels, task.num_classes,
                       config, experiment_seed)
    for name, test in tests.items():
      labels = task.tests[name].labels
      assert labels is not None
      rows.append({
          "method": method, "pretrain_data": pretrain_data,
          "train": train_name, "test": name, "feature": feature,
          "protocol": protocol, "seed": experiment_seed,
          "accuracy": score(test, labels),
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
  """Trains one probe; returns its score function and the fields it adds to rows."""
  if protocol == "knn":
    def score(test_features, test_labels):
      return knn.knn_accuracy(
          features, labels, test_features, test_labels, num_classes,
          config.knn_k, config.knn_temperature)
    return score, {}

  info: dict[str, Any] = {}
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
  """The label-free gauges of the features; see gauges.py."""
  # Only some images, because all pairs are compared.
  some = evenly(len(augmented), min(len(augmented), GAUGE_IMAGES))
  measured = {
      "uniformity": gauges.uniformity(augmented[some]),
      "feature_std": gauges.feature_std(augmented[some]),
      "effective_rank": gauges.effective_rank(augmented[some])}
  if clean is not None:
    measured["alignment"] = gauges.alignment(clean[some], augmented[some])
  return measured


def _checksum(variables: Any) -> str:
  """Hash of the names and bytes of all arrays in a pytree."""
  digest = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
    digest.update(jax.tree_util.keystr(path).encode())
    digest.update(np.ascontiguousarray(leaf).tobytes())
  return digest.hexdigest()
