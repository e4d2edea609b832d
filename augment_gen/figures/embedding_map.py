"""The map of embeddings as a figure."""

from collections.abc import Mapping, Sequence
import os

import numpy as np

from augment_gen.figures import canvas as canvas_lib
from augment_gen.figures.canvas import Canvas, LINE, SERIES

WIDTH, HEIGHT = 440, 340  # in units
_RADIUS, _MARGIN = 2.2, 8

# Set -> points [n, 2].
Points = Mapping[str, Sequence[Sequence[float]] | np.ndarray]


def draw(points: Points, canvas: Canvas, left: float = 0, top: float = 0) -> None:
  """Draws a dot for each image, and the names of the sets above them in their colours.

  The sets are drawn in turns, so that none covers another.
  """
  x = left
  for number, name in enumerate(points):
    role = f"s{number % SERIES}"
    canvas.dots(np.array([[x + 6, top + LINE / 2]]), role, 4)
    canvas.text(x + 16, top + LINE / 2, name, role=role, bold=True)
    x += 40 + canvas_lib.text_width(name)
  sets = [np.asarray(part, np.float64).reshape(-1, 2) for part in points.values()]
  every = np.concatenate(sets)
  low, high = every.min(axis=0), every.max(axis=0)
  room = np.array([WIDTH, HEIGHT - LINE]) - 2 * _MARGIN
  # One scale for both directions: distances are what the map is about.
  scale = float(np.min(room / np.maximum(high - low, 1e-12)))
  middle = np.array([left + WIDTH / 2, top + (HEIGHT + LINE) / 2])
  for turn in range(4):
    for number, part in enumerate(sets):
      canvas.dots(middle[None] + scale * (part[turn::4] - ((low + high) / 2)[None]),
                  f"s{number % SERIES}", _RADIUS)


def sheet(points: Points, path: str | os.PathLike) -> np.ndarray:
  """Writes `draw` as a PNG; returns it as [height, width, 3] uint8."""
  page = canvas_lib.Png(WIDTH + 20, HEIGHT + 20)
  draw(points, page, 10, 10)
  return page.save(path)
