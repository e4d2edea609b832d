"""Losses, compared with slow references that follow the equations."""

import itertools

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
import numpy as np
import pytest

from augment_gen.losses import adversarial, cycle, latent
from augment_gen.losses.infonce import infonce
from augment_gen.run import parallel


def unit(rng, *shape):
  x = rng.standard_normal(shape)
  return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def slow_infonce(q, k_pos, k_neg, tau):
  """Equation (2), term by term."""
  losses = []
  for i in range(len(q)):
    positive = np.exp(np.dot(q[i], k_pos[i]) / tau)
    negatives = sum(np.exp(np.dot(q[i], k) / tau) for k in k_neg)
    losses.append(-np.log(positive / (positive + negatives)))
  return np.array(losses)


@pytest.mark.parametrize("batch,queue,tau", [(1, 1, 1.0), (3, 7, 0.2),
                                             (8, 32, 0.07)])
def test_infonce_is_equation_2(batch, queue, tau):
  rng = np.random.default_rng(0)
  q, k_pos, k_neg = (unit(rng, n, 5).astype(np.float64)
                     for n in (batch, batch, queue))
  losses, logits = infonce(*(jnp.asarray(a, jnp.float32)
                             for a in (q, k_pos, k_neg)), tau)
  np.testing.assert_allclose(
      losses, slow_infonce(q, k_pos, k_neg, tau), rtol=2e-5, atol=1e-5)
  assert logits.shape == (batch, 1 + queue)
  np.testing.assert_allclose(
      logits[:, 0], np.sum(q * k_pos, 1) / tau, rtol=1e-5, atol=1e-5)


def test_infonce_of_equal_similarities_is_the_log_of_their_number():
  same = jnp.ones((4, 1))
  losses, _ = infonce(same, same, jnp.ones((31, 1)), 0.2)
  np.testing.assert_allclose(losses, np.log(32), rtol=1e-6)


def test_infonce_survives_small_temperatures():
  """exp(1/τ) alone would overflow float32."""
  rng = np.random.default_rng(1)
  q, k = unit(rng, 4, 8), unit(rng, 6, 8)
  losses, _ = infonce(jnp.asarray(q), jnp.asarray(-q), jnp.asarray(k), 1e-3)
  assert np.all(np.isfinite(losses)) and np.all(losses > 100)
  grad = jax.grad(lambda a: infonce(a, -a, jnp.asarray(k), 1e-3)[0].sum())(
      jnp.asarray(q))
  assert np.all(np.isfinite(grad))


def test_adversarial_losses_are_equations_8_9_11_12():
  rng = np.random.default_rng(2)
  real, fake = rng.standard_normal((2, 9)) * 3
  d = lambda logit: 1 / (1 + np.exp(-logit))
  np.testing.assert_allclose(
      adversarial.discriminator_loss(jnp.asarray(real), jnp.asarray(fake)),
      np.mean(-np.log(d(real)) - np.log(1 - d(fake))), rtol=1e-5)
  np.testing.assert_allclose(
      adversarial.generator_loss(jnp.asarray(fake)),
      np.mean(-np.log(d(fake))), rtol=1e-5)


def test_adversarial_losses_do_not_saturate():
  """Computed naively, −log sigmoid(−200) is infinite and its gradient is NaN."""
  far = jnp.asarray([-200.0])
  value, grad = jax.value_and_grad(
      lambda a: adversarial.generator_loss(a))(far)
  np.testing.assert_allclose(value, 200.0)
  np.testing.assert_allclose(grad, [-1.0])
  np.testing.assert_allclose(
      adversarial.discriminator_loss(far, -far), 400.0)


def test_the_score_function_has_the_slope_of_the_expected_loss():
  """Images are negatives with probability p, and D tells negatives from others."""
  odds, size = 0.4, 200_000
  p = 1 / (1 + np.exp(-odds))
  negative = np.random.default_rng(0).random(size) < p
  logits = jnp.where(negative, 0.5, -2.0)

  def loss(odds):
    likely = jax.nn.log_sigmoid(jnp.where(negative, odds, -odds))
    return adversarial.generator_loss(logits) + adversarial.score_function(
        jax.nn.softplus(-logits), likely)
  value, slope = jax.value_and_grad(loss)(odds)
  d = lambda logit: 1 / (1 + np.exp(-logit))
  np.testing.assert_allclose(value, np.mean(-np.log(d(np.asarray(logits)))), rtol=1e-5)
  expected = lambda p: -p * np.log(d(0.5)) - (1 - p) * np.log(d(-2.0))
  exact = (expected(p + 1e-6) - expected(p)) / 1e-6 * p * (1 - p)
  np.testing.assert_allclose(slope, exact, rtol=0.02)


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_the_score_function_has_one_baseline_over_all_devices(devices):
  rng = np.random.default_rng(1)
  each, on = rng.random(8).astype(np.float32), rng.random(8) < 0.5
  mesh = Mesh(jax.devices()[:devices], (parallel.AXIS,))

  def slope(odds, each, on):
    def loss(odds):
      likely = jax.nn.log_sigmoid(jnp.where(on, odds, -odds))
      return adversarial.score_function(each, likely)
    return parallel.mean(jax.grad(loss)(odds))
  found = jax.jit(jax.shard_map(
      slope, mesh=mesh, in_specs=(P(), P(parallel.AXIS), P(parallel.AXIS)),
      out_specs=P(), check_vma=False))(0.3, each, on)
  p = 1 / (1 + np.exp(-0.3))
  np.testing.assert_allclose(found, np.mean((each - each.mean()) * (on - p)), rtol=1e-5)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_cycle_loss_is_equation_13(reduction):
  rng = np.random.default_rng(3)
  images = rng.random((4, 3, 5, 5, 1)).astype(np.float32)
  z, z_cycle = rng.random((2, 3, 6)).astype(np.float32)
  x_f, x_f_cycle, x_p, x_p_cycle = images

  def norm(a, b):
    values = []
    for i in range(len(a)):
      terms = [abs(u - v) for u, v in zip(a[i].ravel(), b[i].ravel())]
      values.append(sum(terms) / (len(terms) if reduction == "mean" else 1))
    return sum(values) / len(values)

  loss, terms = cycle.cycle_loss(
      x_f=jnp.asarray(x_f), x_f_cycle=jnp.asarray(x_f_cycle),
      x_p=jnp.asarray(x_p), x_p_cycle=jnp.asarray(x_p_cycle),
      z=jnp.asarray(z), z_cycle=jnp.asarray(z_cycle), reduction=reduction,
      weights=(0.5, 2.0, 8.0))
  expected = [norm(x_f_cycle, x_f), norm(x_p_cycle, x_p), norm(z_cycle, z)]
  np.testing.assert_allclose(
      [terms["cycle_f"], terms["cycle_p"], terms["cycle_z"]], expected,
      rtol=1e-5)
  np.testing.assert_allclose(
      loss, 0.5 * expected[0] + 2.0 * expected[1] + 8.0 * expected[2],
      rtol=1e-5)


def test_latents_may_err_within_the_slack():
  zero = jnp.zeros((2, 3, 3, 1))
  z, z_cycle = jnp.zeros((2, 4)), jnp.full((2, 4), 0.3)

  def loss(slack, reduction):
    return cycle.cycle_loss(
        x_f=zero, x_f_cycle=zero, x_p=zero, x_p_cycle=zero, z=z,
        z_cycle=z_cycle, reduction=reduction, weights=(1.0, 1.0, 2.0),
        latent_slack=slack)[0]

  for reduction, entries in (("mean", 1), ("sum", 4)):
    np.testing.assert_allclose(loss(0.1, reduction), 2 * 0.2 * entries, rtol=1e-5)
    assert loss(0.31, reduction) == 0.0


def test_r1_penalty_is_the_squared_slope_halved():
  rng = np.random.default_rng(6)
  w, real = rng.standard_normal((2, 3)), rng.standard_normal((4, 3))
  discriminate = lambda y: np.tanh(y @ w[0]) + (y @ w[1]) ** 2
  step, total = 1e-5, 0.0
  for y in real:
    total += sum(
        ((discriminate(y + step * e) - discriminate(y - step * e)) / (2 * step))
        ** 2 for e in np.eye(3))
  result = adversarial.r1_penalty(
      lambda y: jnp.tanh(y @ w[0]) + (y @ w[1]) ** 2, jnp.asarray(real))
  np.testing.assert_allclose(result, total / len(real) / 2, rtol=1e-4)


def test_sliced_wasserstein_is_the_best_matching_along_each_line():
  rng = np.random.default_rng(4)
  a, b = rng.random((2, 5, 3)).astype(np.float32)
  directions = np.asarray(latent.random_directions(jax.random.key(0), 3, 4))
  cheapest = []
  for line in directions:
    p, q = a @ line, b @ line
    cheapest.append(min(
        sum(abs(p[i] - q[j]) for i, j in enumerate(order)) / len(p)
        for order in itertools.permutations(range(len(q)))))
  np.testing.assert_allclose(
      latent.sliced_wasserstein(a, b, directions), np.mean(cheapest), rtol=1e-5)


def test_sliced_wasserstein_sees_order_collapse_and_dependence():
  rng = np.random.default_rng(5)
  z = rng.random((2000, 4)).astype(np.float32)
  lines = latent.random_directions(jax.random.key(1), 4, 32)
  distance = lambda a: float(latent.sliced_wasserstein(a, z, lines))
  assert distance(rng.permutation(z)) < 1e-6  # the order is irrelevant
  fresh = distance(rng.random((2000, 4)).astype(np.float32))
  constant = distance(np.full_like(z, 0.5))
  # Each coordinate is uniform, but all coordinates are equal.
  dependent = distance(np.repeat(z[:, :1], 4, axis=1))
  assert fresh < 0.02 < 0.08 < dependent < constant


def test_random_directions_hold_the_axes_and_have_unit_length():
  lines = np.asarray(latent.random_directions(jax.random.key(2), 3, 6))
  assert lines.shape == (9, 3)
  np.testing.assert_array_equal(lines[:3], np.eye(3))
  np.testing.assert_allclose(np.linalg.norm(lines, axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("loss, shapes", [
    (lambda q, k, n: infonce(q, k, n, 0.2)[0], [(4, 8), (4, 8), (6, 8)]),
    (latent.sliced_wasserstein, [(4, 8), (4, 8), (5, 8)])])
def test_products_are_not_rounded_on_accelerators(loss, shapes):
  """GPUs and TPUs round float32 factors unless the precision is HIGHEST."""
  text = str(jax.make_jaxpr(loss)(*map(jnp.zeros, shapes)))
  assert text.count("dot_general") == text.count(
      "precision=(Precision.HIGHEST, Precision.HIGHEST)") > 0
