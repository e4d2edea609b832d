"""What the stages of all experiments are built with."""

import numpy as np
import optax

from augment_gen.config import Config, OptimizerConfig
from augment_gen.data.base import evenly
from augment_gen.steps.state import make_optimizer, make_schedule


def total_steps(epochs: float, steps: int, per_epoch: int) -> int:
  """Steps of a stage; exactly one of epochs and steps is positive."""
  return steps or max(1, round(epochs * per_epoch))


def image_shape(config: Config) -> tuple[int, int, int]:
  """(H, W, C) of what the networks see."""
  return (config.data.side, config.data.side, config.data.channels)


def optimizer(config: OptimizerConfig, steps: int,
              per_epoch: int) -> optax.GradientTransformation:
  """With its schedule over the steps of a stage."""
  return make_optimizer(config, make_schedule(config, steps, per_epoch))


def some(images: np.ndarray, number: int) -> np.ndarray:
  """`number` images, evenly spread over the set."""
  return images[evenly(len(images), number)]
