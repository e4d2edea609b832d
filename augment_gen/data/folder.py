"""Image files in a folder: `folder:PATH[?option=value&…]`, see `Folder`.

In a labelled set, each direct subfolder of PATH is a class and holds its images at any
depth. A set is unlabelled if all images lie directly in PATH, or with `labels=none`.
files.py determines which files are images. A table beside the images can say instead which
of them belong to the set and what they show (selection.py).
"""

from collections.abc import Mapping
import concurrent.futures
import dataclasses
import functools
import hashlib
import pathlib
from typing import Literal

import numpy as np

from augment_gen.config import errors
from augment_gen.data import base, pictures, pixels, selection
from augment_gen.data import files as files_lib

# A set of 16-bit files with no value above this is more likely to have 12 bits.
_TWELVE_BITS = 4095
# Folders with these names are splits of a set rather than classes.
_PARTS = frozenset((
    "train", "training", "trainset", "val", "valid", "validation", "dev", "test",
    "testing", "testset", "eval", "unlabeled", "unlabelled"))


@dataclasses.dataclass(frozen=True)
class Folder(base.Source):
  """Options of folder:PATH.

  Attributes:
    labels: "auto" takes the folders as classes, unless all of them are named like splits
      of a set (train, test and the like), which is an error; "folders" takes them as
      classes whatever their names; "none" ignores them.
    resize: "crop" scales the shorter side to the image size and keeps the centre;
      "squash" changes the aspect ratio.
    convert: whether to allow conversion of colour to grey and of grey to RGB.
    background: colour behind transparent pixels.
    max: value in the files that means white, such as 4095 for 12 bits; 0: the largest
      value that a file's bits can hold.
    metadata: table with one row for each image (CSV, TSV, JSON lines, parquet), relative
      to PATH or absolute; only its images belong to the set.
    label: its column with the classes; if empty, the folders are the classes.
    where: which of its rows, such as light=room|spot;camera=a; if empty, all.
    path: its column with the paths of the images, relative to PATH or to the table; if
      empty, the one with a usual name.
  """
  labels: Literal["auto", "folders", "none"] = "auto"
  resize: Literal["crop", "squash"] = "crop"
  convert: bool = False
  background: Literal["black", "white"] = "black"
  max: float = 0.0
  metadata: str = ""
  label: str = ""
  where: str = ""
  path: str = ""

  def problems(self) -> list[str]:
    path = self._path()
    if not path.is_dir():
      return [f"there is no folder '{path}': put the images there (one folder "
              "per class if they have labels), or name their folder in the config "
              "(--config.data.root=FOLDER replaces {root})"]
    problems = [*base.white_problems(self.max), *self._option_problems(),
                *self._found.problems]
    if self._selection and (problems or self._class_of_file):
      return problems
    images, other = self._found.images, self._found.passed_over
    classes = self._classes()
    if not images and not classes:
      return [*problems, f"folder '{path}' holds no images, but "
              f"{len(other)} other files" +
              (f": {files_lib.some(other)}" if other else "")]
    if not classes:
      return problems
    if loose := [f.name for f in images if f.parent == path]:
      return [*problems, f"folder '{path}' holds {len(loose)} images beside the "
              f"class folders ({files_lib.some(loose)}): move them into a class "
              "folder, or add the option labels=none"]
    if self.labels == "auto" and all(c.lower() in _PARTS for c in classes):
      return [*problems,
              f"the folders of '{path}' are called {', '.join(classes)}, like "
              f"parts of a set rather than classes: name one of them, as in "
              f"folder:{path / classes[0]}, or add the option labels=folders if "
              "they are classes, or labels=none to take all images"]
    filled = {f.relative_to(path).parts[0] for f in images}
    return problems + [
        f"class folder '{path / name}' holds no images: fill it or remove it"
        for name in classes if name not in filled]

  def count(self) -> int:
    return len(self._found.images)

  def load(self, request: base.Request) -> base.ImageSet:
    root, files, classes = self._path(), self._found.images, self._classes()
    labels = None
    if classes:
      place = {name: i for i, name in enumerate(classes)}
      labels = np.array([place[self._class_of(f)] for f in files], np.int32)
    images, good, notes = self._decode(files, request, self.max)
    if labels is not None:
      left = set(labels[good].tolist())
      errors.raise_if_any(
          (f"class '{name}'" if self._class_of_file else f"class folder '{root / name}'")
          + " holds no image that can be read"
          for name, i in place.items() if i not in left)
      labels = labels[good]
    if not good.all():
      images = images[good]
    other = self._found.passed_over
    if other:
      notes = (*notes, f"{len(other)} other files passed over: "
               f"{files_lib.some(other)}")
    if self._selection:
      notes = (*notes, *self._selection.notes)
    return base.ImageSet(
        request.name, images, labels, classes, skipped=int((~good).sum()),
        passed_over=len(other), notes=notes,
        origins=np.array(self.origins(), object)[good])

  def columns(self) -> tuple[str, ...]:
    return tuple(self._selection.columns) if self._selection else ()

  def column(self, name: str) -> tuple[str, ...]:
    assert self._selection  # otherwise `columns` is empty
    return self._selection.columns[name]

  def origins(self) -> tuple[str, ...]:
    return tuple(map(base.origin, self._found.images))

  def stream(self, request: base.Request) -> "StreamedFolder":
    return StreamedFolder(self, request)

  def _path(self) -> pathlib.Path:
    return base.local_path(self.address)

  @functools.cached_property
  def _found(self) -> files_lib.Found:
    return self._selection.found if self._selection else files_lib.find(self._path())

  @functools.cached_property
  def _selection(self) -> selection.Selection | None:
    """What the table selects; None without a table."""
    if not self.metadata:
      return None
    return selection.select(
        self._path(), files_lib.find(self._path()),
        selection.Query(self.metadata, self.path, self.label, self.where))

  def _option_problems(self) -> list[str]:
    """Options that contradict each other."""
    given = [name for name in ("label", "where", "path") if getattr(self, name)]
    if given and not self.metadata:
      return [f"option {given[0]}={getattr(self, given[0])} needs a table: give the "
              "option metadata=FILE"]
    if self.label and self.labels != "auto":
      return [f"options label={self.label} and labels={self.labels} contradict each "
              "other: leave one of them out"]
    return []

  @property
  def _class_of_file(self) -> Mapping[pathlib.Path, str] | None:
    """The class of each image as the table gives it, or None if the folders do."""
    return self._selection.class_of if self._selection else None

  def _class_of(self, file: pathlib.Path) -> str:
    given = self._class_of_file
    return given[file] if given else file.relative_to(self._path()).parts[0]

  def _classes(self) -> tuple[str, ...]:
    return () if self.labels == "none" else self._found.folders

  def _picture(self, file: pathlib.Path, request: base.Request, white: float
               ) -> tuple[pictures.Picture, int]:
    """Decodes a file. Returns the picture and its number of channels.

    If grey is requested and `convert` is false, an RGB picture in which all pixels are
    grey counts as one channel.
    """
    picture = pictures.read(file, request.image_size, self.background, white)
    have = picture.channels
    if have == 3 and request.channels == 1 and not self.convert:
      have = 1 if pictures.is_grey(picture.image) else 3
    return picture, have

  def _decode(
      self, files: tuple[pathlib.Path, ...], request: base.Request,
      white: float,
  ) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Decodes all files.

    Returns:
      The images (uint8 [N, S, S, C]) and whether each could be read (bool [N]), both in
      the order of the files; and notes on how the values were interpreted.
    """
    size, channels = request.image_size, request.channels
    images = np.empty((len(files), size, size, channels), np.uint8)

    def decode(index: int) -> tuple[int, float, float] | Exception:
      """Fills images[index]. Returns (channels, largest value, white), or the error."""
      try:
        picture, have = self._picture(files[index], request, white)
      except (*pictures.UNREADABLE, pictures.RangeError) as error:
        return error
      if have == channels or self.convert:
        images[index] = pictures.to_square(
            picture.image, size, self.resize, channels)
      return have, picture.largest, picture.white

    with concurrent.futures.ThreadPoolExecutor(files_lib.THREADS) as pool:
      outcomes = list(pool.map(decode, range(len(files))))
    _check(outcomes, files, request, self.convert)
    good = np.array([not isinstance(o, Exception) for o in outcomes])
    ranges = [o[1:] for o in outcomes if not isinstance(o, Exception)]
    if not ranges:
      raise errors.UserError(f"no image of '{request.name}' can be read")
    if not white and max(largest for largest, _ in ranges) == 1:
      images, good, _ = self._decode(files, request, 1.0)
      return images, good, (base.BINARY,)
    deep = [largest for largest, top in ranges if top == pictures.DEEP]
    if deep and not white and max(deep) <= _TWELVE_BITS:
      raise errors.UserError(
          f"'{request.name}' has 16-bit files whose values reach only to "
          f"{max(deep):g}: say which value is white with the option max=, such "
          "as max=4095 for 12 bits, or max=65535 if they are that dark")
    return images, good, ()


def _check(outcomes: list, files: tuple[pathlib.Path, ...],
           request: base.Request, convert: bool) -> None:
  """Raises a UserError if files are bad or do not have the requested channels."""
  ranges = [o for o in outcomes if isinstance(o, pictures.RangeError)]
  bad = [i for i, o in enumerate(outcomes) if isinstance(o, Exception)
         and not isinstance(o, pictures.RangeError)]
  if bad and request.on_bad_image != "skip":
    others = (f"; nor can {len(bad) - 1} other images of '{request.name}'"
              if len(bad) > 1 else "")
    raise errors.UserError(
        f"{files[bad[0]]} cannot be read ({outcomes[bad[0]]}){others}: repair or "
        "remove the bad files, or leave them out with "
        "--config.data.on_bad_image=skip")
  if ranges:
    raise errors.UserError(f"'{request.name}': {ranges[0]}")
  other = [i for i, o in enumerate(outcomes)
           if not isinstance(o, Exception) and o[0] != request.channels]
  if other and not convert:
    raise errors.UserError(pixels.mixed_channels(
        f"'{request.name}' holds {len(other)} (of {len(files)}; the first "
        f"is {files[other[0]]})", outcomes[other[0]][0], request.channels))


class StreamedFolder:
  """The images of a folder, decoded on demand; implements `base.Images`.

  Labels are ignored, since only X_p is streamed.
  """
  resident = None
  labels = None
  class_names = ()
  num_classes = 0
  skipped = 0

  def __init__(self, source: Folder, request: base.Request):
    self.name = request.name
    self.shape = (request.image_size, request.image_size, request.channels)
    self._source, self._request = source, request
    self._files = source._found.images
    self.passed_over = len(source._found.passed_over)
    self.notes = ((f"{self.passed_over} other files passed over",)
                  if self.passed_over else ())

  def __len__(self) -> int:
    return len(self._files)

  @functools.cached_property
  def fingerprint(self) -> str:
    """Hash of the options and of the files' names and sizes; the files are not read."""
    source = self._source
    options = (source.resize, source.convert, source.background, source.max, self.shape)
    digest = hashlib.sha256(repr(options).encode())
    for file in self._files:
      digest.update(f"{file.relative_to(source._path())}\0"
                    f"{file.stat().st_size}\0".encode())
    return digest.hexdigest()[:16]

  def read(self, indices: np.ndarray) -> np.ndarray:
    """Returns the images at `indices`, uint8 [n, S, S, C].

    Raises:
      UserError: names a file that cannot be read or does not have the requested
        channels.
    """
    with concurrent.futures.ThreadPoolExecutor(files_lib.THREADS) as pool:
      return np.stack(list(pool.map(self._read_one, indices.tolist())))

  def _read_one(self, index: int) -> np.ndarray:
    file, request = self._files[index], self._request
    try:
      picture, have = self._source._picture(file, request, self._source.max)
    except (*pictures.UNREADABLE, pictures.RangeError) as error:
      raise errors.UserError(
          f"{file} cannot be read ({error}): repair or remove it, and start the same "
          "command again") from None
    if have != request.channels and not self._source.convert:
      raise errors.UserError(pixels.mixed_channels(
          f"'{request.name}' has (see {file})", have, request.channels))
    return pictures.to_square(
        picture.image, request.image_size, self._source.resize, request.channels)
