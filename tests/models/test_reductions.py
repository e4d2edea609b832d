"""Sums and moments in the CPU form, against float64."""

import jax
import numpy as np
import pytest

from augment_gen.models import reductions

# Rows of one block, of several, of blocks of 31, and of no block at all (a prime).
ROWS = pytest.mark.parametrize("rows", [4, 64, 49 * 4, 31 * 3, 101])


def draw(rows, mean=3.0, channels=5):
  return np.random.default_rng(rows).normal(mean, 2.0, (3, rows, channels)).astype(
      np.float32)


@ROWS
def test_moments(rows):
  x = draw(rows)
  mean, var = jax.jit(reductions.moments)(x)
  assert mean.shape == var.shape == (3, 1, 5)
  wide = x.astype(np.float64)
  np.testing.assert_allclose(mean, wide.mean(1, keepdims=True), rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(var, wide.var(1, keepdims=True), rtol=1e-5)


@ROWS
def test_sums(rows):
  a, b = draw(rows), draw(rows, mean=-1.0)
  for found, x in zip(jax.jit(reductions.sums)(a, b), (a, b)):
    np.testing.assert_allclose(
        found, x.astype(np.float64).sum(1, keepdims=True), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("mean", [1e3, -1e4])
def test_a_large_mean_does_not_cancel(mean):
  """Even where each block starts with a row far from the others."""
  x = draw(256, mean)
  x[:, ::32] += 10.0
  _, var = reductions.moments(x)
  np.testing.assert_allclose(
      var, x.astype(np.float64).var(1, keepdims=True), rtol=1e-4)


def test_other_backends_get_the_same(monkeypatch):
  x, y = draw(64), draw(64, mean=-1.0)
  on_cpu = reductions.moments(x), reductions.sums(x, y)
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4),
               on_cpu, (reductions.moments(x), reductions.sums(x, y)))
