"""SimSiam (Chen & He 2021): two views predict each other, without negatives."""

import jax
from jax import lax
import jax.numpy as jnp
import optax

from augment_gen.config import SimsiamConfig
from augment_gen.losses.cosine import negative_cosine
from augment_gen.models.heads import l2_normalize, PredictedEncoder
from augment_gen.run import parallel
from augment_gen.run.contracts import PyTree, Step, Views
from augment_gen.steps import encoder as encoder_step
from augment_gen.steps.collapse import embedding_std
from augment_gen.steps.state import EncoderState


def init(net: PredictedEncoder, tx: optax.GradientTransformation,
         image_shape: tuple[int, int, int], key: jax.Array,
         encoder: PyTree | None = None) -> EncoderState:
  """Creates a fresh state; F is random, or has the variables `encoder`."""
  return encoder_step.init(net, tx, image_shape, key, encoder)


def make_step(net: PredictedEncoder, tx: optax.GradientTransformation,
              config: SimsiamConfig, views: Views) -> Step:
  """Builds the step of SimSiam's Algorithm 1.

  Source: Chen & He 2021, Algorithm 1.

  Args:
    net: H∘F and the predictor. As in the official code, the batch norms should span all
      devices but not both views (`norm.EACH_VIEW`).
    tx: optimiser of `net`.
    config: whether the gradient stops at the targets.
    views: see `contracts.Views`.

  Returns:
    A step, see `contracts.Step`.
  """
  target = lax.stop_gradient if config.stop_gradient else lambda z: z

  def loss_fn(params, batch_stats, images):
    (z, p), new = net.apply({"params": params, "batch_stats": batch_stats}, images,
                            train=True, mutable=["batch_stats"])
    (z_1, z_2), (p_1, p_2) = jnp.split(z, 2), jnp.split(p, 2)
    losses = (negative_cosine(p_1, target(z_2)) + negative_cosine(p_2, target(z_1))) / 2
    return jnp.mean(losses), (new.get("batch_stats", {}), {
        "embedding_std": embedding_std(parallel.gather(l2_normalize(z_1)))})

  def step(state: EncoderState, frozen, batch, key):
    images = jnp.concatenate(views(frozen, batch, key))
    return encoder_step.update(state, tx, loss_fn, images)

  return step
