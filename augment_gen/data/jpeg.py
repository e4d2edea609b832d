"""Fast decoding of JPEG files, chosen by data.jpeg_decoder=simplejpeg.

simplejpeg (libjpeg-turbo) decodes at the smallest multiple of 1/8 of the size that is
not below the target, and OpenCV resizes. On files of 500 × 400 pixels, made 224 × 224,
one core does 2.1 times as many images a second as with Pillow (docs/experiments/026).
Values differ from Pillow's by 2.5 levels on average: the decoder's own scaling is another
filter than Pillow's, and the centre square lies on whole pixels of the reduced picture.

Files that it does not know (other formats, CMYK, damaged ones) are left to
`pictures.read`.
"""

import dataclasses
import functools
import importlib.util
import io
import pathlib
from types import ModuleType
from typing import Literal

import numpy as np
from PIL import ExifTags, Image

from augment_gen.data import pictures

_MAGIC = b"\xff\xd8\xff"
# Reducing by more needs every source pixel, or fine patterns alias.
_MOST_LINEAR = 1.5


def problem() -> str | None:
  """What to install before this decoder can be used, or None."""
  if all(importlib.util.find_spec(name) for name in ("simplejpeg", "cv2")):
    return None
  return ("config.data.jpeg_decoder=simplejpeg needs two libraries: "
          "pip install 'augment_gen[jpeg]'; or use config.data.jpeg_decoder=pillow")


@functools.cache
def _libraries() -> tuple[ModuleType, ModuleType]:
  """simplejpeg and cv2, which are imported only where they are used."""
  import cv2
  import simplejpeg
  cv2.setNumThreads(1)  # the threads that read images share the cores already
  return simplejpeg, cv2


@dataclasses.dataclass(frozen=True)
class JpegPicture:
  """A decoded JPEG file; implements `pictures.Picture`.

  Attributes:
    pixels: uint8 [H, W, 1 or 3], upright.
  """
  pixels: np.ndarray
  white: float = 255.0

  @property
  def channels(self) -> int:
    return self.pixels.shape[-1]

  @property
  def largest(self) -> float:
    return float(self.pixels.max())

  def is_grey(self) -> bool:
    return bool((self.pixels[..., :1] == self.pixels).all())

  def square(self, size: int, resize: Literal["crop", "squash"],
             channels: int) -> np.ndarray:
    _, cv2 = _libraries()
    pixels = self.pixels
    height, width = pixels.shape[:2]
    if resize == "crop":
      side = min(height, width)
      top, left = (height - side) // 2, (width - side) // 2
      pixels = pixels[top:top + side, left:left + side]
      height = width = side
    if height > _MOST_LINEAR * size:  # OpenCV averages only if no side is enlarged
      pixels = cv2.resize(pixels, (width, size), interpolation=cv2.INTER_AREA)
    if width > _MOST_LINEAR * size:
      pixels = cv2.resize(pixels, (size, len(pixels)), interpolation=cv2.INTER_AREA)
    if pixels.shape[:2] != (size, size):
      pixels = cv2.resize(pixels, (size, size), interpolation=cv2.INTER_LINEAR)
    pixels = pixels.reshape(size, size, self.channels)  # OpenCV drops a single channel
    if channels == self.channels:
      return pixels
    if channels == 3:
      return np.repeat(pixels, 3, axis=-1)
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None]


def read(file: pathlib.Path | pictures.Encoded, size: int) -> JpegPicture | None:
  """Decodes a JPEG file at no less than `size` pixels on its shorter side, if it can.

  Smaller files are decoded whole.

  Returns:
    The picture, or None if Pillow should read the file.

  Raises:
    OSError: the file cannot be opened.
  """
  simplejpeg, _ = _libraries()
  data = _bytes(file)
  if data is None:
    return None
  try:
    with Image.open(io.BytesIO(data)) as header:
      if header.mode not in ("L", "RGB"):
        return None
      turn = header.getexif().get(ExifTags.Base.Orientation, 1)
      space = "GRAY" if header.mode == "L" else "RGB"
    pixels = simplejpeg.decode_jpeg(
        data, space, min_height=size, min_width=size, min_factor=1)
  except pictures.UNREADABLE:
    return None
  return JpegPicture(_upright(pixels, turn))


def _bytes(file: pathlib.Path | pictures.Encoded) -> bytes | None:
  """The contents of a JPEG file; None if it has another format."""
  if isinstance(file, pictures.Encoded):
    return file.data if file.data.startswith(_MAGIC) else None
  with open(file, "rb") as opened:
    start = opened.read(len(_MAGIC))
    return start + opened.read() if start == _MAGIC else None


def _upright(pixels: np.ndarray, turn: int) -> np.ndarray:
  """Undoes the orientation of EXIF, 1 to 8; other values mean nothing."""
  if turn in (5, 6, 7, 8):
    pixels = pixels.swapaxes(0, 1)
  if turn in (3, 4, 7, 8):
    pixels = pixels[::-1]
  if turn in (2, 3, 6, 7):
    pixels = pixels[:, ::-1]
  return np.ascontiguousarray(pixels)
