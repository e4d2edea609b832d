"""BYOL's step, compared with a slow reference on one and two devices; its collapse."""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from toy_networks import Linear, slow_perceptron
from toy_views import assert_close, batch_of, given, noisy, SHAPE, steps_of, take

from augment_gen.config import ByolConfig
from augment_gen.models import norm
from augment_gen.models.heads import NormedPerceptron, PredictedEncoder
from augment_gen.steps import byol

DIM = 6
CONFIG = ByolConfig(dim=DIM, hidden=16, momentum=0.8)
TX = optax.sgd(0.1)


class Same(nn.Module):
  """A predictor that does nothing."""

  @nn.compact
  def __call__(self, z, *, train):
    del train
    return z


def network(predictor=True):
  head = functools.partial(
      NormedPerceptron, (16,), DIM, "plain", bn_groups=norm.EACH_VIEW)
  return PredictedEncoder(Linear(), head(), head() if predictor else Same())


@functools.cache
def start():
  """A state whose target network is not the online network, as after some steps."""
  state = byol.init(network(), TX, SHAPE, jax.random.key(0))
  other = byol.init(network(), TX, SHAPE, jax.random.key(7))
  return state.replace(target_params=other.target_params, step=state.step + 2)


@functools.cache
def reference():
  """The loss of the first step, and its gradient."""
  batch, other = batch_of(), start().target_params

  def project(params, x):
    return slow_perceptron(params["head"], Linear().apply(
        {"params": params["encoder"]}, x, train=True)[0])

  def slow(params):
    p = [slow_perceptron(params["predictor"], project(params, batch[v])) for v in "qk"]
    z = [project(other, batch[v]) for v in "qk"]
    unit = lambda a: a / jnp.sqrt(jnp.sum(a * a, axis=1))[:, None]
    return sum(jnp.mean(jnp.sum((unit(a) - unit(b))**2, axis=1))
               for a, b in ((p[0], z[1]), (p[1], z[0])))

  return jax.jit(jax.value_and_grad(slow))(start().net.params)


@pytest.mark.parametrize("devices", [1, 2])
def test_one_step_equals_the_algorithm(devices):
  value, grads = reference()
  expected = jax.tree.map(lambda p, g: p - 0.1 * g, start().net.params, grads)
  new, metrics = take(byol.make_step(network(), TX, CONFIG, given, steps=10), start(),
                      devices=devices)
  np.testing.assert_allclose(metrics["loss"], value, rtol=1e-4)
  assert_close(new.net.params, expected, rtol=1e-3, atol=1e-5)
  tau = 1 - (1 - 0.8) * (np.cos(np.pi * 2 / 10) + 1) / 2
  np.testing.assert_allclose(metrics["momentum"], tau, rtol=1e-6)
  del expected["predictor"]
  assert_close(new.target_params, jax.tree.map(
      lambda xi, theta: tau * xi + (1 - tau) * theta, start().target_params, expected),
               atol=1e-5)


def test_the_momentum_rises_from_its_base_to_one():
  schedule = byol.momentum_schedule(0.996, 1000)
  np.testing.assert_allclose([schedule(k) for k in (0, 500, 1000)], [0.996, 0.998, 1.0])


def test_a_stage_of_no_steps_has_a_momentum():
  assert float(byol.momentum_schedule(0.9, 0)(0)) == pytest.approx(0.9)


def test_restart_keeps_both_networks():
  state = start()
  again = state.restart(TX)
  assert again.step == 0
  jax.tree.map(np.testing.assert_array_equal, again.target_params, state.target_params)
  jax.tree.map(np.testing.assert_array_equal, again.net.params, state.net.params)


@pytest.mark.parametrize("predictor", [True, False])
def test_without_a_predictor_all_embeddings_become_the_same(predictor):
  """And the target network is the online network: momentum 0, over endless steps."""
  net, tx = network(predictor), optax.sgd(0.2, momentum=0.9)
  step = byol.make_step(
      net, tx, ByolConfig(dim=DIM, hidden=16, momentum=0.0), noisy, steps=10**6)
  spread = steps_of(
      step, byol.init(net, tx, SHAPE, jax.random.key(0)), 100)["embedding_std"]
  if predictor:
    assert spread[-1] > 0.5 * spread[0]
  else:
    assert spread[-1] < 0.1 * spread[0]
