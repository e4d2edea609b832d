"""Cells and tables, as data and as text, markdown and LaTeX."""

from collections.abc import Mapping, Sequence
import dataclasses
import itertools
import re
from typing import Any
import unicodedata

import numpy as np

from augment_gen.tables.statistics import Difference, Seeds

STYLES = ("text", "markdown", "latex")


class Bold(str):
  """A cell that is best beyond the noise."""


@dataclasses.dataclass(frozen=True)
class Table:
  """A table before it is text.

  Attributes:
    above: the heading over each column; equal headings are written once.
    body: the header, then the rows. `Bold` cells are bold; as text cannot be, they are
      marked there.
    labels: number of columns, from the left, that do not contain numbers.
    notes: lines below it; those that begin with two spaces are items of a list.
  """
  above: list[str]
  body: list[list[str]]
  labels: int
  notes: list[str] = dataclasses.field(default_factory=list)

  def lines(self, style: str) -> list[str]:
    """The table without its notes as lines of text; `style` is one of STYLES."""
    if style == "markdown":
      return _as_markdown(self.above, self.body, self.labels)
    if style == "latex":
      return _as_latex(self.above, self.body, self.labels)
    return _as_text(self.above, self.body)


def cell(seeds: Seeds | None, difference: Difference | None = None,
         bold: bool = False, rows: Sequence[Mapping[str, Any]] = ()) -> str:
  """Formats accuracies by seed, in percent, as mean ± sample std.

  Args:
    seeds: the accuracies; None: there are none.
    difference: from the baseline; marked if it is significant.
    bold: whether it is best beyond the noise.
    rows: the rows of results.json behind it. A single seed has the spread over the draws
      of labels, if it has them.
  """
  if seeds is None:
    return "-"
  values = list(seeds.values())
  if len(values) == 1:
    row = rows[0] if rows else {}
    return f"{values[0]:.1f}" + (
        f" ± {row['draws_std']:.1f} ({row['draws']} draws)" if "draws_std" in row else "")
  mark = " *" if difference is not None and difference.significant else ""
  return (Bold if bold else str)(
      f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f} (n={len(values)}){mark}")


def as_notes(notes: list[str], style: str) -> list[str]:
  """Lines below a table; those that begin with two spaces are items of a list."""
  if style == "markdown":
    return ["- " + note.strip() if note.startswith("  ") else note for note in notes]
  if style == "latex":
    return [f"% {note}".rstrip() for note in notes]
  return notes


def _width(text: str) -> int:
  """Columns that a text takes on a terminal; the tilde of X̃ takes none."""
  return sum(not unicodedata.combining(character) for character in text)


def _ljust(text: str, width: int) -> str:
  return text + " " * (width - _width(text))


def _as_text(experiments: list[str], body: list[list[str]]) -> list[str]:
  """Aligned columns; each experiment's name stands over its columns."""
  body = [[f"{cell} (best)" if isinstance(cell, Bold) else cell for cell in cells]
          for cells in body]
  widths = [max(map(_width, cells)) for cells in zip(*body)]
  # The last of an experiment's neighbouring columns is widened to make room for its name.
  spans = [(name, [index for index, _ in group]) for name, group in itertools.groupby(
      enumerate(experiments), lambda pair: pair[1])]
  for name, indices in spans:
    room = sum(widths[i] for i in indices) + 2 * (len(indices) - 1)
    widths[indices[-1]] += max(0, _width(name) - room)
  heading = "  ".join(
      _ljust(name, sum(widths[i] for i in indices) + 2 * (len(indices) - 1))
      for name, indices in spans)
  table = ["  ".join(_ljust(c, w) for c, w in zip(cells, widths)).rstrip()
           for cells in body]
  rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
  above = [heading.rstrip()] if any(experiments) else []
  return [*above, table[0], rule, *table[1:]]


def _as_markdown(
    experiments: list[str], body: list[list[str]], labels: int) -> list[str]:
  head = [_markdown_cell(f"{name}<br>{cell}" if name else cell)
          for name, cell in zip(experiments, body[0])]
  rows = [head, ["---"] * labels + ["---:"] * (len(head) - labels)] + [
      [_markdown_cell(cell) for cell in cells] for cells in body[1:]]
  return ["| " + " | ".join(cells) + " |" for cells in rows]


def _markdown_cell(cell: str) -> str:
  text = cell.replace("|", r"\|").replace(" *", r" \*")
  return f"**{text}**" if isinstance(cell, Bold) else text


# --- LaTeX -------------------------------------------------------------------

_ESCAPES = {**{c: f"\\{c}" for c in "&%$#_{}"}, "\\": r"\textbackslash{}",
            "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
            "|": r"\textbar{}", "<": r"\textless{}", ">": r"\textgreater{}"}
_SYMBOLS = {"±": r"$\pm$", "→": r"$\to$", "∪": r"$\cup$", "×": r"$\times$",
            "−": "$-$", "β": r"$\beta$", " *": "$^{*}$"}
# Names such as G_A and X̃_f, signed numbers and counts of seeds are mathematics.
_MATHS = re.compile("(?P<letter>[A-Z])(?P<tilde>\N{COMBINING TILDE}?)_(?P<index>[A-Za-z])"
                    r"(?![A-Za-z])|\(n=(?P<seeds>\d+)\)|(?<!\S)(?P<signed>[+-]\d+\.\d+)")
_SPECIAL = re.compile("|".join(map(re.escape, sorted(
    {**_ESCAPES, **_SYMBOLS}, key=len, reverse=True))))


def latex(text: str) -> str:
  """Text with LaTeX's special characters escaped, and mathematics as mathematics."""
  parts, end = [], 0
  for found in _MATHS.finditer(text):
    parts += [_escaped(text[end:found.start()]), _maths(found.groupdict())]
    end = found.end()
  return "".join([*parts, _escaped(text[end:])])


def _escaped(text: str) -> str:
  return _SPECIAL.sub(lambda m: (_ESCAPES | _SYMBOLS)[m[0]], text)


def _maths(found: Mapping[str, str]) -> str:
  if found["seeds"]:
    return f"($n={found['seeds']}$)"
  if found["signed"]:
    return f"${found['signed']}$"
  letter = rf"\tilde{{{found['letter']}}}" if found["tilde"] else found["letter"]
  return f"${letter}_{{{found['index']}}}$"


def _as_latex(above: list[str], body: list[list[str]], labels: int) -> list[str]:
  """A tabular with the rules of booktabs."""
  row = lambda cells: "  " + " & ".join(
      rf"\textbf{{\boldmath {latex(cell)}}}" if isinstance(cell, Bold) else latex(cell)
      for cell in cells) + r" \\"
  columns = "l" * labels + "r" * (len(body[0]) - labels)
  heading, rules = [], []
  first = 0
  while any(above) and first < len(above):
    width = 1
    while first + width < len(above) and above[first + width] == above[first]:
      width += 1
    if above[first]:
      heading.append(rf"\multicolumn{{{width}}}{{c}}{{{latex(above[first])}}}")
      rules.append(rf"\cmidrule(lr){{{first + 1}-{first + width}}}")
    else:
      heading += [""] * width
    first += width
  lines = [r"% \usepackage{booktabs}", rf"\begin{{tabular}}{{{columns}}}", r"  \toprule"]
  if heading:
    lines += ["  " + " & ".join(heading) + r" \\", "  " + "".join(rules)]
  return [*lines, row(body[0]), r"  \midrule", *map(row, body[1:]), r"  \bottomrule",
          r"\end{tabular}"]
