"""The training state of a network, and its updates by an optimiser."""

import dataclasses
from typing import Any, Self

from flax import struct
import jax
import jax.numpy as jnp
import optax

from augment_gen.config import OptimizerConfig

PyTree = Any


@struct.dataclass
class NetState:
  """One network: parameters, optimiser state, batch statistics and EMA."""
  params: PyTree
  opt_state: PyTree
  batch_stats: PyTree = struct.field(default_factory=dict)
  ema: PyTree = struct.field(default_factory=dict)  # EMA of params; empty if not kept

  @classmethod
  def create(cls, variables: PyTree, tx: optax.GradientTransformation,
             ema: bool = False) -> "NetState":
    params = variables["params"]
    return cls(params=params, opt_state=tx.init(params),
               batch_stats=variables.get("batch_stats", {}),
               ema=jax.tree.map(jnp.copy, params) if ema else {})

  def restart(self, tx: optax.GradientTransformation) -> "NetState":
    """The same network with a new optimiser state."""
    return dataclasses.replace(self, opt_state=tx.init(self.params))

  @property
  def final_params(self) -> PyTree:
    """The parameters to use after training: the EMA if one is kept, else `params`."""
    return self.ema or self.params


@struct.dataclass
class EncoderState:
  """The state of a pre-trainer: F and what lies on it, trained as one network."""
  step: jax.Array  # int32
  net: NetState

  @classmethod
  def create(cls, variables: PyTree, tx: optax.GradientTransformation, **others: Any,
             ) -> Self:
    """A state at step 0, with the fields of a subclass as `others`."""
    return cls(step=jnp.zeros((), jnp.int32), net=NetState.create(variables, tx), **others)

  def restart(self, tx: optax.GradientTransformation) -> Self:
    """A state for further training: same networks, fresh optimiser, step 0."""
    return dataclasses.replace(
        self, step=jnp.zeros((), jnp.int32), net=self.net.restart(tx))


def update_ema(net: NetState, decay: float, step: jax.Array) -> NetState:
  """Moves the EMA towards the parameters, if an EMA is kept.

  The decay is min(decay, (1 + step) / (10 + step)). The first steps have more weight,
  so that the initial parameters are soon forgotten.
  """
  if not net.ema:
    return net
  keep = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
  return dataclasses.replace(net, ema=optax.incremental_update(
      net.params, net.ema, 1.0 - keep))


def make_schedule(config: OptimizerConfig, total_steps: int,
                  steps_per_epoch: int) -> optax.Schedule:
  """Builds the learning rate as a function of the step.

  "cosine_per_epoch" holds the rate for an epoch, as the official MoCo code does:
  lr/2 · (1 + cos(π · epoch / epochs)), with the epoch rounded down. A warm-up
  (`warmup_epochs`) raises the rate linearly from 0. The schedule itself covers the
  remaining steps.
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
  """Builds SGD with momentum, Adam, or LARS.

  SGD and Adam add L2 to the gradient, like `torch.optim.SGD(weight_decay=…)`: the decay
  passes through the momentum and applies to every parameter, including batch norms and
  biases. LARS (You et al. 2017) excludes these two from the decay and from its
  layer-wise scaling, as SimCLR does.
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
  # LARS looks at each leaf by itself; these two do not.
  return _on_grouped_leaves(optax.chain(decay, core))


def with_own_optimizer(part: str, tx: optax.GradientTransformation,
                       rest: optax.GradientTransformation,
                       ) -> optax.GradientTransformation:
  """An optimiser for the parameters `params[part]`, and one for all others."""
  return optax.partition(
      {"part": tx, "rest": rest},
      lambda params: {name: "part" if name == part else "rest" for name in params})


def apply_gradients(
    net: NetState, grads: PyTree, tx: optax.GradientTransformation,
    batch_stats: PyTree | None = None) -> tuple[NetState, dict[str, jax.Array]]:
  """Updates one network; `batch_stats=None` keeps its batch statistics.

  Returns:
    The new state, and the norms of the gradient, the old parameters and the update.
  """
  updates, opt_state = tx.update(grads, net.opt_state, net.params)
  norms = {name: optax.tree.norm(_group(tree)) for name, tree in (
      ("grad_norm", grads), ("param_norm", net.params), ("update_norm", updates))}
  new = dataclasses.replace(
      net, params=optax.apply_updates(net.params, updates), opt_state=opt_state,
      batch_stats=net.batch_stats if batch_stats is None else batch_stats)
  return new, norms


def _on_grouped_leaves(tx: optax.GradientTransformation) -> optax.GradientTransformation:
  """Applies an elementwise optimiser to `_group(parameters)`.

  A ResNet has dozens of leaves of a few hundred numbers, and XLA compiles several
  functions for each leaf (docs/experiments/016).
  """

  def update(updates, state, params=None):
    new, state = tx.update(_group(updates), state,
                           None if params is None else _group(params))
    return _ungroup(new, updates), state

  return optax.GradientTransformation(lambda params: tx.init(_group(params)), update)


# Longer leaves stay alone: joining them would cost more in each step than it saves in
# compiling.
_SMALL = 1 << 14


def _group(tree: PyTree) -> list[jax.Array]:
  """Returns the large leaves, and, if there are any, the small ones joined to a vector."""
  leaves = jax.tree.leaves(tree)
  small = [leaf.reshape(-1) for leaf in leaves if leaf.size < _SMALL]
  large = [leaf for leaf in leaves if leaf.size >= _SMALL]
  return [*large, jnp.concatenate(small)] if small else large


def _ungroup(groups: list[jax.Array], like: PyTree) -> PyTree:
  """Inverts `_group`, given a tree of the same shapes."""
  leaves, form = jax.tree.flatten(like)
  large, joined = iter(groups), groups[-1]
  start, out = 0, []
  for leaf in leaves:
    if leaf.size >= _SMALL:
      out.append(next(large))
    else:
      out.append(joined[start:start + leaf.size].reshape(leaf.shape))
      start += leaf.size
  return jax.tree.unflatten(form, out)


def named(prefix: str, values: dict[str, jax.Array]) -> dict[str, jax.Array]:
  """Adds a prefix to metric names: {"x": 1} -> {"prefix/x": 1}."""
  return {f"{prefix}/{name}": value for name, value in values.items()}
