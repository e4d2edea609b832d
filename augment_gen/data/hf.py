"""Data sets of Hugging Face on this machine: `hf:PATH[?option=value&…]`, see `Hf`.

PATH is what `save_to_disk` wrote, a folder of Parquet, Arrow or WebDataset files, an
imagefolder with its metadata, or one Parquet file. Nothing is downloaded. The library
`datasets` is imported only when such a spec is used.
"""

import dataclasses
import functools
import importlib.util
import os
import pathlib
from typing import Any, Literal

import numpy as np

from augment_gen.config import errors
from augment_gen.data import base, records
from augment_gen.data import labels as labels_lib
from augment_gen.data.decoding import Decoder
from augment_gen.data.streamed import StreamedImages

_LABEL_KEYS = ("label", "labels", "fine_label", "target", "class")
_SAVED = ("state.json", "dataset_dict.json")  # what save_to_disk writes


@dataclasses.dataclass(frozen=True)
class Hf(base.Source):
  """Options of hf:PATH.

  Attributes:
    split: name of the split, in the syntax of the library ("train[:10%]") for files.
    image: column of the images; "": the only column of images.
    label: column of the labels; "": the only column of classes, or one that is called
      label; "none": there are none.
    resize, convert, background, max: see `folder.Folder`.
  """
  split: str = "train"
  image: str = ""
  label: str = ""
  resize: Literal["crop", "squash"] = "crop"
  convert: bool = False
  background: Literal["black", "white"] = "black"
  max: float = 0.0

  def problems(self) -> list[str]:
    if importlib.util.find_spec("datasets") is None:
      return [f"'hf:{self.address}' needs the library datasets: pip install datasets"]
    if not os.path.exists(self._path()):
      return [f"there is nothing at '{self._path()}': hf: reads data sets on this machine; "
              "put it there, for example with save_to_disk, or name its place in the "
              "config (--config.data.root=FOLDER replaces {root})"]
    try:
      self._columns()
    except errors.UserError as error:
      return list(error.problems)
    return base.white_problems(self.max)

  def count(self) -> int:
    return len(self._data)

  def stream_problem(self) -> None:
    return None

  def load(self, request: base.Request) -> base.ImageSet:
    return records.load(self._records(request), self._decoder(request), *self._labels())

  def stream(self, request: base.Request) -> StreamedImages:
    return records.stream(self._records(request), self._decoder(request), *self._labels())

  def _path(self) -> pathlib.Path:
    return base.local_path(self.address)

  def _decoder(self, request: base.Request) -> Decoder:
    return Decoder(request, self.resize, self.convert, self.background, self.max)

  def _records(self, request: base.Request) -> records.Records:
    import datasets  # pylint: disable=g-import-not-at-top

    image, _ = self._columns()
    column = self._data.select_columns([image]).cast_column(
        image, datasets.Image(decode=False))
    return records.Records(column, image, request.name)

  def _labels(self) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The labels, int32 [N] or None, and the names of the classes."""
    _, label = self._columns()
    if not label:
      return None, ()
    values = np.array(self._data.select_columns([label])[:][label])
    names = getattr(self._data.features[label], "names", None)
    return labels_lib.encode(values, names, f"{self._path()}, {label}")

  def _columns(self) -> tuple[str, str]:
    """Names of the columns of the images and of the labels ("" for none)."""
    features = self._data.features
    images = [name for name, kind in features.items()
              if type(kind).__name__ == "Image"]
    if self.image not in images and (self.image or len(images) != 1):
      raise errors.UserError(
          f"'{self._path()}': say which column holds the images with the option "
          f"image=NAME; columns of images are: {', '.join(images) or 'none'}")
    if self.label == "none":
      return self.image or images[0], ""
    classes = [name for name, kind in features.items()
               if type(kind).__name__ == "ClassLabel"]
    usual = classes or [name for name in _LABEL_KEYS if name in features]
    if (self.label and self.label not in features) or (not self.label and len(usual) > 1):
      raise errors.UserError(
          f"'{self._path()}': say which column holds the labels with the option "
          f"label=NAME, or label=none; the columns are: {', '.join(features)}")
    return self.image or images[0], self.label or (usual[0] if usual else "")

  @functools.cached_property
  def _data(self) -> Any:
    """The split, memory-mapped.

    Raises:
      UserError: the library cannot read it.
    """
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
      os.environ.setdefault(name, "1")
    import datasets  # pylint: disable=g-import-not-at-top

    path = self._path()
    try:
      if any(os.path.exists(path / name) for name in _SAVED):
        data = datasets.load_from_disk(str(path))
        if isinstance(data, datasets.DatasetDict):
          if self.split not in data:
            raise ValueError(f"the splits that were saved there are {', '.join(data)}")
          return data[self.split]
        if self.split not in (type(self).split, str(data.split)):
          raise ValueError("a single set was saved there, without splits: leave the "
                           "option split= out")
        return data
      if path.is_file():
        return datasets.load_dataset(
            "parquet", data_files=str(path), split=self.split)
      return datasets.load_dataset(str(path), split=self.split)
    except Exception as error:  # The library may raise anything.
      reason = (str(error).strip() or type(error).__name__).split("\n")[0]
      raise errors.UserError(
          f"'hf:{self.address}', split '{self.split}', cannot be read: {reason}") from error
