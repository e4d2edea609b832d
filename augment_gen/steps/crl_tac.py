"""Algorithm 1 of the CRL-TAC poster: alternating updates of an encoder and P(T|X)."""

import dataclasses

from flax import linen as nn
from flax import struct
import jax
import jax.numpy as jnp
import optax

from augment_gen.augment.crops import CropGrid
from augment_gen.augment.policy import draw_t
from augment_gen.config import TacConfig
from augment_gen.run import parallel
from augment_gen.run.contracts import Step
from augment_gen.run.forms import jit_quickly
from augment_gen.run.random import example_keys, stream
from augment_gen.steps import policy as policy_step
from augment_gen.steps.state import apply_gradients, named, NetState


@struct.dataclass
class Networks:
  """The Flax modules, without parameters, and the crops that T ranges over."""
  encoder: nn.Module = struct.field(pytree_node=False)  # h = H∘F, of unit length
  policy: nn.Module = struct.field(pytree_node=False)  # P(T|X, η)
  grid: CropGrid = struct.field(pytree_node=False)


@struct.dataclass
class TacState:
  """The state that a CRL-TAC step reads and writes."""
  step: jax.Array  # int32
  encoder: NetState  # θ
  policy: NetState  # η


def init(nets: Networks, txs: dict[str, optax.GradientTransformation],
         image_shape: tuple[int, int, int], key: jax.Array) -> TacState:
  """Creates a fresh state; `txs` has optimisers for "encoder" and "policy"."""
  crops = jnp.zeros((2, nets.grid.crop, nets.grid.crop, image_shape[2]))
  encoder = jit_quickly(lambda k: nets.encoder.init(k, crops, train=False))(
      stream(key, "encoder_init"))
  return TacState(
      step=jnp.zeros((), jnp.int32),
      encoder=NetState.create(encoder, txs["encoder"]),
      policy=policy_step.init(
          nets.policy, txs["policy"], image_shape, key))


def make_step(nets: Networks, txs: dict[str, optax.GradientTransformation],
              config: TacConfig, learned: bool, steps: int) -> Step:
  """Builds one iteration of the poster's Algorithm 1.

  Source: Koyama et al., Algorithm 1.

  Updates:
    (a) θ maximises (2), or its lower bound, on m crops per image drawn from P(T|x).
    (b) η maximises (2), on uniform draws weighted by P(t|x), plus weighted H(T|X).
        The updated θ of (a) is held fixed (steps/policy.py).

  Args:
    nets: the networks h and P.
    txs: their optimisers.
    config: section `tac` of the config.
    learned: whether P is learned. If False, P stays uniform and (b) is skipped. With
      the lower bound and with Z as the mean of its distribution, (a) is then SimCLR.
    steps: number of steps in the stage, for the schedule of the entropy weight.

  Returns:
    `step(state, frozen, batch, key) -> (state, metrics)`; `batch["x_p"]` is
    float32 [b, H, W, C] in [0, 1].
  """
  grid = nets.grid
  update_channel = policy_step.make_update(
      nets.policy, txs["policy"], config.policy, grid.size, steps)

  def encode(params, batch_stats, x, chosen, train):
    """Computes h(T(x)), [b, m, D], and the new batch statistics."""
    crops = grid.cut(x, chosen)
    h, new = nets.encoder.apply(
        {"params": params, "batch_stats": batch_stats},
        crops.reshape(-1, *crops.shape[2:]), train=train,
        mutable=["batch_stats"])
    return h.reshape(*chosen.shape, -1), new.get("batch_stats", {})

  def encoder_loss(params, state: TacState, x, key):
    log_p = jnp.zeros((len(x), grid.size))
    if learned:
      log_p = nets.policy.apply({"params": state.policy.params}, x)
    chosen = draw_t(example_keys(key, "crops", len(x)), log_p, config.draws)
    h, batch_stats = encode(
        params, state.encoder.batch_stats, x, chosen, train=True)
    value, parts = policy_step.objective(
        h, example_keys(key, "z", len(x)), config.policy, config.numerator)
    spread = jnp.mean(jnp.std(
        parallel.gather(h).reshape(-1, h.shape[-1]), axis=0))
    return -value, (batch_stats, {"information": value, **parts,
                                  "embedding_std": spread})

  def step(state: TacState, frozen, batch, key):
    del frozen
    x = batch["x_p"]
    # (a)
    (_, (batch_stats, metrics)), grads = jax.value_and_grad(
        encoder_loss, has_aux=True)(state.encoder.params, state, x, key)
    encoder, norms = apply_gradients(
        state.encoder, parallel.mean(grads), txs["encoder"], batch_stats)
    metrics = named("encoder", parallel.mean(metrics) | norms)
    moved = dataclasses.replace(state, encoder=encoder, step=state.step + 1)
    if not learned:
      return moved, metrics

    # (b) The running averages of (a) come from the crops that P prefers.
    def views(x, chosen):
      return encode(encoder.params, batch_stats, x, chosen, train=False)[0]

    policy, of_policy, log_p, x = update_channel(
        state.policy, state.step, x, views, key)
    of_policy["mass_on_content"] = parallel.mean(
        jnp.mean(grid.mass_on_content(x, log_p)))
    return (dataclasses.replace(moved, policy=policy),
            metrics | named("policy", of_policy))

  return step
