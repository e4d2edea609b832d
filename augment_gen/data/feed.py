"""Batches for a training loop; see `run.contracts.Feed`."""

from collections.abc import Mapping
import concurrent.futures
from typing import Any
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from augment_gen.config import errors
from augment_gen.data.base import Images


class ImageFeed:
  """Batches of several sets, each set in its own random order.

  A set in memory is copied to the devices once; each step then sends only indices. Any
  other set is read on the host, one step ahead, and its images are sent to the devices.
  Training steps cannot tell the two apart.

  The order is a pure function of (seed, stage, set, epoch), so a run that is stopped
  and resumed at step n sees the same batches as an uninterrupted run. Each set cycles
  through its own epochs. The incomplete batch at the end of an epoch is dropped; other
  images are dropped in the next epoch, which has another permutation.

  Attributes:
    batch_size: images of each set in a step, over all devices.
    steps_per_epoch: number of whole batches in one epoch, by set name.
    resident: uint8 [N, H, W, C] for each set in memory, by set name.
  """

  def __init__(self, sets: Mapping[str, Images], batch_size: int, seed: int,
               stage: str):
    """Makes a feed.

    Args:
      sets: image sets by name.
      batch_size: images of each set in a step, over all devices.
      seed: seed of the run.
      stage: name of the stage; part of the random seed.

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
    self.resident = {name: images.resident for name, images in sets.items()
                     if images.resident is not None}
    self._sets = dict(sets)
    self._seed = seed
    self._stage = stage
    self._orders: dict[str, tuple[int, np.ndarray]] = {}
    self._reader = concurrent.futures.ThreadPoolExecutor(1)
    self._ahead: tuple[int, concurrent.futures.Future] | None = None

  def host_batch(self, step: int) -> dict[str, dict[str, np.ndarray]]:
    """Returns what a step sends to the devices.

    {"index": {set name: int32 [B]}, "images": {set name: uint8 [B, H, W, C]}}, where
    "images" has only the sets that are not in memory.
    """
    index = self._index(step)
    streamed = [name for name in index if name not in self.resident]
    if not streamed:
      return {"index": index, "images": {}}
    ahead, self._ahead = self._ahead, None
    images = (ahead[1].result() if ahead and ahead[0] == step
              else self._read(index, streamed))
    self._ahead = (step + 1, self._reader.submit(
        self._read, self._index(step + 1), streamed))
    return {"index": index, "images": images}

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

  def _read(self, index: Mapping[str, np.ndarray], names: list[str]
            ) -> dict[str, np.ndarray]:
    return {name: self._sets[name].read(index[name]) for name in names}

  def _index(self, step: int) -> dict[str, np.ndarray]:
    """Image indices of a step of the stage, {set name: int32 [B]}."""
    index = {}
    for name, steps in self.steps_per_epoch.items():
      epoch, batch = divmod(step, steps)
      start = batch * self.batch_size
      index[name] = self._order(name, epoch)[start:start + self.batch_size]
    return index

  def _order(self, name: str, epoch: int) -> np.ndarray:
    """Returns the permutation of an epoch and caches the latest one of each set."""
    cached = self._orders.get(name)
    if cached is not None and cached[0] == epoch:
      return cached[1]
    stream = zlib.crc32(f"{self._stage}/{name}".encode())
    bits = np.random.Philox(
        np.random.SeedSequence([self._seed, stream, epoch]))
    order = np.random.Generator(bits).permutation(
        np.arange(len(self._sets[name]), dtype=np.int32))
    self._orders[name] = (epoch, order)
    return order
