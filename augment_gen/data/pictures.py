"""Decoding of a single image file and conversion to a square, with Pillow.

On JPEG files of 500 × 400 pixels, made 224 × 224, simplejpeg, OpenCV, imagecodecs and
libvips are no faster per core if the values shall be the same (0.99 to 1.02 times).
data/jpeg.py is faster, with other values.
"""

import dataclasses
import errno
import io
import pathlib
import struct
from typing import Literal, Protocol

import numpy as np
from PIL import Image, ImageOps

from augment_gen.config import errors
from augment_gen.data import files

# Pillow's decoders of rare formats raise a RuntimeError, or a NotImplementedError.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, RuntimeError,
              Image.DecompressionBombError)
# What the system says of a file that is bad for good; all else may pass. To treat a file
# as bad in one start alone would change the set.
_FOR_GOOD = (None, errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR,
             errno.ELOOP, errno.ENAMETOOLONG)
# Pillow distrusts files of 180 megapixels, which cameras of phones make.
Image.MAX_IMAGE_PIXELS = 2**30
DEEP = 65535  # white in 16-bit images
_GREY_MODES = ("1", "L", "LA", "La", "I", "F")  # also I;16 in any byte order
_GROUNDS = {"black": (0, 0, 0, 255), "white": (255, 255, 255, 255)}


def may_pass(error: Exception) -> bool:
  """Whether an error of UNREADABLE may not come again, such as one of a network drive."""
  return getattr(error, "errno", None) not in _FOR_GOOD


class RangeError(errors.UserError):
  """The file is intact, but the user must say which value is white."""


@dataclasses.dataclass(frozen=True)
class Encoded:
  """The contents of an image file that lies in no file of its own.

  Attributes:
    data: the bytes.
    name: what messages call it.
  """
  data: bytes
  name: str

  def __str__(self) -> str:
    return self.name


class Picture(Protocol):
  """A decoded image file, upright.

  Attributes:
    channels: 1 (grey) or 3 (RGB).
    largest: largest pixel value in the file.
    white: pixel value in the file that became white.
  """

  @property
  def channels(self) -> int:
    ...

  @property
  def largest(self) -> float:
    ...

  @property
  def white(self) -> float:
    ...

  def is_grey(self) -> bool:
    """Whether red, green and blue are equal in every pixel."""

  def square(self, size: int, resize: Literal["crop", "squash"],
             channels: int) -> np.ndarray:
    """Resizes the picture to uint8 [size, size, channels], antialiased.

    `resize` is "crop" (keep the centre square) or "squash" (change the aspect ratio).
    """


@dataclasses.dataclass(frozen=True)
class PillowPicture:
  """An image file that Pillow decoded; implements `Picture`.

  Attributes:
    image: the image in mode L or RGB, upright.
    largest, white: see `Picture`.
  """
  image: Image.Image
  largest: float
  white: float

  @property
  def channels(self) -> int:
    return len(self.image.getbands())

  def is_grey(self) -> bool:
    pixels = np.asarray(self.image.convert("RGB"))
    return bool((pixels[..., :1] == pixels[..., 1:]).all())

  def square(self, size: int, resize: Literal["crop", "squash"],
             channels: int) -> np.ndarray:
    image = self.image
    if image.mode != (mode := "L" if channels == 1 else "RGB"):
      image = image.convert(mode)
    if resize == "crop":
      image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    else:
      image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(size, size, channels)


def read(file: pathlib.Path | Encoded, size: int, background: str = "black",
         white: float = 0.0) -> PillowPicture:
  """Decodes an image file.

  Args:
    file: path of the file, or its contents.
    size: target side in pixels; JPEG files may be decoded at a reduced size, but at
      no less than twice this side.
    background: "black" or "white", the colour behind transparent pixels.
    white: pixel value in the file that means white; 0: the largest value that its
      bits can hold.

  Raises:
    RangeError: values lie outside 0..white, or the value of white is unknown.
    Exception: one of UNREADABLE: the file is damaged or its format is not supported.
  """
  if isinstance(file, pathlib.Path):
    suffix = file.suffix.lower()
    if (reason := files.FOREIGN.get(suffix)) and suffix not in files.suffixes():
      raise ValueError(reason)
  image: Image.Image
  try:
    with Image.open(
        file if isinstance(file, pathlib.Path) else io.BytesIO(file.data)) as image:
      # JPEG only: decode at 1/2, 1/4 or 1/8 if that leaves at least twice the size.
      image.draft(image.mode, (2 * size, 2 * size))
      # Pillow keeps the upper 8 bits of each channel and does not say so.
      halved = not image.mode.startswith("I") and ";16" in str(image.tile)
      image.load()
      image = ImageOps.exif_transpose(image)
  except UNREADABLE as error:
    if isinstance(file, pathlib.Path) and (reason := files.why_unreadable(file)):
      raise ValueError(reason) from error
    if isinstance(error, Image.UnidentifiedImageError):
      raise ValueError("it is not an image that Pillow knows") from error
    raise
  if image.mode.startswith(("I", "F")):
    return _deep(file, image, white)
  grey = image.mode in _GREY_MODES
  if image.has_transparency_data:
    image = image.convert("RGBA")
    ground = Image.new("RGBA", image.size, _GROUNDS[background])
    image = Image.alpha_composite(ground, image)
  if image.mode != (mode := "L" if grey else "RGB"):
    image = image.convert(mode)  # of the same mode, `convert` would make a copy
  largest = max(np.ravel(image.getextrema()).tolist())
  if halved:
    if white not in (0, DEEP):
      raise RangeError(
          f"{file} has 16 bits in each of several channels, of which 8 are read: max= must "
          f"be {DEEP} for such files; scale darker ones to this range, or save them with "
          "8 bits")
    return PillowPicture(image, 257 * largest, DEEP)
  if not white or white == 255:
    return PillowPicture(image, largest, 255)
  if white > 255:
    raise RangeError(f"{file} has 8 bits, and so no values up to max={white:g}: leave this "
                     "option out, or keep files of other depths in another folder")
  if largest > white:
    raise RangeError(f"{file} has values up to {largest}, above max={white:g}")
  table = np.rint(np.arange(256) * (255 / white)).clip(0, 255).astype(int)
  return PillowPicture(
      image.point(table.tolist() * len(image.getbands())), largest, white)


def _deep(file: pathlib.Path | Encoded, image: Image.Image, white: float) -> PillowPicture:
  """Converts modes with more than 8 bits: I;16, I (up to 32 bits) and F (floats)."""
  values: np.ndarray = np.asarray(image).astype(
      np.float64 if image.mode == "I" else np.float32)
  low, high = float(values.min()), float(values.max())
  if not white and image.mode == "F":
    raise RangeError(
        f"{file} has 32-bit float pixels ({low:g} to {high:g}): say which value "
        "is white with the option max=, such as max=1")
  top = white or DEEP
  if not (low >= 0 and high <= top):
    raise RangeError(
        f"{file} has values from {low:g} to {high:g}, outside 0..{top:g}: say "
        "which value is white with the option max=VALUE (none may be negative "
        "or NaN)")
  values = np.rint(values / values.dtype.type(top / 255))
  return PillowPicture(Image.fromarray(values.astype(np.uint8)), high, top)
