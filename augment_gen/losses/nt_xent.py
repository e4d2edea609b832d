"""The NT-Xent loss of SimCLR (Chen et al. 2020, equation 1)."""

import jax
from jax import lax
import jax.numpy as jnp


def nt_xent(anchors: jax.Array, everyone: jax.Array, own: jax.Array,
            positive: jax.Array, temperature: float,
            ) -> tuple[jax.Array, jax.Array]:
  """ℓ(i, j) for each anchor i, in log space.

  Source: Chen et al. 2020, (1).

    ℓ(i, j) = −log e^{z_i·z_j/τ} / Σ_{k ≠ i} e^{z_i·z_k/τ}

  Args:
    anchors: float32 [n, D], projections z_i of unit norm.
    everyone: float32 [M, D], both views of all images, including the anchors.
    own: int [n], the row of each anchor in `everyone`.
    positive: int [n], the row j of the other view of the anchor's image.
    temperature: τ > 0.

  Returns:
    losses: float32 [n], in nats, ≥ 0.
    logits: float32 [n, M], −inf where an anchor is compared with itself.
  """
  anchors, everyone = (a.astype(jnp.float32) for a in (anchors, everyone))
  # At default precision, GPUs and TPUs would round the factors to TF32 or bfloat16.
  logits = jnp.matmul(
      anchors, everyone.T, precision=lax.Precision.HIGHEST) / temperature
  itself = own[:, None] == jnp.arange(len(everyone))[None]
  logits = jnp.where(itself, -jnp.inf, logits)
  matched = jnp.take_along_axis(logits, positive[:, None], axis=1)[:, 0]
  return jax.nn.logsumexp(logits, axis=1) - matched, logits
