"""What most pre-trainers share: batches that are not too small, one optimiser, one net."""

from collections.abc import Iterator
from typing import Any, ClassVar

from flax import linen as nn
import jax
import optax

from augment_gen.config import Config
from augment_gen.data.base import Images
from augment_gen.methods import building
from augment_gen.run.contracts import Plan, State


class Base:
  """A `contracts.Pretrainer` without its networks, `init` and `make_step`.

  The states of its step are `steps.state.EncoderState`s. `_net` is the module of their
  `net`.
  """
  title: ClassVar[str]
  show: ClassVar[tuple[str, ...]]
  _net: nn.Module

  def __init__(self, config: Config, devices: int):
    del devices  # batch norms span all of them
    self._config = config

  @classmethod
  def problems(cls, config: Config, devices: int) -> Iterator[str]:
    """One line for each batch of a single image, and for each that is to be divided.

    A single image has no statistics, and those of a batch span all its parts.
    """
    del devices
    for stage in ("pretrain", "retrain"):
      if building.setting(config, f"{stage}.batch_size") < 2:
        yield (f"config.{stage}.batch_size=1 leaves {cls.title} no other image to compare "
               "with: give at least 2")
      if building.setting(config, f"{stage}.micro_batch"):
        yield (f"config.{stage}.micro_batch: the batch norms of {cls.title} span the "
               "batch, which can't be divided: leave it at 0, and use --config.remat")

  @staticmethod
  def data_problems(config: Config, images: Images) -> Iterator[str]:
    del config, images
    yield from ()

  @staticmethod
  def data_warnings(config: Config, images: Images) -> Iterator[str]:
    del config, images
    yield from ()

  def optimizer(self, plan: Plan) -> optax.GradientTransformation:
    return building.optimizer(plan.optimizer, plan.steps, plan.steps_per_epoch)

  def restart(self, state: State, tx: optax.GradientTransformation) -> State:
    return state.restart(tx)

  def frozen(self, images: Images) -> dict[str, Any]:
    del images
    return {}

  def chance_loss(self, batch_size: int) -> float | None:
    del batch_size
    return None

  def encoder_variables(self, state: State) -> dict:
    return building.encoder_of(state.net)

  def project(self, state: State, images: jax.Array) -> jax.Array:
    return building.project(self._net, state.net, images)
