"""SwAV's codes and its loss, compared with the equations."""

import functools

import jax
import numpy as np
import pytest

from augment_gen.losses import swav
from augment_gen.losses.swav import swapped_prediction


@functools.partial(jax.jit, static_argnums=(1, 2))
def codes(scores, epsilon, iterations, used=None):
  return swav.codes(scores, epsilon, iterations, used)


def scores_of(*shape, seed=0):
  """Cosines, as of projections and prototypes."""
  return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def slow_codes(scores, epsilon, iterations):
  """Sinkhorn-Knopp on Q [K, B] as in the paper's listing, in float64."""
  q = np.exp(scores.T.astype(float) / epsilon)
  q /= q.sum()
  prototypes, samples = q.shape
  for _ in range(iterations):
    for k in range(prototypes):
      q[k] /= q[k].sum() * prototypes
    for b in range(samples):
      q[:, b] /= q[:, b].sum() * samples
  return q.T * samples


@pytest.mark.parametrize("epsilon, iterations", [(0.05, 3), (1.0, 1)])
def test_codes_are_those_of_sinkhorn_and_knopp(epsilon, iterations):
  scores = scores_of(8, 4)
  np.testing.assert_allclose(
      codes(scores, epsilon, iterations), slow_codes(scores, epsilon, iterations),
      rtol=1e-4, atol=1e-7)


def test_codes_have_the_marginals_of_equation_4():
  q = np.asarray(codes(scores_of(8, 4), 0.5, 20))
  np.testing.assert_allclose(q.sum(axis=1), 1, rtol=1e-5)
  np.testing.assert_allclose(q.sum(axis=0), 8 / 4, rtol=1e-3)


def test_small_epsilon_does_not_overflow():
  q = np.asarray(codes(scores_of(8, 4), 1e-3, 3))  # e^1000 in float32 is infinite
  assert np.isfinite(q).all()
  np.testing.assert_allclose(q.sum(axis=1), 1, rtol=1e-4)


def test_samples_that_do_not_count_change_nothing():
  scores, used = scores_of(8, 4), np.arange(8) >= 3
  found = np.asarray(codes(scores, 0.05, 3, used))
  np.testing.assert_allclose(
      found[3:], slow_codes(scores[3:], 0.05, 3), rtol=1e-4, atol=1e-7)
  assert np.isfinite(found).all()


@pytest.mark.parametrize("views", [2, 4])
def test_the_loss_is_the_mean_cross_entropy_of_the_other_views(views):
  scores = scores_of(views, 5, 3)
  targets = np.stack([slow_codes(s, 0.05, 3) for s in scores[:2]])
  expected = np.zeros(5)
  for n in range(5):
    for i in range(2):
      for v in range(views):
        if v != i:
          p = np.exp(scores[v, n] / 0.1) / np.exp(scores[v, n] / 0.1).sum()
          expected[n] -= targets[i, n] @ np.log(p) / (2 * (views - 1))
  found = jax.jit(swapped_prediction)(scores, targets.astype(np.float32), 0.1)
  np.testing.assert_allclose(found, expected, rtol=1e-4)
  assert found.dtype == np.float32
