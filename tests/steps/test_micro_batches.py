"""Gradient accumulation: the same numbers as in one pass, in less memory."""

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from augment_gen.steps import micro_batches


def coupled(function):
  """A loss that compares all examples with each other, unlike a mean over examples."""
  def loss(weights, x, parts):
    y = function(weights, x, parts)
    return jnp.mean(jax.nn.logsumexp(y @ y.T, axis=1))
  return loss


def layer(weights, x, parts):
  return micro_batches.in_parts(lambda part: jnp.tanh(part @ weights), parts, x)


@pytest.mark.parametrize("parts", [2, 3, 6])
def test_the_gradient_is_that_of_the_whole_batch(parts):
  rng = np.random.default_rng(0)
  weights, x = rng.normal(size=(4, 3)), rng.normal(size=(6, 4))
  # In jax.grad of the plain function, all examples are there at once.
  plain = lambda weights, x: jnp.mean(jax.nn.logsumexp(
      jnp.tanh(x @ weights) @ jnp.tanh(x @ weights).T, axis=1))
  value, slopes = jax.value_and_grad(plain, (0, 1))(weights, x)
  found, ours = jax.value_and_grad(coupled(layer), (0, 1))(weights, x, parts)
  np.testing.assert_allclose(found, value, rtol=1e-6)
  for a, b in zip(ours, slopes, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
  # Adding up the gradients of losses of the parts would be something else.
  apart = np.mean([jax.grad(plain)(weights, part) for part in np.split(x, parts)], axis=0)
  assert np.abs(apart - slopes[0]).max() > 1e-2


def test_rows_stay_in_order_and_means_are_means():
  x = jnp.arange(12.0).reshape(6, 2)
  def function(part):
    return {"twice": 2 * part, "first": part[:, 0]}, part.mean(axis=0)
  rows, means = micro_batches.in_parts_with_means(function, 3, x)
  np.testing.assert_array_equal(rows["twice"], 2 * x)
  np.testing.assert_array_equal(rows["first"], x[:, 0])
  np.testing.assert_allclose(means, x.mean(axis=0))


def test_one_part_is_a_plain_call():
  function = lambda x: (x, x.sum())
  assert "scan" not in str(jax.make_jaxpr(
      lambda x: micro_batches.in_parts_with_means(function, 1, x))(jnp.ones((4, 2))))


@pytest.mark.parametrize("batch, size, parts", [(8, 0, 1), (8, 8, 1), (8, 2, 4)])
def test_number_of_parts(batch, size, parts):
  assert micro_batches.count(batch, size) == parts


def test_it_takes_less_memory():
  """By the compiler's figure, of a network whose activations are most of the memory."""

  class Deep(nn.Module):

    @nn.compact
    def __call__(self, x):
      for index in range(8):
        x = nn.tanh(nn.Dense(64, name=f"layer{index}")(x))
      return x

  net, x = Deep(), jnp.ones((512, 64))
  params = net.init(jax.random.key(0), x[:1])

  def memory(parts):
    loss = coupled(lambda params, x, parts: micro_batches.in_parts(
        lambda part: net.apply(params, part), parts, x))
    compiled = jax.jit(jax.grad(lambda params: loss(params, x, parts))).lower(
        params).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  layers = 8 * x.nbytes
  whole, divided = memory(1), memory(8)
  assert whole - divided > 0.7 * layers
