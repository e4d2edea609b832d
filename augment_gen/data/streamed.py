"""Sets whose pictures are decoded when they are needed."""

import dataclasses
import threading

import numpy as np

from augment_gen.config import errors
from augment_gen.data import base, pictures, pixels
from augment_gen.data.decoding import decode_all, Decoder, Pictures

_SAMPLE = 128  # pictures that are looked at before training
_TRIES = 20  # pictures in a row that may be bad


class StreamedImages:
  """Pictures that are decoded when they are read; implements `base.Images`.

  It asks what a set in memory asks (bad files, channels, which value is white) of a
  sample of its pictures, at once, and of each other picture as it is read.

  With on_bad_image=skip, the place of a bad picture is taken by another one, which is a
  pure function of its index: a run that is resumed sees the same images. A set in memory
  has no such places; that is the one difference between the two.

  Attributes:
    labels: int32 [N] in [0, num_classes), or None.
    class_names: one name per class; empty without labels.
    skipped: number of bad pictures met so far.
    bad: what is wrong with each of them, by its index.
    passed_over, notes: see `base.ImageSet`.
  """
  resident = None

  def __init__(self, stored: Pictures, decoder: Decoder, fingerprint: str, *,
               labels: np.ndarray | None = None, class_names: tuple[str, ...] = (),
               passed_over: int = 0, notes: tuple[str, ...] = ()):
    """Makes a set.

    Args:
      stored: the pictures.
      decoder: how they are decoded.
      fingerprint: short hash of which pictures these are.
      labels, class_names, passed_over, notes: see the attributes.

    Raises:
      UserError: see `decoding.decode_all`, of the sample.
    """
    looked_at = np.unique(base.evenly(len(stored), min(len(stored), _SAMPLE)))
    sample = decode_all(stored, decoder, looked_at.tolist())
    bad = looked_at[~sample.good].tolist()
    seen = (f"{len(bad)} of {len(looked_at)} images that were looked at cannot be read "
            f"(the first: {stored[bad[0]]}); others take their places",) if bad else ()
    self.name, self.shape = decoder.request.name, decoder.shape
    self.fingerprint = fingerprint
    self.labels, self.class_names = labels, class_names
    self.passed_over = passed_over
    self.notes = (*sample.notes, *seen, *notes)
    self._stored = stored
    self._decoder = dataclasses.replace(decoder, white=sample.white)
    self._bad: dict[int, str] = {}
    self._lock = threading.Lock()

  def __len__(self) -> int:
    return len(self._stored)

  @property
  def num_classes(self) -> int:
    return len(self.class_names)

  @property
  def skipped(self) -> int:
    return len(self._bad)

  @property
  def bad(self) -> dict[int, str]:
    with self._lock:
      return dict(self._bad)

  def read(self, indices: np.ndarray) -> np.ndarray:
    """Returns the images at `indices`, uint8 [n, S, S, C]; called by many threads.

    Raises:
      UserError: names a picture that cannot be read or does not have the requested
        channels.
    """
    out = np.empty((len(indices), *self.shape), np.uint8)
    for place, index in enumerate(indices.tolist()):
      out[place] = self._read_one(index)
    return out

  def _read_one(self, index: int) -> np.ndarray:
    try:
      return self._decode(index)
    except pictures.UNREADABLE as error:
      for_good = not pictures.may_pass(error)
      if self._decoder.request.on_bad_image != "skip" or not for_good:
        raise errors.UserError(
            f"{self._stored[index]} cannot be read ({error}): " + (
                "add --config.data.on_bad_image=skip to the command, and other images "
                "take the place of bad ones; or repair it, and start in a new --workdir"
                if for_good else "start the same command again once it can")) from None
      with self._lock:
        self._bad[index] = f"{self._stored[index]} ({error})"
    bits = np.random.Philox(np.random.SeedSequence([index]))
    for other in np.random.Generator(bits).integers(0, len(self), _TRIES).tolist():
      try:
        return self._decode(other)
      except pictures.UNREADABLE:
        continue
    raise errors.UserError(
        f"'{self.name}': {self._bad[index]} cannot be read, nor can {_TRIES} others: "
        "is the drive still there?")

  def _decode(self, index: int) -> np.ndarray:
    decoder = self._decoder
    try:
      picture, have = decoder.picture(self._stored[index])
    except pictures.RangeError as error:
      if decoder.request.on_bad_image == "skip":
        raise ValueError(str(error)) from None
      raise errors.UserError(f"'{self.name}': {error}") from None
    if have != decoder.request.channels and not decoder.convert:
      if decoder.request.on_bad_image == "skip":
        raise ValueError(f"{have} channels, not {decoder.request.channels}")
      raise errors.UserError(pixels.mixed_channels(
          f"'{self.name}' has (see {self._stored[index]})", have,
          decoder.request.channels) + ", in a new --workdir; or leave such files out with "
          "--config.data.on_bad_image=skip")
    return decoder.square(picture)
