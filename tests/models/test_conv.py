"""Values and gradients of models/conv.py, compared with `lax`."""

import itertools

from flax import linen as nn
import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import pytest

from augment_gen.models import conv

NHWC = ("NHWC", "HWIO", "NHWC")
CASES = [
    (size, kernel, stride, padding)
    for size, kernel, stride, padding in itertools.product(
        [(1, 1), (2, 2), (1, 3), (4, 3)], [(1, 1), (3, 3), (3, 2), (7, 7)],
        [(1, 1), (2, 2), (2, 1)],
        ["SAME", ((1, 1), (1, 1)), ((3, 3), (3, 3)), ((0, 2), (1, 0))])
    if padding == "SAME" or all(
        n + sum(pad) >= k for n, pad, k in zip(size, padding, kernel))
]


def uses_products(x, kernel, *args, **kwargs):
  jaxpr = jax.make_jaxpr(
      lambda x, k: conv.conv_general_dilated(x, k, *args, **kwargs))(x, kernel)
  return "conv_general_dilated" not in str(jaxpr)


@pytest.mark.parametrize("size, kernel, stride, padding", CASES[::7])
def test_products_equal_lax(size, kernel, stride, padding):
  rng = np.random.default_rng(0)
  x = rng.standard_normal((3, *size, 4), np.float32)
  taps = rng.standard_normal((*kernel, 4, 5), np.float32)

  def run(function):
    @jax.jit
    def value_and_slopes(x, taps):
      y, pull = jax.vjp(
          lambda x, taps: function(x, taps, stride, padding,
                                   dimension_numbers=NHWC), x, taps)
      cotangent = np.cos(np.arange(y.size, dtype=np.float32)).reshape(y.shape)
      return y, *pull(jnp.asarray(cotangent))
    return value_and_slopes(x, taps)

  expected = run(lax.conv_general_dilated)
  with conv.lowering("products"):
    assert uses_products(x, taps, stride, padding, dimension_numbers=NHWC)
    actual = run(conv.conv_general_dilated)
  for a, b in zip(actual, expected):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kernel, stride, padding", [
    ((1, 1), (1, 1), ((0, 0), (0, 0))), ((1, 1), (1, 1), ((1, 0), (0, 2))),
    ((1, 1), (2, 2), ((0, 0), (0, 0))), ((1, 1), (2, 1), ((1, 0), (0, 2))),
    ((2, 2), (1, 1), ((1, 1), (1, 1))), ((2, 1), (1, 1), "SAME"),
    ((1, 4), (1, 1), ((0, 0), (2, 1)))])
def test_kernels_of_few_taps_equal_lax(kernel, stride, padding):
  rng = np.random.default_rng(0)
  x = rng.standard_normal((3, 7, 6, 4), np.float32)
  taps = rng.standard_normal((*kernel, 4, 5), np.float32)

  def loss(function):
    return jax.jit(jax.value_and_grad(lambda x, taps: jnp.sum(jnp.sin(function(
        x, taps, stride, padding, dimension_numbers=NHWC))), (0, 1)))(x, taps)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
               loss(conv.conv_general_dilated), loss(lax.conv_general_dilated))


@pytest.mark.parametrize("kernel, stride, padding", [
    ((3, 3), (1, 1), "SAME"), ((3, 3), (2, 2), ((1, 1), (1, 1))),
    ((7, 7), (2, 1), ((3, 3), (3, 2))), ((3, 5), (1, 2), ((0, 2), (1, 0)))])
def test_kernels_of_many_taps_equal_lax(kernel, stride, padding):
  rng = np.random.default_rng(0)
  x = rng.standard_normal((3, 9, 8, 8), np.float32)
  taps = rng.standard_normal((*kernel, 8, 5), np.float32)

  def slopes(function):
    def loss(x, taps):
      return jnp.sum(jnp.sin(function(
          nn.relu(x), taps, stride, padding, dimension_numbers=NHWC)))

    def curvature(x, taps):  # as in the R1 penalty
      return sum(jnp.sum(jnp.square(g)) for g in jax.grad(loss, (0, 1))(x, taps))
    return jax.jit(lambda x, taps: (
        jax.value_and_grad(loss, (0, 1))(x, taps),
        jax.grad(curvature, (0, 1))(x, taps)))(x, taps)
  for a, b in zip(*(jax.tree.leaves(slopes(f)) for f in (
      conv.conv_general_dilated, lax.conv_general_dilated)), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())


def test_what_made_an_image_is_not_computed_while_it_is_transposed():
  """XLA:CPU would do so, slowly (docs/experiments/021)."""
  x, taps = jnp.ones((2, 8, 8, 8)), jnp.ones((3, 3, 8, 8))

  def does_both(function):
    def slope(x, taps):
      return jax.grad(lambda x, taps: jnp.sum(jnp.sin(function(
          nn.relu(x), taps, (1, 1), "SAME", dimension_numbers=NHWC))), 1)(x, taps)
    fusions = jax.jit(slope).lower(x, taps).compile().as_text().split("\n\n")
    return any(" maximum(" in f and " transpose(" in f for f in fusions)
  assert does_both(lax.conv_general_dilated)
  assert not does_both(conv.conv_general_dilated)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_single_tap_is_one_product_of_matrices(stride):
  """Also in its gradient: XLA:CPU copies what it sums over several dimensions."""
  x, taps = jnp.ones((2, 8, 8, 4)), jnp.ones((1, 1, 4, 5))
  slopes = jax.make_jaxpr(jax.grad(lambda x, taps: conv.conv_general_dilated(
      x, taps, (stride, stride), "VALID", dimension_numbers=NHWC).sum(), (0, 1)))
  products = [e for e in slopes(x, taps).eqns if e.primitive.name == "dot_general"]
  assert products and all(v.aval.ndim == 2 for e in products for v in e.invars)
  assert "conv_general_dilated" not in str(slopes(x, taps))


@pytest.mark.parametrize("size, backend", [
    ((1, 1), "cpu"), ((4, 3), "cpu"), ((5, 5), "cpu"), ((4, 3), "tpu")])
def test_up_conv_is_repetition_and_then_a_convolution(size, backend, monkeypatch):
  monkeypatch.setattr(jax, "default_backend", lambda: backend)
  x = np.random.default_rng(0).standard_normal((2, *size, 3)).astype(np.float32)
  up, plain = conv.UpConv(4), nn.Conv(4, (3, 3))
  params = jax.jit(up.init)(jax.random.key(0), x)["params"]
  params["bias"] = np.arange(4, dtype=np.float32)
  repeat = lambda x: x.repeat(2, axis=1).repeat(2, axis=2)
  assert jax.tree.map(jnp.shape, params) == jax.tree.map(
      jnp.shape, jax.eval_shape(plain.init, jax.random.key(0), repeat(x))["params"])

  def loss(apply):
    return jax.jit(jax.value_and_grad(
        lambda params, x: jnp.sum(jnp.sin(apply({"params": params}, x))), (0, 1)))(
            params, x)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
               loss(up.apply), loss(lambda v, x: plain.apply(v, repeat(x))))


def test_only_the_centre_counts_at_1x1():
  x = np.ones((2, 1, 1, 3), np.float32)
  taps = np.zeros((3, 3, 3, 1), np.float32)
  taps[1, 1] = 1.0
  grad = jax.jit(jax.grad(lambda taps: conv.conv_general_dilated(
      x, taps, (1, 1), "SAME", dimension_numbers=NHWC).sum()))(taps)
  np.testing.assert_array_equal(np.asarray(grad), 2 * taps)


@pytest.mark.parametrize("side, stride, expected", [
    (1, 1, True), (2, 1, True), (3, 1, False), (4, 2, True), (3, 2, True),
    (8, 2, False)])
def test_auto_takes_products_where_cpu_is_slow(side, stride, expected):
  x, taps = np.zeros((2, side, side, 3), "f4"), np.zeros((3, 3, 3, 4), "f4")
  args = ((stride, stride), ((1, 1), (1, 1)))
  assert uses_products(x, taps, *args, dimension_numbers=NHWC) == expected
  with conv.lowering("lax"):
    assert not uses_products(x, taps, *args, dimension_numbers=NHWC)


def test_auto_leaves_other_backends_alone(monkeypatch):
  monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
  x, taps = jnp.zeros((2, 1, 1, 3)), jnp.zeros((3, 3, 3, 4))
  assert not uses_products(
      x, taps, (1, 1), "SAME", dimension_numbers=NHWC)


@pytest.mark.parametrize("kwargs", [
    dict(feature_group_count=2), dict(kernel_dilation=2),
    dict(input_dilation=2, padding=1)])
def test_other_convolutions_pass_through(kwargs):
  x = np.random.default_rng(0).standard_normal((2, 2, 2, 4), np.float32)
  plain = nn.Conv(6, (3, 3), **kwargs)
  variables = jax.jit(plain.init)(jax.random.key(1), x)
  ours = conv.Conv(6, (3, 3), **kwargs)
  with conv.lowering("products"):
    np.testing.assert_array_equal(
        ours.apply(variables, x), plain.apply(variables, x))


def test_other_layouts_pass_through():
  x = jax.random.normal(jax.random.key(0), (2, 4, 2, 2))
  taps = jax.random.normal(jax.random.key(1), (4, 4, 1, 1))
  with conv.lowering("products"):
    actual = conv.conv_general_dilated(x, taps, (1, 1), "SAME")
  np.testing.assert_allclose(
      actual, jnp.einsum("ncij,oc->noij", x, taps[:, :, 0, 0],
                         precision="highest"), rtol=1e-5, atol=1e-5)


def test_unknown_lowering_is_refused():
  with pytest.raises(ValueError, match="im2col"), conv.lowering("im2col"):
    pass
