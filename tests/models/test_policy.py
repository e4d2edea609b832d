"""P(T|X) and the encoder of crops."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from augment_gen.augment.crops import CropGrid
from augment_gen.models.convnet import ConvNet
from augment_gen.models.policy import CropDistribution


def disturbed(params):
  rng = np.random.default_rng(2)
  return jax.tree.map(
      lambda a: a + 0.3 * rng.standard_normal(a.shape, np.float32), params)


def images(*shape):
  return np.random.default_rng(0).random(shape, np.float32)


@pytest.mark.parametrize("grid", [
    CropGrid(image_size=20, crop=8, stride=4),
    CropGrid(image_size=21, crop=7, stride=2),
    CropGrid(image_size=18, crop=6, stride=3, scales=(1.0, 1.5))])
def test_a_distribution_over_all_windows_uniform_at_first(grid):
  net = CropDistribution(grid, width=4)
  x = images(3, *[grid.image_size] * 2, 2)
  variables = jax.jit(net.init)(jax.random.key(1), x)
  apply = jax.jit(net.apply)
  log_p = apply(variables, x)
  assert log_p.shape == (3, grid.size) and log_p.dtype == jnp.float32
  np.testing.assert_allclose(log_p, -np.log(grid.size), rtol=1e-5)
  params = disturbed(variables["params"])
  log_p = apply({"params": params}, x)
  np.testing.assert_allclose(jnp.exp(log_p).sum(axis=1), 1.0, rtol=1e-4)
  assert float(jnp.std(log_p)) > 0.1


def test_scales_can_have_equal_mass():
  grid = CropGrid(image_size=18, crop=6, stride=3, scales=(1.0, 1.5))
  net = CropDistribution(grid, width=4, scale_mass="equal")
  x = images(3, 18, 18, 1)
  params = disturbed(jax.jit(net.init)(jax.random.key(1), x)["params"])
  p = np.exp(jax.jit(net.apply)({"params": params}, x))
  sides = grid.boxes()[:, 2]
  for side in (6, 9):
    np.testing.assert_allclose(p[:, sides == side].sum(axis=1), 0.5, rtol=1e-5)
    assert p[:, sides == side].std(axis=1).min() > 1e-4


def test_a_window_is_scored_by_what_it_and_its_neighbours_show():
  """P(t|x) / P(t'|x) does not depend on pixels far from both windows."""
  grid = CropGrid(image_size=40, crop=8, stride=4)
  net = CropDistribution(grid, width=4)
  x = images(1, 40, 40, 1)
  variables = jax.jit(net.init)(jax.random.key(1), x)
  params = disturbed(variables["params"])
  def ratio(x):
    log_p = net.apply({"params": params}, x)
    return log_p[0, 0] - log_p[0, 1]
  slope = np.asarray(jax.jit(jax.grad(ratio))(x))[0, ..., 0]
  # Windows 0 and 1 and their neighbours end before row 12 and column 16.
  assert np.abs(slope[:12, :16]).max() > 0
  np.testing.assert_allclose(slope[12:], 0.0, atol=1e-5)
  np.testing.assert_allclose(slope[:, 16:], 0.0, atol=1e-5)


def test_a_network_of_one_channel():
  grid = CropGrid(image_size=20, crop=8, stride=4)
  net, x = CropDistribution(grid, width=1), images(1, 20, 20, 1)
  assert net.init_with_output(jax.random.key(0), x)[0].shape == (1, grid.size)


def test_convnet():
  net = ConvNet((1, 2), width=3)
  x = np.ones((4, 9, 9, 1), np.float32)
  variables = jax.jit(functools.partial(net.init, train=False))(jax.random.key(0), x)
  (y, maps), new = jax.jit(functools.partial(
      net.apply, train=True, mutable=["batch_stats"]))(variables, x)
  assert y.shape == (4, 3 * 3 * 6) and y.dtype == jnp.float32
  assert maps["stem_conv"].shape == maps["stage1"].shape == (4, 5, 5, 3)
  assert maps["stage2"].shape == (4, 3, 3, 6)
  np.testing.assert_array_equal(y, maps["pooled"])
  assert set(new["batch_stats"]) == {
      "stage1_norm1", "stage2_norm1", "stage2_norm2"}
  assert np.all(np.isfinite(y))  # blank crops have no variance
