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
