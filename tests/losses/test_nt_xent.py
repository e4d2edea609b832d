"""NT-Xent, compared with its equation."""

import jax
import numpy as np
import pytest

from augment_gen.losses.nt_xent import nt_xent


def unit(seed, *shape):
  x = np.random.default_rng(seed).normal(size=shape)
  return x / np.linalg.norm(x, axis=-1, keepdims=True)


def slow(z, tau):
  """Equation (1) of Chen et al. 2020; rows k and N + k are views of image k."""
  losses, n = [], len(z)
  for i in range(n):
    j = (i + n // 2) % n
    total = sum(np.exp(z[i] @ z[k] / tau) for k in range(n) if k != i)
    losses.append(-np.log(np.exp(z[i] @ z[j] / tau) / total))
  return np.array(losses)


@pytest.mark.parametrize("n, dim, tau", [(2, 3, 0.5), (8, 5, 0.1), (12, 2, 1.0)])
def test_against_the_equation(n, dim, tau):
  z = unit(n, n, dim)
  own = np.arange(n)
  losses, logits = jax.jit(nt_xent)(z, z, own, (own + n // 2) % n, tau)
  np.testing.assert_allclose(losses, slow(z, tau), rtol=2e-5)
  assert losses.dtype == np.float32 and logits.shape == (n, n)
  assert np.all(np.isneginf(np.diag(logits)))


def test_part_of_the_anchors_has_part_of_the_losses():
  z = unit(0, 8, 4)
  part = np.array([2, 3, 6, 7])
  losses, _ = jax.jit(nt_xent)(z[part], z, part, (part + 4) % 8, 0.5)
  np.testing.assert_allclose(losses, slow(z, 0.5)[part], rtol=2e-5)


def test_small_temperatures_neither_overflow_nor_lose_the_gradient():
  z = unit(1, 6, 4).astype(np.float32)
  own = np.arange(6)
  loss = lambda z: nt_xent(z, z, own, (own + 3) % 6, 1e-3)[0].mean()
  value, grad = jax.jit(jax.value_and_grad(loss))(z)
  assert np.isfinite(value) and np.all(np.isfinite(grad)) and np.any(grad != 0)
