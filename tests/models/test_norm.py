"""models/norm.py, compared with Flax and with groups split by hand."""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
import numpy as np
import pytest

from augment_gen.models import norm
from augment_gen.run import parallel


def images(batch=8, dtype=np.float32):
  rng = np.random.default_rng(0)
  return (2 + 3 * rng.standard_normal((batch, 3, 2, 5))).astype(dtype)


def variables_with_values(features=5):
  rng = np.random.default_rng(1)

  def draw():
    return rng.uniform(0.5, 2, features).astype(np.float32)

  return {"params": {"scale": draw(), "bias": draw()},
          "batch_stats": {"mean": draw(), "var": draw()}}


@pytest.mark.parametrize("train", [True, False])
def test_one_group_is_flax_batch_norm(train):
  x, variables = images(), variables_with_values()
  flax_norm = nn.BatchNorm(momentum=0.9, epsilon=1e-5)
  shapes = lambda module, **kwargs: jax.tree.map(jnp.shape, jax.eval_shape(
      functools.partial(module.init, **kwargs), jax.random.key(0), x))
  assert shapes(norm.BatchNorm(), train=False) == shapes(
      flax_norm, use_running_average=True)

  def ours(x, params):
    return norm.BatchNorm().apply(
        {**variables, "params": params}, x, train=train,
        mutable=["batch_stats"])

  def theirs(x, params):
    return flax_norm.apply(
        {**variables, "params": params}, x, use_running_average=not train,
        mutable=["batch_stats"])

  actual, expected = (jax.jit(f)(x, variables["params"]) for f in (ours, theirs))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4,
                                                       atol=1e-5),
               actual, expected)
  grads = [
      jax.jit(jax.grad(lambda *args, f=f: jnp.sum(jnp.sin(f(*args)[0])), (0, 1)))(
          x, variables["params"]) for f in (ours, theirs)]
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3,
                                                       atol=1e-4), *grads)


def test_groups_are_normalised_apart():
  x, variables = images(), variables_with_values()
  y, updated = jax.jit(lambda x: norm.BatchNorm(groups=4).apply(
      variables, x, train=True, mutable=["batch_stats"]))(x)
  scale, bias = (np.asarray(variables["params"][k]) for k in ("scale", "bias"))
  means, variances = [], []
  for part, out in zip(np.split(x, 4), np.split(np.asarray(y), 4)):
    rows = part.reshape(-1, 5).astype(np.float64)
    means.append(rows.mean(0))
    variances.append(rows.var(0))
    expected = (rows - means[-1]) / np.sqrt(variances[-1] + 1e-5) * scale + bias
    np.testing.assert_allclose(out.reshape(-1, 5), expected, rtol=1e-4,
                               atol=1e-5)
  for name, values in (("mean", means), ("var", variances)):
    np.testing.assert_allclose(
        updated["batch_stats"][name],
        0.9 * variables["batch_stats"][name] + 0.1 * np.mean(values, 0),
        rtol=1e-5)


def test_groups_over_devices_equal_groups_on_one():
  x, variables = images(), variables_with_values()
  mesh = parallel.make_mesh(jax.devices()[:4])
  mapped = jax.jit(jax.shard_map(
      lambda x: norm.BatchNorm(groups=2).apply(
          variables, x, train=True, mutable=["batch_stats"]),
      mesh=mesh, in_specs=P(parallel.AXIS), out_specs=(P(parallel.AXIS), P()),
      check_vma=False))
  expected = jax.jit(lambda x: norm.BatchNorm(groups=8).apply(
      variables, x, train=True, mutable=["batch_stats"]))(x)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5,
                                                       atol=1e-6),
               mapped(x), expected)


def test_variance_does_not_cancel():
  x = np.float32(1000.0) + images()
  y, _ = jax.jit(lambda x: norm.BatchNorm().init_with_output(
      jax.random.key(0), x, train=True))(x)
  np.testing.assert_allclose(np.var(np.asarray(y), axis=(0, 1, 2)), 1.0,
                             rtol=1e-3)


def test_statistics_stay_float32_under_bfloat16():
  x = jnp.asarray(images(), jnp.bfloat16)
  y, variables = jax.jit(lambda x: norm.BatchNorm(groups=2).init_with_output(
      jax.random.key(0), x, train=True))(x)
  assert y.dtype == jnp.bfloat16
  assert {a.dtype for a in jax.tree.leaves(variables)} == {
      jnp.dtype(jnp.float32)}


def test_scale_init_and_untouched_averages_at_init():
  x = images()
  variables = norm.BatchNorm(scale_init=nn.initializers.zeros).init(
      jax.random.key(0), x, train=True)
  np.testing.assert_array_equal(variables["params"]["scale"], np.zeros(5))
  np.testing.assert_array_equal(variables["batch_stats"]["mean"], np.zeros(5))
  np.testing.assert_array_equal(variables["batch_stats"]["var"], np.ones(5))


def test_groups_must_divide_the_batch():
  module = norm.BatchNorm(groups=3)
  variables = module.init(jax.random.key(0), images(), train=False)
  with pytest.raises(ValueError, match="3 batch-norm groups .* batch of 8"):
    module.apply(variables, images(), train=True, mutable=["batch_stats"])


def written_out(x, scale, bias, channel_groups, epsilon):
  """Normalises [L, N, C] as the definition says."""
  grouped = x.reshape(*x.shape[:2], channel_groups, -1)
  mean = grouped.mean((1, 3), keepdims=True)
  var = jnp.square(grouped - mean).mean((1, 3), keepdims=True)
  normal = ((grouped - mean) / jnp.sqrt(var + epsilon)).reshape(x.shape)
  return normal * scale[None, None] + bias[None, None]


@pytest.mark.parametrize("channel_groups", [1, 2, 6])
@pytest.mark.parametrize("rows", [64, 13])  # in blocks and not
def test_the_gradient_by_hand_is_that_of_the_definition(rows, channel_groups):
  rng = np.random.default_rng(0)
  x = rng.normal(2.0, 3.0, (3, rows, 6)).astype(np.float32)
  scale, bias, weights = (rng.standard_normal(s).astype(np.float32)
                          for s in (6, 6, x.shape))

  def gradients(function):
    return jax.jit(jax.value_and_grad(
        lambda *args: jnp.sum(weights * jnp.sin(function(*args))), (0, 1, 2)))(
            x, scale, bias)
  jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
      gradients(lambda *args: norm.normalise(*args, channel_groups, 1e-5, False)[0]),
      gradients(lambda *args: written_out(*args, channel_groups, 1e-5)))


def test_statistics_of_all_devices_pass_the_gradient_of_one_batch():
  rng = np.random.default_rng(0)
  x = rng.normal(2.0, 3.0, (8, 4, 2, 5)).astype(np.float32)
  scale, bias, weights = (rng.standard_normal(s).astype(np.float32)
                          for s in (5, 5, x.shape))

  def loss(x, scale, bias, weights):
    y, _, _ = norm.normalise(x.reshape(1, -1, 5), scale, bias, 5, 1e-5, True)
    return jnp.sum(weights.reshape(y.shape) * jnp.sin(y))
  expected = jax.jit(jax.grad(loss, (0, 1, 2)))(x, scale, bias, weights)
  mesh = parallel.make_mesh(jax.devices()[:4])

  def on_each(x, scale, bias, weights):
    dx, *rest = jax.grad(loss, (0, 1, 2))(x, scale, bias, weights)
    return dx, *jax.lax.psum(rest, parallel.AXIS)
  found = jax.jit(jax.shard_map(
      on_each, mesh=mesh, in_specs=(P(parallel.AXIS), P(), P(), P(parallel.AXIS)),
      out_specs=(P(parallel.AXIS), P(), P()), check_vma=False))(x, scale, bias, weights)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
               found, expected)


def test_group_norm_is_that_of_flax():
  x = np.random.default_rng(0).normal(2.0, 3.0, (3, 4, 4, 6)).astype(np.float32)
  ours, flax = norm.GroupNorm(2), nn.GroupNorm(2, use_fast_variance=False)
  variables = {"params": {"scale": jnp.linspace(0.5, 2, 6), "bias": jnp.arange(6.0)}}
  assert (jax.tree.map(jnp.shape, ours.init(jax.random.key(0), x))
          == jax.tree.map(jnp.shape, variables))
  np.testing.assert_allclose(
      jax.jit(ours.apply)(variables, x), jax.jit(flax.apply)(variables, x), rtol=1e-4,
      atol=1e-5)
