"""Stage 4: how every row of the table is measured.

The features of each set are computed once. Each protocol trains a probe on X̃_f and
scores it on every test set. "finetune" trains F, too, and needs the images (finetune.py).
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
import dataclasses
import functools
import hashlib
import time
from typing import Any

import jax
from jax.sharding import Mesh
import numpy as np

from augment_gen import config as config_lib
from augment_gen.config import errors, EvaluateConfig
from augment_gen.data import splits
from augment_gen.data.base import evenly, ImageSet
from augment_gen.data.task import Task
from augment_gen.evaluate import features as features_lib
from augment_gen.evaluate import finetune as finetune_lib
from augment_gen.evaluate import gauges, knn, linear, logistic

GAUGE_IMAGES = 2048
ADAPTED = "X̃_f"  # "batch_norm" of rows with AdaBN

# (features [m, d], labels [m]) -> fields of a row, "accuracy" in percent among them.
Score = Callable[[np.ndarray, np.ndarray], dict[str, Any]]


def fingerprints(config: EvaluateConfig, before: Mapping[str, Any] | None = None
                 ) -> dict[str, Any]:
  """What the provenance says of the protocols; equal if accuracies may be compared.

  Args:
    config: the settings.
    before: the provenance of an earlier start of the run, whose rows are kept, also those
      of protocols that this start does not ask for.

  Returns:
    "protocols": the fingerprint of the settings of each, by protocol. So the rows of one
    stay comparable if another is set otherwise. "adabn_batch_size" if there are rows with
    AdaBN, which normalises each batch by its own statistics.
  """
  before = before or {}
  chosen = {name: config_lib.fingerprint(_settings(name, config))
            for name in config_lib.names(config.protocols)}
  batch_size = before.get("adabn_batch_size")
  if "adabn" in config_lib.names(config.controls):
    batch_size = config.batch_size
  return {"protocols": before.get("protocols", {}) | chosen,
          **({"adabn_batch_size": batch_size} if batch_size else {})}


def _settings(protocol: str, config: EvaluateConfig) -> dict[str, Any]:
  """The settings that the rows of a protocol depend on."""
  values = dataclasses.asdict(config)
  own = values[protocol] if protocol in ("finetune", "labels") else {
      name: value for name, value in values.items() if name.startswith(f"{protocol}_")}
  if protocol in ("l2", "labels"):
    own |= {"iterations": config.l2_iterations, "tolerance": logistic.TOLERANCE}
  return own


def fresh(before: dict[str, Any], config: EvaluateConfig,
          log: Callable[[str], None] = print) -> dict[str, Any]:
  """Drops the rows of an earlier start that were measured with other settings.

  Args:
    before: the contents of results.json, or {"rows": []}.
    config: today's settings.
    log: called with a line for what is dropped.

  Returns:
    The remaining results. Rows of protocols that this start does not ask for stay.
  """
  provenance, today = before.get("provenance", {}), fingerprints(config)
  measured, rows = provenance.get("protocols", {}), before["rows"]
  changed = {name for name, own in today["protocols"].items()
             if measured.get(name) != own}
  sizes = (today.get("adabn_batch_size"), provenance.get("adabn_batch_size"))
  stale = {f"protocol '{name}'": [row for row in rows if _kind(row) == name]
           for name in sorted(changed)}
  if sizes[0] and sizes[0] != sizes[1]:
    stale["AdaBN"] = [row for row in rows if row.get("batch_norm") == ADAPTED]
  for what, dropped in stale.items():
    if dropped:
      why = ("has other settings than before" if measured else
             "was measured by older code, and with which settings is not known")
      log(f"evaluate: {what} {why}: its rows in results.json are dropped; those of this "
          "start's encoders are measured anew")
    rows = [row for row in rows if row not in dropped]
  return {**before, "rows": rows}


def _kind(row: Mapping[str, Any]) -> str:
  """The protocol of a row as config.evaluate.protocols has it."""
  return row["protocol"].partition(":")[0]


def missing(config: EvaluateConfig, rows: Collection[Mapping[str, Any]],
            tests: Collection[str], with_finetune: bool = False) -> EvaluateConfig:
  """The same settings with those protocols alone that lack rows; maybe none.

  Args:
    config: the settings.
    rows: the rows of an encoder.
    tests: the names of the test sets; a protocol without a row of each lacks rows.
    with_finetune: whether the encoder can have rows of "finetune".
  """
  def has_all(name):
    return {*tests} <= {row["test"] for row in rows if _kind(row) == name}
  return dataclasses.replace(config, protocols=",".join(
      name for name in config_lib.names(config.protocols)
      if not has_all(name) and (with_finetune or name != "finetune")))


def replaced(rows: Iterable[dict[str, Any]], new: Collection[dict[str, Any]]
             ) -> list[dict[str, Any]]:
  """The rows of an encoder, with `new` in place of those of the same protocols."""
  kinds = {*map(_kind, new)}
  return [*(row for row in rows if _kind(row) not in kinds), *new]


def portions(config: EvaluateConfig) -> Iterator[EvaluateConfig]:
  """The protocols in portions that are worth saving: "finetune" takes long."""
  chosen = config_lib.names(config.protocols)
  for portion in ([name for name in chosen if name != "finetune"],
                  [name for name in chosen if name == "finetune"]):
    if portion:
      yield dataclasses.replace(config, protocols=",".join(portion))


def evaluate_encoder(
    encode: features_lib.Encode, variables: Any, task: Task,
    config: EvaluateConfig, *, method: str, pretrain_data: str,
    experiment_seed: int, train_name: str, mesh: Mesh | None = None,
    finetune: Callable[[str, Any], finetune_lib.Score] | None = None,
    log: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
  """Scores an encoder under all protocols on all test sets.

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
    finetune: trains a copy of the encoder further, see `finetune.Finetuning`; None: there
      are no rows of this protocol.
    log: prints a line for the user.

  Returns:
    One row per protocol and test set, as in results.json: "method", "pretrain_data",
    "train", "test", "feature", "protocol", "seed", "accuracy" (percent), "classes",
    "train_images", "test_images". Rows of "l2" also have "l2_strength", "iterations"
    and "converged" (whether the fit ended by its tolerance, not by the limit). "labels"
    makes a protocol of each number of labels, such as "labels:5"; its rows have "draws",
    "accuracy_of_draws" (percent; "accuracy" is their mean), "draws_std" (their sample
    std), "l2_strength" and "converged". All rows have the gauges of the encoder on X̃_f:
    "uniformity", "feature_std", "effective_rank" and, if X_f is known, "alignment" of
    F(X_f) and F(X̃_f).

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
      clean=clean, finetune=(
          functools.partial(finetune, method, variables) if finetune else None))
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
    finetune: Callable[[], finetune_lib.Score] | None = None,
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
    finetune: fine-tunes the encoder; None: there are no rows of this protocol.
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
  for name in config_lib.names(config.protocols):
    if name == "finetune" and finetune is None:
      continue
    for protocol in _expanded(name, config):
      start = time.monotonic()
      if protocol == "finetune":
        assert finetune is not None
        on_images = finetune()
        found = {test: {"accuracy": on_images(task.tests[test])} for test in tests}
      else:
        score, info = _fit(protocol, train, task.finetune.labels, task.num_classes,
                           config, experiment_seed)
        found = {test: {**score(features, _labels(task.tests[test])), **info}
                 for test, features in tests.items()}
      rows += [{
          "method": method, "pretrain_data": pretrain_data,
          "train": train_name, "test": test, "feature": feature,
          "protocol": protocol, "seed": experiment_seed, "classes": task.num_classes,
          "train_images": len(train), "test_images": len(tests[test]), **fields, **further}
               for test, fields in found.items()]
      _report(rows[-len(found):], time.monotonic() - start, log)
  return rows


def _expanded(name: str, config: EvaluateConfig) -> list[str]:
  """The protocols of rows that one of config.evaluate.protocols stands for."""
  if name != "labels":
    return [name]
  return [f"labels:{count}" for count in dict.fromkeys(config.labels.per_class)]


def _labels(images: ImageSet) -> np.ndarray:
  assert images.labels is not None  # `load_task` refuses unlabelled sets
  return images.labels


def _report(rows: list[dict[str, Any]], seconds: float, log: Callable[[str], None]) -> None:
  """Says what the rows of one protocol are."""
  head = f"{rows[0]['method']}, {rows[0]['protocol']}"
  log(f"{head}: " + ", ".join(
      f"{row['train']} → {row['test']} {row['accuracy']:.2f} %" for row in rows)
      + f" ({seconds:.0f} s)")
  if not rows[0].get("converged", True):
    log(f"WARNING: {head}: the probe was still improving after config.evaluate."
        "l2_iterations iterations: its accuracy is too low rather than too high; the "
        "same command with more of them measures it anew")


def _fit(protocol: str, features: np.ndarray, labels: np.ndarray,
         num_classes: int, config: EvaluateConfig, seed: int,
         ) -> tuple[Score, dict[str, Any]]:
  """Trains probes; returns what gives the "accuracy" of rows, and their other fields."""
  if protocol == "knn":
    return lambda x, y: {"accuracy": knn.knn_accuracy(
        features, labels, x, y, num_classes, config.knn_k, config.knn_temperature)}, {}
  if protocol.startswith("labels:"):
    return _fit_few(int(protocol.partition(":")[2]), features, labels, num_classes,
                    config, seed)
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
  return lambda x, y: {"accuracy": linear.accuracy(probe, x, y)}, info


def _fit_few(count: int, features: np.ndarray, labels: np.ndarray, num_classes: int,
             config: EvaluateConfig, seed: int) -> tuple[Score, dict[str, Any]]:
  """Trains a probe on each draw of `count` labels of each class."""
  settings = config.labels
  subsets = [splits.few_of_each(labels, count, seed, draw)
             for draw in range(1, settings.draws + 1)]
  fits = [linear.fit_l2_at(features[chosen], labels[chosen], num_classes,
                           settings.l2_strength, config.l2_iterations)
          for chosen in subsets]

  def score(x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    found = [linear.accuracy(probe, x, y) for probe, _ in fits]
    return {"accuracy": float(np.mean(found)), "accuracy_of_draws": found,
            "draws_std": float(np.std(found, ddof=1))}

  return score, {
      "draws": settings.draws, "l2_strength": settings.l2_strength,
      "converged": all(converged for _, converged in fits),
      "train_images": len(subsets[0])}


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
