"""TensorFlow datasets: `tfds:NAME[/CONFIG][:SPLIT]`, as `tfds:mnist:train`.

TensorFlow and TFDS are imported only when such a spec is used. Datasets are
looked for in config.data.root, or where TFDS keeps them if that is empty, and
downloaded and prepared there if missing. They come out as white ink on black,
upright: see `ADJUST`.
"""

import dataclasses
import importlib.util
import re
from typing import Any

import numpy as np

from augment_gen.config import errors
from augment_gen.data import arrays, base
from augment_gen.data import labels as labels_lib

_BATCH = 1024
_MODULES = ("tensorflow_datasets", "tensorflow")

# What arrays.prepare must do to a dataset's images.
ADJUST: dict[str, dict[str, bool]] = {
    # "Like the original EMNIST data, images provided here are inverted
    # horizontally and rotated 90 anti-clockwise" (TFDS), that is, transposed.
    "emnist": {"transpose": True},
    # Black ink on white, stored as RGB.
    "omniglot": {"invert": True, "convert": True},
}


@dataclasses.dataclass(frozen=True)
class Tfds(base.Source):
  """Options of tfds:NAME[/CONFIG][:SPLIT]; SPLIT is "train" if not given.

  Splits are written as TFDS does: "train+test", "train[:10%]". The splits of
  Omniglot share one space of 1,623 labels, so "train+test" is all of it.

  Attributes:
    convert: allow colour to grey, and grey to RGB.
  """
  convert: bool = False

  def problems(self) -> list[str]:
    missing = [m for m in _MODULES if importlib.util.find_spec(m) is None]
    if missing:
      return [f"'tfds:{self.address}' needs {' and '.join(missing)}: "
              "pip install tensorflow-datasets tensorflow-cpu"]
    try:
      builder = self._builder()
    except (ValueError, ImportError) as error:
      reason = str(error).strip().split("\n")[0]
      return [f"'tfds:{self.address}' is not a dataset of TFDS: {reason}"]
    split = self._name_and_split()[1]
    if builder.is_prepared():
      try:
        _ = builder.info.splits[split]
      except (KeyError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        return [f"'tfds:{self.address}' has no split '{split}': {reason}"]
    return []

  def count(self) -> int | None:
    builder = self._builder()
    if not builder.is_prepared():
      return None
    return builder.info.splits[self._name_and_split()[1]].num_examples

  def load(self, request: base.Request) -> base.ImageSet:
    builder = self._builder()
    self._prepare(builder)
    image_key, label_key = _keys(builder.info)
    adjust = {"convert": self.convert} | ADJUST.get(builder.name, {})
    images, labels = [], []
    for batch in self._batches(builder, image_key, label_key):
      part = batch["images"]
      # A batch of few values must not be taken for a set of black and white.
      white, _ = arrays.find_white(
          part, 255 if part.dtype == np.uint8 else 0, request.name)
      images.append(arrays.prepare(part, request, white=white, **adjust))
      labels.append(batch.get("labels"))
    if not images:
      raise errors.UserError(f"'tfds:{self.address}' holds no images")
    images = np.concatenate(images)
    if not label_key:
      return base.ImageSet(request.name, images, None, ())
    labels, names = labels_lib.encode(
        np.concatenate(labels), _class_names(builder.info.features[label_key]),
        request.name)
    return base.ImageSet(request.name, images, labels, names)

  def _name_and_split(self) -> tuple[str, str]:
    """"mnist:3.0.1:train" -> ("mnist:3.0.1", "train")."""
    match = re.fullmatch(r"([^:]+(?::\d[\d.]*)?)(?::(.+))?", self.address)
    if not match:
      raise ValueError("write tfds:NAME[/CONFIG][:SPLIT]")
    return match[1], match[2] or "train"

  def _builder(self) -> Any:
    """The TFDS builder; neither reads nor downloads the images."""
    import tensorflow_datasets as tfds  # pylint: disable=g-import-not-at-top
    return tfds.builder(
        self._name_and_split()[0], data_dir=self.root or None)

  def _prepare(self, builder: Any):
    """Downloads and prepares the dataset unless that has been done."""
    if builder.is_prepared():
      return
    try:
      builder.download_and_prepare()
    except Exception as error:  # Downloads and builders raise what they like.
      name = self._name_and_split()[0]
      where = f" --data_dir={self.root}" if self.root else ""
      reason = (str(error).strip() or type(error).__name__).split("\n")[0]
      raise errors.UserError(
          f"the dataset '{name}' is not in {builder.data_dir} and could not be "
          f"downloaded ({reason}): where there is a network run `tfds build "
          f"{name}{where}`, copy the folder here, and pass "
          "--config.data.root=FOLDER") from error

  def _batches(self, builder: Any, image_key: str, label_key: str):
    """Yields {"images": [b, H, W, C], "labels": [b]} in the order of files."""
    import tensorflow_datasets as tfds  # pylint: disable=g-import-not-at-top

    keys = {"images": image_key, "labels": label_key}

    def pick(example):
      return {name: example[key] for name, key in keys.items() if key}

    images = builder.as_dataset(
        split=self._name_and_split()[1], shuffle_files=False).map(pick)
    # Images that differ in size cannot be stacked before they are resized.
    varied = None in builder.info.features[image_key].shape
    yield from tfds.as_numpy(images.batch(1 if varied else _BATCH))


def _keys(info: Any) -> tuple[str, str]:
  """Names of the image feature and of the label feature ("" for none).

  Raises:
    UserError: the dataset has no feature called "image".
  """
  keys = info.supervised_keys
  if keys and len(keys) == 2 and all(isinstance(k, str) for k in keys):
    image, label = keys
  else:
    image, label = "image", "label"
  if image not in info.features or len(info.features[image].shape) != 3:
    raise errors.UserError(
        f"the TFDS dataset '{info.name}' is not one of images with a label "
        f"each; its features are {', '.join(info.features)}")
  has_label = (label in info.features
               and hasattr(info.features[label], "num_classes"))
  return image, label if has_label else ""


def _class_names(feature: Any) -> list[str]:
  """Names of a ClassLabel; its numbers where the dataset gives no names."""
  return feature.names or [str(i) for i in range(feature.num_classes)]
