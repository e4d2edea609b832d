"""A surface for lines, dots and text, drawn as PNG or as SVG.

Positions are in units from the top left corner; a line of text is LINE units high. Colours
go by their role, so that an SVG can follow the colours of the page that it stands in.
"""

import html
import os
from typing import Protocol

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.transforms import IdentityTransform
import numpy as np

from augment_gen.figures import drawing

SIZE, SMALL = 12, 10  # of text, in units
LINE = 15
SERIES = 6  # number of roles "s0", "s1", … for curves and sets

# Each has a contrast of at least 4.5 to white, and stays apart from the others for those
# who see colours differently.
COLOURS = {
    "ink": drawing.INK, "muted": "#5f6670", "grid": "#dfe2e6", "band": "#d2d6db",
    "page": "#ffffff", "s0": "#0064a0", "s1": "#b34700", "s2": "#00734f",
    "s3": "#9c3d78", "s4": "#6b5b00", "s5": "#4b4fb3"}
_SCALE = 2  # pixels of a PNG per unit


class Canvas(Protocol):
  """What panels are drawn on."""

  def line(self, points: np.ndarray, role: str, width: float = 1.5,
           faint: bool = False) -> None:
    """Draws a line through points [n, 2]; it is broken where one is not finite."""

  def box(self, left: float, top: float, right: float, bottom: float, role: str) -> None:
    """Fills a rectangle."""

  def dots(self, points: np.ndarray, role: str, radius: float) -> None:
    """Draws a filled circle at each of the points [n, 2]."""

  def text(self, x: float, y: float, text: str, *, align: str = "left",
           role: str = "ink", size: float = SIZE, bold: bool = False) -> None:
    """Writes one line; (x, y) is the end that `align` names, or the middle."""


def text_width(text: str, size: float = SIZE) -> float:
  """About how wide a line of text is, on the wide side."""
  return 0.6 * size * len(text)


class Png:
  """A canvas that becomes a PNG file."""

  def __init__(self, width: float, height: float):
    self._height = _SCALE * height
    self._figure = Figure(
        figsize=(_SCALE * width / drawing.DPI, _SCALE * height / drawing.DPI),
        dpi=drawing.DPI, facecolor=COLOURS["page"])
    FigureCanvasAgg(self._figure)

  def line(self, points, role, width=1.5, faint=False):
    self._add(Line2D(
        *self._place(points), color=COLOURS[role], alpha=0.3 if faint else 1,
        linewidth=self._points(width), solid_capstyle="round"))

  def box(self, left, top, right, bottom, role):
    (x, _), (y, _) = self._place([[left, bottom], [right, top]])
    self._add(Rectangle((x, y), _SCALE * (right - left), _SCALE * (bottom - top),
                        color=COLOURS[role], linewidth=0))

  def dots(self, points, role, radius):
    self._add(Line2D(
        *self._place(points), linestyle="", marker="o", markeredgewidth=0,
        color=COLOURS[role], markersize=self._points(2 * radius)))

  def text(self, x, y, text, *, align="left", role="ink", size=SIZE, bold=False):
    (px,), (py,) = self._place([[x, y]])
    self._figure.text(
        px, py, text, transform=IdentityTransform(), fontsize=self._points(size),
        ha=align, va="center_baseline", color=COLOURS[role],
        fontweight="bold" if bold else "normal",
        parse_math=False)  # names of the user's may have a "$"

  def save(self, path: str | os.PathLike) -> np.ndarray:
    """Writes the file; returns the figure as [height, width, 3] uint8."""
    return drawing.save(self._figure, path)

  def _add(self, artist) -> None:
    artist.set_transform(IdentityTransform())
    self._figure.add_artist(artist)

  def _place(self, points) -> tuple[np.ndarray, np.ndarray]:
    """Units from the top left -> pixels from the bottom left, as x and y."""
    points = _SCALE * np.asarray(points, np.float64).reshape(-1, 2)
    return points[:, 0], self._height - points[:, 1]

  @staticmethod
  def _points(units: float) -> float:
    return _SCALE * units * 72 / drawing.DPI


class Svg:
  """A canvas that becomes an SVG element.

  It has no colours of its own: a role is a class, such as "s0" or "ink", which the page
  gives a colour as `--s0` and `--ink` (see report/style.css).
  """

  def __init__(self, width: float, height: float, says: str):
    """`says` is read to those who do not see the picture."""
    self._parts = [
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{html.escape(says)}" xmlns="http://www.w3.org/2000/svg">']

  def line(self, points, role, width=1.5, faint=False):
    if not (path := _path(points)):
      return
    faint_class = " faint" if faint else ""
    self._parts.append(f'<path class="line {role}{faint_class}" '
                       f'stroke-width="{width:g}" d="{path}"/>')

  def box(self, left, top, right, bottom, role):
    self._parts.append(
        f'<rect class="{role}" x="{left:.1f}" y="{top:.1f}" '
        f'width="{right - left:.1f}" height="{bottom - top:.1f}"/>')

  def dots(self, points, role, radius):
    # A line of no length with round ends is a circle, and far shorter to write.
    path = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in np.asarray(points, np.float64))
    self._parts.append(
        f'<path class="line {role}" stroke-width="{2 * radius:g}" d="{path}"/>')

  def text(self, x, y, text, *, align="left", role="ink", size=SIZE, bold=False):
    anchor = {"left": "start", "center": "middle", "right": "end"}[align]
    weight = ' font-weight="600"' if bold else ""
    self._parts.append(
        f'<text class="{role}" x="{x:.1f}" y="{y + 0.35 * size:.1f}" '
        f'text-anchor="{anchor}" font-size="{size:g}"{weight}>{html.escape(text)}</text>')

  def element(self) -> str:
    """The SVG element, as text."""
    return "".join([*self._parts, "</svg>"])


def _path(points: np.ndarray) -> str:
  found, pen = [], "M"
  for x, y in np.asarray(points, np.float64):
    if np.isfinite(x) and np.isfinite(y):
      found.append(f"{pen}{x:.1f} {y:.1f}")
      pen = "L"
    else:
      pen = "M"
  return "".join(found)
