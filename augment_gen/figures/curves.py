"""Curves over training steps, from metrics.jsonl."""

from collections.abc import Iterable, Mapping
import os
import re
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
import matplotlib.ticker
import numpy as np

from augment_gen.figures import drawing

# Name of a panel -> pattern that is searched for in the names of metrics. The first
# match wins; metrics without a match (parameter norms, speed) are not drawn.
FAMILIES = {
    "nearest neighbours, %": r"knn|probe",
    "health": r"^health/",
    "effective rank of F": r"^gauges/(effective_rank|(added_)?lidar)$",
    "gauges of F": r"^gauges/(?!dimensions)",
    "accuracy": r"accuracy",
    "I(X; Z) and H(T|X), nats": r"/(information|entropy|alignment|uniformity)$",
    "part of P's mass": r"mass",
    "gradient norm": r"grad_norm",
    "gauges": r"std|edit|error|rank",
    "loss": r"loss|adversarial|cycle|latent",
}
ORDER = ("loss", "I(X; Z) and H(T|X), nats", "part of P's mass", "accuracy",
         "gradient norm", "gauges", "gauges of F", "effective rank of F", "health",
         "nearest neighbours, %")
PANEL = (3.6, 2.1)  # inches
SMOOTH_ABOVE = 100  # points; longer curves get a running mean over 1/25 of their points

# Okabe & Ito: distinguishable for everyone, also in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9",
           "#000000", "#999999")

# stage -> family -> metric -> [(step, value)]
Panels = dict[str, dict[str, dict[str, list[tuple[int, float]]]]]


def loss_curves(metrics: Iterable[Mapping[str, Any]],
                path: str | os.PathLike) -> np.ndarray:
  """Draws one row of panels per stage, one panel per family of metrics.

  Args:
    metrics: lines of metrics.jsonl: {"step", "stage", name: value, …}.
    path: path of the PNG.

  Returns:
    The figure as [height, width, 3] uint8; blank if there is nothing to draw.
  """
  panels = _sort(metrics) or {"": {}}
  rows, columns = len(panels), max(1, *map(len, panels.values()))
  figure = Figure(figsize=(columns * PANEL[0], rows * PANEL[1]), dpi=drawing.DPI,
                  layout="constrained", facecolor="white")
  FigureCanvasAgg(figure)
  axes = figure.subplots(rows, columns, squeeze=False)
  for row, (stage, families) in zip(axes, panels.items()):
    for ax in row[len(families):]:
      ax.set_axis_off()
    for ax, family in zip(row, [f for f in ORDER if f in families]):
      _draw(ax, families[family], log=family == "gradient norm")
      ax.set_title(f"{stage}: {family}" if stage else family, fontsize=8,
                   loc="left", color=drawing.INK)
  return drawing.save(figure, path)


def _sort(metrics: Iterable[Mapping[str, Any]]) -> Panels:
  """Sorts lines into curves, in the order in which stages and metrics appear."""
  panels: Panels = {}
  for line in metrics:
    for name, value in line.items():
      family = next((family for family, pattern in FAMILIES.items()
                     if re.search(pattern, name)), None)
      if name in ("step", "stage") or family is None:
        continue
      (panels.setdefault(line.get("stage", ""), {}).setdefault(family, {})
       .setdefault(name, []).append((line["step"], value)))
  return panels


def _draw(ax: Axes, curves: Mapping[str, list[tuple[int, float]]],
          log: bool) -> None:
  """Draws curves into one panel; `log` makes the value axis logarithmic."""
  for index, (name, points) in enumerate(curves.items()):
    steps, values = np.array(sorted(points), np.float64).T
    colour = COLOURS[index % len(COLOURS)]
    style = ("-", "--", ":")[index // len(COLOURS) % 3]
    marker = "." if len(steps) < 10 else ""
    if len(steps) > SMOOTH_ABOVE:
      ax.plot(steps, values, color=colour, alpha=0.2, linewidth=0.6)
      values = _running_mean(values, len(values) // 25)
    ax.plot(steps, values, color=colour, linestyle=style, linewidth=1.1,
            marker=marker, label=name)
  ax.legend(fontsize=6, frameon=False, handlelength=1.2, labelspacing=0.3,
            borderaxespad=0.0, loc="upper left", bbox_to_anchor=(1.02, 1.0))
  ax.set_xlabel("step", fontsize=7, color=drawing.INK)
  if log:
    ax.set_yscale("log")
  else:
    ax.ticklabel_format(axis="y", useOffset=False)
  ax.tick_params(which="both", labelsize=6.5, width=0.6, color=drawing.INK)
  ax.xaxis.set_major_formatter(
      matplotlib.ticker.EngFormatter(sep="", places=None))
  ax.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5, integer=True))
  ax.grid(True, linewidth=0.4, alpha=0.4)
  ax.spines[["top", "right"]].set_visible(False)


def _running_mean(values: np.ndarray, window: int) -> np.ndarray:
  """Centred mean over finite values; the window narrows at the ends."""
  finite = np.isfinite(values)
  sums = np.concatenate([[0.0], np.cumsum(np.where(finite, values, 0.0))])
  counts = np.concatenate([[0], np.cumsum(finite)])
  place = np.arange(len(values))
  reach = np.minimum(window // 2, np.minimum(place, len(values) - 1 - place))
  low, high = place - reach, place + reach + 1
  count = counts[high] - counts[low]
  return np.where(count > 0, (sums[high] - sums[low]) / np.maximum(count, 1),
                  np.nan)
