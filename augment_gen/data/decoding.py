"""From picture files to squares of one size; the questions that a whole set raises.

Sets in memory and streamed ones decode their pictures here, so they cannot differ.
"""

from collections.abc import Sequence
import concurrent.futures
import dataclasses
import pathlib
from typing import Literal, Protocol

import numpy as np

from augment_gen.config import errors
from augment_gen.data import base, files, jpeg, pictures, pixels

# A set of 16-bit files with no value above this is more likely to have 12 bits.
_TWELVE_BITS = 4095


class Pictures(Protocol):
  """Stored pictures by number, as `files.Paths`."""

  def __len__(self) -> int:
    ...

  def __getitem__(self, index: int, /) -> "pathlib.Path | pictures.Encoded":
    """The picture's file, or its contents."""


@dataclasses.dataclass(frozen=True)
class Decoder:
  """How stored pictures become the images of a set.

  Attributes:
    request: the size and the channels, and what to do about bad files.
    resize: "crop" scales the shorter side to the image size and keeps the centre;
      "squash" changes the aspect ratio.
    convert: whether to allow conversion of colour to grey and of grey to RGB.
    background: colour behind transparent pixels.
    white: value in the files that means white; 0: the largest value that a file's bits
      can hold.
    transpose: whether to swap rows and columns.
    invert: whether to swap black and white.
  """
  request: base.Request
  resize: Literal["crop", "squash"] = "crop"
  convert: bool = False
  background: Literal["black", "white"] = "black"
  white: float = 0.0
  transpose: bool = False
  invert: bool = False

  def __post_init__(self):
    """Raises a UserError if the libraries of the JPEG decoder are not installed."""
    if self._fast and (missing := jpeg.problem()):
      raise errors.UserError(missing)

  @property
  def _fast(self) -> bool:
    return self.request.jpeg_decoder == "simplejpeg"

  @property
  def shape(self) -> tuple[int, int, int]:
    size = self.request.image_size
    return size, size, self.request.channels

  def picture(self, file: "pathlib.Path | pictures.Encoded"
              ) -> tuple[pictures.Picture, int]:
    """Decodes a picture. Returns it and its number of channels.

    If grey is requested and `convert` is false, an RGB picture in which all pixels are
    grey counts as one channel.
    """
    picture = self._read(file)
    have = picture.channels
    if have == 3 and self.request.channels == 1 and not self.convert:
      have = 1 if picture.is_grey() else 3
    return picture, have

  def square(self, picture: pictures.Picture) -> np.ndarray:
    """Resizes a picture to uint8 [S, S, C]."""
    image = picture.square(self.request.image_size, self.resize, self.request.channels)
    image = image.swapaxes(0, 1) if self.transpose else image
    return 255 - image if self.invert else image

  def _read(self, file: "pathlib.Path | pictures.Encoded") -> pictures.Picture:
    size = self.request.image_size
    # Other values of white are Pillow's matter.
    if (self._fast and self.white in (0, 255)
        and (picture := jpeg.read(file, size)) is not None):
      return picture
    return pictures.read(file, size, self.background, self.white)


@dataclasses.dataclass(frozen=True)
class Decoded:
  """The pictures of a set, decoded.

  Attributes:
    images: uint8 [N, S, S, C]; a bad file leaves anything.
    good: whether each could be read, bool [N].
    white: value in the files that meant white; 0: the largest of their bits.
    notes: how the values were interpreted.
  """
  images: np.ndarray
  good: np.ndarray
  white: float
  notes: tuple[str, ...]


def decode_all(stored: Pictures, decoder: Decoder,
               indices: Sequence[int] | None = None) -> Decoded:
  """Decodes the pictures at `indices` (None: all of them), in this order.

  Raises:
    UserError: pictures are bad, do not have the requested channels, or it is unclear
      which of their values is white.
  """
  request = decoder.request
  indices = range(len(stored)) if indices is None else indices
  images = np.empty((len(indices), *decoder.shape), np.uint8)

  def decode(place: int) -> tuple[int, float, float] | Exception:
    """Fills images[place]. Returns (channels, largest value, white), or the error."""
    try:
      picture, have = decoder.picture(stored[indices[place]])
    except (*pictures.UNREADABLE, pictures.RangeError) as error:
      return error
    if have == request.channels or decoder.convert:
      images[place] = decoder.square(picture)
    return have, picture.largest, picture.white

  with concurrent.futures.ThreadPoolExecutor(files.THREADS) as pool:
    outcomes = list(pool.map(decode, range(len(indices))))
  _check(outcomes, lambda place: stored[indices[place]], decoder)
  good = np.array([not isinstance(o, Exception) for o in outcomes])
  ranges = [o[1:] for o in outcomes if not isinstance(o, Exception)]
  if not ranges:
    raise errors.UserError(f"no image of '{request.name}' can be read")
  if not decoder.white and max(largest for largest, _ in ranges) == 1:
    binary = decode_all(stored, dataclasses.replace(decoder, white=1.0), indices)
    return dataclasses.replace(binary, notes=(base.BINARY,))
  deep = [largest for largest, top in ranges if top == pictures.DEEP]
  if deep and not decoder.white and max(deep) <= _TWELVE_BITS:
    raise errors.UserError(
        f"'{request.name}' has 16-bit files whose values reach only to "
        f"{max(deep):g}: say which value is white with the option max=, such "
        "as max=4095 for 12 bits, or max=65535 if they are that dark")
  return Decoded(images, good, decoder.white, pixels.nearly_black(
      *max(ranges, key=lambda values: values[0] / values[1])))


def _check(outcomes: list, file, decoder: Decoder) -> None:
  """Raises a UserError if files are bad or do not have the requested channels."""
  request = decoder.request
  ranges = [o for o in outcomes if isinstance(o, pictures.RangeError)]
  bad = [i for i, o in enumerate(outcomes) if isinstance(o, Exception)
         and not isinstance(o, pictures.RangeError)]
  if passing := [i for i in bad if pictures.may_pass(outcomes[i])]:
    raise errors.UserError(
        f"{file(passing[0])} cannot be read now ({outcomes[passing[0]]}): start the same "
        "command again once it can")
  if bad and request.on_bad_image != "skip":
    others = (f"; nor can {len(bad) - 1} other images of '{request.name}'"
              if len(bad) > 1 else "")
    raise errors.UserError(
        f"{file(bad[0])} cannot be read ({outcomes[bad[0]]}){others}: repair or "
        "remove the bad files, or leave them out with "
        "--config.data.on_bad_image=skip")
  if ranges:
    raise errors.UserError(f"'{request.name}': {ranges[0]}")
  other = [i for i, o in enumerate(outcomes)
           if not isinstance(o, Exception) and o[0] != request.channels]
  if other and not decoder.convert:
    raise errors.UserError(pixels.mixed_channels(
        f"'{request.name}' holds {len(other)} (of {len(outcomes)}; the first "
        f"is {file(other[0])})", outcomes[other[0]][0], request.channels))
