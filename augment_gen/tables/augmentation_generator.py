"""The paper's Table 1 over seeds: methods, re-training sets and augmentations."""

from collections.abc import Iterator, Mapping
import dataclasses
import itertools
from typing import Any

import numpy as np

from augment_gen.config import errors
from augment_gen.tables import health, layout, papers, records, spent, statistics
from augment_gen.tables.results import (
  ADABN,
  BEFORE_TRAINING,
  LOADED,
  protocol_words,
  UNTRAINED,
)


@dataclasses.dataclass(frozen=True)
class Line:
  """A row of the table.

  Attributes:
    method: such as "MoCo v2 + G_A".
    retraining_set: what it was trained on last, such as "X_p"; "X_p after X_p ∪ X̃_f" if
      it saw X̃_f in stage 1 alone.
    augmentation: what was added to the hand-made augmentations.
  """
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
  def base(self) -> str:
    """The pre-trainer, such as "MoCo v2"."""
    return self.encoder.partition(" + ")[0]

  @property
  def kind(self) -> str:
    """What was added to the pre-trained encoder; "" for nothing."""
    if self.is_before_training:
      return self.encoder
    return self.encoder.partition(" + ")[2]

  @property
  def is_before_training(self) -> bool:
    """Whether no pre-trainer has trained F, so that the row is the same for all."""
    return self.encoder in BEFORE_TRAINING

  @property
  def saw_finetune(self) -> bool:
    """Whether it saw X̃_f in stage 1, as the paper's reference rows did."""
    return "∪" in self.retraining_set

  @property
  def is_reference(self) -> bool:
    """Whether it is one of the paper's reference rows, which have no stage 3."""
    return self.saw_finetune and not self.kind

  @property
  def start(self) -> tuple[str, bool]:
    """What was added to: the pre-trainer, and whether it saw X̃_f."""
    return self.base, self.saw_finetune

  @property
  def is_control(self) -> bool:
    """Whether it has no additional augmentation and is not a reference row."""
    return self.kind in ("", "control", *BEFORE_TRAINING) and not self.is_reference

  @property
  def may_be_best(self) -> bool:
    """Whether it is a method: not given the true augmentation, nor a reference row."""
    return self.kind != "oracle" and not self.saw_finetune

  @property
  def is_ours(self) -> bool:
    return self.kind.startswith("G_A") and not self.adapted

  @property
  def rank(self) -> int:
    """The paper's order of a pre-trainer's rows: baseline, ours, controls, oracle."""
    return {"": 0, LOADED: 1, "G_A": 2, "oracle": 4}.get(self.kind, 3)


@dataclasses.dataclass(frozen=True)
class Column:
  experiment: str
  train: str
  test: str

  def __str__(self):
    return f"{self.train} → {self.test}"


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
  difference: statistics.Difference | None

  @property
  def points(self) -> float:
    return self.accuracies[0] - self.accuracies[1]

  def __str__(self):
    return str(self.difference or f"{self.points:+.2f} (one seed)")


# (line, column) -> seed -> accuracy in percent.
Cells = dict[tuple[Line, Column], dict[int, float]]


def format_table(results: list[dict[str, Any]], protocol: str, style: str,
                 cost: bool = False) -> str:
  """Formats the table of experiments with G_A; see `tables.format_table`.

  Source: Hayase et al., Table 1.
  """
  table = of_results(results, protocol, cost)
  return "\n".join(
      [*table.lines(style), "", *layout.as_notes(table.notes, style)]).rstrip() + "\n"


def of_results(results: list[dict[str, Any]], protocol: str, cost: bool = False
               ) -> layout.Table:
  """The table of experiments with G_A, with the paper's numbers where it has them.

  Args:
    results: see `tables.format_table`.
    protocol: the protocol whose accuracies are shown.
    cost: whether columns say what the training of a row has cost.
  """
  found = _Found(results, protocol)
  above, body = ["", "", ""], [["Method", "Re-training set", "Additional augmentation"]]
  body += [[line.method, line.retraining_set, line.augmentation] for line in found.lines]
  for _, group in itertools.groupby(found.columns, lambda c: (c.experiment, c.train)):
    columns = list(group)
    for column in columns:
      _add_column(found, column, above, body)
    if cost:
      _add_costs(found, columns, above, body)
  notes = [f"Accuracy in percent; protocol: {protocol_words(results, protocol)}."]
  notes += dict.fromkeys(
      f"paper: {papers.source(column.experiment)}." for column in found.columns
      if papers.reference(column.experiment))
  notes += [spent.NOTE] if cost else []
  notes += _unconverged(results, protocol) + health.note(results)
  if found.best:
    notes += ["", "Best beyond the noise: the 95 % interval of the difference to the "
              "second best, paired over common seeds, lies above 0; the oracle and rows "
              "that saw X̃_f in stage 1 are left out:", ""]
    notes += [f"  {column.experiment}, {column}: {first.method} less {second.method}: "
              f"{difference}" for column, (first, second, difference) in found.best.items()]
  if of_ours := list(_gains(found)):
    notes += ["", "Gains over the best control, over an untrained G_A, and over the "
              "true augmentation, paired over common seeds:", ""]
    notes += [f"  {gain.column.experiment}, {gain.column}: {gain.ours.method} less the "
              f"{gain.rival} ({gain.best.method}): {gain}" for gain in of_ours]
  if found.differences:
    several = len({baseline for baseline, _ in found.differences.values()}) > 1
    of = "line of the pre-trainer alone" if several else "first line"
    notes += ["", f"Difference to the {of}, paired over common seeds "
              f"(* where p < {statistics.SIGNIFICANCE}, t-test, each taken alone):", ""]
    notes += [f"  {line.method}, {line.retraining_set}"
              + (f", less {baseline.method}" if several else "")
              + f", {column.experiment}, {column}: {difference}"
              f"{' *' * difference.significant}"
              for (line, column), (baseline, difference) in found.differences.items()]
  if others := list(_between_experiments(found)):
    notes += ["", "Difference to the first experiment, of the same row and paired over "
              "common seeds:", "", *others]
  return layout.Table(above, body, 3, notes)


def gains(results: list[dict[str, Any]], protocol: str) -> list[Gain]:
  """What each row with G_A gains over the rows that it must beat."""
  return list(_gains(_Found(results, protocol)))


def as_records(results: list[dict[str, Any]], protocol: str) -> list[records.Record]:
  """The numbers of the table, one record for each cell; see `tables.format_table`."""
  found = _Found(results, protocol)
  out = []
  for (line, column), seeds in found.in_order():
    paper = papers.reference(column.experiment).get(found.reported(line, column))
    best = found.best.get(column)
    out.append({
        "experiment": column.experiment, **dataclasses.asdict(line),
        "train": column.train, "test": column.test, "protocol": protocol,
        **records.numbers(seeds, found.difference(line, column)),
        "best": best is not None and best[0] == line,
        "paper": paper.mean if paper else None,
        **spent.numbers(found.rows(line, column))})
  return out


class _Found:
  """The results of one protocol, as the table arranges them.

  Attributes:
    cells: accuracies by line, column and seed.
    lines, columns: in the table's order.
    differences: (line, column) -> the line that it is compared with, and the difference:
      the line of its pre-trainer alone; if there is none, the column's first line, if that
      is a plain baseline.
    best: column -> the line that is best beyond the noise, the second best, and their
      difference.
  """

  def __init__(self, results: list[dict[str, Any]], protocol: str):
    self.cells, self._rows = _collect(results, protocol)
    self.lines = _in_order(dict.fromkeys(line for line, _ in self.cells))
    self.columns = sorted(
        dict.fromkeys(column for _, column in self.cells),
        key=lambda c: list(dict.fromkeys(
            (r["experiment"], row["train"]) for r in results for row in r["rows"]
        )).index((c.experiment, c.train)))
    self.differences = _differences(self.cells, self.lines, self.columns)
    self.best = {}
    for column in self.columns:
      rivals = {line: self.cells[line, column] for line in self.lines
                if (line, column) in self.cells and line.may_be_best}
      if best := statistics.best(rivals):
        self.best[column] = best

  def in_order(self) -> Iterator[tuple[tuple[Line, Column], dict[int, float]]]:
    """((line, column), accuracies), line by line."""
    for line in self.lines:
      for column in self.columns:
        if (line, column) in self.cells:
          yield (line, column), self.cells[line, column]

  def rows(self, line: Line, column: Column) -> list[dict[str, Any]]:
    """The rows of results.json that are behind a cell, one for each seed."""
    return self._rows.get((line, column), [])

  def difference(self, line: Line, column: Column) -> statistics.Difference | None:
    """The difference of a cell to that of the line that it is compared with."""
    return self.differences.get((line, column), (None, None))[1]

  def reported(self, line: Line, column: Column) -> tuple[str, str]:
    """The name of a cell in `papers.reference`."""
    return papers.method_name(line.method, line.retraining_set), str(column)


def _add_column(found: _Found, column: Column, above: list[str], body: list[list[str]]
                ) -> None:
  """Adds our accuracies, and beside them the paper's, if it has this experiment."""
  reported = papers.reference(column.experiment)
  body[0].append(str(column))
  above.append(column.experiment)
  for line, cells in zip(found.lines, body[1:]):
    best = found.best.get(column)
    cells.append(layout.cell(
        found.cells.get((line, column)), found.difference(line, column),
        bold=best is not None and best[0] == line, rows=found.rows(line, column)))
  if reported:
    body[0].append("paper")
    above.append(column.experiment)
    for line, cells in zip(found.lines, body[1:]):
      cells.append(str(reported.get(found.reported(line, column), "-")))


def _add_costs(found: _Found, columns: list[Column], above: list[str],
               body: list[list[str]]) -> None:
  """Adds what the training behind the rows of these columns has cost."""
  above += [columns[0].experiment] * len(spent.TITLES)
  body[0] += spent.TITLES
  for line, cells in zip(found.lines, body[1:]):
    # The columns differ in the test set alone, so any of them tells it.
    cells += spent.cells(next(
        (rows for column in columns if (rows := found.rows(line, column))), []))


def _in_order(lines) -> list[Line]:
  """Sorts lines: each pre-trainer's, the untrained encoder, then those that saw X̃_f.

  An encoder's line with AdaBN follows the one without.
  """
  encoders = list(dict.fromkeys(line.encoder for line in lines))
  bases = list(dict.fromkeys(line.base for line in lines if not line.is_before_training))
  return sorted(lines, key=lambda line: (
      line.saw_finetune, line.encoder == UNTRAINED,
      bases.index(line.base) if line.base in bases else 0,
      line.rank, encoders.index(line.encoder), line.adapted))


def _unconverged(results, protocol: str) -> list[str]:
  methods = dict.fromkeys(
      row["method"] for result in results for row in result["rows"]
      if row["protocol"] == protocol and row.get("converged") is False)
  if not methods:
    return []
  return ["The probe had not converged, so that the accuracy is too low rather than "
          f"too high, of: {'; '.join(methods)} (the run's command with more "
          "config.evaluate.l2_iterations measures it anew)."]


def _gains(found: _Found) -> Iterator[Gain]:
  cells, lines, columns = found.cells, found.lines, found.columns
  for column in columns:
    for ours in (line for line in lines if line.is_ours):
      if (ours, column) not in cells:
        continue
      # What another pre-trainer does is no measure of what G_A adds to this one.
      same = [line for line in lines
              if line.is_before_training or line.start == ours.start]
      rivals = {
          "best control": [line for line in same if line.is_control],
          "untrained G_A": [line for line in same if line.kind == "random G_A"],
          "oracle": [line for line in same if line.kind == "oracle"]}
      for name, others in rivals.items():
        best = _best(cells, ours, others, column)
        if best is not None:
          yield _gain(column, ours, name, best, cells)


def _between_experiments(found: _Found) -> Iterator[str]:
  """Lines of text: what a row gains over itself in the first experiment, as of a sweep."""
  first: dict[tuple[str, str], Column] = {}
  for column in found.columns:
    reference = first.setdefault((column.train, column.test), column)
    for line in found.lines:
      pair = [found.cells.get((line, c), {}) for c in (column, reference)]
      if column != reference and line.is_ours and (
          difference := statistics.paired_difference(*pair)):
        yield (f"  {line.method}, {column}: {column.experiment} less "
               f"{reference.experiment}: {difference}")


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
              statistics.paired_difference(mine, theirs))


def _collect(results, protocol: str
             ) -> tuple[Cells, dict[tuple[Line, Column], list[dict[str, Any]]]]:
  """Sorts the accuracies of one protocol, and their rows, into the table's cells."""
  cells: Cells = {}
  rows: dict[tuple[Line, Column], list[dict[str, Any]]] = {}
  problems = []
  for result in results:
    for row in result["rows"]:
      if row["protocol"] != protocol:
        continue
      line = Line(row["method"], _retraining_set(row), row.get("augmentation", "-"))
      column = Column(result["experiment"], row["train"], row["test"])
      seeds = cells.setdefault((line, column), {})
      if row["seed"] in seeds and line.is_before_training:
        continue  # of a run with another pre-trainer, which began with the same weights
      if row["seed"] in seeds:
        problems.append(
            f"two results for seed {row['seed']} of '{column.experiment}': "
            "give each run's folder once; runs with other settings need "
            "another config.experiment")
      seeds[row["seed"]] = row["accuracy"]
      rows.setdefault((line, column), []).append(row)
  errors.raise_if_any(dict.fromkeys(problems))
  return cells, rows


def _retraining_set(row: Mapping[str, Any]) -> str:
  """What an encoder was trained on last, and whether it saw more in stage 1."""
  last, first = row.get("retraining_set", row["pretrain_data"]), row["pretrain_data"]
  return f"{last} after {first}" if "∪" in first and "∪" not in last else last


def _differences(cells: Cells, lines, columns
                 ) -> dict[tuple[Line, Column], tuple[Line, statistics.Difference]]:
  """(line, column) -> Difference; see `_Found`."""
  result = {}
  for column in columns:
    present = [line for line in lines if (line, column) in cells]
    plain = [line for line in present if line.kind in ("", LOADED) and not line.adapted]
    if not present or present[0] not in plain:
      continue
    # The first of each. What the paper's reference rows add is their set of stage 1.
    alone = {line.base: line for line in reversed(plain) if not line.saw_finetune}
    for line in present:
      baseline = alone.get(line.base, present[0])
      difference = statistics.paired_difference(
          cells[line, column], cells[baseline, column])
      if difference and line != baseline:
        result[line, column] = baseline, difference
  return result
