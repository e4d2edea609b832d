"""Figures of a learned chain of operators: distributions of its amounts."""

from collections.abc import Mapping
import os
from typing import Any

import matplotlib.ticker
import numpy as np

from augment_gen.evaluate.amounts import SPOKEN_OF
from augment_gen.figures import canvas as canvas_lib
from augment_gen.figures.canvas import Canvas, LINE, SMALL

_SOURCES = {"prior": "s0", "bank": "s1"}
WIDTH = 640
_ROW, _HEAD = 50, 24
_LEFT, _RIGHT = 190, 80  # room for names, and for shares


def amounts_sheet(described: Mapping[str, Any], path: str | os.PathLike) -> np.ndarray:
  """Writes `draw` as a PNG.

  Args:
    described: from `evaluate.amounts.describe`.
    path: path of the PNG.

  Returns:
    The figure as [height, width, 3] uint8.
  """
  margin = 10
  page = canvas_lib.Png(WIDTH + 2 * margin, height(described) + 2 * margin)
  draw(described, page, margin, margin)
  return page.save(path)


def height(described: Mapping[str, Any]) -> float:
  """The height of what `draw` draws, in units; its width is WIDTH."""
  return _HEAD + _ROW * len(_rows(described))


def draw(described: Mapping[str, Any], canvas: Canvas, left: float = 0, top: float = 0
         ) -> None:
  """The learned distribution of every amount of every operator that is alive.

  A line each for z from the prior and from the bank: 5 % to 95 %, thick from 25 % to
  75 %, with the median as a dot and the share of the images that it touches. The true
  range, where it is known, lies behind them.
  """
  rows = _rows(described)
  if not rows:
    canvas.text(left, top + LINE / 2, "no operator is alive")
    return
  canvas.text(left + WIDTH, top + LINE / 2, "on images", align="right", role="muted",
              size=SMALL)
  for number, (name, unit, entry) in enumerate(rows):
    y = top + _HEAD + number * _ROW
    canvas.text(left, y + 8, name)
    canvas.text(left, y + 8 + LINE, unit, role="muted", size=SMALL)
    _distribution(entry, canvas, left + _LEFT, left + WIDTH - _RIGHT, y)


def _rows(described: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
  """OPERATOR.AMOUNT, its unit, and its distributions."""
  # What lies before the range says what it is; what follows is its unit.
  return [(f"{name}.{amount}", entry["says"].partition("{range}")[2].strip(" ,:;"), entry)
          for name, operator in described["operators"].items() if operator["alive"]
          for amount, entry in operator["amounts"].items()
          if entry["prior"]["share"] >= SPOKEN_OF or entry["true"]]


def _distribution(entry: Mapping[str, Any], canvas: Canvas, left: float, right: float,
                  top: float) -> None:
  found = [entry[source]["quantiles"] for source in _SOURCES]
  ends = np.array([v for values in (*found, entry["true"]) if values
                   for v in (values[0], values[-1])])
  low, high = float(ends.min()), float(ends.max())
  room = 0.04 * (high - low) or 0.5 * abs(high) or 1.0
  low, high = low - room, high + room
  to_x = lambda v: left + (v - low) / (high - low) * (right - left)
  if entry["true"]:
    canvas.box(to_x(entry["true"][0]) - 1, top, to_x(entry["true"][1]) + 1, top + 30,
               "band")
  canvas.line(np.array([[left, top + 32], [right, top + 32]]), "grid", 1)
  for tick in matplotlib.ticker.MaxNLocator(4).tick_values(low, high):
    if low <= tick <= high:
      canvas.text(to_x(tick), top + 39, f"{round(tick, 10):g}", align="center",
                  role="muted", size=SMALL - 1)
  for number, ((source, role), values) in enumerate(zip(_SOURCES.items(), found)):
    y = top + 8 + LINE * number
    if values:
      between = lambda a, b, y=y: np.array([[to_x(a), y], [to_x(b), y]])
      canvas.line(between(values[0], values[-1]), role, 1.2)
      canvas.line(between(values[1], values[3]), role, 5)
      canvas.dots(between(values[2], values[2])[:1], role, 4.5)
      canvas.dots(between(values[2], values[2])[:1], "page", 2.5)
    canvas.text(right + 8, y, source, role=role, size=SMALL)
    canvas.text(right + _RIGHT, y, f"{100 * entry[source]['share']:.0f} %", align="right",
                role=role, size=SMALL)
