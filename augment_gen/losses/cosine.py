"""The losses of SimSiam and BYOL, which have no negatives.

Neither stops a gradient: the caller says which side is the target.
"""

import jax
import jax.numpy as jnp
import optax

# BYOL's official code bounds the squared length by this.
_EPSILON = 1e-12


def negative_cosine(p: jax.Array, z: jax.Array) -> jax.Array:
  """D(p, z) = −(p / ‖p‖) · (z / ‖z‖) of SimSiam (Chen & He 2021, equation 1).

  Source: Chen & He 2021, (1).

  Args:
    p: float [n, D], predictions, of any length.
    z: float [n, D], targets, of any length.

  Returns:
    float32 [n], in [−1, 1].
  """
  return -optax.cosine_similarity(
      p.astype(jnp.float32), z.astype(jnp.float32), epsilon=_EPSILON)


def regression(p: jax.Array, z: jax.Array) -> jax.Array:
  """‖p / ‖p‖ − z / ‖z‖‖² = 2 − 2 cos(p, z) of BYOL (Grill et al. 2020, equation 2).

  Source: Grill et al. 2020, (2).

  Args, and shape of the result, as for `negative_cosine`; values lie in [0, 4].
  """
  return 2.0 + 2.0 * negative_cosine(p, z)
