"""Curves over training steps, from metrics.jsonl, in panels of a few curves each."""

import collections
from collections.abc import Iterable, Iterator, Mapping
import os
import re
from typing import Any, NamedTuple

import matplotlib.ticker
import numpy as np

from augment_gen.figures import canvas as canvas_lib
from augment_gen.figures.canvas import Canvas, LINE, SMALL

# Title of a panel -> pattern that is searched for in the names of metrics. The first match
# wins, so that a name belongs to one panel.
FAMILIES = {
    "loss": r"^((generator|encoder)/)?loss$",
    "adversarial losses of the generators": r"^generator/adversarial",
    "losses of D_f and D_p": r"^discriminator/(loss|penalty)",
    "share of what D_f and D_p get right": r"^discriminator/accuracy",
    "cycle losses": r"^generator/cycle",
    "mean change by G_A and G_E": r"/edit_[ae]$",
    "error of G_L, distance of the bank": r"^generator/(latent_error|bank_distance)$",
    "cost of strengths": r"^generator/cost$",
    "mean strengths of the operators": r"^generator/strength/",
    "I(X; Z) and its terms, nats": r"/(information|alignment|uniformity)$",
    "H(T|X), nats": r"/entropy$",
    "part of P's mass": r"mass",
    "nearest neighbours, %": r"knn|probe",
    "health: size and place of edits": r"^health/(true_)?edit|_gap$",
    "health: use of latents": r"^health/(latent|(true_)?pattern)",
    "health: the bank": r"^health/bank",
    "health: G_E and cycle": r"^health/(cycle|elimination)",
    "F: dimensions that it uses": r"^gauges/(effective_rank|(added_)?lidar)$",
    "F: gauges": r"^gauges/",
    "accuracy of the contrastive task": r"accuracy",
    "spread of the embeddings": r"std",
    "gradient norms": r"grad_norm",
    "other measurements": r"",
}
_LOG = ("gradient norms",)
# Of no use to a reader of curves: schedules and sizes.
_NOT_DRAWN = re.compile(r"param_norm|update_norm|dimensions|momentum|entropy_weight")
_PREFIX = re.compile(
    r"^(generator/strength|generator|discriminator|health|gauges|online|policy|encoder)/")
_CURVES = 5  # in a panel, at most
_SMOOTH_ABOVE = 100  # points; longer curves get a running mean over 1/25 of their points
_POINTS = 400  # drawn of a curve, about

WIDTH, HEIGHT = 360, 190  # of a panel, in units
_LEFT, _TOP, _BOTTOM = 46, 26, 20
_COLUMNS, _GAP = 3, 20
_HEADING = 34


class Curve(NamedTuple):
  """Values over steps: name, int [n], float [n] with n of at least two."""
  name: str
  steps: np.ndarray
  values: np.ndarray


class Panel(NamedTuple):
  """Curves that share their axes, and whether the value axis is logarithmic."""
  title: str
  curves: tuple[Curve, ...]
  log: bool = False


def panels(metrics: Iterable[Mapping[str, Any]]) -> dict[str, list[Panel]]:
  """Sorts measurements into panels, by stage in the order in which stages appear.

  What was measured once has no curve and is left out.

  Args:
    metrics: lines of metrics.jsonl: {"step", "stage", name: value, …}.
  """
  found: dict[str, dict[str, dict[str, list[tuple[int, float]]]]] = {}
  for line in metrics:
    for name, value in line.items():
      if name in ("step", "stage") or _NOT_DRAWN.search(name):
        continue
      family = next(f for f, pattern in FAMILIES.items() if re.search(pattern, name))
      (found.setdefault(line.get("stage", ""), {}).setdefault(family, {})
       .setdefault(name, []).append((line["step"], value)))
  sorted_in = {stage: list(_split(families)) for stage, families in found.items()}
  return {stage: list_of for stage, list_of in sorted_in.items() if list_of}


def _split(families: Mapping[str, Mapping[str, list[tuple[int, float]]]]
           ) -> Iterator[Panel]:
  for family in FAMILIES:
    found = {name: points for name, points in families.get(family, {}).items()
             if len({step for step, _ in points}) > 1}
    times = collections.Counter(map(_label, found))
    # "encoder/information" beside "policy/information" keep their whole names.
    curves = [Curve(label if times[label := _label(name)] == 1 else name, *_arrays(points))
              for name, points in found.items()]
    for first in range(0, len(curves), _CURVES):
      yield Panel(family, tuple(curves[first:first + _CURVES]), family in _LOG)


def _label(name: str) -> str:
  """The metric without what the panel's title says already."""
  return _PREFIX.sub("", name.removesuffix("/grad_norm"))


def _arrays(points: list[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
  steps, values = np.array(sorted(points), np.float64).T
  return steps.astype(int), values


def curve_sheet(metrics: Iterable[Mapping[str, Any]],
                path: str | os.PathLike) -> np.ndarray:
  """Draws the panels of every stage under its name.

  Args:
    metrics: lines of metrics.jsonl.
    path: path of the PNG.

  Returns:
    The figure as [height, width, 3] uint8; a line of text if there is no curve.
  """
  stages = panels(metrics)
  rows = {stage: -(-len(shown) // _COLUMNS) for stage, shown in stages.items()}
  height = sum(_HEADING + n * (HEIGHT + _GAP) for n in rows.values())
  page = canvas_lib.Png(_COLUMNS * (WIDTH + _GAP) + _GAP, max(height, _HEADING) + _GAP)
  if not stages:
    page.text(_GAP, _HEADING, "nothing was measured twice: there are no curves")
  top = 0.0
  for stage, shown in stages.items():
    page.text(_GAP, top + _HEADING / 2 + 4, stage, size=16, bold=True)
    for place, panel in enumerate(shown):
      row, column = divmod(place, _COLUMNS)
      draw(panel, page, _GAP + column * (WIDTH + _GAP),
           top + _HEADING + row * (HEIGHT + _GAP))
    top += _HEADING + rows[stage] * (HEIGHT + _GAP)
  return page.save(path)


def draw(panel: Panel, canvas: Canvas, left: float = 0, top: float = 0) -> None:
  """Draws a panel of WIDTH x HEIGHT units; curves are named at their ends."""
  canvas.text(left, top + LINE / 2, panel.title, bold=True)
  names = max(canvas_lib.text_width(curve.name, SMALL) for curve in panel.curves)
  names = min(names + 8, 0.4 * WIDTH)
  box = (left + _LEFT, top + _TOP, left + WIDTH - names, top + HEIGHT - _BOTTOM)
  smooth = [_smooth(curve.values) for curve in panel.curves]
  x = _axis(np.concatenate([curve.steps for curve in panel.curves]), whole=True)
  y = _axis(np.concatenate([curve.values for curve in panel.curves]), log=panel.log)
  to_x = lambda v: box[0] + x.share(v) * (box[2] - box[0])
  to_y = lambda v: box[3] - y.share(v) * (box[3] - box[1])
  for tick in y.ticks:
    canvas.line(np.array([[box[0], to_y(tick)], [box[2], to_y(tick)]]), "grid", 1)
    canvas.text(box[0] - 5, to_y(tick), y.words(tick), align="right", role="muted",
                size=SMALL)
  for tick in x.ticks:
    canvas.text(to_x(tick), box[3] + 11, x.words(tick), align="center", role="muted",
                size=SMALL)
  ends = []
  for number, (curve, mean) in enumerate(zip(panel.curves, smooth)):
    place = lambda steps, values: np.stack([to_x(steps), to_y(values)], axis=1)
    if mean is not curve.values:
      canvas.line(place(*_extremes(curve.steps, curve.values)), f"s{number}", 1, faint=True)
    thin = np.unique(np.linspace(0, len(mean) - 1, min(len(mean), _POINTS)).astype(int))
    canvas.line(place(curve.steps[thin], mean[thin]), f"s{number}")
    finite = mean[np.isfinite(mean)]
    ends.append(float(to_y(finite[-1])) if len(finite) else box[3])
  for number, height in enumerate(apart(ends, LINE - 2, box[1], box[3])):
    canvas.text(box[2] + 6, height, panel.curves[number].name, role=f"s{number}",
                size=SMALL)


def apart(heights: list[float], distance: float, low: float, high: float) -> list[float]:
  """Moves heights as little as it takes to bring them `distance` apart, in [low, high]."""
  order = sorted(range(len(heights)), key=heights.__getitem__)
  placed = [0.0] * len(heights)
  last = low - distance
  for index in order:
    last = placed[index] = max(heights[index], last + distance)
  limit = high
  for index in reversed(order):
    placed[index] = min(placed[index], limit)
    limit = placed[index] - distance
  return placed


class _Axis(NamedTuple):
  low: float
  high: float
  ticks: list[float]
  log: bool
  whole: bool

  def share(self, values):
    """The place of values on the axis: 0 at its low end, 1 at its high end."""
    with np.errstate(divide="ignore", invalid="ignore"):
      low, high, values = (np.log10(v) if self.log else v
                           for v in (self.low, self.high, np.asarray(values, float)))
    return np.where(np.isfinite(values), (values - low) / (high - low), np.nan)

  def words(self, tick: float) -> str:
    if self.whole or abs(tick) >= 1e4:
      return matplotlib.ticker.EngFormatter(sep="", places=None)(tick)
    return f"{round(tick, 10):g}"


def _axis(values: np.ndarray, log: bool = False, whole: bool = False) -> _Axis:
  values = values[np.isfinite(values)]
  if log:
    values = values[values > 0]
  if not len(values):
    values = np.ones(1)
  low, high = float(values.min()), float(values.max())
  if log:
    low, high = low / 1.2, high * 1.2
    locator: matplotlib.ticker.Locator = matplotlib.ticker.LogLocator(numticks=5)
    if high < 10 * low:
      locator = matplotlib.ticker.LogLocator(subs=(1, 2, 5), numticks=5)
  else:
    room = 0.04 * (high - low) or 0.5 * abs(high) or 1.0
    low, high = (low, high) if whole and high > low else (low - room, high + room)
    locator = matplotlib.ticker.MaxNLocator(4, steps=[1, 2, 5, 10], integer=whole)
  ticks = [float(t) for t in locator.tick_values(low, high) if low <= t <= high]
  return _Axis(low, high, ticks, log, whole)


def _smooth(values: np.ndarray) -> np.ndarray:
  if len(values) <= _SMOOTH_ABOVE:
    return values
  return _running_mean(values, len(values) // 25)


def _extremes(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """A curve of many points by the least and the greatest value of each short part."""
  parts = np.array_split(np.arange(len(steps)), min(len(steps), _POINTS // 2))
  finite = np.where(np.isfinite(values), values, values[np.isfinite(values)].mean()
                    if np.isfinite(values).any() else np.nan)
  chosen = np.unique([part[f(finite[part])] for part in parts
                      for f in (np.argmin, np.argmax)])
  return steps[chosen], values[chosen]


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
