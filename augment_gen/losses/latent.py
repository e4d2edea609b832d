"""How far the latents of real images lie from the prior."""

import jax
from jax import lax
import jax.numpy as jnp


def sliced_wasserstein(a: jax.Array, b: jax.Array,
                       directions: jax.Array) -> jax.Array:
  """Sliced 1-Wasserstein distance of two equally large samples.

  Along a line, the best matching of two samples pairs them in order; the mean
  over lines measures the distance of the distributions (Rabin et al. 2011), and
  of an encoder's latents from their prior (Kolouri et al. 2019).

  Args:
    a: [B, Z] float32.
    b: [B, Z] float32.
    directions: [K, Z] float32, of unit length.

  Returns:
    Scalar float32: the mean over lines and pairs of the distance along the
    line.
  """
  # GPUs and TPUs would round the factors to TF32 or bfloat16.
  a, b = (jnp.sort(jnp.matmul(sample, directions.T,
                              precision=lax.Precision.HIGHEST), axis=0)
          for sample in (a, b))
  return jnp.mean(jnp.abs(a - b))


def random_directions(key: jax.Array, dim: int, count: int = 64) -> jax.Array:
  """The axes and `count` further directions, uniform on the sphere.

  The axes are always among them: a latent that G_L never uses shows there.

  Returns:
    [dim + count, dim] float32, of unit length.
  """
  drawn = jax.random.normal(key, (count, dim))
  drawn = drawn / jnp.linalg.norm(drawn, axis=1, keepdims=True)
  return jnp.concatenate([jnp.eye(dim), drawn])
