"""Values and gradients of models/products.py, compared with `jnp.dot`."""

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from augment_gen.models import products
from augment_gen.run import forms


def operands(rows=3):
  rng = np.random.default_rng(0)
  return rng.standard_normal((rows, 5), np.float32), rng.standard_normal((5, 4), np.float32)


def test_values_and_gradients_equal_those_of_a_plain_product():
  x, w = operands()

  def run(dot):
    return jax.value_and_grad(lambda x, w: jnp.sum(jnp.sin(dot(x, w))), (0, 1))(x, w)
  (value, slopes), (expected, plain) = run(products.dot), run(jnp.dot)
  np.testing.assert_allclose(value, expected, rtol=1e-6)
  for a, b in zip(slopes, plain, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_gradients_of_gradients_equal_those_of_a_plain_product():
  """As in the R1 penalty, whose gradient reaches x and w."""
  x, w = operands()

  def run(dot):
    def penalty(x, w):
      slope = jax.grad(lambda x: jnp.sum(jnp.tanh(dot(x, w))))(x)
      return jnp.sum(slope**2)
    return jax.jit(jax.grad(penalty, (0, 1)))(x, w)
  for a, b in zip(run(products.dot), run(jnp.dot), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_dense_layer_is_flaxs_own(dtype):
  x = np.random.default_rng(0).standard_normal((2, 3, 5), np.float32)
  plain, quick = (dense(4, dtype=dtype) for dense in (nn.Dense, products.Dense))
  variables = plain.init(jax.random.key(0), x)

  def run(layer):
    loss = lambda v, x: jnp.sum(layer.apply(v, x).astype(jnp.float32)**2)
    return layer.apply(variables, x), *jax.tree.leaves(
        jax.grad(loss, (0, 1))(variables, x))
  for a, b in zip(run(quick), run(plain), strict=True):
    assert a.dtype == b.dtype
    np.testing.assert_allclose(a.astype(jnp.float32), b.astype(jnp.float32),
                               rtol=1e-5 if dtype == jnp.float32 else 2e-2, atol=1e-5)


def test_the_matrix_is_transposed_before_the_product():
  x, w = operands()
  layer = products.Dense(4, use_bias=False)
  # A function of its own for each form: JAX keeps what it has traced.
  of = lambda: str(jax.make_jaxpr(jax.grad(lambda x: jnp.sum(jnp.sin(
      layer.apply({"params": {"kernel": w}}, x)))))(x))
  assert "optimization_barrier" in of()
  with forms.plain():
    assert "optimization_barrier" not in of()


def test_other_products_are_those_of_lax():
  """Contracted over two dimensions, as `nn.DenseGeneral` does."""
  x, w = np.ones((2, 3, 5), np.float32), np.ones((3, 5, 4), np.float32)
  numbers = (((1, 2), (0, 1)), ((), ()))
  np.testing.assert_array_equal(
      products.dot_general(x, w, numbers), jax.lax.dot_general(x, w, numbers))
