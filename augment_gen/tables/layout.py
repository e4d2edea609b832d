"""Cells and tables, as data and as text, and differences over seeds."""

import dataclasses
import unicodedata

import numpy as np
from scipy import stats

SIGNIFICANCE = 0.05


@dataclasses.dataclass(frozen=True)
class Table:
  """A table before it is text.

  Attributes:
    above: the heading over each column; equal headings are one heading.
    body: the header, then the rows.
    labels: number of columns, from the left, that do not contain numbers.
    notes: lines below it.
  """
  above: list[str]
  body: list[list[str]]
  labels: int
  notes: list[str] = dataclasses.field(default_factory=list)

  def lines(self, style: str) -> list[str]:
    """The table without its notes as lines of text; `style`: "text" or "markdown"."""
    return (_as_markdown(self.above, self.body, self.labels) if style == "markdown"
            else _as_text(self.above, self.body))


@dataclasses.dataclass(frozen=True)
class Difference:
  """The difference of two accuracies, over the seeds that both have."""
  values: np.ndarray  # percentage points, one per seed, at least two
  p: float  # p-value of the paired t-test; NaN if it is not defined

  @property
  def significant(self) -> bool:
    return self.p < SIGNIFICANCE

  @property
  def mean(self) -> float:
    return float(np.mean(self.values))

  @property
  def interval(self) -> tuple[float, float]:
    """The 95 % confidence interval of the mean over all seeds (Student's t)."""
    if np.isnan(self.p):
      return np.nan, np.nan
    n = len(self.values)
    reach = stats.t.ppf(1 - SIGNIFICANCE / 2, n - 1) * np.std(
        self.values, ddof=1) / np.sqrt(n)
    return self.mean - float(reach), self.mean + float(reach)

  def __str__(self):
    n = len(self.values)
    if np.isnan(self.p):
      return f"{self.mean:+.2f} (n={n}, no spread: interval and p not defined)"
    low, high = self.interval
    return (f"{self.mean:+.2f}, 95 % interval [{low:+.2f}, {high:+.2f}] (n={n}), "
            f"p = {self.p:.2g}")


def paired_difference(ours: dict[int, float], reference: dict[int, float]
                      ) -> Difference | None:
  """The difference over the seeds that both have; None for fewer than two seeds."""
  common = sorted(ours.keys() & reference.keys())
  if len(common) < 2:
    return None
  values = np.array([ours[seed] - reference[seed] for seed in common])
  # The t statistic needs a spread beyond rounding errors.
  spread = np.std(values) > 1e-9 * max(1.0, np.max(np.abs(values)))
  p = float(stats.ttest_1samp(values, 0.0).pvalue) if spread else np.nan
  return Difference(values, p)


def cell(seeds: dict[int, float] | None,
         difference: Difference | None = None) -> str:
  """Formats accuracies by seed, in percent, as mean ± sample std."""
  if seeds is None:
    return "-"
  values = list(seeds.values())
  if len(values) == 1:
    return f"{values[0]:.1f}"
  mark = " *" if difference is not None and difference.significant else ""
  return (f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f} "
          f"(n={len(values)}){mark}")


def _width(text: str) -> int:
  """Columns that a text takes on a terminal; the tilde of X̃ takes none."""
  return sum(not unicodedata.combining(character) for character in text)


def _ljust(text: str, width: int) -> str:
  return text + " " * (width - _width(text))


def _as_text(experiments: list[str], body: list[list[str]]) -> list[str]:
  """Aligned columns; each experiment's name stands over its columns."""
  widths = [max(map(_width, cells)) for cells in zip(*body)]
  # An experiment's last column is widened to make room for its name.
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
  above = [heading.rstrip()] if any(experiments) else []
  return [*above, table[0], rule, *table[1:]]


def _as_markdown(
    experiments: list[str], body: list[list[str]], labels: int) -> list[str]:
  head = [f"{name}<br>{cell}" if name else cell
          for name, cell in zip(experiments, body[0])]
  rows = [head, ["---"] * labels + ["---:"] * (len(head) - labels)] + [
      [cell.replace("|", r"\|").replace(" *", r" \*") for cell in cells]
      for cells in body[1:]]
  return ["| " + " | ".join(cells) + " |" for cells in rows]
