"""The paper's Table 1: methods, re-training sets, augmentations; over seeds."""

import csv
import dataclasses
import io
from typing import Any

import numpy as np

from augment_gen import errors
from augment_gen.tables import layout


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


# Line, column -> seed -> accuracy in percent.
Cells = dict[tuple[Line, Column], dict[int, float]]


def format_table(results: list[dict[str, Any]], protocol: str,
                 style: str) -> str:
  """One table of experiments with G_A; see `tables.format_table`."""
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
                + [layout.cell(cells.get((line, column)),
                               differences.get((line, column)))
                   for column in columns])
  experiments = ["", "", ""] + [column.experiment for column in columns]
  table = layout.as_lines(experiments, body, style)
  notes = [f"Accuracy in percent; protocol: {protocol}."]
  if differences:
    heading = ("Difference to the first line, paired over common seeds "
               f"(* where p < {layout.SIGNIFICANCE}, t-test, each taken alone):")
    notes += ["", heading, ""]
    notes += [f"  {line.method}, {line.retraining_set}, {column.experiment}, "
              f"{column}: {difference}{' *' * difference.significant}"
              for (line, column), difference in differences.items()]
  if style == "markdown":
    notes = ["- " + note.strip() if note.startswith("  ") else note
             for note in notes]
  return "\n".join(table + [""] + notes).rstrip() + "\n"


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
      difference = layout.paired_difference(cells[line, column], reference)
      if difference:
        result[line, column] = difference
  return result


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
