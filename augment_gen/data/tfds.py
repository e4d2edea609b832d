"""TensorFlow datasets: `tfds:NAME[/CONFIG][:SPLIT]`, as `tfds:mnist:train`.

TFDS is imported only when such a spec is used. Datasets are read from config.data.root,
or from the default folder of TFDS if that is empty. Missing ones are downloaded and
prepared there. Both need TensorFlow, an extra of this package, except that a dataset
which was prepared as ArrayRecord is read without it. `ADJUST` makes images upright, with
white ink on black.
"""

from collections.abc import Iterator
import dataclasses
import importlib.util
import os
import re
from typing import Any

import numpy as np

from augment_gen.config import errors
from augment_gen.data import arrays, base, records
from augment_gen.data import labels as labels_lib
from augment_gen.data.decoding import Decoder
from augment_gen.data.streamed import StreamedImages

_BATCH = 1024

# Arguments of arrays.prepare for datasets whose images need adjusting.
ADJUST: dict[str, dict[str, bool]] = {
    # "Like the original EMNIST data, images provided here are inverted
    # horizontally and rotated 90 anti-clockwise" (TFDS), that is, transposed.
    "emnist": {"transpose": True},
    # Black ink on white, stored as RGB.
    "omniglot": {"invert": True, "convert": True},
}


@dataclasses.dataclass(frozen=True)
class Tfds(base.Source):
  """Options of `tfds:NAME[/CONFIG][:SPLIT]`; SPLIT is "train" if not given.

  Splits use the syntax of TFDS: "train+test", "train[:10%]". The splits of Omniglot
  share one space of 1,623 labels, so "train+test" is the whole dataset.

  Attributes:
    convert: whether to allow conversion of colour to grey and of grey to RGB.
  """
  convert: bool = False

  def problems(self) -> list[str]:
    if importlib.util.find_spec("tensorflow_datasets") is None:
      return [f"'tfds:{self.address}' needs tensorflow_datasets: "
              "pip install tensorflow-datasets"]
    try:
      builder = self._builder()
    except (ValueError, ImportError) as error:
      reason = str(error).strip().split("\n")[0]
      return [f"'tfds:{self.address}' is not a dataset of TFDS: {reason}"]
    name, split = self._name_and_split()
    if not _random_access(builder) and importlib.util.find_spec("tensorflow") is None:
      return [f"'tfds:{self.address}' needs TensorFlow: pip install "
              f"'augment_gen[tensorflow]'; or run `tfds build {name} "
              "--file_format=array_record` where TensorFlow is installed, copy the "
              "folder here, and pass --config.data.root=FOLDER"]
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

  def stream_problem(self) -> str | None:
    builder = self._builder()
    if _random_access(builder):
      return None
    name = self._name_and_split()[0]
    return (f"it is not prepared as ArrayRecord, which is read by number: `tfds build "
            f"{name} --file_format=array_record` does that")

  def stream(self, request: base.Request) -> StreamedImages:
    """Returns the images without labels: these lie in the same records."""
    builder = self._builder()
    return records.stream(self._records(builder, request), self._decoder(builder, request))

  def load(self, request: base.Request) -> base.ImageSet:
    builder = self._builder()
    self._prepare(builder)
    if _random_access(builder):
      return self._load_records(builder, request)
    image_key, label_key = _keys(builder.info)
    adjust = {"convert": self.convert} | ADJUST.get(builder.name, {})
    image_parts: list[np.ndarray] = []
    label_parts: list[np.ndarray] = []
    for batch in self._batches(builder, image_key, label_key):
      part = batch["images"]
      # A batch that happens to hold only 0 and 1 must not count as a binary set.
      white, _ = arrays.find_white(
          part, 255 if part.dtype == np.uint8 else 0, request.name)
      image_parts.append(arrays.prepare(part, request, white=white, **adjust))
      if label_key:
        label_parts.append(batch["labels"])
    if not image_parts:
      raise errors.UserError(f"'tfds:{self.address}' holds no images")
    images = np.concatenate(image_parts)
    if not label_key:
      return base.ImageSet(request.name, images, None, ())
    labels, names = labels_lib.encode(
        np.concatenate(label_parts),
        _class_names(builder.info.features[label_key]), request.name)
    return base.ImageSet(request.name, images, labels, names)

  def _load_records(self, builder: Any, request: base.Request) -> base.ImageSet:
    """Loads a dataset that is read by number, without TensorFlow."""
    found, decoder = self._records(builder, request), self._decoder(builder, request)
    _, label_key = _keys(builder.info)
    if not label_key:
      return records.load(found, decoder)
    labels = np.array([example[label_key] for example in found.examples])
    return records.load(found, decoder, *labels_lib.encode(
        labels, _class_names(builder.info.features[label_key]), request.name))

  def _records(self, builder: Any, request: base.Request) -> records.Records:
    import tensorflow_datasets as tfds  # pylint: disable=g-import-not-at-top

    image_key, label_key = _keys(builder.info)
    encoded = [key for key in builder.info.features if key != label_key]
    examples = builder.as_data_source(
        self._name_and_split()[1],
        decoders=dict.fromkeys(encoded, tfds.decode.SkipDecoding()))
    return records.Records(examples, image_key, request.name)

  def _decoder(self, builder: Any, request: base.Request) -> Decoder:
    adjust = ADJUST.get(builder.name, {})
    return Decoder(
        request, convert=self.convert or adjust.get("convert", False),
        transpose=adjust.get("transpose", False), invert=adjust.get("invert", False))

  def _name_and_split(self) -> tuple[str, str]:
    """Splits "mnist:3.0.1:train" into ("mnist:3.0.1", "train")."""
    match = re.fullmatch(r"([^:]+(?::\d[\d.]*)?)(?::(.+))?", self.address)
    if not match:
      raise ValueError("write tfds:NAME[/CONFIG][:SPLIT]")
    return match[1], match[2] or "train"

  def _builder(self) -> Any:
    """Returns the TFDS builder without reading or downloading the images."""
    # TFDS may import TensorFlow, which would fill the terminal with messages.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    import tensorflow_datasets as tfds  # pylint: disable=g-import-not-at-top
    return tfds.builder(
        self._name_and_split()[0], data_dir=self.root or None)

  def _prepare(self, builder: Any):
    """Downloads and prepares the dataset unless that is already done."""
    if builder.is_prepared():
      return
    try:
      builder.download_and_prepare()
    except Exception as error:  # Downloads and builders may raise anything.
      name = self._name_and_split()[0]
      where = f" --data_dir={self.root}" if self.root else ""
      reason = (str(error).strip() or type(error).__name__).split("\n")[0]
      raise errors.UserError(
          f"the dataset '{name}' is not in {builder.data_dir} and could not be "
          f"downloaded ({reason}): where there is a network run `tfds build "
          f"{name}{where}`, copy the folder here, and pass "
          "--config.data.root=FOLDER") from error

  def _batches(self, builder: Any, image_key: str, label_key: str,
               ) -> Iterator[dict[str, np.ndarray]]:
    """Yields {"images": [b, H, W, C], "labels": [b]} in the order of the files."""
    keys = {"images": image_key, "labels": label_key}
    keys = {name: key for name, key in keys.items() if key}
    split = self._name_and_split()[1]
    # Images of different sizes cannot be stacked before they are resized.
    size = 1 if None in builder.info.features[image_key].shape else _BATCH
    import tensorflow_datasets as tfds  # pylint: disable=g-import-not-at-top
    images = builder.as_dataset(split=split, shuffle_files=False).map(
        lambda example: {name: example[key] for name, key in keys.items()})
    yield from tfds.as_numpy(images.batch(size))


def _random_access(builder: Any) -> bool:
  """Whether a prepared dataset can be read by number, which needs no TensorFlow."""
  return builder.is_prepared() and any(
      kind.value == "array_record" for kind in builder.info.available_file_formats())


def _keys(info: Any) -> tuple[str, str]:
  """Names of the image feature and of the label feature ("" if there is none).

  Raises:
    UserError: the dataset has no image feature of three dimensions.
  """
  keys = info.supervised_keys
  if keys and len(keys) == 2 and all(isinstance(k, str) for k in keys):
    image, label = keys
  else:
    image, label = "image", "label"
  if image not in info.features or len(info.features[image].shape) != 3:
    raise errors.UserError(
        f"the TFDS dataset '{info.name}' does not consist of images with one label "
        f"each; its features are {', '.join(info.features)}")
  has_label = (label in info.features
               and hasattr(info.features[label], "num_classes"))
  return image, label if has_label else ""


def _class_names(feature: Any) -> list[str]:
  """Class names of a ClassLabel, or the class numbers if it has no names."""
  return feature.names or [str(i) for i in range(feature.num_classes)]
