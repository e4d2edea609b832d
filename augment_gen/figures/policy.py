"""The poster's figures: P(T|X) over images, and the representations."""

from collections.abc import Mapping
import os

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
import numpy as np

from augment_gen.augment.crops import CropGrid
from augment_gen.figures import drawing
from augment_gen.figures import grid as sheets

_PANEL = (2.6, 3.2)  # inches


def heat_maps(grid: CropGrid, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """P(T|X) as maps over the image.

  Args:
    grid: the windows.
    p: float [N, K], P(t|x).

  Returns:
    Two arrays, float32 [N, H, W]: the probability that a pixel is seen through T, and P
    at the middles of the windows, relative to its largest value.
  """
  size = grid.image_size
  seen = np.zeros((len(p), size + 1, size + 1))  # differences, summed up below
  middle = np.zeros((len(p), size, size))
  for k, (top, left, side) in enumerate(grid.boxes()):
    for row, column, sign in ((top, left, 1), (top, left + side, -1),
                              (top + side, left, -1),
                              (top + side, left + side, 1)):
      seen[:, row, column] += sign * p[:, k]
    first = [corner + max(side - grid.stride, 0) // 2 for corner in (top, left)]
    middle[:, first[0]:first[0] + grid.stride,
           first[1]:first[1] + grid.stride] += p[:, k, None, None]
  seen = np.cumsum(np.cumsum(seen, axis=1), axis=2)[:, :size, :size]
  middle /= np.maximum(middle.max(axis=(1, 2), keepdims=True), 1e-12)
  return seen.astype(np.float32), middle.astype(np.float32)


def heat_sheet(grid: CropGrid, images: np.ndarray, p: np.ndarray,
               path: str | os.PathLike) -> np.ndarray:
  """Images with P(T|X) drawn over them, one row per image.

  Source: Koyama et al., P(T|X).

  Args:
    grid: the windows.
    images: float [R, H, W, C] in [0, 1], or uint8.
    p: float [R, K], P(t|x).
    path: path of the PNG.

  Returns:
    The figure as [height, width, 3] uint8.
  """
  seen, middle = heat_maps(grid, p)
  return sheets.round_trip_sheet(
      {"$x$": np.stack([drawing.to_rgb(image) for image in images]),
       "seen through $T(x)$": _coloured(seen, images),
       "$P(T|x)$, middles of crops": _coloured(middle, images)},
      path, title="P(T|X): trained distribution over crops")


def _coloured(heat: np.ndarray, images: np.ndarray) -> np.ndarray:
  """Heat [R, H, W] in [0, 1], drawn over the images -> [R, H, W, 3] uint8."""
  colours = matplotlib.colormaps["inferno"](np.clip(heat, 0.0, 1.0))[..., :3]
  under = np.stack([drawing.to_rgb(image) for image in images]) / 255.0
  return np.round(255 * np.maximum(0.75 * colours, 0.6 * under)).astype(np.uint8)


def instance_sheet(representations: Mapping[str, np.ndarray],
                   labels: np.ndarray, path: str | os.PathLike) -> np.ndarray:
  """Instances as rows, sorted by class, and dimensions as columns.

  Source: Koyama et al., instances.

  If the representations have collapsed, all rows look the same.

  Args:
    representations: name -> float [N, D].
    labels: int [N].
    path: path of the PNG.

  Returns:
    The figure as [height, width, 3] uint8.
  """
  order = np.argsort(labels, kind="stable")
  figure, axes = _panels(len(representations))
  for ax, (name, h) in zip(axes, representations.items()):
    ax.imshow(h[order], aspect="auto", cmap="RdBu_r", vmin=-0.4, vmax=0.4,
              interpolation="nearest")
    ax.set_title(name, fontsize=8, loc="left", color=drawing.INK)
    ax.set_xlabel(f"{h.shape[1]} dimensions", fontsize=7)
    ax.set_ylabel(f"{len(h)} images, by class", fontsize=7)
    ax.set_xticks([])
    ax.set_yticks([])
  return drawing.save(figure, path)


def circle_sheet(representations: Mapping[str, np.ndarray], labels: np.ndarray,
                 path: str | os.PathLike) -> np.ndarray:
  """Two-dimensional representations on the circle, coloured by class.

  Source: Koyama et al., circle.

  Args:
    representations: name -> float [N, 2].
    labels: int [N].
    path: path of the PNG.

  Returns:
    The figure as [height, width, 3] uint8.
  """
  figure, axes = _panels(len(representations), height=_PANEL[0] + 0.3)
  rng = np.random.default_rng(0)
  for ax, (name, h) in zip(axes, representations.items()):
    # The radius is jittered, because many points would cover each other.
    h = h * (1 + 0.12 * rng.standard_normal((len(h), 1)))
    ax.scatter(h[:, 0], h[:, 1], s=3, c=labels, cmap="tab10", linewidths=0)
    ax.set_aspect("equal")
    ax.set_xlim(-1.5, 1.5)
    ax.set_ylim(-1.5, 1.5)
    ax.set_title(name, fontsize=8, loc="left", color=drawing.INK)
    ax.set_axis_off()
  return drawing.save(figure, path)


def _panels(count: int, height: float = _PANEL[1]):
  figure = Figure(figsize=(count * _PANEL[0], height), dpi=drawing.DPI,
                  layout="constrained", facecolor="white")
  FigureCanvasAgg(figure)
  return figure, figure.subplots(1, count, squeeze=False)[0]
