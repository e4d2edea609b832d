"""InfoNCE (van den Oord et al. 2018), as MoCo uses it."""

import jax
from jax import lax
import jax.numpy as jnp


def infonce(q: jax.Array, k_pos: jax.Array, k_neg: jax.Array,
            temperature: float) -> tuple[jax.Array, jax.Array]:
  """ℓ(q, k+) of equation (2) for every query, in log space.

  Args:
    q: [B, D] float32 queries, of unit norm.
    k_pos: [B, D] float32, the positive key k+ of each query, of unit norm.
    k_neg: [K, D] float32, the negative keys K−, shared by all queries.
    temperature: τ > 0.

  Returns:
    losses: [B] float32, in nats, ≥ 0.
    logits: [B, 1 + K] float32, the positive's first.
  """
  q, k_pos, k_neg = (a.astype(jnp.float32) for a in (q, k_pos, k_neg))
  positive = jnp.sum(q * k_pos, axis=1, keepdims=True)  # [B, 1]
  # GPUs and TPUs would round the factors to TF32 or bfloat16.
  negative = jnp.matmul(q, k_neg.T, precision=lax.Precision.HIGHEST)  # [B, K]
  logits = jnp.concatenate([positive, negative], axis=1) / temperature
  return jax.nn.logsumexp(logits, axis=1) - logits[:, 0], logits
