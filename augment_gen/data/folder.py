"""Image files in a folder: `folder:PATH[?labels=none&resize=squash&convert=1]`.

Labelled: each folder right below PATH is a class, its images lie in it at any
depth. Unlabelled: images lie directly in PATH, or `labels=none` is given.
"""

import concurrent.futures
import dataclasses
import os
import pathlib
import struct
from typing import Literal

import numpy as np
from PIL import Image
from PIL import ImageOps

from augment_gen import errors
from augment_gen.data import base
from augment_gen.data import pixels

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_GREY_MODES = ("1", "L", "LA", "La", "I")  # and I;16 in its byte orders
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error,
               Image.DecompressionBombError)
_THREADS = min(8, os.cpu_count() or 1)


@dataclasses.dataclass(frozen=True)
class Folder(base.Source):
  """Options of folder:PATH.

  Attributes:
    labels: "folders", or "none" to ignore what folders the images lie in.
    resize: "crop" brings the shorter side to the image size and keeps the
      centre; "squash" changes the aspect ratio.
    convert: allow colour to grey, and grey to RGB.
  """
  labels: Literal["folders", "none"] = "folders"
  resize: Literal["crop", "squash"] = "crop"
  convert: bool = False

  def problems(self) -> list[str]:
    path = self._path()
    if not path.is_dir():
      return [f"there is no folder '{path}': put the images there (one folder "
              "per class if they have labels), or name theirs in the config "
              "(--config.data.root=FOLDER replaces {root})"]
    files, classes = self._scan()
    loose = sum(1 for f in files if f.parent == path)
    if not files and not classes:
      return [f"folder '{path}' holds no images ({' '.join(SUFFIXES)})"]
    if not classes:
      return []
    if loose:
      return [f"folder '{path}' holds {loose} images beside the class folders:"
              " move them into a class folder, or add the option labels=none"]
    filled = {f.relative_to(path).parts[0] for f in files}
    return [f"class folder '{path / name}' holds no images "
            f"({' '.join(SUFFIXES)}): fill it or remove it"
            for name in classes if name not in filled]

  def count(self) -> int:
    return len(self._scan()[0])

  def load(self, request: base.Request) -> base.ImageSet:
    root = self._path()
    files, classes = self._scan()
    labels = None
    if classes:
      place = {name: i for i, name in enumerate(classes)}
      labels = np.array([place[f.relative_to(root).parts[0]] for f in files],
                        np.int32)
    images, good = self._decode(files, request)
    if labels is not None:
      left = set(labels[good].tolist())
      errors.raise_if_any(
          f"class folder '{root / name}' holds no image that can be read"
          for name, i in place.items() if i not in left)
      labels = labels[good]
    if not good.all():
      images = images[good]
    return base.ImageSet(request.name, images, labels, classes,
                         skipped=int((~good).sum()))

  def _path(self) -> pathlib.Path:
    return pathlib.Path(self.address).expanduser()

  def _scan(self) -> tuple[list[pathlib.Path], tuple[str, ...]]:
    """(image files, class names), sorted; hidden files are passed over."""
    root = self._path()
    files, classes = [], []
    for folder, subfolders, names in os.walk(root, followlinks=True):
      subfolders[:] = sorted(s for s in subfolders if not s.startswith("."))
      if pathlib.Path(folder) == root:
        classes = list(subfolders)
      files += [pathlib.Path(folder, name) for name in names
                if name.lower().endswith(SUFFIXES) and name[0] != "."]
    return sorted(files), () if self.labels == "none" else tuple(classes)

  def _decode(
      self, files: list[pathlib.Path], request: base.Request,
  ) -> tuple[np.ndarray, np.ndarray]:
    """(uint8 [N, S, S, C], bool [N]: could it be read?), in order of files."""
    size = request.image_size
    images = np.empty((len(files), size, size, request.channels), np.uint8)

    def decode(index: int) -> str | Exception | None:
      """Fills images[index]; the kind of a wrong image, or why it is bad."""
      try:
        image, kind = _read(files[index], size)
      except _UNREADABLE as error:
        return error
      if kind != request.channels and not self.convert:
        return kind
      images[index] = _to_square(image, size, self.resize, request.channels)
      return None

    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
      outcomes = list(pool.map(decode, range(len(files))))
    bad = [i for i, o in enumerate(outcomes) if isinstance(o, Exception)]
    other = [i for i, o in enumerate(outcomes) if isinstance(o, int)]
    if bad and request.on_bad_image != "skip":
      raise errors.UserError(
          f"{files[bad[0]]} cannot be read ({outcomes[bad[0]]}); "
          f"{len(bad) - 1} other images of '{request.name}' neither: mend or "
          "remove them, or leave them out with --config.data.on_bad_image=skip")
    if other:
      raise errors.UserError(pixels.mixed_channels(
          f"'{request.name}' holds {len(other)} (of {len(files)}; the first "
          f"is {files[other[0]]})", outcomes[other[0]], request.channels))
    good = np.ones(len(files), bool)
    good[bad] = False
    if not good.any():
      raise errors.UserError(f"no image of '{request.name}' can be read")
    return images, good


def _read(path: pathlib.Path, size: int) -> tuple[Image.Image, int]:
  """Decodes a file -> (image of mode L or RGB, upright; its channels)."""
  with Image.open(path) as image:
    # JPEG only: decode at 1/2, 1/4 or 1/8 while twice the size is left.
    image.draft(image.mode, (2 * size, 2 * size))
    image.load()
    image = ImageOps.exif_transpose(image)
  grey = image.mode in _GREY_MODES or image.mode.startswith("I;16")
  if image.mode == "F":
    raise ValueError("32-bit float pixels, whose range is not known")
  if image.mode.startswith("I"):
    values = np.asarray(image).astype(np.float32) / 257  # 16 bits -> 8
    image = Image.fromarray(np.rint(values).clip(0, 255).astype(np.uint8))
  elif image.has_transparency_data:
    image = image.convert("RGBA")
    black = Image.new("RGBA", image.size, (0, 0, 0, 255))
    image = Image.alpha_composite(black, image)
  return image.convert("L" if grey else "RGB"), 1 if grey else 3


def _to_square(image: Image.Image, size: int, resize: str,
               channels: int) -> np.ndarray:
  """-> uint8 [size, size, channels], antialiased."""
  image = image.convert("L" if channels == 1 else "RGB")
  if resize == "crop":
    image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
  else:
    image = image.resize((size, size), Image.Resampling.BILINEAR)
  return np.asarray(image).reshape(size, size, channels)
