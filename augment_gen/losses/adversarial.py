"""The discriminator and generator losses of Algorithm 1, from logits.

With D = sigmoid(logit): −log D = softplus(−logit), −log(1 − D) = softplus(logit).
Neither the sigmoid nor its logarithm is ever formed, so nothing saturates.
"""

import jax
import jax.numpy as jnp


def discriminator_loss(real: jax.Array, fake: jax.Array) -> jax.Array:
  """−log D(real) − log(1 − D(fake)): (8) for D_f and (9) for D_p.

  Args:
    real: [B] float32 logits of embeddings from the discriminator's own set.
    fake: [B] float32 logits of embeddings of generated images.

  Returns:
    Scalar float32: the sum of the two terms, each averaged over the batch.
  """
  return jnp.mean(jax.nn.softplus(-real)) + jnp.mean(jax.nn.softplus(fake))


def generator_loss(fake: jax.Array) -> jax.Array:
  """−log D(fake): (11) for G_A against D_f and (12) for G_E against D_p.

  Args:
    fake: [B] float32 logits of embeddings of generated images.

  Returns:
    Scalar float32, averaged over the batch.
  """
  return jnp.mean(jax.nn.softplus(-fake))
