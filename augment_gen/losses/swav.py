"""SwAV (Caron et al. 2020): codes by Sinkhorn-Knopp, and their swapped prediction."""

import jax
import jax.numpy as jnp

from augment_gen.run import parallel


def codes(scores: jax.Array, epsilon: float, iterations: int,
          used: jax.Array | None = None) -> jax.Array:
  """Q* of equation 5, which assigns the samples of all devices to the prototypes.

  Source: Caron et al. 2020, (5).

  Q* = Diag(u) exp(CᵀZ / ε) Diag(v) has equal sums over the prototypes for each sample,
  and, up to the number of iterations, equal sums over the samples for each prototype
  (equation 4). It is computed in log space, as exp(1 / 0.05) is near the limit of
  float16 and small ε would leave that of float32. As in the official code, an iteration
  normalises the prototypes, then the samples.

  Args:
    scores: float32 [n, K], zᵀc of this device's samples with each prototype.
    epsilon: ε > 0; smaller values give codes that are nearer to one-hot.
    iterations: number of iterations, at least 1.
    used: bool [n], which samples count, with at least one on all devices together;
      None for all.

  Returns:
    float32 [n, K]; each row sums to 1. Rows that do not count have what they would
    have been assigned.
  """
  logits = scores.astype(jnp.float32) / epsilon
  counted = jnp.zeros(len(logits)) if used is None else jnp.where(used, 0.0, -jnp.inf)
  per_sample = jnp.zeros(len(logits))
  for _ in range(iterations):
    mine = jax.nn.logsumexp(logits + (per_sample + counted)[:, None], axis=0)
    # Of all devices, [devices, K] -> [K].
    per_prototype = -jax.nn.logsumexp(parallel.gather(mine[None]), axis=0)
    per_sample = -jax.nn.logsumexp(logits + per_prototype[None], axis=1)
  return jnp.exp(logits + per_prototype[None] + per_sample[:, None])


def swapped_prediction(scores: jax.Array, targets: jax.Array,
                       temperature: float) -> jax.Array:
  """The loss of equation 2, with the further views of multi-crop (equation 6).

  Source: Caron et al. 2020, (2), (6).

  −1/2 Σ_{i ∈ {1, 2}} 1/(V − 1) Σ_{v ≠ i} Σ_k q_ik log p_vk, with p_v the softmax of
  z_vᵀC / τ. NOTE(paper): equation 6 is a sum over the views; the official code takes the
  means over v and i, as we do.

  Args:
    scores: float32 [V, n, K], zᵀc of all views, the two large ones first.
    targets: float32 [2, n, K], the codes q of the large views.
    temperature: τ > 0.

  Returns:
    float32 [n], in nats, ≥ 0.
  """
  log_p = jax.nn.log_softmax(scores.astype(jnp.float32) / temperature, axis=-1)
  # Σ_{v ≠ i} log p_v is the sum over all views without that of view i.
  others = jnp.sum(log_p, axis=0)[None] - log_p[:2]
  return -jnp.mean(jnp.sum(targets * others, axis=-1), axis=0) / (len(scores) - 1)
