"""Random streams by name.

One seed rules a run. Inside a step, `key = fold_in(base, step)`; each use then
takes `stream(key, "its name")`, so that adding a draw leaves all others as they
were: ablations stay paired on a seed.
"""

import zlib

import jax
import jax.numpy as jnp

from augment_gen.run import parallel


def stream(key: jax.Array, name: str) -> jax.Array:
  """The key of the stream called `name` below `key`."""
  return jax.random.fold_in(key, zlib.crc32(name.encode()))


def example_keys(key: jax.Array, name: str, batch: int) -> jax.Array:
  """One key per example of this device's part of the batch.

  Keys follow the example's place in the *global* batch, so that one device
  and several draw the same numbers for the same example.

  Args:
    key: key of this step, the same on all devices.
    name: stream name.
    batch: number of examples on this device.

  Returns:
    [batch] typed keys.
  """
  place = parallel.axis_index() * batch + jnp.arange(batch)
  return jax.vmap(jax.random.fold_in, (None, 0))(stream(key, name), place)
