"""The InfoNCE loss (van den Oord et al. 2018), as used by MoCo."""

import jax
from jax import lax
import jax.numpy as jnp


def infonce(q: jax.Array, k_pos: jax.Array, k_neg: jax.Array,
            temperature: float) -> tuple[jax.Array, jax.Array]:
  """ℓ(q, k+) of equation (2) for each query, in log space.

  Source: Hayase et al., (2).

  Args:
    q: float32 [B, D], queries of unit norm.
    k_pos: float32 [B, D], the positive key k+ of each query, of unit norm.
    k_neg: float32 [K, D], the negative keys K−, shared by all queries.
    temperature: τ > 0.

  Returns:
    losses: float32 [B], in nats, ≥ 0.
    logits: float32 [B, 1 + K]; column 0 is the positive.
  """
  q, k_pos, k_neg = (a.astype(jnp.float32) for a in (q, k_pos, k_neg))
  positive = jnp.sum(q * k_pos, axis=1, keepdims=True)  # [B, 1]
  # At default precision, GPUs and TPUs would round the factors to TF32 or bfloat16.
  negative = jnp.matmul(q, k_neg.T, precision=lax.Precision.HIGHEST)  # [B, K]
  logits = jnp.concatenate([positive, negative], axis=1) / temperature
  return jax.nn.logsumexp(logits, axis=1) - logits[:, 0], logits
