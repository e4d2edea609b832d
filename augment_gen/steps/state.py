"""What every trained network carries, and how an optimiser moves it."""

import dataclasses
from typing import Any

from flax import struct
import jax
import jax.numpy as jnp
import optax

from augment_gen.config import OptimizerConfig

PyTree = Any


@struct.dataclass
class NetState:
  """One player: parameters, batch-norm statistics, optimiser state."""
  params: PyTree
  opt_state: PyTree
  batch_stats: PyTree = struct.field(default_factory=dict)
  ema: PyTree = struct.field(default_factory=dict)  # of params over steps

  @classmethod
  def create(cls, variables: PyTree, tx: optax.GradientTransformation,
             ema: bool = False) -> "NetState":
    params = variables["params"]
    return cls(params=params, opt_state=tx.init(params),
               batch_stats=variables.get("batch_stats", {}),
               ema=jax.tree.map(jnp.copy, params) if ema else {})

  @property
  def final_params(self) -> PyTree:
    """What is used after training: the EMA where one is kept, else the parameters."""
    return self.ema or self.params


def update_ema(net: NetState, decay: float, step: jax.Array) -> NetState:
  """Moves the EMA, where one is kept, towards the parameters.

  The first steps weigh more, so that the initial parameters are soon forgotten:
  the decay is min(decay, (1 + step) / (10 + step)).
  """
  if not net.ema:
    return net
  keep = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
  return net.replace(ema=optax.incremental_update(
      net.params, net.ema, 1.0 - keep))


def make_schedule(config: OptimizerConfig, total_steps: int,
                  steps_per_epoch: int) -> optax.Schedule:
  """Learning rate by step.

  "cosine_per_epoch" holds the rate for an epoch, as the official MoCo code
  does: lr/2 · (1 + cos(π · epoch / epochs)), with the epoch rounded down. A warm-up
  (`warmup_epochs`) raises the rate from 0, linearly by step; the schedule proper
  takes the steps that are left.
  """
  warmup = min(round(config.warmup_epochs * steps_per_epoch), total_steps)
  if warmup:
    after = dataclasses.replace(config, warmup_epochs=0.0)
    return optax.join_schedules(
        [optax.linear_schedule(0.0, config.lr, warmup),
         make_schedule(after, total_steps - warmup, steps_per_epoch)], [warmup])
  if config.schedule == "constant":
    return optax.constant_schedule(config.lr)
  hold = steps_per_epoch if config.schedule == "cosine_per_epoch" else 1
  span = max(total_steps / hold, 1.0)

  def schedule(step):
    progress = jnp.minimum((step // hold) / span, 1.0)
    return 0.5 * config.lr * (1.0 + jnp.cos(jnp.pi * progress))
  return schedule


def make_optimizer(config: OptimizerConfig, schedule: optax.Schedule,
                   ) -> optax.GradientTransformation:
  """SGD with momentum, Adam, or LARS.

  SGD and Adam add L2 to the gradient, as `torch.optim.SGD(weight_decay=…)`: the decay
  goes through the momentum and touches every parameter, batch norms and biases
  included. LARS (You et al. 2017) leaves these two out of the decay and of its
  scaling by layer, as SimCLR does.
  """
  if config.name == "lars":
    matrices = lambda params: jax.tree.map(lambda p: p.ndim > 1, params)
    return optax.lars(
        schedule, weight_decay=config.weight_decay, weight_decay_mask=matrices,
        trust_ratio_mask=matrices, momentum=config.momentum)
  decay = (optax.add_decayed_weights(config.weight_decay)
           if config.weight_decay else optax.identity())
  core = {
      "sgd": lambda: optax.sgd(schedule, momentum=config.momentum),
      "adam": lambda: optax.adam(schedule, b1=config.momentum),
  }[config.name]()
  return optax.chain(decay, core)


def apply_gradients(
    net: NetState, grads: PyTree, tx: optax.GradientTransformation,
    batch_stats: PyTree | None = None) -> tuple[NetState, dict[str, jax.Array]]:
  """One update of one player.

  Returns:
    The new state, and the norms of gradient, parameters and update.
  """
  updates, opt_state = tx.update(grads, net.opt_state, net.params)
  norms = {
      "grad_norm": optax.tree.norm(grads),
      "param_norm": optax.tree.norm(net.params),
      "update_norm": optax.tree.norm(updates),
  }
  new = net.replace(
      params=optax.apply_updates(net.params, updates), opt_state=opt_state,
      batch_stats=net.batch_stats if batch_stats is None else batch_stats)
  return new, norms


def named(prefix: str, values: dict[str, jax.Array]) -> dict[str, jax.Array]:
  """Prefixes the names of metrics: {"x": 1} -> {"prefix/x": 1}."""
  return {f"{prefix}/{name}": value for name, value in values.items()}
