"""Prints runs as the paper's Table 1, over seeds.

  python -m augment_gen.tables RUN_FOLDER... [--protocol=moco] [--format=csv]

Runs that differ in the seed only are averaged; runs of several experiments
become further columns.
"""

import argparse
from collections.abc import Sequence
import csv
import dataclasses
import io
import json
import pathlib
import sys
from typing import Any
import unicodedata

import numpy as np
from scipy import stats

from augment_gen import errors

FORMATS = ("text", "markdown", "csv")
SIGNIFICANCE = 0.05
_NEEDED = ("method", "pretrain_data", "train", "test", "protocol", "seed",
           "accuracy")


@dataclasses.dataclass(frozen=True)
class Line:
  """A row of the table."""
  method: str
  retraining_set: str
  augmentation: str

  @property
  def rank(self) -> tuple[bool, int]:
    """The paper's order: baseline, ours, controls, oracle; references last."""
    kind = self.method.partition(" + ")[2]
    kinds = {"": 0, "G_A": 1, "oracle": 3}
    return "∪" in self.retraining_set, kinds.get(kind, 2)


@dataclasses.dataclass(frozen=True)
class Column:
  experiment: str
  train: str
  test: str

  def __str__(self):
    return f"{self.train} → {self.test}"


@dataclasses.dataclass(frozen=True)
class Difference:
  """Accuracy minus the baseline's, over the seeds that both have."""
  values: np.ndarray  # percent points, one per seed
  p: float  # of the paired t-test; NaN where it is not defined

  @property
  def significant(self) -> bool:
    return self.p < SIGNIFICANCE

  def __str__(self):
    p = "not defined" if np.isnan(self.p) else f"{self.p:.2g}"
    mean, std = np.mean(self.values), np.std(self.values, ddof=1)
    return f"{mean:+.2f} ± {std:.2f} (n={len(self.values)}), p = {p}"


# Line, column -> seed -> accuracy in percent.
Cells = dict[tuple[Line, Column], dict[int, float]]


def format_table(results: list[dict[str, Any]], protocol: str | None = None,
                 style: str = "text") -> str:
  """Formats the contents of results.json files as one table.

  Args:
    results: parsed files: {"experiment", "rows", "provenance"}.
    protocol: which probe's accuracies; None: that of the first row.
    style: "text" and "markdown" give the paper's layout, "csv" one line per
      number, with the statistics in columns.

  Returns:
    Several lines, ending in a newline. A cell is the accuracy in percent, over
    several seeds mean ± sample std; "*" marks a difference to the baseline with
    p < 0.05 in a paired t-test over common seeds.

  Raises:
    UserError: no rows of this protocol; two results for one seed.
  """
  protocol = protocol or _first_protocol(results)
  cells = _collect(results, protocol)
  lines = sorted(dict.fromkeys(line for line, _ in cells),
                 key=lambda line: line.rank)
  columns = sorted(
      dict.fromkeys(column for _, column in cells),
      key=lambda c: [r["experiment"] for r in results].index(c.experiment))
  differences = _differences(cells, lines, columns)
  if style == "csv":
    return _as_csv(cells, lines, columns, differences, protocol)

  body = [["Method", "Re-training set", "Additional augmentation"]
          + [str(column) for column in columns]]
  for line in lines:
    body.append([line.method, line.retraining_set, line.augmentation]
                + [_cell(cells.get((line, column)),
                         differences.get((line, column)))
                   for column in columns])
  experiments = ["", "", ""] + [column.experiment for column in columns]
  table = (_as_markdown if style == "markdown" else _as_text)(experiments, body)
  notes = [f"Accuracy in percent; protocol: {protocol}."]
  if differences:
    heading = ("Difference to the first line, paired over common seeds "
               f"(* where p < {SIGNIFICANCE}, t-test, each taken alone):")
    notes += ["", heading, ""]
    notes += [f"  {line.method}, {line.retraining_set}, {column.experiment}, "
              f"{column}: {difference}{' *' * difference.significant}"
              for (line, column), difference in differences.items()]
  warnings = [f"WARNING: {text}" for text in mixture_warnings(results)]
  notes += ["", *warnings] if warnings else []
  if style == "markdown":
    notes = ["- " + note.strip() if note.startswith("  ") else note
             for note in notes]
  return "\n".join(table + [""] + notes).rstrip() + "\n"


def mixture_warnings(results: list[dict[str, Any]]) -> list[str]:
  """Says where results of one experiment come from unlike probes or data."""
  found: dict[tuple[str, str], set[str]] = {}
  for result in results:
    for part in ("protocol", "data"):
      value = result.get("provenance", {}).get(part)
      found.setdefault((result["experiment"], part), set()).add(
          json.dumps(value, sort_keys=True))
  words = {"protocol": "evaluation protocols (config.evaluate)",
           "data": "data sets"}
  return [f"the runs of '{experiment}' used {len(values)} different "
          f"{words[part]}; their numbers must not be compared"
          for (experiment, part), values in found.items() if len(values) > 1]


def _first_protocol(results) -> str:
  for result in results:
    for row in result["rows"]:
      return row["protocol"]
  raise errors.UserError("the results have no rows yet: let stage 'evaluate' "
                         "of the run finish")


def _collect(results, protocol: str) -> Cells:
  """Sorts the accuracies of one protocol into the table."""
  cells: Cells = {}
  problems = []
  for result in results:
    for row in result["rows"]:
      if row["protocol"] != protocol:
        continue
      line = Line(row["method"],
                  row.get("retraining_set", row["pretrain_data"]),
                  row.get("augmentation", "-"))
      column = Column(result["experiment"], row["train"], row["test"])
      seeds = cells.setdefault((line, column), {})
      if row["seed"] in seeds:
        problems.append(
            f"two results for seed {row['seed']} of '{column.experiment}': "
            "give each run's folder once; runs with other settings need "
            "another config.experiment")
      seeds[row["seed"]] = row["accuracy"]
  errors.raise_if_any(dict.fromkeys(problems))
  if not cells:
    known = sorted({row["protocol"] for r in results for row in r["rows"]})
    raise errors.UserError(f"no rows of protocol '{protocol}'; there are: "
                           f"{', '.join(known) or 'none'}")
  return cells


def _differences(cells: Cells, lines, columns):
  """(line, column) -> Difference to the column's plain, first line."""
  result = {}
  for column in columns:
    present = [line for line in lines if (line, column) in cells]
    baseline = present[0]
    if baseline.rank[1] != 0:
      continue
    reference = cells[baseline, column]
    for line in present[1:]:
      difference = paired_difference(cells[line, column], reference)
      if difference:
        result[line, column] = difference
  return result


def paired_difference(ours: dict[int, float], reference: dict[int, float]
                      ) -> Difference | None:
  """Of accuracies by seed, over the seeds that both have; None below two."""
  common = sorted(ours.keys() & reference.keys())
  if len(common) < 2:
    return None
  values = np.array([ours[seed] - reference[seed] for seed in common])
  # The t statistic needs a spread; rounding alone is none.
  spread = np.std(values) > 1e-9 * max(1.0, np.max(np.abs(values)))
  p = float(stats.ttest_1samp(values, 0.0).pvalue) if spread else np.nan
  return Difference(values, p)


def _cell(seeds: dict[int, float] | None, difference: Difference | None) -> str:
  if seeds is None:
    return "-"
  values = list(seeds.values())
  if len(values) == 1:
    return f"{values[0]:.1f}"
  mark = " *" if difference is not None and difference.significant else ""
  return (f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f} "
          f"(n={len(values)}){mark}")


def _width(text: str) -> int:
  """Columns on a terminal: the tilde of X̃ takes none."""
  return sum(not unicodedata.combining(character) for character in text)


def _ljust(text: str, width: int) -> str:
  return text + " " * (width - _width(text))


def _as_text(experiments: list[str], body: list[list[str]]) -> list[str]:
  """Aligned columns; each experiment's name stands over its columns."""
  widths = [max(map(_width, cells)) for cells in zip(*body)]
  # An experiment's last column makes room for its name.
  spans: dict[str, list[int]] = {}
  for index, name in enumerate(experiments):
    spans.setdefault(name, []).append(index)
  for name, indices in spans.items():
    room = sum(widths[i] for i in indices) + 2 * (len(indices) - 1)
    widths[indices[-1]] += max(0, _width(name) - room)
  heading = "  ".join(
      _ljust(name, sum(widths[i] for i in indices) + 2 * (len(indices) - 1))
      for name, indices in spans.items())
  table = ["  ".join(_ljust(c, w) for c, w in zip(cells, widths)).rstrip()
           for cells in body]
  rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
  return [heading.rstrip(), table[0], rule] + table[1:]


def _as_markdown(experiments: list[str], body: list[list[str]]) -> list[str]:
  head = [f"{name}<br>{cell}" if name else cell
          for name, cell in zip(experiments, body[0])]
  rows = [head, ["---"] * 3 + ["---:"] * (len(head) - 3)] + [
      [cell.replace("|", r"\|").replace(" *", r" \*") for cell in cells]
      for cells in body[1:]]
  return ["| " + " | ".join(cells) + " |" for cells in rows]


def _as_csv(cells: Cells, lines, columns, differences, protocol: str) -> str:
  out = io.StringIO()
  writer = csv.writer(out, lineterminator="\n")
  writer.writerow(["experiment", "method", "retraining_set", "augmentation",
                   "train", "test", "protocol", "accuracy", "std", "seeds",
                   "difference", "p"])
  for line in lines:
    for column in columns:
      if (line, column) not in cells:
        continue
      values = list(cells[line, column].values())
      std = np.std(values, ddof=1) if len(values) > 1 else ""
      difference = differences.get((line, column))
      compared = ["", ""] if difference is None else [
          np.mean(difference.values), difference.p]
      writer.writerow([column.experiment, *dataclasses.astuple(line),
                       column.train, column.test, protocol, np.mean(values),
                       std, len(values), *compared])
  return out.getvalue()


def load(folders: Sequence[str]) -> list[dict[str, Any]]:
  """Reads results.json of each run folder.

  Raises:
    UserError: lists every folder that has none, or a damaged one.
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
  """What keeps parsed JSON from being results."""
  if (not isinstance(result, dict) or "experiment" not in result
      or not isinstance(result.get("rows"), list)
      or not isinstance(result.get("provenance", {}), dict)):
    return [f"'{path}' is no results file: it lacks 'experiment' or 'rows'"]
  missing = sorted({name for row in result["rows"] for name in _NEEDED
                    if not isinstance(row, dict) or name not in row})
  if missing:
    return [f"'{path}' has rows without: {', '.join(missing)}"]
  return []


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
  flags = parser.parse_args(argv)
  try:
    results = load(flags.folders)
    print(format_table(results, flags.protocol, flags.format), end="")
    if flags.format == "csv":  # has no place for them
      for text in mixture_warnings(results):
        print(f"warning: {text}", file=sys.stderr)
  except errors.UserError as error:
    for problem in error.problems:
      print(f"error: {problem}", file=sys.stderr)
    return 2
  return 0


if __name__ == "__main__":
  sys.exit(main())
