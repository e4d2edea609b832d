"""SimSiam's step, compared with a slow reference on one and two devices; its collapse."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from toy_networks import Linear, normalised, slow_perceptron
from toy_views import assert_close, batch_of, given, noisy, SHAPE, steps_of, take

from augment_gen.config import SimsiamConfig
from augment_gen.models import norm
from augment_gen.models.heads import NormedPerceptron, PredictedEncoder
from augment_gen.steps import simsiam

DIM = 6
CONFIG, TX = SimsiamConfig(dim=DIM), optax.sgd(0.1)


def network(last="norm"):
  head = functools.partial(NormedPerceptron, dim=DIM, bn_groups=norm.EACH_VIEW)
  # Of fewer units than 16, all may be dead for an image.
  return PredictedEncoder(Linear(), head((16, 0), last=last), head((16,), last="bias"))


@functools.cache
def start():
  return simsiam.init(network(), TX, SHAPE, jax.random.key(0))


@functools.cache
def reference():
  """The loss, the spread of z_1 and the gradient of the first step."""
  batch = batch_of()

  def project(params, x):
    return normalised(slow_perceptron(params["head"], Linear().apply(
        {"params": params["encoder"]}, x, train=True)[0]))

  def slow(params, targets):
    z = [project(params, batch[view]) for view in "qk"]
    p = [slow_perceptron(params["predictor"], part) for part in z]
    cosine = lambda a, b: jnp.sum(a * b, axis=1) / jnp.sqrt(
        jnp.sum(a * a, axis=1) * jnp.sum(b * b, axis=1))
    return jnp.mean(-cosine(p[0], targets[1]) / 2 - cosine(p[1], targets[0]) / 2)

  @jax.jit
  def both(params):
    targets = [project(params, batch[view]) for view in "qk"]
    return targets, jax.value_and_grad(slow)(params, targets)

  targets, (value, grads) = both(start().net.params)
  z = np.asarray(targets[0])
  return value, np.std(z / np.linalg.norm(z, axis=1)[:, None], axis=0).mean(), grads


@pytest.mark.parametrize("devices", [1, 2])
def test_one_step_equals_the_algorithm(devices):
  value, spread, grads = reference()
  new, metrics = take(simsiam.make_step(network(), TX, CONFIG, given), start(),
                      devices=devices)
  np.testing.assert_allclose(metrics["loss"], value, rtol=1e-4)
  np.testing.assert_allclose(metrics["embedding_std"], spread, rtol=1e-4)
  assert_close(new.net.params, jax.tree.map(
      lambda p, g: p - 0.1 * g, start().net.params, grads), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("stop_gradient", [True, False])
def test_without_stop_gradient_all_embeddings_become_the_same(stop_gradient):
  """Section 4.1; without the projector's last batch norm, which makes it slower."""
  net, tx = network(last="bias"), optax.sgd(0.2, momentum=0.9)
  step = simsiam.make_step(
      net, tx, SimsiamConfig(dim=DIM, stop_gradient=stop_gradient), noisy)
  spread = steps_of(
      step, simsiam.init(net, tx, SHAPE, jax.random.key(0)), 100)["embedding_std"]
  if stop_gradient:
    assert spread[-1] > 0.5 * spread[0]
  else:
    assert spread[-1] < 0.1 * spread[0]
