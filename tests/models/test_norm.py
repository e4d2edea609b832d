"""models/norm.py, compared with Flax and with groups split by hand."""

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
    return jnp.asarray(rng.uniform(0.5, 2, features), jnp.float32)

  return {"params": {"scale": draw(), "bias": draw()},
          "batch_stats": {"mean": draw(), "var": draw()}}


@pytest.mark.parametrize("train", [True, False])
def test_one_group_is_flax_batch_norm(train):
  x, variables = images(), variables_with_values()
  flax_norm = nn.BatchNorm(momentum=0.9, epsilon=1e-5)
  assert (jax.tree.map(jnp.shape, norm.BatchNorm().init(
      jax.random.key(0), x, train=False)) == jax.tree.map(
          jnp.shape, flax_norm.init(
              jax.random.key(0), x, use_running_average=True)))

  def ours(x, params):
    return norm.BatchNorm().apply(
        {**variables, "params": params}, x, train=train,
        mutable=["batch_stats"])

  def theirs(x, params):
    return flax_norm.apply(
        {**variables, "params": params}, x, use_running_average=not train,
        mutable=["batch_stats"])

  actual, expected = (f(x, variables["params"]) for f in (ours, theirs))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4,
                                                       atol=1e-5),
               actual, expected)
  grads = [jax.grad(lambda *args, f=f: jnp.sum(jnp.sin(f(*args)[0])), (0, 1))(
      x, variables["params"]) for f in (ours, theirs)]
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3,
                                                       atol=1e-4), *grads)


def test_groups_are_normalised_apart():
  x, variables = images(), variables_with_values()
  y, updated = norm.BatchNorm(groups=4).apply(
      variables, x, train=True, mutable=["batch_stats"])
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
  expected = norm.BatchNorm(groups=8).apply(
      variables, x, train=True, mutable=["batch_stats"])
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5,
                                                       atol=1e-6),
               mapped(x), expected)


def test_variance_does_not_cancel():
  x = np.float32(1000.0) + images()
  y, _ = norm.BatchNorm().init_with_output(jax.random.key(0), x, train=True)
  np.testing.assert_allclose(np.var(np.asarray(y), axis=(0, 1, 2)), 1.0,
                             rtol=1e-3)


def test_statistics_stay_float32_under_bfloat16():
  x = jnp.asarray(images(), jnp.bfloat16)
  y, variables = norm.BatchNorm(groups=2).init_with_output(
      jax.random.key(0), x, train=True)
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
