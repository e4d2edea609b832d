"""The discriminator and generator losses of Algorithm 1, computed from logits.

With D = sigmoid(logit), −log D = softplus(−logit) and −log(1 − D) = softplus(logit).
Neither the sigmoid nor its logarithm is computed, so nothing saturates.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from augment_gen.run import parallel


def discriminator_loss(real: jax.Array, fake: jax.Array) -> jax.Array:
  """−log D(real) − log(1 − D(fake)): (8) for D_f and (9) for D_p.

  Source: Hayase et al., (8), (9).

  Args:
    real: float32 [B], logits for embeddings from the discriminator's own set.
    fake: float32 [B], logits for embeddings of generated images.

  Returns:
    Scalar float32, the sum of the two terms, each averaged over the batch.
  """
  return jnp.mean(jax.nn.softplus(-real)) + jnp.mean(jax.nn.softplus(fake))


def generator_loss(fake: jax.Array) -> jax.Array:
  """−log D(fake): (11) for G_A against D_f and (12) for G_E against D_p.

  Source: Hayase et al., (11), (12).

  Args:
    fake: float32 [B], logits for embeddings of generated images.

  Returns:
    Scalar float32, averaged over the batch.
  """
  return jnp.mean(jax.nn.softplus(-fake))


def score_function(each: jax.Array, log_likelihood: jax.Array) -> jax.Array:
  """Zero, whose gradient is that of a loss along what z switches on or off.

  E_z[ℓ] has the gradient E_z[(ℓ − b) ∇ log p(z)] along the parameters of p (REINFORCE,
  Williams 1992). The baseline b is the mean over the batches of all devices. The image
  itself counts in it, which makes the gradient 1 − 1/B times what it should be, with B
  images on all devices.

  Args:
    each: float32 [B], the losses ℓ of images.
    log_likelihood: float32 [B], log p of what their latents switch on or off.

  Returns:
    Scalar float32, 0.
  """
  each = jax.lax.stop_gradient(each)
  term = jnp.mean((each - parallel.mean(jnp.mean(each))) * log_likelihood)
  return term - jax.lax.stop_gradient(term)


def r1_penalty(discriminate: Callable, real: jax.Array) -> jax.Array:
  """The R1 penalty E‖∇D(y)‖² / 2 at real embeddings (Mescheder et al. 2018).

  Without it, a discriminator of many features may separate real from generated
  embeddings by a slope so steep that the generators learn nothing from it.

  Args:
    discriminate: function from embeddings [B, D] to logits [B]. Each logit depends only
      on its own embedding.
    real: float32 [B, D], the real embeddings.

  Returns:
    Scalar float32.
  """
  slope = jax.grad(lambda y: jnp.sum(discriminate(y)))(real)
  return jnp.mean(jnp.sum(jnp.square(slope), axis=-1)) / 2
