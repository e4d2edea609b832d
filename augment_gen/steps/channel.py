"""Phase (b) of CRL-TAC: P moves, what it chooses from is held fixed."""

from collections.abc import Callable
import math
from typing import Any

from flax import linen as nn
from flax import struct
import jax
from jax import lax
import jax.numpy as jnp
import optax

from augment_gen import parallel
from augment_gen.augment.channel import draw_t, draw_z
from augment_gen.config import ChannelConfig
from augment_gen.losses.information import entropy, information
from augment_gen.random import example_keys, stream
from augment_gen.steps.state import NetState, apply_gradients

PyTree = Any

Z_KINDS = ("mean", "drawn")
SCHEDULES = ("constant", "linear")


@struct.dataclass
class ChannelState:
  """P(T|X, η)."""
  step: jax.Array  # int32
  net: NetState  # η


def init(channel: nn.Module, tx: optax.GradientTransformation,
         image_shape: tuple[int, int, int], key: jax.Array) -> ChannelState:
  """A fresh state."""
  x = jnp.zeros((1, *image_shape), jnp.float32)
  variables = jax.jit(channel.init)(stream(key, "channel_init"), x)
  return ChannelState(step=jnp.zeros((), jnp.int32),
                      net=NetState.create(variables, tx))


def objective(h: jax.Array, key: jax.Array, config: ChannelConfig,
              numerator: str, log_p: jax.Array | None = None,
              ) -> tuple[jax.Array, dict[str, jax.Array]]:
  """(2) of this device's images against those of all devices.

  Args:
    h: [b, m, D] unit vectors, h(T(x)) of m transformations of each image.
    key: of the draw of Z.
    config: β and the kind of Z.
    numerator: see `information`.
    log_p: [b, m], log P(t|x); None: drawn from P.

  Returns:
    I, and its parts.
  """
  z = draw_z(stream(key, "z"), h, config.beta) if config.z == "drawn" else h
  similarity = jnp.einsum("imd,jkd->imjk", z, parallel.gather(h),
                          precision=lax.Precision.HIGHEST)
  return information(
      similarity, beta=config.beta, numerator=numerator,
      log_p=None if log_p is None else parallel.gather(log_p),
      first=parallel.axis_index() * len(h))


def make_update(channel: nn.Module, tx: optax.GradientTransformation,
                config: ChannelConfig, size: int, steps: int) -> Callable:
  """One update of η by (2) of uniform draws, weighted by P(t|x), and by H(T|X).

  NOTE(paper): "extra regularization term to increase H(T|X)", no more is said.
  A constant weight ends at few places or at all of them; one that a controller
  moves swings between the two (docs/experiments/007 and 008). Here the entropy of
  an image counts up to a target: above it nothing pulls towards uniform.

  Args:
    channel: P, x [b, H, W, C] -> log P(t|x) [b, K].
    tx: its optimiser.
    config: how many draws of how many images, and the objective.
    size: K.
    steps: of the stage, for the schedule of the weight.

  Returns:
    `update(state, x, views, key) -> (state, metrics, log_p, x)`, where
    `views(x, chosen [b, m]) -> h [b, m, D]`, of unit length, and the last two
    are those of the images that were used.
  """
  most = config.entropy_target or math.inf
  schedule = (optax.constant_schedule(config.entropy_weight)
              if config.entropy_schedule == "constant" else
              optax.linear_schedule(config.entropy_weight, 0.0, steps))

  def loss_fn(params, x, h, chosen, weight, key):
    log_p = channel.apply({"params": params}, x)
    value, _ = objective(h, key, config, config.numerator,
                         jnp.take_along_axis(log_p, chosen, axis=1))
    spread = entropy(log_p)
    return -(value + weight * jnp.mean(jnp.minimum(spread, most))), (log_p, {
        "information": value, "entropy": jnp.mean(spread),
        "entropy_weight": weight})

  def update(state: ChannelState, x, views, key):
    x = x[:config.batch // parallel.axis_size() or None]
    chosen = draw_t(example_keys(key, "uniform_draws", len(x)),
                    jnp.zeros((len(x), size)), config.draws)
    h = views(x, chosen)
    (_, (log_p, metrics)), grads = jax.value_and_grad(loss_fn, has_aux=True)(
        state.net.params, x, lax.stop_gradient(h), chosen,
        schedule(state.step), key)
    net, norms = apply_gradients(state.net, parallel.mean(grads), tx)
    state = state.replace(step=state.step + 1, net=net)
    return state, parallel.mean(metrics) | norms, log_p, x

  return update
