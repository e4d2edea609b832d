"""MoCo v2 (He et al. 2020; Chen et al. 2020), for stages 1 and 3 of a run.

Both stages take the same step but differ in their views (`views.py`). Pre-training uses
two hand-made views. In re-training, one of them also passes through G_A.
"""

import dataclasses

from flax import struct
import jax
import jax.numpy as jnp
import optax

from augment_gen.config import MocoConfig
from augment_gen.losses.infonce import infonce
from augment_gen.models.heads import initial_variables, ProjectedEncoder
from augment_gen.run import parallel
from augment_gen.run.contracts import PyTree, Step, Views
from augment_gen.run.random import stream
from augment_gen.steps import micro_batches
from augment_gen.steps.collapse import embedding_std
from augment_gen.steps.state import apply_gradients, named, NetState


@struct.dataclass
class MocoState:
  """The state that a MoCo step reads and writes."""
  step: jax.Array  # int32
  query: NetState  # f_q: the encoder F and its head H
  key_params: PyTree  # f_k, an EMA of f_q's parameters
  key_batch_stats: PyTree
  queue: jax.Array  # [K, dim] float32, unit norm
  queue_pointer: jax.Array  # int32, the next row to overwrite


def init(net: ProjectedEncoder, tx: optax.GradientTransformation, config: MocoConfig,
         image_shape: tuple[int, int, int], key: jax.Array,
         encoder: PyTree | None = None) -> MocoState:
  """Creates a fresh state; f_k starts as f_q, and the queue as random unit vectors.

  F is random, or has the variables `encoder`.
  """
  images = jnp.zeros((2 * config.bn_groups, *image_shape), jnp.float32)
  variables = initial_variables(net, images, key, encoder)
  queue = jax.random.normal(
      stream(key, "queue_init"), (config.queue, config.dim), jnp.float32)
  # f_k needs its own arrays, because the step donates its state.
  copy = lambda tree: jax.tree.map(jnp.copy, tree)
  return MocoState(
      step=jnp.zeros((), jnp.int32),
      query=NetState.create(variables, tx),
      key_params=copy(variables["params"]),
      key_batch_stats=copy(variables.get("batch_stats", {})),
      queue=queue / jnp.linalg.norm(queue, axis=1, keepdims=True),
      queue_pointer=jnp.zeros((), jnp.int32))


def restart(state: MocoState, tx: optax.GradientTransformation) -> MocoState:
  """Prepares further training: same networks and keys, fresh optimiser, step 0."""
  # Put the oldest key first and reset the pointer: if the batch size changes, the old
  # pointer may not be a multiple of it.
  return dataclasses.replace(
      state, step=jnp.zeros((), jnp.int32), query=state.query.restart(tx),
      queue=jnp.roll(state.queue, -state.queue_pointer, axis=0),
      queue_pointer=jnp.zeros((), jnp.int32))


def momentum_update(key_params: PyTree, query_params: PyTree,
                    momentum: float) -> PyTree:
  """θ_k ← m θ_k + (1 − m) θ_q (He et al. 2020, equation 2).

  Source: He et al. 2020, (2).
  """
  return jax.tree.map(
      lambda k, q: momentum * k + (1.0 - momentum) * q, key_params, query_params)


def enqueue(queue: jax.Array, pointer: jax.Array,
            keys: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Overwrites the oldest keys; the queue length must be a multiple of the batch."""
  queue = jax.lax.dynamic_update_slice_in_dim(queue, keys, pointer, axis=0)
  return queue, (pointer + keys.shape[0]) % queue.shape[0]


def make_step(net: ProjectedEncoder, tx: optax.GradientTransformation,
              config: MocoConfig, views: Views, parts: int = 1) -> Step:
  """Builds the step of MoCo's Algorithm 1, in the order of the official code.

  Source: He et al. 2020, Algorithm 1.

  Args:
    net: the module of both f_q and f_k; its batch norms have the groups of one part.
    tx: optimiser of f_q.
    config: momentum, temperature and shuffling.
    views: `(frozen, batch, key) -> (view for f_q, view for f_k)`, images
      [b, H, W, C] in [0, 1].
    parts: number of parts in which a device's images pass through the networks. Each has
      whole batch-norm groups, so that only rounding depends on it.

  Returns:
    `step(state, frozen, batch, key) -> (state, metrics)`.
  """

  def encode(params, batch_stats, images):
    """Embeddings [b, dim] of this device's images, and new batch statistics."""
    def part(images):
      embeddings, new = net.apply({"params": params, "batch_stats": batch_stats},
                                  images, train=True, mutable=["batch_stats"])
      return embeddings, new.get("batch_stats", {})
    return micro_batches.in_parts_with_means(part, parts, images)

  def encode_keys(params, batch_stats, images, key):
    """Computes all devices' keys [B, dim] in batch order, and new batch statistics.

    The keys are computed in a different order from the queries, so that a query and
    its key do not share batch statistics. Otherwise the statistics of the groups would
    reveal the pairs ("shuffling BN").
    """
    everyone = parallel.gather(images)
    if config.shuffle:
      order = jax.random.permutation(stream(key, "shuffle"), everyone.shape[0])
      everyone = everyone[order]
    keys, new_stats = encode(params, batch_stats, parallel.own_part(everyone))
    keys = parallel.gather(keys)
    if config.shuffle:
      keys = keys[jnp.argsort(order)]
    return keys, new_stats

  def step(state: MocoState, frozen, batch, key):
    view_q, view_k = views(frozen, batch, key)

    # 1. The key encoder follows the query encoder. Its keys pass no gradient.
    key_params = momentum_update(
        state.key_params, state.query.params, config.momentum)
    keys, key_batch_stats = encode_keys(
        key_params, state.key_batch_stats, view_k, key)

    # 2. The query encoder learns against the queue without the new keys.
    def loss_fn(params):
      q, new_stats = encode(params, state.query.batch_stats, view_q)
      losses, logits = infonce(
          q, parallel.own_part(keys), state.queue, config.temperature)
      return jnp.mean(losses), (q, logits, new_stats)

    (loss, (q, logits, batch_stats)), grads = jax.value_and_grad(
        loss_fn, has_aux=True)(state.query.params)
    query, norms = apply_gradients(
        state.query, parallel.mean(grads), tx, batch_stats)

    # 3. The keys enter the queue in the order of the whole batch.
    queue, pointer = enqueue(state.queue, state.queue_pointer, keys)

    metrics = parallel.mean({
        "loss": loss,
        "accuracy": jnp.mean(jnp.argmax(logits, axis=1) == 0),
        "embedding_std": embedding_std(parallel.gather(q)),
    }) | named("encoder", norms)
    new_state = MocoState(
        step=state.step + 1, query=query, key_params=key_params,
        key_batch_stats=key_batch_stats, queue=queue, queue_pointer=pointer)
    return new_state, metrics

  return step
