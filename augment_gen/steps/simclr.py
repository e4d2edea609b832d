"""SimCLR (Chen et al. 2020): two views of each image against the whole batch."""

import jax
import jax.numpy as jnp
import optax

from augment_gen.config import SimclrConfig
from augment_gen.losses.nt_xent import nt_xent
from augment_gen.models.heads import ProjectedEncoder
from augment_gen.run import parallel
from augment_gen.run.contracts import PyTree, Step, Views
from augment_gen.steps import encoder as encoder_step
from augment_gen.steps.collapse import embedding_std
from augment_gen.steps.state import EncoderState


def init(net: ProjectedEncoder, tx: optax.GradientTransformation,
         image_shape: tuple[int, int, int], key: jax.Array,
         encoder: PyTree | None = None) -> EncoderState:
  """Creates a fresh state; F is random, or has the variables `encoder`."""
  return encoder_step.init(net, tx, image_shape, key, encoder)


def make_step(net: ProjectedEncoder, tx: optax.GradientTransformation,
              config: SimclrConfig, views: Views) -> Step:
  """Builds the step of SimCLR's Algorithm 1, over the global batch.

  Source: Chen et al. 2020, Algorithm 1.

  Args:
    net: H∘F. Its batch norms must span all devices: both views of an image lie on one
      device, and the statistics of that device would reveal the pairs.
    tx: optimiser of `net`.
    config: the temperature.
    views: see `contracts.Views`.

  Returns:
    A step, see `contracts.Step`.
  """

  def loss_fn(params, batch_stats, images):
    z, new = net.apply({"params": params, "batch_stats": batch_stats}, images,
                       train=True, mutable=["batch_stats"])
    # [B, D] each: the first and the second views of all images.
    first, second = (parallel.gather(part) for part in jnp.split(z, 2))
    place = parallel.axis_index() * (len(z) // 2) + jnp.arange(len(z) // 2)
    own = jnp.concatenate([place, len(first) + place])
    other = jnp.concatenate([len(first) + place, place])
    losses, logits = nt_xent(
        z, jnp.concatenate([first, second]), own, other, config.temperature)
    return jnp.mean(losses), (new.get("batch_stats", {}), {
        "accuracy": jnp.mean(jnp.argmax(logits, axis=1) == other),
        "embedding_std": embedding_std(first),
    })

  def step(state: EncoderState, frozen, batch, key):
    images = jnp.concatenate(views(frozen, batch, key))
    return encoder_step.update(state, tx, loss_fn, images)

  return step
