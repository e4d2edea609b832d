"""Batches for a training loop; see `run.contracts.Feed`."""

from collections.abc import Iterator, Mapping
import math
import threading
from typing import Any
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from augment_gen.config import DataConfig, errors
from augment_gen.data.base import Images
from augment_gen.data.read_ahead import ReadAhead
from augment_gen.run import parallel


def on_devices(sets: Mapping[str, Images], data: DataConfig) -> dict[str, np.ndarray]:
  """The images of those sets of which each device gets a copy, uint8 [N, H, W, C]."""
  # The size first: the union of two sets is put together when it is asked for.
  small = (name for name, images in sets.items()
           if len(images) * math.prod(images.shape) <= data.max_device_gib * 2**30)
  return {name: values for name in small
          if (values := sets[name].resident) is not None}


class ImageFeed:
  """Batches of several sets, each set in its own random order.

  A set in memory is copied to the devices once, unless it is too large for that; each
  step then sends only indices. Any other set is read on the host, some steps ahead
  (read_ahead.py), and its images are sent to the devices as uint8. Training steps cannot
  tell the two apart.

  The order is a pure function of (seed, stage, set, epoch), so a run that is stopped
  and resumed at step n sees the same batches as an uninterrupted run. Each set cycles
  through its own epochs. The incomplete batch at the end of an epoch is dropped; other
  images are dropped in the next epoch, which has another permutation.

  Attributes:
    batch_size: images of each set in a step, over all devices.
    steps_per_epoch: number of whole batches in one epoch, by set name.
    resident: uint8 [N, H, W, C] for each set that is copied to the devices, by set name.
    streamed: names of the other sets.
  """

  def __init__(self, sets: Mapping[str, Images], batch_size: int, seed: int,
               stage: str, data: DataConfig = DataConfig()):
    """Makes a feed.

    Args:
      sets: image sets by name.
      batch_size: images of each set in a step, over all devices.
      seed: seed of the run.
      stage: name of the stage; part of the random seed.
      data: says how sets are read that are not on the devices, and how large those are
        that are.

    Raises:
      UserError: a set is smaller than a batch.
    """
    errors.raise_if_any(
        f"stage {stage}: '{name}' has {len(images)} images, fewer than a batch of "
        f"{batch_size}: lower the stage's batch_size"
        for name, images in sets.items() if len(images) < batch_size)
    self.batch_size = batch_size
    self.steps_per_epoch = {
        name: len(images) // batch_size for name, images in sets.items()}
    self.resident = on_devices(sets, data)
    self.streamed = tuple(name for name in sets if name not in self.resident)
    self._sets = dict(sets)
    self._seed = seed
    self._stage = stage
    self._orders: dict[tuple[str, int], np.ndarray] = {}
    self._lock = threading.Lock()
    self._rows = parallel.own_rows(batch_size)
    self._ahead = ReadAhead(
        {name: sets[name] for name in self.streamed}, self._index, len(self._rows),
        threads=data.read_threads, gib=data.read_ahead_gib)

  def host_batch(self, step: int) -> dict[str, dict[str, np.ndarray]]:
    """Returns what a step sends to the devices.

    {"index": {set name: int32 [B]}, "images": {set name: uint8 [B, H, W, C]}}, where
    "images" has only the sets that are not on the devices. With several processes, each has
    the rows of its own devices: together they read each image once.
    """
    return {"index": self._index(step), "images": self._ahead.batch(step)}

  def fetch(self, resident: Mapping[str, jax.Array],
            host_batch: Mapping[str, Mapping[str, jax.Array]]) -> dict[str, Any]:
    """Assembles the batch of one device.

    {set name: float32 [b, H, W, C] in [0, 1], "index": {set name: int32 [b]}}.
    """
    index, images = host_batch["index"], host_batch["images"]
    batch: dict[str, Any] = {
        name: (images[name] if name in images else resident[name][places]
               ).astype(jnp.float32) / 255 for name, places in index.items()}
    return batch | {"index": dict(index)}

  def close(self) -> None:
    """Ends the threads that read ahead; the next `host_batch` starts them again."""
    self._ahead.close()

  def report(self) -> Iterator[str]:
    """Lines for the user on what was found while reading."""
    for name in self.streamed:
      parts = getattr(self._sets[name], "parts", [self._sets[name]])
      if bad := [line for part in parts for line in getattr(part, "bad", {}).values()]:
        yield (f"bad images of '{name}' whose place others took: {len(bad)}; the first: "
               f"{bad[0]}")

  def _index(self, step: int) -> dict[str, np.ndarray]:
    """Image indices of a step of the stage, {set name: int32 [B]}: this process's rows."""
    index = {}
    for name, steps in self.steps_per_epoch.items():
      epoch, batch = divmod(step, steps)
      start = batch * self.batch_size
      index[name] = self._order(name, epoch)[start:start + self.batch_size][self._rows]
    return index

  def _order(self, name: str, epoch: int) -> np.ndarray:
    """Returns the permutation of an epoch; the latest two of each set are kept.

    Two, since threads that read ahead are in the next epoch already.
    """
    with self._lock:
      if (name, epoch) not in self._orders:
        stream = zlib.crc32(f"{self._stage}/{name}".encode())
        bits = np.random.Philox(
            np.random.SeedSequence([self._seed, stream, epoch]))
        self._orders[name, epoch] = np.random.Generator(bits).permutation(
            np.arange(len(self._sets[name]), dtype=np.int32))
        for old in [key for key in self._orders if key[0] == name][:-2]:
          del self._orders[old]
      return self._orders[name, epoch]
