"""Results files: read, checked, and compared with each other before they share a table."""

from collections.abc import Iterator, Mapping, Sequence
import json
import pathlib
from typing import Any

from augment_gen.config import errors, identity, pretrainers
from augment_gen.run import costs
from augment_gen.run.folder import read_config

_NEEDED = ("method", "pretrain_data", "train", "test", "protocol", "seed",
           "accuracy")
ADABN = ", AdaBN"  # at the end of a row's method
UNTRAINED = "untrained encoder"
LOADED = "encoder as loaded"  # from config.encoder.init, not trained any further
BEFORE_TRAINING = (UNTRAINED, LOADED)
_ROUNDING = 0.5  # percentage points by which machines may differ on the same weights
_OPTIONAL = ("retraining_set", "augmentation", "crops")
# Settings in which runs of one experiment may differ: what has a fingerprint of its own,
# and what changes no row.
_FREE = ("experiment", "seed", "data.root", "data.stream",
         "data.max_resident_gib", "encoder.init")
# Settings of stages 1 and 3. Another pre-trainer has rows of its own, as in the paper's
# Table 1, so that they may differ between pre-trainers.
_OF_PRETRAINER = ("pretrain", "retrain", *pretrainers.SECTIONS.values())


def load(folders: Sequence[str]) -> list[dict[str, Any]]:
  """Reads results.json of each run folder.

  Returns:
    The contents, with "folder", "config" (all settings, if config.json can be read) and,
    in each row whose stages are all known in costs.json, "seconds": stage, or "total" ->
    wall time of its training.

  Raises:
    UserError: lists every folder without results.json, or with a damaged one.
  """
  results, problems = [], []
  for folder in folders:
    path = pathlib.Path(folder) / "results.json"
    if not path.parent.is_dir():
      problems.append(f"'{folder}' is no folder: give the --workdir of a run")
    elif not path.exists() and not (path.parent / "config.json").exists():
      problems.append(f"'{folder}' is no run folder, as it has neither config.json nor "
                      "results.json: give the --workdir of a run")
    elif not path.exists():
      problems.append(f"'{folder}' has no results.json: the run has not "
                      "finished stage 'evaluate'; start it again to continue")
    else:
      try:
        result = json.loads(path.read_text(encoding="utf-8"))
        if wrong := _problems(path, result):
          problems += wrong
          continue
        results.append({**result, "folder": str(folder), "config": _config(path.parent)})
        costs.add_seconds(result["rows"], path.parent)
      except (OSError, ValueError) as error:
        problems.append(f"'{path}' is damaged ({error}): delete it and run "
                        "stage 'evaluate' again")
  errors.raise_if_any(problems)
  return results


def _problems(path: pathlib.Path, result: Any) -> list[str]:
  """Reasons why parsed JSON is not the contents of a results file."""
  if (not isinstance(result, dict) or "experiment" not in result
      or not isinstance(result.get("rows"), list)
      or not isinstance(result.get("provenance", {}), dict)):
    return [f"'{path}' is no results file: it lacks 'experiment' or 'rows'"]
  missing = sorted({name for row in result["rows"] for name in _NEEDED
                    if not isinstance(row, dict) or name not in row})
  if missing:
    return [f"'{path}' has rows without: {', '.join(missing)}"]
  for place, row in enumerate(result["rows"], start=1):
    if wrong := _wrong_value(row):
      return [f"'{path}': row {place} of {len(result['rows'])} ({row['method']}) has "
              f"{wrong}: delete the file and run stage 'evaluate' again"]
  return []


def _wrong_value(row: dict[str, Any]) -> str | None:
  for name in (*_NEEDED, *_OPTIONAL, *(("feature",) if "crops" in row else ())):
    if name in _OPTIONAL and name not in row:
      continue
    value: Any = row.get(name)
    if name == "accuracy":
      # Also False for NaN.
      right = type(value) in (int, float) and 0 <= value <= 100
      wanted = "no percentage"
    elif name == "seed":
      right, wanted = type(value) is int, "no whole number"
    else:
      right, wanted = isinstance(value, str), "no text"
    if not right:
      return f"{name}={value!r}, which is {wanted}"
  return None


def _config(folder: pathlib.Path) -> dict[str, Any] | None:
  try:
    return read_config(folder)
  except errors.UserError:
    return None


def protocol_words(results: Sequence[Mapping[str, Any]], protocol: str) -> str:
  """A protocol by its name in rows, such as "labels:5", and what it stands for."""
  kind, _, count = protocol.partition(":")
  draws = {row["draws"] for result in results for row in result["rows"]
           if row["protocol"] == protocol and "draws" in row}
  meaning = {
      "finetune": "encoder and linear head trained together",
      "labels": f"a linear head on {count} label{'s' * (count != '1')} of each class, mean "
                f"over {' or '.join(map(str, sorted(draws)))} draws of them"}
  return f"{protocol} ({meaning[kind]})" if kind in meaning else protocol


def having(results: Sequence[Any], protocol: str) -> list[Any]:
  """The results that have rows of a protocol."""
  return [result for result in results
          if any(row["protocol"] == protocol for row in result["rows"])]


def mixture_problems(results: Sequence[Mapping[str, Any]], protocol: str) -> list[str]:
  """What differs between runs of one experiment, which a table would take for its seeds.

  Runs of one experiment with other X̃_f have other columns, and may differ. Runs with
  another pre-trainer, or with another set for pre-training, have other rows: stages 1 and
  3 may differ, but not the data, the encoder, the generator or the protocol.

  Args:
    results: contents of results files; those from `load` say the most.
    protocol: the protocol that is shown. Settings of others may differ.

  Returns:
    One line for each difference in images, protocol, initial weights or settings.
  """
  lines = []
  groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
  for result in having(results, protocol):
    for row in result["rows"][:1]:  # all rows of a run have the same X̃_f
      groups.setdefault((result["experiment"], row["train"]), []).append(result)
  for (experiment, _), of_experiment in groups.items():
    # (pre-trainer and its set, what differs) -> value -> the runs that have it.
    found: dict[tuple[Any, str], dict[str, list[str]]] = {}
    for number, result in enumerate(of_experiment, start=1):
      run = result.get("folder") or f"run {number}"
      pretrain = (result.get("config") or {}).get("pretrain", {})
      rows = pretrain.get("method"), pretrain.get("with_finetune")
      for what, value in _traits(result, protocol):
        own = of_pretrainer(what.removeprefix("config."))
        found.setdefault((rows if own else None, what), {}).setdefault(
            value, []).append(run)
    lines += [
        f"the runs of '{experiment}' are not seeds of one experiment: {what} is "
        + ", ".join(f"{value} in {_some(runs)}" for value, runs in values.items())
        for (_, what), values in found.items() if len(values) > 1]
    lines += _other_beginnings(of_experiment, protocol)
  return lines


def _other_beginnings(results: Sequence[Mapping[str, Any]], protocol: str
                      ) -> Iterator[str]:
  """One line for each seed whose encoders did not start from the same weights.

  One seed gives F the same weights under all pre-trainers, so that one row stands for
  all of them. In older code it did not.
  """
  found: dict[tuple[Any, ...], dict[float, str]] = {}
  for number, result in enumerate(results, start=1):
    for row in result["rows"]:
      if row["method"].removesuffix(ADABN) in BEFORE_TRAINING and (
          row["protocol"] == protocol and "crops" not in row):
        key = row["method"], row["train"], row["test"], row["seed"]
        found.setdefault(key, {}).setdefault(
            row["accuracy"], result.get("folder") or f"run {number}")
  for (method, train, test, seed), accuracies in found.items():
    if max(accuracies) - min(accuracies) > _ROUNDING:
      yield (f"'{method}' of seed {seed}, {train} → {test}, is " + ", ".join(
          f"{accuracy:.2f} in {run}" for accuracy, run in accuracies.items())
          + ": F did not start from the same weights")


def _traits(result: Mapping[str, Any], protocol: str) -> Iterator[tuple[str, str]]:
  """(what, value) of all that runs of one experiment must have in common.

  What a run does not say is left out, such as a setting that older code did not have.
  """
  provenance = result.get("provenance", {})
  data = provenance.get("data") or {}
  for name, value in data.items():
    yield f"the fingerprint of the images '{name}'", str(value)
  evaluate = provenance.get("protocols", {}).get(
      protocol.partition(":")[0], provenance.get("protocol"))
  if evaluate:
    yield ("the fingerprint of the evaluation protocol (config.evaluate)", str(evaluate))
  size = provenance.get("adabn_batch_size")
  if size and any(row["method"].endswith(ADABN) for row in result["rows"]):
    yield "config.evaluate.batch_size, which AdaBN depends on,", str(size)
  yield ("the fingerprint of the initial weights (config.encoder.init)",
         str(provenance.get("encoder_init", "none")))
  try:
    settings = identity(result.get("config") or {})
  except AttributeError:  # unreadable
    return
  for name, value in _leaves(settings):
    if not _is_of(name, _FREE):
      yield f"config.{name}", repr(value)


def of_pretrainer(name: str) -> bool:
  """Whether runs with other pre-trainers may differ in a setting and share a column."""
  return _is_of(name, _OF_PRETRAINER)


def _is_of(name: str, parts: tuple[str, ...]) -> bool:
  """Whether a dotted name is one of some fields, or lies in one of some sections."""
  return any(name == part or name.startswith(f"{part}.") for part in parts)


def _leaves(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
  """(dotted name, value) of all settings."""
  for name, value in values.items():
    if isinstance(value, dict):
      yield from _leaves(value, f"{path}{name}.")
    else:
      yield f"{path}{name}", value


def _some(runs: Sequence[str]) -> str:
  return runs[0] + (f" and {len(runs) - 1} more" if len(runs) > 1 else "")
