"""CRL-TAC, Algorithm 1 of the poster: an encoder and P(T|X), trained in turn."""

from collections.abc import Callable
from typing import Any

from flax import linen as nn
from flax import struct
import jax
from jax import lax
import jax.numpy as jnp
import optax

from augment_gen import parallel
from augment_gen.augment.channel import draw_t, draw_z
from augment_gen.augment.crops import CropGrid
from augment_gen.config import TacConfig
from augment_gen.losses.information import entropy, information
from augment_gen.random import example_keys, stream
from augment_gen.steps.state import NetState, apply_gradients, named

PyTree = Any

Z_KINDS = ("mean", "drawn")
# Bounds of the weight that holds the entropy near its target.
_LEAST_WEIGHT, _MOST_WEIGHT = 1e-3, 1e2


@struct.dataclass
class Networks:
  """The modules, pure descriptions, and what T chooses from."""
  encoder: nn.Module = struct.field(pytree_node=False)  # h = H∘F, to unit length
  channel: nn.Module = struct.field(pytree_node=False)  # P(T|X, η)
  grid: CropGrid = struct.field(pytree_node=False)


@struct.dataclass
class TacState:
  """Everything that a step of CRL-TAC reads and writes."""
  step: jax.Array  # int32
  encoder: NetState  # θ
  channel: NetState  # η
  entropy_weight: jax.Array  # float32, of H(T|X) in the objective of η


def init(nets: Networks, txs: dict[str, optax.GradientTransformation],
         config: TacConfig, image_shape: tuple[int, int, int],
         key: jax.Array) -> TacState:
  """A fresh state; `txs` has an optimiser for "encoder" and "channel"."""
  x = jnp.zeros((1, *image_shape), jnp.float32)
  crops = jnp.zeros((2, nets.grid.crop, nets.grid.crop, image_shape[2]))
  encoder = jax.jit(lambda k: nets.encoder.init(k, crops, train=False))(
      stream(key, "encoder_init"))
  channel = jax.jit(nets.channel.init)(stream(key, "channel_init"), x)
  return TacState(
      step=jnp.zeros((), jnp.int32),
      encoder=NetState.create(encoder, txs["encoder"]),
      channel=NetState.create(channel, txs["channel"]),
      entropy_weight=jnp.asarray(config.entropy_weight, jnp.float32))


def make_step(nets: Networks, txs: dict[str, optax.GradientTransformation],
              config: TacConfig, learned: bool) -> Callable:
  """One iteration of the poster's Algorithm 1.

  Who is moved by what:
    (a) θ by (2), or its lower bound, of m crops an image drawn from P(T|x);
    (b) η by (2) of uniform draws weighted by P(t|x), and by H(T|X); θ, as (a)
        left it, is held fixed.

  Args:
    nets: h and P.
    txs: their optimisers.
    config: section `tac`.
    learned: or leave P uniform, and (b) out. With the lower bound, `config.z`
      "mean" and m = 2 (a) is then SimCLR.

  Returns:
    `step(state, frozen, batch, key) -> (state, metrics)`; `batch["x_p"]` is
    float32 [b, H, W, C] in [0, 1].
  """
  grid = nets.grid

  def encode(params, batch_stats, x, chosen, train):
    """h(T(x)): [b, m, D], and new statistics."""
    crops = grid.cut(x, chosen)
    h, new = nets.encoder.apply(
        {"params": params, "batch_stats": batch_stats},
        crops.reshape(-1, *crops.shape[2:]), train=train,
        mutable=["batch_stats"])
    return h.reshape(*chosen.shape, -1), new.get("batch_stats", {})

  def objective(h, key, numerator, log_p=None):
    """(2) of this device's images against those of all devices."""
    z = draw_z(stream(key, "z"), h, config.beta) if config.z == "drawn" else h
    similarity = jnp.einsum("imd,jkd->imjk", z, parallel.gather(h),
                            precision=lax.Precision.HIGHEST)
    return information(
        similarity, beta=config.beta, numerator=numerator,
        log_p=None if log_p is None else parallel.gather(log_p),
        first=parallel.axis_index() * len(h))

  def encoder_loss(params, state: TacState, x, key):
    log_p = jnp.zeros((len(x), grid.size))
    if learned:
      log_p = nets.channel.apply({"params": state.channel.params}, x)
    chosen = draw_t(example_keys(key, "crops", len(x)), log_p, config.draws)
    h, batch_stats = encode(
        params, state.encoder.batch_stats, x, chosen, train=True)
    value, parts = objective(h, key, config.numerator)
    spread = jnp.mean(jnp.std(
        parallel.gather(h).reshape(-1, h.shape[-1]), axis=0))
    return -value, (batch_stats, {"information": value, **parts,
                                  "embedding_std": spread})

  def channel_loss(params, x, h, chosen, weight, key):
    log_p = nets.channel.apply({"params": params}, x)
    value, _ = objective(
        h, key, config.channel_numerator,
        jnp.take_along_axis(log_p, chosen, axis=1))
    spread = jnp.mean(entropy(log_p))
    return -(value + weight * spread), (log_p, {
        "information": value, "entropy": spread})

  def update_channel(state: TacState, x, key):
    x = x[:config.uniform_batch // parallel.axis_size() or None]
    chosen = draw_t(example_keys(key, "uniform_crops", len(x)),
                    jnp.zeros((len(x), grid.size)), config.uniform_draws)
    # The running averages are those of the crops that P prefers.
    h, _ = encode(state.encoder.params, state.encoder.batch_stats, x, chosen,
                  train=False)

    (_, (log_p, metrics)), grads = jax.value_and_grad(
        channel_loss, has_aux=True)(
            state.channel.params, x, h, chosen, state.entropy_weight, key)
    channel, norms = apply_gradients(
        state.channel, parallel.mean(grads), txs["channel"])
    # What the crops show, where images are black but for their content.
    shown = grid.shares(x) >= 0.5
    metrics = parallel.mean(metrics | {
        "mass_on_content": jnp.mean(jnp.sum(jnp.exp(log_p) * shown, axis=1))})
    metrics["entropy_weight"] = state.entropy_weight
    weight = state.entropy_weight
    if config.entropy_target:
      weight *= jnp.exp(config.entropy_rate
                        * (config.entropy_target - metrics["entropy"]))
      weight = jnp.clip(weight, _LEAST_WEIGHT, _MOST_WEIGHT)
    return state.replace(channel=channel, entropy_weight=weight), metrics | norms

  def step(state: TacState, frozen, batch, key):
    del frozen
    x = batch["x_p"]
    # (a)
    (_, (batch_stats, metrics)), grads = jax.value_and_grad(
        encoder_loss, has_aux=True)(state.encoder.params, state, x, key)
    encoder, norms = apply_gradients(
        state.encoder, parallel.mean(grads), txs["encoder"], batch_stats)
    state = state.replace(encoder=encoder)
    metrics = named("encoder", parallel.mean(metrics) | norms)
    # (b)
    if learned:
      state, of_channel = update_channel(state, x, key)
      metrics |= named("channel", of_channel)
    return state.replace(step=state.step + 1), metrics

  return step
