"""One image file, decoded and cut to a square."""

import dataclasses
import pathlib
import struct

import numpy as np
from PIL import Image, ImageOps

from augment_gen.config import errors
from augment_gen.data import files

UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error,
              Image.DecompressionBombError)
DEEP = 65535  # white of 16 bits
_GREY_MODES = ("1", "L", "LA", "La", "I", "F")  # and I;16 in its byte orders
_GROUNDS = {"black": (0, 0, 0, 255), "white": (255, 255, 255, 255)}


class RangeError(errors.UserError):
  """The file is whole, but what its values mean has to be said."""


@dataclasses.dataclass(frozen=True)
class Picture:
  """A decoded file.

  Attributes:
    image: of mode L or RGB, upright.
    largest: value of a pixel in the file.
    white: value in the file that became white.
  """
  image: Image.Image
  largest: float
  white: float

  @property
  def channels(self) -> int:
    return len(self.image.getbands())


def read(path: pathlib.Path, size: int, background: str = "black",
         white: float = 0.0) -> Picture:
  """Decodes a file.

  Args:
    path: of the file.
    size: JPEG files may come out smaller, but at least twice this side.
    background: "black" or "white", what transparent pixels let through.
    white: value of the file that is white; 0: the largest its bits can hold.

  Raises:
    RangeError: values lie outside 0..white, or white is not known.
    Exception: one of UNREADABLE: it is damaged or in no format that is read.
  """
  reason = files.FOREIGN.get(path.suffix.lower())
  if reason and path.suffix.lower() not in files.suffixes():
    raise ValueError(reason)
  try:
    with Image.open(path) as image:
      # JPEG only: decode at 1/2, 1/4 or 1/8 while twice the size is left.
      image.draft(image.mode, (2 * size, 2 * size))
      image.load()
      image = ImageOps.exif_transpose(image)
  except UNREADABLE as error:
    if reason := files.why_unreadable(path):
      raise ValueError(reason) from error
    if isinstance(error, Image.UnidentifiedImageError):
      raise ValueError("it is no image that Pillow knows") from error
    raise
  if image.mode.startswith(("I", "F")):
    return _deep(path, image, white)
  grey = image.mode in _GREY_MODES
  if image.has_transparency_data:
    image = image.convert("RGBA")
    ground = Image.new("RGBA", image.size, _GROUNDS[background])
    image = Image.alpha_composite(ground, image)
  image = image.convert("L" if grey else "RGB")
  largest = max(np.ravel(image.getextrema()).tolist())
  if not white or white == 255:
    return Picture(image, largest, 255)
  if largest > white:
    raise RangeError(f"{path} has values up to {largest}, above max={white:g}")
  table = np.rint(np.arange(256) * (255 / white)).clip(0, 255).astype(int)
  return Picture(image.point(table.tolist() * len(image.getbands())), largest,
                 white)


def _deep(path: pathlib.Path, image: Image.Image, white: float) -> Picture:
  """Of modes with more than 8 bits: I;16, I (up to 32 bits) and F (floats)."""
  values = np.asarray(image).astype(
      np.float64 if image.mode == "I" else np.float32)
  low, high = float(values.min()), float(values.max())
  if not white and image.mode == "F":
    raise RangeError(
        f"{path} has 32-bit float pixels ({low:g} to {high:g}): say which value "
        "is white with the option max=, such as max=1")
  top = white or DEEP
  if not (low >= 0 and high <= top):
    raise RangeError(
        f"{path} has values from {low:g} to {high:g}, outside 0..{top:g}: say "
        "which value is white with the option max=VALUE (none may be negative "
        "or NaN)")
  values = np.rint(values / values.dtype.type(top / 255))
  return Picture(Image.fromarray(values.astype(np.uint8)), high, top)


def is_grey(image: Image.Image) -> bool:
  """Are red, green and blue equal in every pixel?"""
  pixels = np.asarray(image.convert("RGB"))
  return bool((pixels[..., :1] == pixels[..., 1:]).all())


def to_square(image: Image.Image, size: int, resize: str,
              channels: int) -> np.ndarray:
  """-> uint8 [size, size, channels], antialiased.

  `resize` is "crop", which keeps the centre square, or "squash".
  """
  image = image.convert("L" if channels == 1 else "RGB")
  if resize == "crop":
    image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
  else:
    image = image.resize((size, size), Image.Resampling.BILINEAR)
  return np.asarray(image).reshape(size, size, channels)
