"""NT-Xent, the loss of SimCLR (Chen et al. 2020, equation 1)."""

import jax
from jax import lax
import jax.numpy as jnp


def nt_xent(anchors: jax.Array, everyone: jax.Array, own: jax.Array,
            positive: jax.Array, temperature: float,
            ) -> tuple[jax.Array, jax.Array]:
  """ℓ(i, j) for every anchor i, in log space.

    ℓ(i, j) = −log e^{z_i·z_j/τ} / Σ_{k ≠ i} e^{z_i·z_k/τ}

  Args:
    anchors: [n, D] float32 projections z_i, of unit norm.
    everyone: [M, D] float32, both views of all images, the anchors among them.
    own: int [n], the row of each anchor in `everyone`.
    positive: int [n], the row of the other view of its image, j.
    temperature: τ > 0.

  Returns:
    losses: [n] float32, in nats, ≥ 0.
    logits: [n, M] float32, −inf where an anchor meets itself.
  """
  anchors, everyone = (a.astype(jnp.float32) for a in (anchors, everyone))
  # GPUs and TPUs would round the factors to TF32 or bfloat16.
  logits = jnp.matmul(
      anchors, everyone.T, precision=lax.Precision.HIGHEST) / temperature
  itself = own[:, None] == jnp.arange(len(everyone))[None]
  logits = jnp.where(itself, -jnp.inf, logits)
  matched = jnp.take_along_axis(logits, positive[:, None], axis=1)[:, 0]
  return jax.nn.logsumexp(logits, axis=1) - matched, logits
