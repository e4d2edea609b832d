"""Max pooling, against Flax."""

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from augment_gen.models import pooling

flax_3x3 = lambda x: nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
flax_2x2 = lambda x: nn.max_pool(x, (2, 2), strides=(2, 2))


def value_and_gradient(pool, x, weights):
  return jax.jit(jax.value_and_grad(lambda x: jnp.sum(weights * pool(x))))(x)


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (2, 5), (1, 1)])
def test_3x3(size):
  rng = np.random.default_rng(0)
  x = rng.standard_normal((3, *size, 2)).astype(np.float32)
  y = flax_3x3(x)
  weights = rng.standard_normal(y.shape).astype(np.float32)
  np.testing.assert_array_equal(pooling.max_pool_3x3(x), y)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
               value_and_gradient(pooling.max_pool_3x3, x, weights),
               value_and_gradient(flax_3x3, x, weights))


def test_2x2():
  rng = np.random.default_rng(0)
  x = rng.standard_normal((3, 6, 4, 2)).astype(np.float32)
  weights = rng.standard_normal((3, 3, 2, 2)).astype(np.float32)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
               value_and_gradient(pooling.max_pool_2x2, x, weights),
               value_and_gradient(flax_2x2, x, weights))


@pytest.mark.parametrize("pool", [pooling.max_pool_3x3, pooling.max_pool_2x2])
def test_equal_entries_share_no_more_than_the_gradient(pool):
  """As where a ReLU has made everything 0."""
  x = jnp.zeros((1, 6, 6, 1))
  gradient = jax.grad(lambda x: jnp.sum(pool(x)))(x)
  assert gradient.sum() == 9 and gradient.min() >= 0


def test_other_backends_use_flax(monkeypatch):
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  x = np.random.default_rng(0).standard_normal((2, 5, 5, 1)).astype(np.float32)
  text = str(jax.make_jaxpr(jax.grad(lambda x: jnp.sum(pooling.max_pool_3x3(x))))(x))
  assert "select_and_scatter" in text
  monkeypatch.undo()
  text = str(jax.make_jaxpr(jax.grad(lambda x: jnp.sum(pooling.max_pool_3x3(x))))(x))
  assert "select_and_scatter" not in text
