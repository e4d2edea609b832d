"""Toy networks for the tests of steps, small enough for finite differences."""

from flax import linen as nn
import jax
import jax.numpy as jnp


class Linear(nn.Module):
  """F: one dense layer."""

  @nn.compact
  def __call__(self, x, *, train):
    return nn.Dense(4)(x.reshape(len(x), -1)), {}


class UnitHead(nn.Module):
  """H: scales embeddings to unit length."""

  @nn.compact
  def __call__(self, y: jax.Array) -> jax.Array:
    return y / jnp.linalg.norm(y, axis=-1, keepdims=True)


def slow_perceptron(params, y):
  """`NormedPerceptron` of one view [B, d], in training, written out."""
  for index in range(1, 3):
    if f"hidden{index}" in params:
      y = y @ params[f"hidden{index}"]["kernel"]
      scale, bias = (params[f"norm{index}"][name] for name in ("scale", "bias"))
      y = jnp.maximum(normalised(y) * scale[None] + bias[None], 0)
  y = y @ params["out"]["kernel"]
  if "bias" in params["out"]:
    return y + params["out"]["bias"][None]
  return y


def normalised(y):
  """Batch norm without scale and bias, [B, D] -> [B, D]."""
  centred = y - y.mean(axis=0)[None]
  return centred / jnp.sqrt((centred**2).mean(axis=0) + 1e-5)[None]
