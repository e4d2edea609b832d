"""The losses of SimSiam and BYOL, compared with their equations."""

import jax
import numpy as np
import pytest

from augment_gen.losses.cosine import negative_cosine, regression

RNG = np.random.default_rng(0)
P, Z = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 3)) * 7


def slow_cosine(p, z):
  return -(p / np.sqrt(sum(x * x for x in p))) @ (z / np.sqrt(sum(x * x for x in z)))


def slow_regression(p, z):
  """‖p̄ − z̄‖² with p̄ and z̄ of unit length."""
  difference = p / np.linalg.norm(p) - z / np.linalg.norm(z)
  return sum(x * x for x in difference)


@pytest.mark.parametrize("loss, slow", [
    (negative_cosine, slow_cosine), (regression, slow_regression)])
def test_against_the_equation(loss, slow):
  p, z = P.astype(np.float32), Z.astype(np.float16)
  found = loss(p, z)
  assert found.shape == (5,) and found.dtype == np.float32
  expected = [slow(a, b) for a, b in zip(p.astype(float), z.astype(float))]
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_vectors_of_length_zero_have_a_finite_gradient():
  grads = jax.grad(lambda p, z: regression(p, z).sum(), (0, 1))(
      np.zeros((2, 3), np.float32), P[:2].astype(np.float32))
  assert all(np.isfinite(g).all() for g in grads)
