"""Feature extraction: order, padding, devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from augment_gen.evaluate.features import extract
from augment_gen.run import parallel


def _encode(variables, images):
  flat = images.reshape(images.shape[0], -1)
  return jnp.tanh(flat @ variables["w"]).astype(jnp.bfloat16)


def _set(num):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (num, 4, 4, 1), dtype=np.uint8)
  variables = {"w": jnp.asarray(rng.normal(size=(16, 3)), jnp.float32)}
  expected = np.tanh(images.reshape(num, 16) / 255.0 @ np.asarray(
      variables["w"]))
  return images, variables, expected


@pytest.mark.parametrize("num", [1, 3, 8, 21])
@pytest.mark.parametrize("devices", [None, 1, 8])
def test_matches_a_plain_loop(num, devices):
  images, variables, expected = _set(num)
  mesh = devices and parallel.make_mesh(jax.devices()[:devices])
  features = extract(_encode, variables, images, 6, mesh=mesh)
  assert features.dtype == np.float32 and features.shape == (num, 3)
  np.testing.assert_allclose(features, expected, atol=0.01)


def test_devices_agree_exactly():
  images, variables, _ = _set(21)
  one = extract(_encode, variables, images, 8)
  many = extract(_encode, variables, images, 8, mesh=parallel.make_mesh())
  np.testing.assert_array_equal(one, many)


def test_compiles_once_for_all_sets():
  traces = []

  def encode(variables, images):
    traces.append(images.shape)
    return _encode(variables, images)

  for num in (3, 21, 8):
    images, variables, _ = _set(num)
    extract(encode, variables, images, 8)
  assert traces == [(8, 4, 4, 1)]
