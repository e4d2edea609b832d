"""SwAV's step, compared with a slow reference on one and two devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from toy_networks import Linear, slow_perceptron
from toy_views import assert_close, batch_of, given, SHAPE, take

from augment_gen.config import SwavConfig
from augment_gen.models.heads import NormedPerceptron, ViewsEncoder
from augment_gen.steps import swav

CONFIG = SwavConfig(dim=6, hidden=16, prototypes=5, queue=16, small_crops=1)
START = 3  # the step from which on the queue is filled; it is full two steps later
TX = optax.sgd(0.1)
NET = ViewsEncoder(Linear(), NormedPerceptron((16,), 6, "bias"))


def small(frozen, batch, key):
  """One small crop, of another size than the views; F flattens it to the same length."""
  del frozen, key
  return batch["q"].reshape(-1, 2, 8, 1)[:, ::-1]


STEP = swav.make_step(NET, TX, CONFIG, given, small, START)


@functools.cache
def state_of(step=0):
  state = swav.init(NET, TX, CONFIG, SHAPE, jax.random.key(0))
  queue = np.random.default_rng(1).normal(size=(16, 2, 6)).astype(np.float32)
  params = dict(state.net.params)
  params["prototypes"] = 2 * params["prototypes"]  # the step brings them to unit length
  return state.replace(
      step=state.step + step, net=state.net.replace(params=params),
      queue=queue / np.linalg.norm(queue, axis=-1, keepdims=True))


def slow_codes(scores):
  q = np.exp(scores.T.astype(float) / CONFIG.epsilon)
  for _ in range(CONFIG.iterations):
    q /= q.sum(axis=1, keepdims=True)
    q /= q.sum(axis=0, keepdims=True)
  return q.T


@functools.cache
def reference(full):
  """What the step starts from, its projections [2, 8, 6], its loss and its gradient."""
  batch = batch_of()
  params = dict(state_of().net.params)
  params["prototypes"] = params["prototypes"] / 2
  images = [batch["q"], batch["k"], small({}, batch, None)]

  @jax.jit
  def embed(params):
    y = jnp.concatenate([Linear().apply(
        {"params": params["encoder"]}, x, train=True)[0] for x in images])
    z = slow_perceptron(params["head"], y)
    return (z / jnp.sqrt(jnp.sum(z * z, axis=1))[:, None]).reshape(3, 8, 6)

  z = np.asarray(embed(params))
  old = state_of().queue if full else state_of().queue[:0]
  targets = [slow_codes(np.concatenate([old[:, i], z[i]])
                        @ np.asarray(params["prototypes"]).T)[len(old):]
             for i in range(2)]

  def slow(params):
    log_p = jax.nn.log_softmax(
        jnp.einsum("vnd,kd->vnk", embed(params), params["prototypes"]) / 0.1)
    total = 0.0
    for i, v in ((0, 1), (0, 2), (1, 0), (1, 2)):
      total -= jnp.mean(jnp.sum(targets[i] * log_p[v], axis=1)) / 4
    return total

  return params, z[:2], *jax.jit(jax.value_and_grad(slow))(params)


@pytest.mark.parametrize("devices, step, full", [
    (1, START + 1, False), (1, START + 2, True), (2, START + 2, True)])
def test_one_step_equals_the_algorithm(devices, step, full):
  params, z, value, grads = reference(full)
  state = state_of(step)
  new, metrics = take(STEP, state, devices=devices)
  np.testing.assert_allclose(metrics["loss"], value, rtol=1e-4)
  assert_close(new.net.params, jax.tree.map(lambda p, g: p - 0.1 * g, params, grads),
               rtol=1e-3, atol=1e-5)
  # The projections of this batch replace the oldest half of the queue.
  first = 8 * (step % 2)
  np.testing.assert_allclose(
      new.queue[first:first + 8], z.swapaxes(0, 1), rtol=1e-4, atol=1e-5)
  rest = np.delete(np.arange(16), np.s_[first:first + 8])
  np.testing.assert_array_equal(new.queue[rest], state.queue[rest])


def test_the_metrics_tell_how_many_prototypes_are_in_use():
  """Prototypes that are all the same are all predicted alike, those apart are not."""
  state = state_of()
  same = jnp.tile(state.net.params["prototypes"][:1], (5, 1))
  params = {**state.net.params, "prototypes": same}
  _, alike = take(STEP, state.replace(net=state.net.replace(params=params)))
  _, apart = take(STEP, state)
  np.testing.assert_allclose(alike["prototypes_used"], 1, rtol=1e-5)
  assert 0.2 < apart["prototypes_used"] < 0.99
