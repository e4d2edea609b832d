"""Sheets of images: Figs. 4 and 5 of the paper, and round trips."""

from collections.abc import Collection, Mapping, Sequence
import os

import matplotlib
import numpy as np

from augment_gen.figures import drawing
from augment_gen.figures.drawing import GAP, LINE, MARGIN, Page

WIDE_GAP = 4 * GAP  # between groups of columns


def example_sheet(
    sets: Mapping[str, np.ndarray], path: str | os.PathLike,
    columns: int = 8, rows: int = 2,
) -> np.ndarray:
  """Examples of each set under its name (Fig. 4).

  Source: Hayase et al., Fig. 4.

  Args:
    sets: name -> [N, H, W, C] uint8, or float in [0, 1]; the first
      rows * columns images are shown.
    path: path of the PNG.
    columns: images per line.
    rows: maximum number of lines per set.

  Returns:
    The figure as [height, width, 3] uint8.
  """
  blocks = {name: images[:rows * columns] for name, images in sets.items()}
  h, w, zoom = _cell_size(blocks.values())
  lines = {name: -(-len(images) // columns) for name, images in blocks.items()}
  block_height = {name: LINE + n * (h + GAP) + GAP for name, n in lines.items()}
  width = max([columns * (w + GAP) - GAP] +
              [drawing.text_width(name, bold=True) for name in blocks])
  page = Page(2 * MARGIN + width, 2 * MARGIN + sum(block_height.values()) - GAP)
  top = MARGIN
  for name, images in blocks.items():
    page.text(MARGIN, top + LINE / 2 - 2, name, align="left", bold=True)
    for place, image in enumerate(images):
      row, column = divmod(place, columns)
      page.image(MARGIN + column * (w + GAP), top + LINE + row * (h + GAP),
                 drawing.enlarge(drawing.to_rgb(image), zoom))
    top += block_height[name]
  return page.save(path)


def latent_sheet(
    images: np.ndarray, views: np.ndarray, path: str | os.PathLike,
    title: str = "",
) -> np.ndarray:
  """A generator's views of images under several latents (Fig. 5).

  Source: Hayase et al., Fig. 5.

  Args:
    images: x, [R, H, W, C] float in [0, 1], or uint8.
    views: G_A(x, z_k), [R, K, H, W, C]; column k has the same z_k in all rows.
    path: path of the PNG.
    title: title of the sheet; "" for none.

  Returns:
    The figure as [height, width, 3] uint8.
  """
  columns = [("$x$", images)] + [
      (f"$G_A(x, z_{{{k + 1}}})$", views[:, k]) for k in range(views.shape[1])]
  return column_sheet(columns, path, title=title, ends={0})


def round_trip_sheet(
    columns: Mapping[str, np.ndarray], path: str | os.PathLike,
    differences: Sequence[tuple[str, str]] = (), title: str = "",
    captions: Mapping[str, Sequence[str]] | None = None,
) -> np.ndarray:
  """Images and their transformed versions, side by side.

  For instance x, G_A(x, z), G_E(G_A(x, z)), and the difference between the last and the
  first. One sheet may show several such groups of columns.

  Args:
    columns: name (may contain $mathematics$) -> [R, H, W, C] float in [0, 1], or
      uint8. All have the same shape.
    path: path of the PNG.
    differences: pairs (a, b) of column names. Column b is followed by a column
      "|difference|" with the absolute difference of the pair, averaged over channels:
      white is 0, black is 1, and red lies between.
    title: title of the sheet; "" for none.
    captions: column name -> a few words below each of its images.

  Returns:
    The figure as [height, width, 3] uint8.
  """
  shown, ends = [], set()
  for name, images in columns.items():
    shown.append((name, images))
    for first, second in differences:
      if second == name:
        ends.add(len(shown))
        shown.append(("|difference|", _difference_image(
            columns[first], columns[second])))
  return column_sheet(shown, path, title=title, ends=ends, captions=captions)


def operator_sheet(views: Mapping[str, np.ndarray], image: np.ndarray,
                   path: str | os.PathLike) -> np.ndarray:
  """What each operator of a chain does alone, from its weakest to its strongest.

  Args:
    views: name of the operator -> [K, H, W, C] float in [0, 1].
    image: the image that they change, [H, W, C].
    path: path of the PNG.

  Returns:
    The figure as [height, width, 3] uint8.
  """
  return row_sheet({name: np.concatenate([image[None], part])
                    for name, part in views.items()}, path, ends={0})


def row_sheet(rows: Mapping[str, np.ndarray], path: str | os.PathLike, title: str = "",
              ends: Collection[int] = ()) -> np.ndarray:
  """One row of images per name, with the name to its left.

  Args:
    rows: name -> [K, H, W, C] float in [0, 1], or uint8, all of one size.
    path: path of the PNG.
    title: title of the sheet; "" for none.
    ends: indices of columns that a wider gap follows.

  Returns:
    The figure as [height, width, 3] uint8.
  """
  h, w, zoom = _cell_size(rows.values())
  count = max(len(images) for images in rows.values())
  label = max(drawing.text_width(name) for name in rows) + 4 * GAP
  gaps = np.cumsum([0, *(WIDE_GAP if i in ends else GAP for i in range(count))])
  width = max(label + count * w + int(gaps[count]), drawing.text_width(title, bold=True))
  header = LINE if title else 0
  page = Page(2 * MARGIN + width, 2 * MARGIN + header + len(rows) * (h + GAP))
  page.text(MARGIN, MARGIN + LINE / 2 - 2, title, align="left", bold=True)
  for row, (name, images) in enumerate(rows.items()):
    top = MARGIN + header + row * (h + GAP)
    page.text(MARGIN, top + h / 2, name, align="left")
    for place, image in enumerate(images):
      page.image(MARGIN + label + place * w + int(gaps[place]), top,
                 drawing.enlarge(drawing.to_rgb(image), zoom))
  return page.save(path)


def _difference_image(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Two arrays [R, H, W, C] -> [R, H, W, 3] uint8, white to black."""
  a, b = (x / np.float32(255) if x.dtype == np.uint8 else x for x in (a, b))
  difference = np.mean(np.abs(a - b), axis=-1)
  colours = matplotlib.colormaps["gist_heat_r"](np.clip(difference, 0.0, 1.0))
  return np.round(255 * colours[..., :3]).astype(np.uint8)


def column_sheet(columns: Sequence[tuple[str, np.ndarray]], path: str | os.PathLike, *,
                 title: str, ends: Collection[int],
                 captions: Mapping[str, Sequence[str]] | None = None) -> np.ndarray:
  """One column of images per name, with the name above it.

  Args:
    columns: (name, [R, H, W, C] float in [0, 1], or uint8); R may differ.
    path: path of the PNG.
    title: title of the sheet; "" for none.
    ends: indices of columns that a wider gap follows.
    captions: name of a column -> a few words below each of its images.

  Returns:
    The figure as [height, width, 3] uint8.
  """
  captions = captions or {}
  h, w, zoom = _cell_size([images for _, images in columns])
  step = h + (LINE if captions else GAP)
  # A name wider than its images widens the column.
  widths = [max(w, drawing.text_width(name) + 2 * GAP) for name, _ in columns]
  gaps = [WIDE_GAP if place in ends else GAP for place in range(len(columns))]
  gaps[-1] = 0
  rows = max(len(images) for _, images in columns)
  header = 2 * LINE if title else LINE
  width = max(sum(widths) + sum(gaps), drawing.text_width(title, bold=True))
  page = Page(2 * MARGIN + width,
              2 * MARGIN + header + rows * step - (0 if captions else GAP))
  page.text(MARGIN, MARGIN + LINE / 2 - 2, title, align="left", bold=True)
  left = MARGIN
  for (name, images), column_width, gap in zip(columns, widths, gaps):
    middle = left + column_width // 2
    page.text(middle, MARGIN + header - LINE / 2 - 2, name)
    for row, image in enumerate(images):
      page.image(middle - w // 2, MARGIN + header + row * step,
                 drawing.enlarge(drawing.to_rgb(image), zoom))
    for row, words in enumerate(captions.get(name, ())):
      page.text(middle, MARGIN + header + row * step + h + LINE / 2 - 2, words)
    left += column_width + gap
  return page.save(path)


def _cell_size(sets) -> tuple[int, int, int]:
  """Largest height and width of the enlarged images, and the zoom factor."""
  shapes = [images.shape[1:3] for images in sets]
  zoom = drawing.zoom_of(max(height for height, _ in shapes))
  return (zoom * max(height for height, _ in shapes),
          zoom * max(width for _, width in shapes), zoom)
