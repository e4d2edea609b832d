"""Arrays in files: `npz:FILE?...` and `idx:FILE?labels=FILE`."""

import dataclasses
import functools
import gzip
import math
import os
import pathlib
import re
import zipfile
import zlib

import numpy as np

from augment_gen.config import errors
from augment_gen.data import base, pixels
from augment_gen.data import labels as labels_lib

_IMAGE_KEYS = ("images", "image", "x_train", "x", "data")
_LABEL_KEYS = ("labels", "label", "y_train", "y", "targets")
# Parts of names of image arrays, and what replaces them in the names of the labels.
_PARTNERS = (("images", "labels"), ("image", "label"), ("imgs", "labels"),
             ("img", "label"), ("data", "targets"), ("data", "labels"),
             ("x", "y"), ("X", "y"), ("X", "Y"))
# A RuntimeError: a compression that Python's zipfile lacks.
_DAMAGED = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError)


def _missing(path: pathlib.Path) -> list[str]:
  if os.path.isfile(path):  # of pathlib, this raises where nothing may be read
    return []
  return [f"there is no file '{path}': put it there, or name its place in the "
          "config (--config.data.root=FOLDER replaces {root})"]


def prepare(
    images: np.ndarray, request: base.Request, *, white: float,
    invert: bool = False, transpose: bool = False, convert: bool = False,
) -> np.ndarray:
  """Converts stored images to uint8 [N, S, S, C] of the requested size and channels.

  Args:
    images: numbers or bools in 0..white, [N, H, W] or [N, H, W, 1 or 3].
    request: requested size and channels.
    white: value that becomes 255, see `find_white`.
    invert: whether to swap black and white.
    transpose: whether to swap rows and columns.
    convert: whether to allow conversion of colour to grey and of grey to RGB.

  Raises:
    UserError: the shape is not supported, or the channels are not those requested and
      `convert` is false.
  """
  if images.ndim == 3:
    images = images[..., None]
  if images.ndim != 4 or images.shape[-1] not in (1, 3) or not images.size:
    raise errors.UserError(
        f"'{request.name}': images have the shape {images.shape}, not [N, H, W] or "
        f"[N, H, W, 1 or 3]: {_shape_hint(images.shape)}")
  size = request.image_size
  result = np.empty((len(images), size, size, images.shape[-1]), np.uint8)
  for part in pixels.chunks(len(images), images[0].nbytes):
    x = _to_uint8(images[part], white)
    x = x.swapaxes(1, 2) if transpose else x
    result[part] = pixels.resize_images(255 - x if invert else x, size)
  return pixels.to_channels(result, request.channels, convert, request.name)


def _shape_hint(shape: tuple[int, ...]) -> str:
  if not math.prod(shape):
    return "there are none"
  if len(shape) == 4 and shape[1] in (1, 3):
    return "channels come first; store them last, as images.transpose(0, 2, 3, 1)"
  if len(shape) == 4 and shape[-1] in (2, 4):
    return "store them without transparency"
  if len(shape) == 2:
    return "each row needs the shape of an image; for packed bits use the option shape=HxW"
  return "convert them to one of these shapes"


def find_white(images: np.ndarray, white: float, name: str
               ) -> tuple[float, tuple[str, ...]]:
  """Determines which value of a set means white.

  Args:
    images: all images of the set, of any dtype.
    white: value of the option `max`; 0 if not given.
    name: name of the set, for messages.

  Returns:
    The value of white, and notes for the user.

  Raises:
    UserError: the images are not numbers, or values lie outside 0..white.
  """
  kind = images.dtype.kind
  if kind == "b" or not images.size:
    return 1, ()
  if kind not in "uif":
    raise errors.UserError(
        f"'{name}': images of the type {images.dtype} are not understood: store "
        "whole numbers in 0..255, floats in [0, 1], or bools")
  low, high = images.min(), images.max()
  if kind != "f" and not white and low >= 0 and high == 1:
    return 1, (base.BINARY,)
  top = white or (1 if kind == "f" else 255)
  if not (low >= 0 and high <= top):  # also true for NaN
    raise errors.UserError(
        f"'{name}': {images.dtype} images reach from {low} to {high}, outside "
        f"0..{top:g}: scale them, or say which value is white with the option "
        "max=, such as max=4095 for 12 bits")
  return top, pixels.nearly_black(float(high), top)


def _to_uint8(images: np.ndarray, white: float) -> np.ndarray:
  if images.dtype == np.uint8 and white == 255:
    return images
  if images.dtype == bool:
    return images.astype(np.uint8) * np.uint8(255)
  return np.rint(images * (255 / white)).astype(np.uint8)


@dataclasses.dataclass(frozen=True)
class Npz(base.Source):
  """Options of npz:FILE.

  Attributes:
    images: key of the images (see `prepare` for their format); may be omitted if exactly
      one array has a usual name.
    labels: key of the labels (see labels.py) or "none". If omitted, the labels are the
      array whose name matches that of the images (x_test, y_test), or else the one array
      that has a usual name and matches no other images. Without any array of a usual
      name there are no labels.
    classes: key of the class names.
    shape: "HxW" if the images are rows of bits, as np.packbits makes them.
    max: value that means white; 0: 255 for whole numbers (1 if there are only 0 and 1),
      1 for floats.
    invert, transpose, convert: see `prepare`.
  """
  images: str = ""
  labels: str = ""
  classes: str = ""
  shape: str = ""
  max: float = 0.0
  invert: bool = False
  transpose: bool = False
  convert: bool = False

  def problems(self) -> list[str]:
    if missing := _missing(self._path()):
      return missing
    try:
      keys = self._keys()
    except _DAMAGED as error:
      return [f"'{self._path()}' is not an npz file, or damaged: {error}"]
    except errors.UserError as error:
      return list(error.problems)
    problems = [
        f"'{self._path()}' has no array '{key}' (option {option}); it has: "
        f"{', '.join(self._names())}"
        for option, key in keys.items() if key and key not in self._names()]
    if self.shape and not re.fullmatch(r"\d+x\d+", self.shape):
      problems.append(f"option shape='{self.shape}' must be HxW, as 105x105")
    problems += base.white_problems(self.max)
    try:
      return problems or self._header_problems(keys)
    except _DAMAGED as error:
      return [f"'{self._path()}' cannot be read: {error}"]

  def _header_problems(self, keys: dict[str, str]) -> list[str]:
    """Problems that the arrays' headers show; only the headers are decompressed."""
    problems = []
    headers = {option: self._header(key) for option, key in keys.items() if key}
    for option, (_, dtype) in headers.items():
      if dtype.hasobject:
        problems.append(
            f"'{self._path()}': array '{keys[option]}' holds Python objects, which "
            "are not read: store numbers or strings")
    if problems or "labels" not in headers:
      return problems
    (count, *_), (shape, dtype) = headers["images"][0] or (0,), headers["labels"]
    name = f"{self._path()}, {keys['labels']}"
    if problem := labels_lib.shape_problem(shape, dtype, name):
      return [problem]
    if count != shape[0]:
      return [f"'{self._path()}' has {count} images ('{keys['images']}') but "
              f"{shape[0]} labels ('{keys['labels']}'): name the right ones with the "
              "options images=KEY and labels=KEY, or labels=none"]
    return []

  def count(self) -> int:
    """Number of images, from the array's header."""
    shape, _ = self._header(self._keys()["images"])
    return shape[0] if shape else 0

  def _header(self, key: str) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype of an array; only its first bytes are decompressed."""
    with zipfile.ZipFile(self._path()) as file, file.open(key + ".npy") as stream:
      version = np.lib.format.read_magic(stream)
      read = (np.lib.format.read_array_header_1_0 if version == (1, 0)
              else np.lib.format.read_array_header_2_0)
      shape, _, dtype = read(stream)
    return shape, dtype

  def load(self, request: base.Request) -> base.ImageSet:
    keys = self._keys()
    try:
      with np.load(self._path(), allow_pickle=False) as file:
        stored = {option: file[key] for option, key in keys.items() if key}
    except _DAMAGED as error:
      raise errors.UserError(
          f"'{self._path()}' cannot be read: {error}") from error
    images = self._unpack(stored["images"]) if self.shape else stored["images"]
    white, notes = find_white(images, self.max, request.name)
    images = prepare(images, request, white=white, invert=self.invert,
                     transpose=self.transpose, convert=self.convert)
    if "labels" not in stored:
      return base.ImageSet(request.name, images, None, (), notes=notes)
    labels, classes = labels_lib.encode(
        stored["labels"], stored.get("classes"), request.name)
    return base.ImageSet(request.name, images, labels, classes, notes=notes)

  def _path(self) -> pathlib.Path:
    return base.local_path(self.address)

  def _names(self) -> list[str]:
    with np.load(self._path(), allow_pickle=False) as file:
      if not isinstance(file, np.lib.npyio.NpzFile):
        raise ValueError("it holds one bare array")
      return file.files

  def _keys(self) -> dict[str, str]:
    """Keys of the images, labels and classes; "" if there are none."""
    names = self._names()

    images = self.images or self._only("images", _IMAGE_KEYS, names)
    labels = self.labels or self._labels_of(images, names)
    return {"images": images, "labels": "" if labels == "none" else labels,
            "classes": self.classes}

  def _only(self, option: str, found: tuple[str, ...], names: list[str]) -> str:
    """Returns the only name of `found` that is in the file."""
    found = tuple(name for name in found if name in names)
    if len(found) != 1:
      raise errors.UserError(
          f"'{self._path()}': say which array holds the {option} with the "
          f"option {option}=KEY; it has: {', '.join(names)}")
    return found[0]

  def _labels_of(self, images: str, names: list[str]) -> str:
    """Key of the labels that belong to an array of images, or "" for none."""
    if own := [name for name in _partners(images) if name in names]:
      return own[0]
    # Labels that match other images of the file do not belong to these images.
    theirs = {label for name in names if name != images
              for label in _partners(name)}
    usual = tuple(name for name in _LABEL_KEYS if name in names)
    if not usual:
      return ""
    if theirs.issuperset(usual):
      raise errors.UserError(
          f"'{self._path()}': say which array holds the labels of '{images}' with "
          f"the option labels=KEY, or labels=none; it has: {', '.join(names)}")
    return self._only(
        "labels", tuple(name for name in usual if name not in theirs), names)

  def _unpack(self, rows: np.ndarray) -> np.ndarray:
    """Unpacks uint8 [N, ceil(H * W / 8)] to bool [N, H, W]."""
    shape = tuple(int(side) for side in self.shape.split("x"))
    size = math.prod(shape)
    wanted = -(-size // 8)
    if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != wanted:
      raise errors.UserError(
          f"'{self._path()}': packed images of {self.shape} are uint8 "
          f"[N, {wanted}], but the array is {rows.dtype} {rows.shape}")
    bits = np.unpackbits(rows, axis=1, count=size)
    return bits.view(bool).reshape(-1, *shape)


@functools.cache
def _partners(images: str) -> tuple[str, ...]:
  """Possible names for the labels of an array of images, likely ones first.

  One word of the name is replaced: "x_test" gives ("y_test",). A word is delimited by
  characters that are not letters.
  """
  found = []
  for word, partner in _PARTNERS:
    pattern = rf"(?<![A-Za-z]){word}(?![A-Za-z])"
    label, count = re.subn(pattern, partner, images)
    if count:
      found.append(label)
  return tuple(found)


@dataclasses.dataclass(frozen=True)
class Idx(base.Source):
  """Options of idx:FILE, the format of MNIST and EMNIST, gzipped or not.

  Attributes:
    labels: file with the labels; without it, the set has none.
    transpose: whether to swap rows and columns, as EMNIST's own files need.
    invert, convert: see `prepare`.
  """
  labels: str = ""
  transpose: bool = False
  invert: bool = False
  convert: bool = False

  def problems(self) -> list[str]:
    files = [self.address] + ([self.labels] if self.labels else [])
    return [p for file in files for p in _missing(base.local_path(file))]

  def count(self) -> int:
    return read_idx(self.address, header_only=True)[0]

  def load(self, request: base.Request) -> base.ImageSet:
    stored = read_idx(self.address)
    white, notes = find_white(stored, 0, request.name)
    images = prepare(stored, request, white=white, invert=self.invert,
                     transpose=self.transpose, convert=self.convert)
    if not self.labels:
      return base.ImageSet(request.name, images, None, (), notes=notes)
    labels, classes = labels_lib.encode(
        read_idx(self.labels), None, request.name)
    return base.ImageSet(request.name, images, labels, classes, notes=notes)


def read_idx(path: str, header_only: bool = False):
  """Reads an IDX file of unsigned bytes as a uint8 array, or only its shape.

  Raises:
    UserError: the file is damaged or holds something else.
  """
  local = base.local_path(path)
  try:
    with open(local, "rb") as file:
      zipped = file.read(2) == b"\x1f\x8b"
    with (gzip.open if zipped else open)(local, "rb") as file:
      magic = file.read(4)
      if magic[:3] != b"\0\0\x08" or len(magic) < 4:
        raise ValueError("it does not start like an IDX file of bytes")
      shape = tuple(np.frombuffer(file.read(4 * magic[3]), ">i4").tolist())
      if header_only:
        return shape
      values = np.frombuffer(file.read(), np.uint8)
      if values.size != math.prod(shape):
        raise ValueError(f"{values.size} bytes where {shape} were announced")
      return values.reshape(shape)
  except _DAMAGED as error:
    raise errors.UserError(f"'{local}' cannot be read: {error}") from error
