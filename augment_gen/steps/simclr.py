"""SimCLR (Chen et al. 2020): two views of each image against the whole batch."""

import dataclasses

from flax import struct
import jax
import jax.numpy as jnp
import optax

from augment_gen.config import SimclrConfig
from augment_gen.losses.nt_xent import nt_xent
from augment_gen.models.heads import initial_variables, ProjectedEncoder
from augment_gen.run import parallel
from augment_gen.run.contracts import PyTree, Step, Views
from augment_gen.run.random import stream
from augment_gen.steps.state import apply_gradients, named, NetState


@struct.dataclass
class SimclrState:
  """The state that a SimCLR step reads and writes."""
  step: jax.Array  # int32
  net: NetState  # the encoder F and its head H


def init(net: ProjectedEncoder, tx: optax.GradientTransformation,
         image_shape: tuple[int, int, int], key: jax.Array,
         encoder: PyTree | None = None) -> SimclrState:
  """Creates a fresh state; F is random, or has the variables `encoder`."""
  images = jnp.zeros((2, *image_shape), jnp.float32)
  variables = initial_variables(net, images, stream(key, "simclr_init"), encoder)
  return SimclrState(step=jnp.zeros((), jnp.int32),
                     net=NetState.create(variables, tx))


def restart(state: SimclrState, tx: optax.GradientTransformation) -> SimclrState:
  """Prepares further training: same networks, fresh optimiser, step 0."""
  return SimclrState(
      step=jnp.zeros((), jnp.int32),
      net=dataclasses.replace(
          state.net, opt_state=tx.init(state.net.params)))


def make_step(net: ProjectedEncoder, tx: optax.GradientTransformation,
              config: SimclrConfig, views: Views) -> Step:
  """Builds the step of SimCLR's Algorithm 1, over the global batch.

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
        # Taken over the whole batch: 1/sqrt(dim) for evenly spread directions, 0 for a
        # collapsed encoder.
        "embedding_std": jnp.mean(jnp.std(first, axis=0)),
    })

  def step(state: SimclrState, frozen, batch, key):
    images = jnp.concatenate(views(frozen, batch, key))
    (loss, (batch_stats, metrics)), grads = jax.value_and_grad(
        loss_fn, has_aux=True)(state.net.params, state.net.batch_stats, images)
    new, norms = apply_gradients(
        state.net, parallel.mean(grads), tx, batch_stats)
    metrics = parallel.mean({"loss": loss, **metrics}) | named("encoder", norms)
    return SimclrState(step=state.step + 1, net=new), metrics

  return step
