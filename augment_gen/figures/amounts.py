"""Figures of a learned chain of operators: distributions of its amounts."""

from collections.abc import Mapping
import os
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
import numpy as np

from augment_gen.figures import drawing

_COLOURS = {"prior": "#1f6fb4", "bank": "#d95f02"}
_TRUE = "#9a9a9a"
_ROW, _WIDTH = 0.34, 7.2  # inches


def amounts_sheet(described: Mapping[str, Any], path: str | os.PathLike) -> np.ndarray:
  """The learned distribution of every amount of every operator that is alive.

  A line each for z from the prior and from the bank: 5 % to 95 %, thick from 25 % to
  75 %, with the median as a dot and the share of the images that it touches. The true
  range, where it is known, lies behind them.

  Args:
    described: from `evaluate.amounts.describe`.
    path: path of the PNG.

  Returns:
    The figure as [height, width, 3] uint8.
  """
  rows = [(f"{name}.{amount}", entry)
          for name, operator in described["operators"].items() if operator["alive"]
          for amount, entry in operator["amounts"].items()
          if entry["prior"]["quantiles"] or entry["true"]]
  figure = Figure(figsize=(_WIDTH, _ROW * 2 * max(len(rows), 1) + 0.5),
                  dpi=drawing.DPI, facecolor="white", layout="constrained")
  FigureCanvasAgg(figure)
  if not rows:
    figure.text(0.5, 0.5, "no operator is alive", ha="center", color=drawing.INK)
    return drawing.save(figure, path)
  axes = np.atleast_1d(figure.subplots(len(rows), 1))
  for axis, (name, entry) in zip(axes, rows, strict=True):
    if entry["true"]:
      low, high = entry["true"]
      axis.axvspan(low, high, color=_TRUE, alpha=0.4, lw=2)
    for height, (source, colour) in enumerate(_COLOURS.items()):
      values = entry[source]["quantiles"]
      if values:
        axis.plot([values[0], values[-1]], [-height] * 2, color=colour, lw=1)
        axis.plot([values[1], values[3]], [-height] * 2, color=colour, lw=3.5)
        axis.plot([values[2]], [-height], "o", color="white", mec=colour, ms=3.5)
      axis.text(1.01, 0.75 - 0.5 * height, f"{source} {100 * entry[source]['share']:.0f} %",
                transform=axis.transAxes, fontsize=6, color=colour, va="center")
    axis.set_ylim(-1.6, 0.6)
    axis.set_yticks([])
    axis.tick_params(axis="x", labelsize=6, length=2, pad=1)
    # What lies before the range says what it is; what follows is its unit.
    unit = entry["says"].partition("{range}")[2].strip(" ,:;")
    axis.set_ylabel(f"{name}\n[{unit}]" if unit else name, rotation=0, ha="right",
                    va="center", fontsize=6)
    for side in ("top", "right", "left"):
      axis.spines[side].set_visible(False)
  return drawing.save(figure, path)
