"""Image files in a folder: `folder:PATH[?option=value&…]`, see `Folder`.

In a labelled set, each direct subfolder of PATH is a class and holds its images at any
depth. A set is unlabelled if all images lie directly in PATH, or with `labels=none`.
files.py determines which files are images. A table beside the images can say instead which
of them belong to the set and what they show (selection.py).
"""

from collections.abc import Mapping
import dataclasses
import functools
import hashlib
import os
import pathlib
from typing import Literal

import numpy as np

from augment_gen.config import errors
from augment_gen.data import base, index, selection
from augment_gen.data import files as files_lib
from augment_gen.data.decoding import decode_all, Decoder
from augment_gen.data.streamed import StreamedImages

_READ = 256  # files that the fingerprint of a streamed set reads
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
    if not os.path.isdir(path):  # of pathlib, this raises where nothing may be read
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
    filled = set(images.first_parts())
    if loose := files_lib.in_order(filled.difference(classes)):
      return [*problems, f"folder '{path}' holds {len(loose)} images beside the "
              f"class folders ({files_lib.some(loose)}): move them into a class "
              "folder, or add the option labels=none"]
    if self.labels == "auto" and all(c.lower() in _PARTS for c in classes):
      return [*problems,
              f"the folders of '{path}' are called {', '.join(classes)}, like "
              f"parts of a set rather than classes: name one of them, as in "
              f"folder:{path / classes[0]}, or add the option labels=folders if "
              "they are classes, or labels=none to take all images"]
    return problems + [
        f"class folder '{path / name}' " + (
            "leads to a folder that is there under another name, too: remove one of them"
            if f"{name}/" in other else "holds no images: fill it or remove it")
        for name in classes if name not in filled]

  def count(self) -> int:
    return len(self._found.images)

  def load(self, request: base.Request) -> base.ImageSet:
    decoded = decode_all(self._found.images, self._decoder(request))
    images, good, labels = decoded.images, decoded.good, self._labels()
    if labels is not None:
      left = set(labels[good].tolist())
      errors.raise_if_any(
          (f"class '{name}'" if self._class_of_file else
           f"class folder '{self._path() / name}'") + " holds no image that can be read"
          for i, name in enumerate(self._classes()) if i not in left)
      labels = labels[good]
    if not good.all():
      images = images[good]
    return base.ImageSet(
        request.name, images, labels, self._classes(), skipped=int((~good).sum()),
        passed_over=len(self._found.passed_over), notes=(*decoded.notes, *self._notes()),
        origins=np.array(self.origins(), object)[good])

  def columns(self) -> tuple[str, ...]:
    return tuple(self._selection.columns) if self._selection else ()

  def column(self, name: str) -> tuple[str, ...]:
    assert self._selection  # otherwise `columns` is empty
    return self._selection.columns[name]

  def origins(self) -> tuple[str, ...]:
    return tuple(map(base.origin, self._found.images))

  def names(self) -> tuple[str, ...]:
    images = self._found.images
    return tuple(map(images.relative, range(len(images))))

  def stream_problem(self) -> None:
    return None

  def stream(self, request: base.Request) -> StreamedImages:
    return StreamedImages(
        self._found.images, self._decoder(request), self._fingerprint(request),
        labels=self._labels(), class_names=self._classes(),
        passed_over=len(self._found.passed_over), notes=self._notes())

  def _decoder(self, request: base.Request) -> Decoder:
    return Decoder(request, self.resize, self.convert, self.background, self.max)

  def _labels(self) -> np.ndarray | None:
    """The classes of the images, int32 [N]; None without classes."""
    place = {name: i for i, name in enumerate(self._classes())}
    if not place:
      return None
    images, given = self._found.images, self._class_of_file
    names = [given[image] for image in images] if given else images.first_parts()
    return np.array([place[name] for name in names], np.int32)

  def _notes(self) -> tuple[str, ...]:
    notes = self._selection.notes if self._selection else ()
    if other := self._found.passed_over:
      notes = (f"{len(other)} other files passed over ({files_lib.by_suffix(other)}): "
               f"{files_lib.some(other)}", *notes)
    return notes

  def _fingerprint(self, request: base.Request) -> str:
    """Hash of the options, of the files' names and sizes, and of what some files hold."""
    found, shape = self._found, (request.image_size, request.channels)
    options = (self.resize, self.convert, self.background, self.max, shape,
               *request.decoders)
    digest = hashlib.sha256(repr(options).encode())
    for array in (found.images.text, found.images.ends, found.sizes):
      digest.update(array.tobytes())
    # Files of formats without compression keep their size if pixels change.
    for place in base.evenly(len(found.images), min(len(found.images), _READ)).tolist():
      try:
        digest.update(found.images[place].read_bytes())
      except OSError:
        digest.update(b"unreadable")
    return digest.hexdigest()[:16]

  def _path(self) -> pathlib.Path:
    return base.local_path(self.address)

  @functools.cached_property
  def _found(self) -> files_lib.Found:
    return self._selection.found if self._selection else index.find(self._path())

  @functools.cached_property
  def _selection(self) -> selection.Selection | None:
    """What the table selects; None without a table."""
    if not self.metadata:
      return None
    return selection.select(
        self._path(), index.find(self._path()),
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

  def _classes(self) -> tuple[str, ...]:
    return () if self.labels == "none" else self._found.folders
