"""Named random streams.

One seed determines a run. Inside a step, `key = fold_in(base, step)`; each use then
takes `stream(key, "its name")`. Adding a draw therefore leaves all others unchanged, and
ablations stay paired by seed.
"""

import zlib

import jax
import jax.numpy as jnp

from augment_gen.run import parallel


def stream(key: jax.Array, name: str) -> jax.Array:
  """Derives the key of the stream called `name` from `key`."""
  return jax.random.fold_in(key, zlib.crc32(name.encode()))


def example_keys(key: jax.Array, name: str, batch: int) -> jax.Array:
  """One key per example of this device's part of the batch.

  Keys depend on the example's position in the *global* batch, so the numbers drawn for
  an example do not depend on the number of devices.

  Args:
    key: the step's key, the same on all devices.
    name: name of the stream.
    batch: number of examples on this device.

  Returns:
    [batch] typed keys.
  """
  place = parallel.axis_index() * batch + jnp.arange(batch)
  return jax.vmap(jax.random.fold_in, (None, 0))(stream(key, name), place)
