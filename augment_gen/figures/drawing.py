"""A page on which images keep their exact pixels.

Images are enlarged by whole factors and placed pixel by pixel, never resampled. All
positions are in pixels from the top left corner. Only matplotlib's object API is used:
no pyplot, and no state shared between figures.
"""

import os

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
import numpy as np
from PIL import Image

DPI = 200
FONT_SIZE = 7.5  # points
LINE = 36  # height of a line of text, in pixels
MARGIN = 10
GAP = 6  # between neighbouring images
CELL = 112  # images are enlarged to about this height, in pixels

INK = "#202020"


def to_rgb(image: np.ndarray) -> np.ndarray:
  """[H, W, 1 or 3] uint8, or float in [0, 1] -> [H, W, 3] uint8."""
  if image.dtype != np.uint8:
    image = np.round(255.0 * np.clip(image, 0.0, 1.0)).astype(np.uint8)
  return np.broadcast_to(image, (*image.shape[:2], 3))


def zoom_of(height: int) -> int:
  """The whole factor that brings images of this height closest to CELL."""
  return max(1, round(CELL / height))


def enlarge(image: np.ndarray, zoom: int) -> np.ndarray:
  """Turns each pixel into a zoom x zoom square: exact nearest neighbour."""
  return image.repeat(zoom, axis=0).repeat(zoom, axis=1)


def literal(text: str) -> str:
  """A text of the user's for `Page.text`, which reads what is between "$" as a formula."""
  return text.replace("$", r"\$")


class Page:
  """A figure measured in pixels.

  Attributes:
    figure: the matplotlib figure.
  """

  def __init__(self, width: int, height: int):
    self.width, self.height = width, height
    self.figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI,
                         facecolor="white")
    self._canvas = FigureCanvasAgg(self.figure)
    self._pixels = np.full((height, width, 3), 255, np.uint8)

  def image(self, left: int, top: int, image: np.ndarray) -> None:
    """Places an image, [h, w, 3] uint8, with a hairline frame."""
    h, w = image.shape[:2]
    self._pixels[top - 1:top + h + 1, left - 1:left + w + 1] = 190
    self._pixels[top:top + h, left:left + w] = image

  def text(self, x: float, y: float, text: str, *, align: str = "center",
           bold: bool = False) -> None:
    """Writes one line; (x, y) is its centre, or the middle of the end `align` names."""
    self.figure.text(
        x / self.width, 1.0 - y / self.height, text, fontsize=FONT_SIZE,
        ha=align, va="center_baseline", color=INK,
        fontweight="bold" if bold else "normal")

  def save(self, path: str | os.PathLike) -> np.ndarray:
    """Writes the PNG; returns the page as [H, W, 3] uint8."""
    self.figure.figimage(self._pixels, 0, 0, origin="upper")
    return save(self.figure, path)


def text_width(text: str, bold: bool = False) -> int:
  """The width of a line of `Page.text`, in pixels."""
  figure = Figure(dpi=DPI)
  canvas = FigureCanvasAgg(figure)
  label = figure.text(0, 0, text, fontsize=FONT_SIZE,
                      fontweight="bold" if bold else "normal")
  return int(np.ceil(label.get_window_extent(canvas.get_renderer()).width))


def save(figure: Figure, path: str | os.PathLike) -> np.ndarray:
  """Draws a figure once; writes it as PNG and returns it as [H, W, 3] uint8."""
  canvas = figure.canvas
  assert isinstance(canvas, FigureCanvasAgg)
  canvas.draw()
  # `canvas.print_png` would draw everything a second time.
  pixels = np.asarray(canvas.buffer_rgba())[..., :3].copy()
  Image.fromarray(pixels).save(path, format="PNG", dpi=(DPI, DPI))
  return pixels
