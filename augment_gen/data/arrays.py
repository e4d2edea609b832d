"""Arrays in files: `npz:FILE?...` and `idx:FILE?labels=FILE`."""

import dataclasses
import gzip
import math
import pathlib
import re
import zipfile
import zlib

import numpy as np

from augment_gen import errors
from augment_gen.data import base
from augment_gen.data import pixels

_IMAGE_KEYS = ("images", "image", "x_train", "x", "data")
_LABEL_KEYS = ("labels", "label", "y_train", "y", "targets")
_DAMAGED = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)


def _missing(path: pathlib.Path) -> list[str]:
  if path.is_file():
    return []
  return [f"there is no file '{path}': put it there, or name its place in the "
          "config (--config.data.root=FOLDER replaces {root})"]


def prepare(
    images: np.ndarray, request: base.Request, *, invert: bool = False,
    transpose: bool = False, convert: bool = False,
) -> np.ndarray:
  """Arrays as people store them -> uint8 [N, S, S, C] as `request` says.

  Args:
    images: [N, H, W] or [N, H, W, 1 or 3]; whole numbers in 0..255, floats in
      [0, 1], or bools.
    request: size and channels wanted.
    invert: exchange black and white.
    transpose: exchange rows and columns.
    convert: allow colour to grey, and grey to RGB.

  Raises:
    UserError: shape, range or channels are others.
  """
  if images.ndim == 3:
    images = images[..., None]
  if images.ndim != 4 or images.shape[-1] not in (1, 3) or not images.size:
    raise errors.UserError(
        f"'{request.name}': images have the shape {images.shape}, not "
        "[N, H, W] or [N, H, W, 1 or 3] (for packed bits give shape=HxW)")
  size = request.image_size
  result = np.empty((len(images), size, size, images.shape[-1]), np.uint8)
  for part in pixels.chunks(len(images), images[0].nbytes):
    x = _to_uint8(images[part], request.name)
    x = x.swapaxes(1, 2) if transpose else x
    result[part] = pixels.resize_images(255 - x if invert else x, size)
  return pixels.to_channels(result, request.channels, convert, request.name)


def _to_uint8(images: np.ndarray, name: str) -> np.ndarray:
  if images.dtype == np.uint8:
    return images
  if images.dtype == bool:
    return images.astype(np.uint8) * np.uint8(255)
  top = 1 if np.issubdtype(images.dtype, np.floating) else 255
  if not (images.min() >= 0 and images.max() <= top):
    raise errors.UserError(
        f"'{name}': {images.dtype} images reach from {images.min()} to "
        f"{images.max()}, outside 0..{top}: scale them")
  return np.rint(images * (255 / top)).astype(np.uint8)


@dataclasses.dataclass(frozen=True)
class Npz(base.Source):
  """Options of npz:FILE.

  Attributes:
    images: key of the images, see `prepare`; found by itself where the file
      has just one of the usual names.
    labels: key of the labels (whole numbers or strings) or "none"; found in
      the same way, or else there are none.
    classes: key of the class names.
    shape: "HxW": the images are rows of bits, as np.packbits makes them.
    invert, transpose, convert: see `prepare`.
  """
  images: str = ""
  labels: str = ""
  classes: str = ""
  shape: str = ""
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
    return problems

  def count(self) -> int:
    """From the array's header: nothing is decompressed but its first bytes."""
    member = self._keys()["images"] + ".npy"
    with zipfile.ZipFile(self._path()) as file, file.open(member) as stream:
      version = np.lib.format.read_magic(stream)
      read = (np.lib.format.read_array_header_1_0 if version == (1, 0)
              else np.lib.format.read_array_header_2_0)
      shape, _, _ = read(stream)
    return shape[0] if shape else 0

  def load(self, request: base.Request) -> base.ImageSet:
    keys = self._keys()
    try:
      with np.load(self._path(), allow_pickle=False) as file:
        stored = {option: file[key] for option, key in keys.items() if key}
    except _DAMAGED as error:
      raise errors.UserError(
          f"'{self._path()}' cannot be read: {error}") from error
    images = self._unpack(stored["images"]) if self.shape else stored["images"]
    images = prepare(images, request, invert=self.invert,
                     transpose=self.transpose, convert=self.convert)
    if "labels" not in stored:
      return base.ImageSet(request.name, images, None, ())
    labels, classes = base.encode_labels(
        stored["labels"], stored.get("classes"))
    return base.ImageSet(request.name, images, labels, classes)

  def _path(self) -> pathlib.Path:
    return pathlib.Path(self.address).expanduser()

  def _names(self) -> list[str]:
    with np.load(self._path(), allow_pickle=False) as file:
      if not isinstance(file, np.lib.npyio.NpzFile):
        raise ValueError("it holds one bare array")
      return file.files

  def _keys(self) -> dict[str, str]:
    """The key for each of images, labels and classes; "" for none."""
    names = self._names()

    def find(option: str, usual: tuple[str, ...]) -> str:
      found = [name for name in usual if name in names]
      if len(found) > 1 or (option == "images" and not found):
        raise errors.UserError(
            f"'{self._path()}': say which array holds the {option} with the "
            f"option {option}=KEY; it has: {', '.join(names)}")
      return found[0] if found else ""

    labels = self.labels or find("labels", _LABEL_KEYS)
    return {"images": self.images or find("images", _IMAGE_KEYS),
            "labels": "" if labels == "none" else labels,
            "classes": self.classes}

  def _unpack(self, rows: np.ndarray) -> np.ndarray:
    """uint8 [N, ceil(H * W / 8)] -> bool [N, H, W]."""
    shape = tuple(int(side) for side in self.shape.split("x"))
    size = math.prod(shape)
    wanted = -(-size // 8)
    if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != wanted:
      raise errors.UserError(
          f"'{self._path()}': packed images of {self.shape} are uint8 "
          f"[N, {wanted}], but the array is {rows.dtype} {rows.shape}")
    bits = np.unpackbits(rows, axis=1, count=size)
    return bits.view(bool).reshape(-1, *shape)


@dataclasses.dataclass(frozen=True)
class Idx(base.Source):
  """Options of idx:FILE, the format of MNIST and EMNIST, gzipped or not.

  Attributes:
    labels: the file with the labels; without it there are none.
    transpose: exchange rows and columns: needed for EMNIST's own files.
    invert, convert: see `prepare`.
  """
  labels: str = ""
  transpose: bool = False
  invert: bool = False
  convert: bool = False

  def problems(self) -> list[str]:
    files = [self.address] + ([self.labels] if self.labels else [])
    return [p for file in files
            for p in _missing(pathlib.Path(file).expanduser())]

  def count(self) -> int:
    return read_idx(self.address, header_only=True)[0]

  def load(self, request: base.Request) -> base.ImageSet:
    images = prepare(read_idx(self.address), request, invert=self.invert,
                     transpose=self.transpose, convert=self.convert)
    if not self.labels:
      return base.ImageSet(request.name, images, None, ())
    labels, classes = base.encode_labels(read_idx(self.labels), None)
    return base.ImageSet(request.name, images, labels, classes)


def read_idx(path: str, header_only: bool = False):
  """An IDX file of unsigned bytes -> uint8 array, or only its shape.

  Raises:
    UserError: it is damaged or holds something else.
  """
  path = pathlib.Path(path).expanduser()
  try:
    with open(path, "rb") as file:
      zipped = file.read(2) == b"\x1f\x8b"
    with (gzip.open if zipped else open)(path, "rb") as file:
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
    raise errors.UserError(f"'{path}' cannot be read: {error}") from error
