"""Functions that the stages of all methods are built with."""

from collections.abc import Iterator, Sequence
from typing import Any

from flax import linen as nn
import jax
import optax

from augment_gen.config import Config, names, OptimizerConfig
from augment_gen.models.heads import l2_normalize
from augment_gen.steps.state import make_optimizer, make_schedule, NetState


def total_steps(epochs: float, steps: int, per_epoch: int) -> int:
  """Number of steps of a stage; at most one of epochs and steps is positive."""
  return steps or (max(1, round(epochs * per_epoch)) if epochs else 0)


def image_shape(config: Config) -> tuple[int, int, int]:
  """(H, W, C) of the networks' input."""
  return (config.data.side, config.data.side, config.data.channels)


def optimizer(config: OptimizerConfig, steps: int,
              per_epoch: int) -> optax.GradientTransformation:
  """The optimiser of a stage, with its schedule over the stage's steps."""
  return make_optimizer(config, make_schedule(config, steps, per_epoch))


def encoder_of(net: NetState) -> dict:
  """F's variables in the state of an H∘F."""
  variables = {"params": net.params["encoder"]}
  if net.batch_stats:
    variables["batch_stats"] = net.batch_stats["encoder"]
  return variables


def project(net: nn.Module, state: NetState, images: Any,
            method: str | None = None) -> jax.Array:
  """H(F(x)) in inference mode: [b, H, W, C] in [0, 1] -> [b, D], of unit length.

  Args:
    net: H∘F.
    state: its state.
    images: what the module takes.
    method: name of the module's method that projects; None: `__call__`.
  """
  return l2_normalize(net.apply(
      {"params": state.params, "batch_stats": state.batch_stats},
      images, train=False, method=method))


def setting(config: Config, field: str) -> Any:
  """The value of a field by its dotted name, such as "pretrain.batch_size"."""
  value = config
  for name in field.split("."):
    value = getattr(value, name)
  return value


def unknown_names(field: str, text: str, choices: Sequence[str]) -> Iterator[str]:
  """One problem for each name in a comma-separated list that is not a choice."""
  for name in names(text):
    if name not in choices:
      yield (f"config.{field} names {name!r}, which is unknown; choose from: "
             f"{', '.join(choices)}")


def division_problems(config: Config, field: str, devices: int) -> Iterator[str]:
  """One problem if a batch size is not divisible by the number of devices."""
  if (batch := setting(config, field)) % devices:
    yield (f"config.{field}={batch} is not divisible by the {devices} devices: use a "
           "multiple")


def micro_batch_problems(config: Config, stage: str, devices: int) -> Iterator[str]:
  """One problem if a stage's micro-batches do not divide a device's images."""
  part = setting(config, f"{stage}.micro_batch")
  batch = setting(config, f"{stage}.batch_size")
  if part and batch % devices == 0 and (batch // devices) % part:
    yield (f"config.{stage}.micro_batch={part} must divide the {batch // devices} images "
           f"that each device has of config.{stage}.batch_size={batch}")


def batch_problems(config: Config, field: str, images: int, name: str
                   ) -> Iterator[str]:
  """One problem if a batch is larger than the set it is drawn from."""
  if (batch := setting(config, field)) > images:
    yield (f"config.{field}={batch} is more than the {images} images of "
           f"data.{name}: use a smaller batch or more images")
