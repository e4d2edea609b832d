"""How a training loop gets its batches.

A feed hands out `place`, what has to travel to the devices for one step; a
`fetch(frozen, place)` inside the jitted step turns it into the batch. For sets
that fit on the device `place` is nothing but indices. A feed for sets that do
not fit hands out the images themselves as `place`, cut over the devices in the
same way, with a fetch that only converts them; steps need not know which.
"""

from collections.abc import Mapping
from typing import Any
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from augment_gen import errors


class ResidentFeed:
  """Indices into sets that lie whole on the device.

  The order is a pure function of (seed, stage, set, epoch), so a run that is
  stopped and resumed at step n sees what it would have seen. Each set cycles
  through epochs of its own; the incomplete batch that ends an epoch is dropped,
  and the next epoch's permutation drops others.

  Attributes:
    batch_size: global batch.
    steps_per_epoch: whole batches in one pass over each set.
  """

  def __init__(self, sizes: Mapping[str, int], batch_size: int, seed: int,
               stage: str):
    """Args as attributes; `sizes` gives the number of images by set name.

    Raises:
      UserError: a set is smaller than a batch.
    """
    errors.raise_if_any(
        f"stage {stage}: '{name}' has {size} images, fewer than a batch of "
        f"{batch_size}: lower the stage's batch_size"
        for name, size in sizes.items() if size < batch_size)
    self.batch_size = batch_size
    self.steps_per_epoch = {
        name: size // batch_size for name, size in sizes.items()}
    self._sizes = dict(sizes)
    self._seed = seed
    self._stage = stage
    self._cache: dict[str, tuple[int, np.ndarray]] = {}

  def place(self, step: int) -> dict[str, np.ndarray]:
    """{set name: int32 [batch_size] indices} of step `step` of the stage."""
    result = {}
    for name, steps in self.steps_per_epoch.items():
      epoch, batch = divmod(step, steps)
      start = batch * self.batch_size
      result[name] = self._order(name, epoch)[start:start + self.batch_size]
    return result

  def _order(self, name: str, epoch: int) -> np.ndarray:
    """The permutation of an epoch; the last one of each set is kept."""
    cached_epoch, order = self._cache.get(name, (None, None))
    if cached_epoch != epoch:
      stream = zlib.crc32(f"{self._stage}/{name}".encode())
      bits = np.random.Philox(
          np.random.SeedSequence([self._seed, stream, epoch]))
      order = np.random.Generator(bits).permutation(
          np.arange(self._sizes[name], dtype=np.int32))
      self._cache[name] = (epoch, order)
    return order


def fetch(
    frozen: Mapping[str, Any], place: Mapping[str, jax.Array],
) -> dict[str, Any]:
  """`place` of a ResidentFeed -> the batch; runs inside the jitted step.

  Args:
    frozen: `frozen["images"]` holds uint8 [N, H, W, C] by set name.
    place: int32 [b] by set name.

  Returns:
    {set name: float32 [b, H, W, C] in [0, 1], "index": place}; with the
    indices a step looks up tables of its own, such as cached embeddings.
  """
  batch = {name: frozen["images"][name][indices].astype(jnp.float32) / 255
           for name, indices in place.items()}
  return batch | {"index": dict(place)}
