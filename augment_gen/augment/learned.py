"""The latents of the learned view G_A(x, z) in re-training, equation (15)."""

import jax
import jax.numpy as jnp


def draw_latents(keys: jax.Array, bank: jax.Array | None,
                 dim: int) -> jax.Array:
  """One latent per example.

  Args:
    keys: [B] typed keys.
    bank: float32 [M, Z], Z̃ = {G_L(x̃) : x̃ ∈ X̃_f}, of which rows are drawn
      uniformly with replacement, as the paper does; None: the prior, uniform on
      [0, 1]^dim.
    dim: Z.

  Returns:
    float32 [B, Z].
  """
  if bank is None:
    return jax.vmap(lambda key: jax.random.uniform(key, (dim,)))(keys)
  if bank.shape[1:] != (dim,):
    raise ValueError(f"the bank is {bank.shape}, but latents have {dim} "
                     "dimensions")
  rows = jax.vmap(lambda key: jax.random.randint(key, (), 0, len(bank)))(keys)
  return jnp.take(bank, rows, axis=0)
