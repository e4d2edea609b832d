"""The distance between the latents of real images and the prior."""

import jax
from jax import lax
import jax.numpy as jnp


def sliced_wasserstein(a: jax.Array, b: jax.Array,
                       directions: jax.Array) -> jax.Array:
  """Sliced 1-Wasserstein distance between two samples of equal size.

  Along a line, the optimal matching pairs two samples in sorted order. The mean over
  lines measures the distance between two distributions (Rabin et al. 2011), for example
  between an encoder's latents and their prior (Kolouri et al. 2019).

  Args:
    a: float32 [B, Z].
    b: float32 [B, Z].
    directions: float32 [K, Z], of unit length.

  Returns:
    Scalar float32, the mean over lines and pairs of the distance along the line.
  """
  # At default precision, GPUs and TPUs would round the factors to TF32 or bfloat16.
  a, b = (jnp.sort(jnp.matmul(sample, directions.T,
                              precision=lax.Precision.HIGHEST), axis=0)
          for sample in (a, b))
  return jnp.mean(jnp.abs(a - b))


def random_directions(key: jax.Array, dim: int, count: int = 64) -> jax.Array:
  """Returns the axes and `count` random directions, uniform on the sphere.

  The axes are always included, because they reveal a latent that G_L never uses.

  Returns:
    float32 [dim + count, dim], of unit length.
  """
  drawn = jax.random.normal(key, (count, dim))
  drawn = drawn / jnp.linalg.norm(drawn, axis=1, keepdims=True)
  return jnp.concatenate([jnp.eye(dim), drawn])
