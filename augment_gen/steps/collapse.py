"""The gauge of collapse that all pre-trainers report."""

import jax
import jax.numpy as jnp


def embedding_std(z: jax.Array) -> jax.Array:
  """Standard deviation of a coordinate over the batch, averaged over coordinates.

  It is 1/√D for evenly spread directions, and 0 if all images have the same one (Chen &
  He 2021, section 4.1).

  Args:
    z: float32 [B, D], unit vectors of the whole batch, of all devices.

  Returns:
    float32 scalar.
  """
  return jnp.mean(jnp.std(z, axis=0))
