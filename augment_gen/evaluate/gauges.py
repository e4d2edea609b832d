"""Label-free gauges of an embedding: pure functions that can be jitted."""

import jax
from jax import lax
import jax.numpy as jnp


def _normalise(features: jax.Array) -> jax.Array:
  features = jnp.asarray(features, jnp.float32)
  norms = jnp.linalg.norm(features, axis=-1, keepdims=True)
  return features / jnp.maximum(norms, 1e-12)


def alignment(features: jax.Array, other: jax.Array) -> jax.Array:
  """Mean squared distance between two views on the unit sphere.

  Wang & Isola 2020, eq. (1) of sec. 4.1 with α = 2; in [0, 4], small is good.

  Args:
    features: [n, d], features of one view.
    other: [n, d], features of another view of the same images.
  """
  difference = _normalise(features) - _normalise(other)
  return jnp.mean(jnp.sum(jnp.square(difference), axis=-1))


def uniformity(features: jax.Array) -> jax.Array:
  """Log of the mean Gaussian potential over all pairs on the unit sphere.

  Wang & Isola 2020, sec. 4.1 with t = 2: `log mean_{i<j} exp(-2 |f_i - f_j|²)`;
  in [-8, 0], 0 when all features are equal.

  Args:
    features: [n, d], n >= 2.
  """
  f = _normalise(features)
  n = f.shape[0]
  cosine = jnp.matmul(f, f.T, precision=lax.Precision.HIGHEST)
  potential = jnp.exp(-2.0 * jnp.maximum(2.0 - 2.0 * cosine, 0.0))
  pairs = jnp.sum(jnp.triu(potential, k=1))
  return jnp.log(pairs / (n * (n - 1) / 2))


def feature_std(features: jax.Array) -> jax.Array:
  """Std of the normalised features, relative to that of the uniform distribution.

  The mean over dimensions of the std over examples, times sqrt(d) (Chen & He 2021,
  sec. 4.1): near 1 for features spread over the sphere, 0 for collapsed ones.

  Args:
    features: [n, d].
  """
  std = jnp.std(_normalise(features), axis=0)
  return jnp.mean(std) * jnp.sqrt(float(features.shape[1]))


def effective_rank(features: jax.Array) -> jax.Array:
  """Exponential of the singular values' entropy: RankMe (Garrido et al. 2023).

  Args:
    features: [n, d], not centred; n should be well above d.

  Returns:
    Scalar in [1, min(n, d)].
  """
  values = jnp.linalg.svd(
      jnp.asarray(features, jnp.float32), compute_uv=False)
  p = values / jnp.maximum(jnp.sum(values), 1e-12) + 1e-7
  return jnp.exp(-jnp.sum(p * jnp.log(p)))
