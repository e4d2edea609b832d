"""Interfaces of image sets and image sources."""

import abc
from collections.abc import Callable, Sequence
import concurrent.futures
import dataclasses
import functools
import hashlib
import math
import os
import pathlib
from typing import Any, Protocol
import urllib.parse

import numpy as np

from augment_gen.config import errors
from augment_gen.data import files

BINARY = "all values are 0 or 1: taken as black and white"


def local_path(text: str) -> pathlib.Path:
  """Expands a path that may start with "~" or "file://"."""
  if text.startswith("file://"):
    text = urllib.parse.unquote(urllib.parse.urlsplit(
        text.replace("?", "%3F").replace("#", "%23")).path)
  try:
    return pathlib.Path(text).expanduser()
  except RuntimeError:  # ~NAME of nobody
    return pathlib.Path(text)


def origin(path: pathlib.Path) -> str:
  """The real path of a file: the same for all links that lead to it."""
  if os.path.islink(path):
    return os.path.realpath(path)
  folder, name = os.path.split(path)
  return os.path.join(_real_folder(folder), name)


@functools.lru_cache(maxsize=1024)
def _real_folder(path: str) -> str:
  return os.path.realpath(path)


def white_problems(white: float) -> list[str]:
  """Problems with the option `max`, the value of white (0 if not given)."""
  if 0 <= white < math.inf:
    return []
  return [f"option max={white:g} must be a positive number, the value of white"]


def fingerprint_arrays(images: np.ndarray, labels: np.ndarray | None) -> str:
  """Short hash of the values, shapes and dtypes of a set's arrays."""
  digest = hashlib.sha256()
  for array in (images, labels):
    if array is None:
      digest.update(b"none")
      continue
    digest.update(f"{array.dtype}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
  return digest.hexdigest()[:16]


def evenly(size: int, count: int) -> np.ndarray:
  """Spreads `count` indices evenly over `size`, as sets are often sorted by class."""
  return np.linspace(0, size - 1, count).astype(int)


class Images(Protocol):
  """Images that can be read by index, in memory or not.

  Code that needs only the images of a set depends on this interface alone.

  Attributes:
    name: name of the set in messages, usually its spec.
    shape: (H, W, C) of each image.
    resident: uint8 [N, H, W, C] if the set is in memory, else None.
    fingerprint: short hash that identifies the set.
  """

  @property
  def name(self) -> str:
    ...

  @property
  def fingerprint(self) -> str:
    ...

  @property
  def shape(self) -> tuple[int, int, int]:
    ...

  @property
  def resident(self) -> np.ndarray | None:
    ...

  def __len__(self) -> int:
    ...

  def read(self, indices: np.ndarray) -> np.ndarray:
    """Returns the images at `indices` (int [n]) in this order, uint8 [n, H, W, C]."""


def sample(images: Images, count: int) -> np.ndarray:
  """Reads `count` images spread evenly over a set, uint8 [count, H, W, C].

  If the set has fewer than `count` images, some are repeated.
  """
  indices = evenly(len(images), count)
  if images.resident is not None:
    return images.read(indices)
  with concurrent.futures.ThreadPoolExecutor(files.THREADS) as pool:
    return np.concatenate(list(pool.map(
        images.read, np.array_split(indices, min(len(indices), 4 * files.THREADS)))))


def reader(images: Images | np.ndarray) -> Callable[[Any], np.ndarray]:
  """Returns the function `indices -> images` of a set or of an array of images."""
  return images.read if hasattr(images, "read") else images.__getitem__


def shape_of(images: Images | np.ndarray) -> tuple[int, ...]:
  """Returns the shape of one example of a set or of an array."""
  return images.shape if hasattr(images, "read") else images.shape[1:]


@dataclasses.dataclass(frozen=True, eq=False)
class Joined:
  """The concatenation of several sets; implements `Images`."""
  parts: Sequence[Images]

  @functools.cached_property
  def fingerprint(self) -> str:
    return hashlib.sha256(
        " ".join(part.fingerprint for part in self.parts).encode()).hexdigest()[:16]

  @property
  def name(self) -> str:
    return " ∪ ".join(part.name for part in self.parts)

  @property
  def shape(self) -> tuple[int, int, int]:
    return self.parts[0].shape

  @functools.cached_property
  def resident(self) -> np.ndarray | None:
    arrays = [array for part in self.parts if (array := part.resident) is not None]
    return np.concatenate(arrays) if len(arrays) == len(self.parts) else None

  def __len__(self) -> int:
    return sum(len(part) for part in self.parts)

  def read(self, indices: np.ndarray) -> np.ndarray:
    out = np.empty((len(indices), *self.shape), np.uint8)
    first = 0
    for part in self.parts:
      mine = (indices >= first) & (indices < first + len(part))
      out[mine] = part.read(indices[mine] - first)
      first += len(part)
    return out


@dataclasses.dataclass(frozen=True, eq=False)
class ImageSet:
  """Images in memory, with or without labels; implements `Images`.

  Attributes:
    name: name of the set in messages, usually its spec.
    images: uint8 [N, H, W, C].
    labels: int32 [N] in [0, num_classes), or None.
    class_names: one name per class; empty without labels.
    fingerprint: hash of images and labels; computed if left empty.
    skipped: number of images left out because they could not be read.
    passed_over: number of other files found beside the images.
    notes: lines for the user on how the set was interpreted.
    places: int32 [N, 2], row and column of each image's top left pixel on a larger
      canvas (canvas.py), or None.
    origins: the file of each image, str [N] (see `origin`), or None if images have no
      files of their own.

  Raises:
    ValueError: the images are not uint8 [N, H, W, C].
    UserError: the numbers of images and labels differ, or a label lies outside the
      classes.
  """
  name: str
  images: np.ndarray
  labels: np.ndarray | None
  class_names: tuple[str, ...]
  fingerprint: str = ""
  skipped: int = 0
  passed_over: int = 0
  notes: tuple[str, ...] = ()
  places: np.ndarray | None = None
  origins: np.ndarray | None = None

  def __post_init__(self):
    if self.images.dtype != np.uint8 or self.images.ndim != 4:
      raise ValueError(
          f"'{self.name}': images are {self.images.dtype} "
          f"{self.images.shape}, not uint8 [N, H, W, C]")
    if self.labels is not None:
      self._check_labels(self.labels)
    if not self.fingerprint:
      object.__setattr__(
          self, "fingerprint", fingerprint_arrays(self.images, self.labels))

  def _check_labels(self, labels: np.ndarray):
    if len(labels) != len(self.images):
      raise errors.UserError(
          f"'{self.name}' has {len(self.images)} images but "
          f"{len(labels)} labels")
    wrong = (labels < 0) | (labels >= self.num_classes)
    if wrong.any():
      first = int(np.argmax(wrong))
      raise errors.UserError(
          f"'{self.name}' has {self.num_classes} classes, but {wrong.sum()} "
          f"labels outside 0..{self.num_classes - 1} (the first: "
          f"{labels[first]} of image {first}): correct the labels or the "
          "list of classes")

  def __len__(self) -> int:
    return len(self.images)

  @property
  def shape(self) -> tuple[int, int, int]:
    return self.images.shape[1:]

  @property
  def resident(self) -> np.ndarray:
    return self.images

  def read(self, indices: np.ndarray) -> np.ndarray:
    """Returns the images at `indices`, uint8 [n, H, W, C]."""
    return self.images[indices]

  @property
  def num_classes(self) -> int:
    return len(self.class_names)

  def select(self, indices: np.ndarray, name: str | None = None) -> "ImageSet":
    """Returns the images at `indices` (int [M]) as a set with the same classes."""
    pick = lambda array: None if array is None else array[indices]
    return dataclasses.replace(
        self, name=name or self.name, images=self.images[indices],
        labels=pick(self.labels), places=pick(self.places),
        origins=pick(self.origins), fingerprint="")


def labels_of(images: Images) -> tuple[np.ndarray, tuple[str, ...]] | None:
  """The labels of a set, int32 [N], and the names of their classes; None without labels.

  Classes of the same name in several joined sets are one class. Those of the first set
  keep their numbers.
  """
  if isinstance(images, Joined):
    found = [labels_of(part) for part in images.parts]
    known = [part for part in found if part is not None]
    if len(known) < len(found):
      return None
    names = tuple(dict.fromkeys(name for _, part in known for name in part))
    place = {name: number for number, name in enumerate(names)}
    return np.concatenate([
        np.array([place[name] for name in part], np.int32)[labels]
        for labels, part in known]), names
  if not isinstance(images, ImageSet) or images.labels is None:
    return None
  return images.labels, images.class_names


@dataclasses.dataclass(frozen=True)
class Request:
  """What a source should deliver.

  Attributes:
    name: name of the resulting set.
    image_size: side of the square images, in pixels.
    channels: 1 (grey) or 3 (RGB).
    on_bad_image: what to do about images that cannot be read: "error" or "skip".
    jpeg_decoder: what decodes JPEG files, "pillow" or "simplejpeg" (data/jpeg.py).
  """
  name: str
  image_size: int
  channels: int
  on_bad_image: str = "error"
  jpeg_decoder: str = "pillow"

  @property
  def decoders(self) -> tuple[str, ...]:
    """Decoders other than Pillow, for fingerprints: they give other values."""
    return () if self.jpeg_decoder == "pillow" else (self.jpeg_decoder,)


@dataclasses.dataclass(frozen=True)
class Source(abc.ABC):
  """A parsed spec. Subclasses add the options of their kind as fields.

  Attributes:
    address: the part of the spec between "KIND:" and "?".
    root: the user's data folder, or "".
  """
  address: str
  root: str

  @abc.abstractmethod
  def problems(self) -> list[str]:
    """Returns all problems that can be found without reading the images."""

  def columns(self) -> tuple[str, ...]:
    """Names of the columns of the table that describes the images; () without one."""
    return ()

  def column(self, name: str) -> tuple[str, ...]:
    """The cells of one of `columns`, one for each of `origins`."""
    raise KeyError(name)

  def origins(self) -> tuple[str, ...]:
    """The file of each image (see `origin`), also of those that cannot be read."""
    return ()

  def names(self) -> tuple[str, ...]:
    """The path of each image below the address; () if images have no files."""
    return ()

  @abc.abstractmethod
  def count(self) -> int | None:
    """Number of images if cheap to know, else None; requires a spec without problems."""

  def stream_problem(self) -> str | None:
    """Why these images cannot be read on demand, or None if they can; cheap."""
    return "these can only be held in memory: give a folder:, tfds: or hf: spec"

  def stream(self, request: Request) -> Images:
    """Returns images that are read on demand.

    Raises:
      UserError: as `load`, as far as a sample of the images shows.
    """
    raise NotImplementedError

  @abc.abstractmethod
  def load(self, request: Request) -> ImageSet:
    """Reads the set.

    Raises:
      UserError: the data are missing, damaged or not as requested.
    """
