"""Re-training where the two papers meet: P(z|x) over the latents of G_A.

(15) draws z uniformly from the bank Z̃. Here a channel of CRL-TAC learns which
latents suit which image, while F learns from them.

NOTE(paper): in neither paper. Phase (a) is MoCo's step, not (2) itself, so that
the arm differs from (15) in its latents alone.
"""

from collections.abc import Callable

from flax import struct
import jax
import jax.numpy as jnp

from augment_gen.random import stream
from augment_gen.steps.moco import MocoState
from augment_gen.steps.state import NetState, named


@struct.dataclass
class LatentChannelState:
  """Everything that a step reads and writes."""
  step: jax.Array  # int32
  moco: MocoState  # F, its head, the queue
  channel: NetState  # η


def make_step(net, augmenter, moco_step: Callable, update: Callable,
              ) -> Callable:
  """MoCo with z from P(z|x), then η by (2) of uniformly drawn z.

  Args:
    net: H∘F.
    augmenter: G_A, frozen.
    moco_step: of `steps.moco`, whose second view draws z by `frozen["channel"]`
      (`views.chosen_second`).
    update: of `steps.channel`.

  Returns:
    `step(state, frozen, batch, key) -> (state, metrics)`; `frozen` also has
    "augmenter", and "candidates" [K, Z], the latents that P chooses from.
  """
  def step(state: LatentChannelState, frozen, batch, key):
    moco, metrics = moco_step(
        state.moco, {**frozen, "channel": {"params": state.channel.params}},
        batch, stream(key, "moco"))

    def views(x, chosen):
      m = chosen.shape[1]
      z = jnp.take(frozen["candidates"], chosen.reshape(-1), axis=0)
      x_a = augmenter.apply(frozen["augmenter"], jnp.repeat(x, m, axis=0), z)
      h = net.apply(
          {"params": moco.query.params, "batch_stats": moco.query.batch_stats},
          x_a, train=False)
      return h.reshape(len(x), m, -1)

    channel, of_channel, _, _ = update(
        state.channel, state.step, batch["x_p"], views, stream(key, "channel"))
    state = state.replace(step=state.step + 1, moco=moco, channel=channel)
    return state, metrics | named("channel", of_channel)

  return step
