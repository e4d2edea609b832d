"""Draws of Z, compared with the moments of the von Mises-Fisher distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from augment_gen.augment import policy


def mean_cosine(beta, dim):
  """Expected cosine of the angle to the mean, I_{D/2}(β) / I_{D/2−1}(β)."""
  return special.ive(dim / 2, beta) / special.ive(dim / 2 - 1, beta)


@pytest.mark.parametrize("beta", [0.5, 10.0, 500.0])
@pytest.mark.parametrize("dim", [2, 3, 50])
def test_is_von_mises_fisher(beta, dim):
  rng = np.random.default_rng(0)
  mean = rng.standard_normal(dim)
  mean = jnp.asarray(mean / np.linalg.norm(mean), jnp.float32)
  n = 40_000
  keys = jax.random.split(jax.random.key(1), n // 4)
  z = policy.draw_z(keys, jnp.broadcast_to(mean, (n // 4, 4, dim)), beta)
  z = np.asarray(z, np.float64).reshape(n, dim)
  np.testing.assert_allclose(np.linalg.norm(z, axis=-1), 1.0, atol=1e-5)
  cosine = z @ np.asarray(mean, np.float64)
  expected = mean_cosine(beta, dim)
  assert abs(cosine.mean() - expected) < 5 * cosine.std() / np.sqrt(n) + 1e-6
  # E cos² = 1 − (D − 1) E cos / β, by the recurrence of Bessel functions.
  square = 1 - (dim - 1) * expected / beta
  spread = np.std(cosine**2) / np.sqrt(n)
  assert abs(np.mean(cosine**2) - square) < 5 * spread + 1e-6
  # The part of z orthogonal to the mean is isotropic.
  side = z - cosine[:, None] * np.asarray(mean)
  assert np.all(np.abs(side.mean(axis=0)) < 5 * side.std(axis=0) / np.sqrt(n))


def test_gradient_reaches_the_mean():
  h = jnp.asarray([[[0.6, 0.8, 0.0]]])
  keys = jax.random.split(jax.random.key(0), 1)
  pull = lambda h: jnp.sum(policy.draw_z(keys, h, 20.0)[..., 1])
  slope = jax.grad(pull)(h)
  assert np.all(np.isfinite(slope)) and slope[0, 0, 1] > 0.5


def test_each_transformation_of_each_image_has_a_draw_of_its_own():
  h = jnp.broadcast_to(jnp.asarray([1.0, 0.0]), (2, 3, 2))
  z = policy.draw_z(jax.random.split(jax.random.key(0), 2), h, 5.0)
  assert z.shape == (2, 3, 2)
  assert len(np.unique(np.asarray(z[..., 0]))) == 6
