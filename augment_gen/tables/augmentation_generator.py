"""The paper's Table 1 over seeds: methods, re-training sets and augmentations."""

from collections.abc import Iterator
import csv
import dataclasses
import io
from typing import Any

import numpy as np

from augment_gen.config import errors
from augment_gen.tables import layout, published

ADABN = ", AdaBN"
UNTRAINED = "untrained encoder"
LOADED = "encoder as loaded"  # from config.encoder.init, not trained any further


@dataclasses.dataclass(frozen=True)
class Line:
  """A row of the table."""
  method: str
  retraining_set: str
  augmentation: str

  @property
  def encoder(self) -> str:
    """The method without the suffix for AdaBN."""
    return self.method.removesuffix(ADABN)

  @property
  def adapted(self) -> bool:
    """Whether the batch-norm statistics are those of X̃_f."""
    return self.method.endswith(ADABN)

  @property
  def kind(self) -> str:
    """What was added to the pre-trained encoder; "" for nothing."""
    if self.encoder in (UNTRAINED, LOADED):
      return self.encoder
    return self.encoder.partition(" + ")[2]

  @property
  def is_reference(self) -> bool:
    """Whether it is one of the paper's reference rows, which saw X̃_f in stage 1."""
    return "∪" in self.retraining_set

  @property
  def is_control(self) -> bool:
    """Whether it has no additional augmentation and is not a reference row."""
    return self.kind in ("", "control", UNTRAINED, LOADED) and not self.is_reference

  @property
  def is_ours(self) -> bool:
    return self.kind.startswith("G_A") and not self.adapted

  @property
  def rank(self) -> tuple[bool, int]:
    """The paper's order: baseline, ours, controls, oracle; references last."""
    kinds = {"": 0, LOADED: 1, "G_A": 2, "oracle": 4, UNTRAINED: 5}
    return self.is_reference, kinds.get(self.kind, 3)


@dataclasses.dataclass(frozen=True)
class Column:
  experiment: str
  train: str
  test: str

  def __str__(self):
    return f"{self.train} → {self.test}"


# (line, column) -> seed -> accuracy in percent.
Cells = dict[tuple[Line, Column], dict[int, float]]


@dataclasses.dataclass(frozen=True)
class Gain:
  """What G_A gains over the best of the rows that it must beat, in one column.

  Attributes:
    column: the column.
    ours: the row with G_A.
    rival: "best control", "untrained G_A" or "oracle".
    best: the row of that kind with the best mean over common seeds.
    accuracies: of `ours` and `best`, means in percent over common seeds.
    difference: over common seeds; None if there is only one.
  """
  column: Column
  ours: Line
  rival: str
  best: Line
  accuracies: tuple[float, float]
  difference: layout.Difference | None

  @property
  def points(self) -> float:
    return self.accuracies[0] - self.accuracies[1]

  def __str__(self):
    return str(self.difference or f"{self.points:+.2f} (one seed)")


def format_table(results: list[dict[str, Any]], protocol: str,
                 style: str) -> str:
  """Formats the table of experiments with G_A; see `tables.format_table`."""
  if style == "csv":
    return _as_csv(results, protocol)
  table = of_results(results, protocol)
  notes = table.notes
  if style == "markdown":
    notes = ["- " + note.strip() if note.startswith("  ") else note
             for note in notes]
  return "\n".join([*table.lines(style), "", *notes]).rstrip() + "\n"


def of_results(results: list[dict[str, Any]], protocol: str, with_paper: bool = False
               ) -> layout.Table:
  """The table of experiments with G_A.

  Args:
    results: see `tables.format_table`.
    protocol: the protocol whose accuracies are shown.
    with_paper: adds the paper's numbers behind the columns that it has, too.
  """
  cells, lines, columns = _sorted(results, protocol)
  differences = _differences(cells, lines, columns)
  above, header = ["", "", ""], ["Method", "Re-training set", "Additional augmentation"]
  rows = [[line.method, line.retraining_set, line.augmentation] for line in lines]
  for column in columns:
    above.append(column.experiment)
    header.append(str(column))
    for row, line in zip(rows, lines):
      row.append(layout.cell(cells.get((line, column)), differences.get((line, column))))
    theirs = [published.of_paper(column.experiment, line.method, line.retraining_set,
                                 column.train, column.test) for line in lines]
    if with_paper and any(value is not None for value in theirs):
      above.append(column.experiment)
      header.append(f"{column}, the paper")
      for row, value in zip(rows, theirs):
        row.append("-" if value is None else f"{value:.2f}")
  notes = [f"Accuracy in percent; protocol: {protocol}."]
  notes += _unconverged(results, protocol)
  if found := list(_gains(cells, lines, columns)):
    notes += ["", "Gains over the best control, over an untrained G_A, and over the "
              "true augmentation, paired over common seeds:", ""]
    notes += [f"  {gain.column.experiment}, {gain.column}: {gain.ours.method} less the "
              f"{gain.rival} ({gain.best.method}): {gain}" for gain in found]
  if differences:
    heading = ("Difference to the first line, paired over common seeds "
               f"(* where p < {layout.SIGNIFICANCE}, t-test, each taken alone):")
    notes += ["", heading, ""]
    notes += [f"  {line.method}, {line.retraining_set}, {column.experiment}, "
              f"{column}: {difference}{' *' * difference.significant}"
              for (line, column), difference in differences.items()]
  return layout.Table([*above], [header, *rows], 3, notes)


def gains(results: list[dict[str, Any]], protocol: str) -> list[Gain]:
  """What each row with G_A gains over the rows that it must beat."""
  return list(_gains(*_sorted(results, protocol)))


def _sorted(results, protocol: str) -> tuple[Cells, list[Line], list[Column]]:
  """The cells, and the lines and columns in order."""
  cells = _collect(results, protocol)
  columns = sorted(
      dict.fromkeys(column for _, column in cells),
      key=lambda c: [r["experiment"] for r in results].index(c.experiment))
  return cells, _in_order(dict.fromkeys(line for line, _ in cells)), columns


def _in_order(lines) -> list[Line]:
  """Sorts lines by rank; an encoder's line with AdaBN follows the one without."""
  encoders = list(dict.fromkeys(line.encoder for line in lines))
  return sorted(lines, key=lambda line: (
      line.rank, encoders.index(line.encoder), line.adapted))


def _unconverged(results, protocol: str) -> list[str]:
  methods = dict.fromkeys(
      row["method"] for result in results for row in result["rows"]
      if row["protocol"] == protocol and row.get("converged") is False)
  if not methods:
    return []
  return ["The probe had not converged, so that the accuracy is too low rather than "
          f"too high, of: {'; '.join(methods)} (raise "
          "config.evaluate.l2_iterations)."]


def _gains(cells: Cells, lines, columns) -> Iterator[Gain]:
  for column in columns:
    for ours in (line for line in lines if line.is_ours):
      if (ours, column) not in cells:
        continue
      rivals = {
          "best control": [line for line in lines if line.is_control],
          "untrained G_A": [line for line in lines if line.kind == "random G_A"],
          "oracle": [line for line in lines if line.kind == "oracle"]}
      for name, others in rivals.items():
        best = _best(cells, ours, others, column)
        if best is not None:
          yield _gain(column, ours, name, best, cells)


def _best(cells: Cells, ours: Line, others: list[Line], column) -> Line | None:
  """The line with the best mean over the seeds that it shares with `ours`."""
  mine = cells[ours, column]
  means: dict[Line, float] = {}
  for line in others:
    theirs = cells.get((line, column), {})
    if common := mine.keys() & theirs.keys():
      means[line] = float(np.mean([theirs[seed] for seed in common]))
  return max(means, key=means.__getitem__, default=None)


def _gain(column: Column, ours: Line, rival: str, best: Line, cells: Cells) -> Gain:
  mine, theirs = cells[ours, column], cells[best, column]
  common = sorted(mine.keys() & theirs.keys())
  means = tuple(float(np.mean([of[seed] for seed in common])) for of in (mine, theirs))
  return Gain(column, ours, rival, best, (means[0], means[1]),
              layout.paired_difference(mine, theirs))


def _collect(results, protocol: str) -> Cells:
  """Sorts the accuracies of one protocol into the table's cells."""
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
  """(line, column) -> Difference from the column's first line, the plain baseline."""
  result = {}
  for column in columns:
    present = [line for line in lines if (line, column) in cells]
    baseline = present[0]
    if baseline.kind not in ("", LOADED) or baseline.adapted:
      continue
    reference = cells[baseline, column]
    for line in present[1:]:
      difference = layout.paired_difference(cells[line, column], reference)
      if difference:
        result[line, column] = difference
  return result


def _as_csv(results, protocol: str) -> str:
  cells, lines, columns = _sorted(results, protocol)
  differences = _differences(cells, lines, columns)
  out = io.StringIO()
  writer = csv.writer(out, lineterminator="\n")
  writer.writerow(["experiment", "method", "retraining_set", "augmentation",
                   "train", "test", "protocol", "accuracy", "std", "seeds",
                   "difference", "ci_low", "ci_high", "p"])
  for line in lines:
    for column in columns:
      if (line, column) not in cells:
        continue
      values = list(cells[line, column].values())
      std = np.std(values, ddof=1) if len(values) > 1 else ""
      difference = differences.get((line, column))
      compared = [""] * 4 if difference is None else [
          difference.mean, *difference.interval, difference.p]
      writer.writerow([column.experiment, *dataclasses.astuple(line),
                       column.train, column.test, protocol, np.mean(values),
                       std, len(values), *compared])
  return out.getvalue()
