"""CRL-TAC, Algorithm 1 of the poster: an encoder and P(T|X), trained in turn."""

from collections.abc import Callable

from flax import linen as nn
from flax import struct
import jax
import jax.numpy as jnp
import optax

from augment_gen.augment.crops import CropGrid
from augment_gen.augment.policy import draw_t
from augment_gen.config import TacConfig
from augment_gen.run import parallel
from augment_gen.run.random import example_keys, stream
from augment_gen.steps import policy as policy_step
from augment_gen.steps.state import apply_gradients, named, NetState


@struct.dataclass
class Networks:
  """The modules, pure descriptions, and what T chooses from."""
  encoder: nn.Module = struct.field(pytree_node=False)  # h = H∘F, to unit length
  policy: nn.Module = struct.field(pytree_node=False)  # P(T|X, η)
  grid: CropGrid = struct.field(pytree_node=False)


@struct.dataclass
class TacState:
  """Everything that a step of CRL-TAC reads and writes."""
  step: jax.Array  # int32
  encoder: NetState  # θ
  policy: NetState  # η


def init(nets: Networks, txs: dict[str, optax.GradientTransformation],
         config: TacConfig, image_shape: tuple[int, int, int],
         key: jax.Array) -> TacState:
  """A fresh state; `txs` has an optimiser for "encoder" and "policy"."""
  crops = jnp.zeros((2, nets.grid.crop, nets.grid.crop, image_shape[2]))
  encoder = jax.jit(lambda k: nets.encoder.init(k, crops, train=False))(
      stream(key, "encoder_init"))
  return TacState(
      step=jnp.zeros((), jnp.int32),
      encoder=NetState.create(encoder, txs["encoder"]),
      policy=policy_step.init(
          nets.policy, txs["policy"], image_shape, key))


def make_step(nets: Networks, txs: dict[str, optax.GradientTransformation],
              config: TacConfig, learned: bool, steps: int) -> Callable:
  """One iteration of the poster's Algorithm 1.

  Who is moved by what:
    (a) θ by (2), or its lower bound, of m crops an image drawn from P(T|x);
    (b) η by (2) of uniform draws weighted by P(t|x), and by H(T|X); θ, as (a)
        left it, is held fixed (steps/policy.py).

  Args:
    nets: h and P.
    txs: their optimisers.
    config: section `tac`.
    learned: or leave P uniform, and (b) out. With the lower bound and Z the
      mean (a) is then SimCLR.
    steps: of the stage, for the schedule of the entropy's weight.

  Returns:
    `step(state, frozen, batch, key) -> (state, metrics)`; `batch["x_p"]` is
    float32 [b, H, W, C] in [0, 1].
  """
  grid = nets.grid
  update_channel = policy_step.make_update(
      nets.policy, txs["policy"], config.policy, grid.size, steps)

  def encode(params, batch_stats, x, chosen, train):
    """h(T(x)): [b, m, D], and new statistics."""
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
    moved = state.replace(encoder=encoder, step=state.step + 1)
    if not learned:
      return moved, metrics

    # (b); the running averages are those of the crops that P prefers.
    def views(x, chosen):
      return encode(encoder.params, batch_stats, x, chosen, train=False)[0]

    policy, of_policy, log_p, x = update_channel(
        state.policy, state.step, x, views, key)
    of_policy["mass_on_content"] = parallel.mean(
        jnp.mean(grid.mass_on_content(x, log_p)))
    return (moved.replace(policy=policy),
            metrics | named("policy", of_policy))

  return step
