"""SwAV (Caron et al. 2020): views predict each other's assignment to prototypes."""

from collections.abc import Callable
import dataclasses

from flax import struct
import jax
from jax import lax
import jax.numpy as jnp
import optax

from augment_gen.config import SwavConfig
from augment_gen.losses.swav import codes, swapped_prediction
from augment_gen.models.heads import initial_variables, l2_normalize, ViewsEncoder
from augment_gen.run import parallel
from augment_gen.run.contracts import PyTree, Step, Views
from augment_gen.run.random import stream
from augment_gen.steps.collapse import embedding_std
from augment_gen.steps.moco import enqueue
from augment_gen.steps.state import apply_gradients, EncoderState, named


@struct.dataclass
class SwavState(EncoderState):
  """The state that a SwAV step reads and writes.

  `net.params` has the prototypes C beside encoder and head, as "prototypes" [K, D]. They
  are brought to unit length at the start of a step.
  """
  # [L, 2, D] float32, projections of the large views of old batches; {} if L is 0, as
  # Orbax saves no empty arrays.
  queue: PyTree


def init(net: ViewsEncoder, tx: optax.GradientTransformation, config: SwavConfig,
         image_shape: tuple[int, int, int], key: jax.Array,
         encoder: PyTree | None = None) -> SwavState:
  """Creates a fresh state; F is random, or has the variables `encoder`."""
  images = [jnp.zeros((2, *image_shape), jnp.float32)]
  variables = initial_variables(net, images, key, encoder)
  # The directions of PyTorch's default weights of a linear layer.
  prototypes = l2_normalize(jax.random.uniform(
      stream(key, "prototypes_init"), (config.prototypes, config.dim), minval=-1.0))
  variables = {**variables, "params": {**variables["params"], "prototypes": prototypes}}
  queue: PyTree = {}
  if config.queue:
    queue = jnp.zeros((config.queue, 2, config.dim), jnp.float32)
  return SwavState.create(variables, tx, queue=queue)


def make_step(net: ViewsEncoder, tx: optax.GradientTransformation, config: SwavConfig,
              views: Views, crops: Callable | None, queue_start: int) -> Step:
  """Builds SwAV's step, in the order of the official code.

  Args:
    net: H∘F. Its batch norms must span all devices.
    tx: optimiser of `net` and of the prototypes.
    config: temperature, Sinkhorn-Knopp, queue.
    views: see `contracts.Views`; these two are assigned to prototypes.
    crops: `(frozen, batch, key) -> [n · b, h, w, C]`, small crops, which only predict
      (`views.small_crops`); None: there are none.
    queue_start: the step from which on the queue is filled. It helps to assign once it is
      full.

  Returns:
    A step, see `contracts.Step`.
  """

  def assign(scores, prototypes, state):
    """The codes of the large views, scores [2, b, K] -> [2, b, K]."""
    if not config.queue:
      return jnp.stack([codes(s, config.epsilon, config.iterations) for s in scores])
    # Each device contributes its part of the queue, as it does of the batch.
    old = parallel.own_part(state.queue)
    batch = scores.shape[1] * parallel.axis_size()
    full = state.step >= queue_start + config.queue // batch
    used = jnp.arange(len(old) + scores.shape[1]) >= jnp.where(full, 0, len(old))
    return jnp.stack([
        codes(jnp.concatenate([_similarity(old[:, view], prototypes), scores[view]]),
              config.epsilon, config.iterations, used)[len(old):] for view in range(2)])

  def loss_fn(params, state, images):
    z, new = net.apply(
        {"params": params, "batch_stats": state.net.batch_stats}, images,
        train=True, mutable=["batch_stats"])
    size = len(images[0]) // 2
    scores = _similarity(z, params["prototypes"]).reshape(
        -1, size, config.prototypes)  # [V, b, K]
    targets = lax.stop_gradient(assign(
        lax.stop_gradient(scores[:2]), lax.stop_gradient(params["prototypes"]), state))
    losses = swapped_prediction(scores, targets, config.temperature)
    large = z[:2 * size].reshape(2, size, -1).swapaxes(0, 1)  # [b, 2, D]
    p = jnp.mean(jax.nn.softmax(scores[:2] / config.temperature), axis=(0, 1))
    return jnp.mean(losses), (lax.stop_gradient(large), p, new.get("batch_stats", {}))

  def step(state: SwavState, frozen, batch, key):
    images = [jnp.concatenate(views(frozen, batch, key))]
    if crops is not None:
      images.append(crops(frozen, batch, key))
    unit = l2_normalize(state.net.params["prototypes"])
    net_state = dataclasses.replace(
        state.net, params={**state.net.params, "prototypes": unit})

    (loss, (large, p, batch_stats)), grads = jax.value_and_grad(
        loss_fn, has_aux=True)(net_state.params, state, images)
    new, norms = apply_gradients(net_state, parallel.mean(grads), tx, batch_stats)

    # The queue is filled from the first step on, as it is not read before every row has
    # been written since `queue_start`.
    large = parallel.gather(large)
    queue = state.queue
    if config.queue:
      queue, _ = enqueue(queue, state.step * len(large) % config.queue, large)

    p = parallel.mean(p)
    metrics = parallel.mean({
        "loss": loss,
        "embedding_std": embedding_std(large[:, 0]),
        # e^H of the mean prediction, as a share: 1 if all are predicted equally often.
        "prototypes_used": jnp.exp(jnp.sum(jax.scipy.special.entr(p))) / len(p),
    }) | named("encoder", norms)
    return SwavState(step=state.step + 1, net=new, queue=queue), metrics

  return step


def _similarity(z: jax.Array, prototypes: jax.Array) -> jax.Array:
  """zᵀc of unit vectors [n, D] and prototypes [K, D], float32 [n, K]."""
  # At default precision, GPUs and TPUs would round the factors to TF32 or bfloat16.
  return jnp.matmul(z, prototypes.T, precision=lax.Precision.HIGHEST)
