"""Pictures that lie as encoded bytes in the records of a data set."""

from collections.abc import Sequence
import dataclasses
import hashlib
import pathlib
from typing import Any

import numpy as np

from augment_gen.config import errors
from augment_gen.data import base, pictures
from augment_gen.data.decoding import decode_all, Decoder
from augment_gen.data.streamed import StreamedImages

_SAMPLE = 256  # pictures whose bytes make the fingerprint


@dataclasses.dataclass(frozen=True)
class Records:
  """Implements `decoding.Pictures`.

  Attributes:
    examples: the records, which many threads may read.
    key: where a record holds its picture: bytes, or {"bytes": …, "path": …} as Hugging
      Face stores it.
    name: what messages call the set.
  """
  examples: Sequence[Any]
  key: str
  name: str

  def __len__(self) -> int:
    return len(self.examples)

  def __getitem__(self, index: int) -> pathlib.Path | pictures.Encoded:
    stored = self.examples[int(index)][self.key]
    if isinstance(stored, dict):
      if stored["bytes"] is None and stored["path"]:
        return pathlib.Path(stored["path"])
      stored = stored["bytes"]
    return pictures.Encoded(stored or b"", f"image {index} of '{self.name}'")

  def fingerprint(self, decoder: Decoder) -> str:
    """Short hash of the number of records, some of their bytes, and the options."""
    options = (dataclasses.astuple(decoder)[1:], decoder.shape, len(self),
               *decoder.request.decoders)
    digest = hashlib.sha256(repr(options).encode())
    for index in np.unique(base.evenly(len(self), min(len(self), _SAMPLE))).tolist():
      file = self[index]
      try:
        digest.update(
            file.data if isinstance(file, pictures.Encoded) else file.read_bytes())
      except OSError:
        digest.update(b"unreadable")
    return digest.hexdigest()[:16]


def stream(records: Records, decoder: Decoder, labels: np.ndarray | None = None,
           class_names: tuple[str, ...] = ()) -> StreamedImages:
  """The pictures of records as a set that is read on demand."""
  return StreamedImages(records, decoder, records.fingerprint(decoder), labels=labels,
                        class_names=class_names)


def load(records: Records, decoder: Decoder, labels: np.ndarray | None = None,
         class_names: tuple[str, ...] = ()) -> base.ImageSet:
  """The pictures of records as a set in memory.

  Raises:
    UserError: see `decoding.decode_all`.
  """
  if not len(records):
    raise errors.UserError(f"'{records.name}' holds no images")
  decoded = decode_all(records, decoder)
  good = decoded.good
  return base.ImageSet(
      decoder.request.name, decoded.images[good] if not good.all() else decoded.images,
      None if labels is None else labels[good], class_names,
      skipped=int((~good).sum()), notes=decoded.notes)
