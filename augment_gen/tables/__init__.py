"""Prints the results of runs as the papers' tables, over seeds.

    python -m augment_gen.tables RUN_FOLDER... [--protocol=moco] [--format=csv]

Runs that differ only in the seed are averaged. Runs of several experiments become
additional columns (with G_A) or additional tables (CRL-TAC).
"""

import argparse
from collections.abc import Sequence
import json
import pathlib
import sys
from typing import Any

from augment_gen.config import errors
from augment_gen.run import exits
from augment_gen.tables import augmentation_generator as augmentation
from augment_gen.tables import crl_tac as policy

FORMATS = ("text", "markdown", "csv")
_NEEDED = ("method", "pretrain_data", "train", "test", "protocol", "seed",
           "accuracy")
_OPTIONAL = ("retraining_set", "augmentation", "crops")


def format_table(results: list[dict[str, Any]], protocol: str | None = None,
                 style: str = "text") -> str:
  """Formats the contents of results.json files.

  Args:
    results: parsed files: {"experiment", "rows", "provenance"}.
    protocol: the protocol whose accuracies are shown; None: that of the first row.
    style: "text" and "markdown" give the papers' layouts; "csv" gives one line per
      number, with the statistics in columns.

  Returns:
    Several lines, ending in a newline. A cell is the accuracy in percent; for several
    seeds, mean ± sample std. "*" marks a difference from the baseline (for CRL-TAC, from
    an untrained encoder on the same crops) with p < 0.05 in a paired t-test over common
    seeds.

  Raises:
    UserError: no rows of this protocol; two results for one seed.
  """
  protocol = protocol or _first_protocol(results)
  of_policy = [r for r in results if any("crops" in row for row in r["rows"])]
  others = [r for r in results if r not in of_policy]
  parts = [module.format_table(chosen, protocol, style)
           for module, chosen in ((augmentation, others), (policy, of_policy))
           if chosen]
  warnings = [f"WARNING: {text}" for text in mixture_warnings(results)]
  if warnings and style != "csv":
    parts.append("\n".join(warnings) + "\n")
  return "\n".join(parts)


def mixture_warnings(results: list[dict[str, Any]]) -> list[str]:
  """Warnings about experiments whose results use different protocols, data or weights."""
  found: dict[tuple[str, str], set[str]] = {}
  for result in results:
    for part in ("protocol", "data", "encoder_init"):
      value = result.get("provenance", {}).get(part)
      found.setdefault((result["experiment"], part), set()).add(
          json.dumps(value, sort_keys=True))
  words = {"protocol": "evaluation protocols (config.evaluate)",
           "data": "data sets",
           "encoder_init": "initial weights (config.encoder.init)"}
  return [f"the runs of '{experiment}' used {len(values)} different "
          f"{words[part]}; their numbers must not be compared"
          for (experiment, part), values in found.items() if len(values) > 1]


def _first_protocol(results) -> str:
  for result in results:
    for row in result["rows"]:
      return row["protocol"]
  raise errors.UserError("the results have no rows yet: let stage 'evaluate' "
                         "of the run finish")


def load(folders: Sequence[str]) -> list[dict[str, Any]]:
  """Reads results.json of each run folder.

  Raises:
    UserError: lists every folder without results.json, or with a damaged one.
  """
  results, problems = [], []
  for folder in folders:
    path = pathlib.Path(folder) / "results.json"
    if not path.parent.is_dir():
      problems.append(f"'{folder}' is no folder: give the --workdir of a run")
    elif not path.exists():
      problems.append(f"'{folder}' has no results.json: the run has not "
                      "finished stage 'evaluate'; start it again to continue")
    else:
      try:
        result = json.loads(path.read_text(encoding="utf-8"))
        problems.extend(_problems(path, result))
        results.append(result)
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


def main(argv: Sequence[str] | None = None) -> int:
  """Prints the table; returns the exit status."""
  parser = argparse.ArgumentParser(
      prog="python -m augment_gen.tables",
      description="Prints the results of runs as a table, over seeds.")
  parser.add_argument("folders", nargs="+", metavar="DIR",
                      help="run folders (--workdir of a run)")
  parser.add_argument("--protocol", help="l2, moco or knn; by default the "
                      "first of the run's config.evaluate.protocols")
  parser.add_argument("--format", choices=FORMATS, default="text")
  return exits.exit_status(
      lambda: _print(parser.parse_args(argv)), "nothing was written")


def _print(flags: argparse.Namespace) -> None:
  results = load(flags.folders)
  print(format_table(results, flags.protocol, flags.format), end="")
  if flags.format == "csv":  # the table itself has no place for warnings
    for text in mixture_warnings(results):
      print(f"warning: {text}", file=sys.stderr)
