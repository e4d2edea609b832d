"""SimCLR's step, compared with a slow reference, on one or more devices."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from toy_networks import Linear, UnitHead
from toy_views import assert_close, batch_of, given, noisy, SHAPE, take

from augment_gen.config import OptimizerConfig, SimclrConfig
from augment_gen.models import norm
from augment_gen.models.convnet import ConvNet
from augment_gen.models.heads import ProjectedEncoder, ProjectionHead
from augment_gen.steps import simclr
from augment_gen.steps.state import make_optimizer, make_schedule

CONFIG = SimclrConfig(dim=4, temperature=0.5)


def test_one_step_equals_the_equation():
  net, tx = ProjectedEncoder(Linear(), UnitHead()), optax.sgd(0.1)
  state = simclr.init(net, tx, SHAPE, jax.random.key(0))
  batch = batch_of()

  def slow(params):
    z = net.apply({"params": params},
                  jnp.concatenate([batch["q"], batch["k"]]), train=True)
    alike, total = z @ z.T / 0.5, 0.0
    for i in range(16):
      others = alike[i, np.array([k for k in range(16) if k != i])]
      total -= jnp.log(jnp.exp(alike[i, (i + 8) % 16]) / jnp.sum(jnp.exp(others)))
    return total / 16

  value, grads = jax.jit(jax.value_and_grad(slow))(state.net.params)
  expected = jax.tree.map(lambda p, g: p - 0.1 * g, state.net.params, grads)
  new, metrics = jax.jit(simclr.make_step(net, tx, CONFIG, given))(
      state, {}, batch, jax.random.key(1))
  np.testing.assert_allclose(metrics["loss"], value, rtol=1e-5)
  assert_close(new.net.params, expected)
  assert new.step == 1


@pytest.mark.parametrize("devices", [2, 4])
def test_many_devices_do_what_one_does(devices):
  """Batch-norm statistics must not reveal which views belong together."""
  net = ProjectedEncoder(
      ConvNet(stage_sizes=(1,), width=4, bn_groups=norm.ALL_DEVICES),
      ProjectionHead(4))
  tx = optax.sgd(0.5)
  step = simclr.make_step(net, tx, CONFIG, noisy)
  state = simclr.init(net, tx, SHAPE, jax.random.key(0))
  one, many = (take(step, state, steps=3, devices=n) for n in (1, devices))
  assert_close(many, one, rtol=2e-3, atol=1e-5)


def test_restart_keeps_the_networks_and_forgets_the_optimiser():
  net, tx = ProjectedEncoder(Linear(), UnitHead()), optax.sgd(0.1, momentum=0.9)
  state = simclr.init(net, tx, SHAPE, jax.random.key(0))
  moved, _ = jax.jit(simclr.make_step(net, tx, CONFIG, given))(
      state, {}, batch_of(), jax.random.key(1))
  again = moved.restart(tx)
  assert again.step == 0
  jax.tree.map(np.testing.assert_array_equal, again.net.params, moved.net.params)
  jax.tree.map(np.testing.assert_array_equal, again.net.opt_state,
               tx.init(moved.net.params))


def test_warm_up_rises_linearly_and_the_cosine_takes_the_rest():
  config = OptimizerConfig(lr=1.0, schedule="cosine", warmup_epochs=2)
  rates = [float(make_schedule(config, 30, 5)(t)) for t in (0, 5, 10, 20, 30)]
  np.testing.assert_allclose(rates, [0, 0.5, 1, 0.5, 0], atol=1e-6)
  plain = OptimizerConfig(lr=1.0, schedule="cosine")
  assert make_schedule(plain, 30, 5)(0) == 1.0


def test_lars_scales_weights_by_layer_and_leaves_biases_alone():
  config = OptimizerConfig(name="lars", momentum=0.0, weight_decay=0.5)
  tx = make_optimizer(config, optax.constant_schedule(2.0))
  params = {"w": jnp.full((2, 2), 3.0), "b": jnp.full(2, 3.0)}
  grads = {"w": jnp.full((2, 2), 4.0), "b": jnp.full(2, 4.0)}
  updates, _ = tx.update(grads, tx.init(params), params)
  decayed = 4.0 + 0.5 * 3.0
  trust = 0.001 * np.linalg.norm(params["w"]) / np.linalg.norm(
      np.full((2, 2), decayed))
  np.testing.assert_allclose(updates["w"], -2.0 * trust * decayed, rtol=1e-5)
  np.testing.assert_allclose(updates["b"], -2.0 * 4.0, rtol=1e-6)
