"""SwAV as a pre-trainer; its step is in steps/swav.py."""

from collections.abc import Iterator
import math
from typing import ClassVar

import jax
import optax

from augment_gen.augment.recipes import Crop, recipe
from augment_gen.config import Config
from augment_gen.methods import building
from augment_gen.methods.pretrainers.base import Base
from augment_gen.models import norm
from augment_gen.models.build import build_encoder, dtype_of
from augment_gen.models.heads import NormedPerceptron, ViewsEncoder
from augment_gen.run.contracts import Plan, PyTree, Step, Views
from augment_gen.steps import swav as swav_step
from augment_gen.steps.state import (
  EncoderState,
  make_optimizer,
  make_schedule,
  with_own_optimizer,
)
from augment_gen.steps.views import small_crops


class Swav(Base):
  """See `contracts.Pretrainer`."""
  title: ClassVar[str] = "SwAV"
  show: ClassVar[tuple[str, ...]] = ("loss", "prototypes_used")

  def __init__(self, config: Config, devices: int):
    super().__init__(config, devices)
    self._net = ViewsEncoder(
        build_encoder(config, norm.ALL_DEVICES),
        NormedPerceptron(
            (config.swav.hidden,), config.swav.dim, "bias", dtype_of(config)))

  @classmethod
  def problems(cls, config: Config, devices: int) -> Iterator[str]:
    yield from super().problems(config, devices)
    swav = config.swav
    for field in ("pretrain.batch_size", "retrain.batch_size"):
      if swav.queue % (batch := building.setting(config, field)):
        yield (f"config.swav.queue={swav.queue} is not a multiple of "
               f"config.{field}={batch}: change one of them")
    if swav.small_crops and config.encoder.name == "convnet":
      yield ("config.encoder.name=convnet embeds images of one size alone: set "
             "config.swav.small_crops=0, or choose a ResNet")
    if swav.small_area_min > swav.small_area_max:
      yield (f"config.swav.small_area_min={swav.small_area_min} is more than "
             f"small_area_max={swav.small_area_max}: exchange them")

  def optimizer(self, plan: Plan) -> optax.GradientTransformation:
    """The prototypes start to be trained after `swav.freeze_epochs` of stage 1."""
    schedule = make_schedule(plan.optimizer, plan.steps, plan.steps_per_epoch)
    still = 0 if plan.again else round(
        self._config.swav.freeze_epochs * plan.steps_per_epoch)
    # While they are frozen, their optimiser counts no steps.
    prototypes = optax.transforms.conditionally_mask(
        make_optimizer(plan.optimizer, lambda step: schedule(step + still)),
        lambda step: step >= still)
    return with_own_optimizer(
        "prototypes", prototypes, super().optimizer(plan))

  def init(self, tx: optax.GradientTransformation, key: jax.Array,
           encoder: PyTree | None = None) -> swav_step.SwavState:
    return swav_step.init(self._net, tx, self._config.swav,
                          building.image_shape(self._config), key, encoder)

  def make_step(self, tx: optax.GradientTransformation, views: Views,
                plan: Plan) -> Step:
    swav, crops = self._config.swav, None
    if swav.small_crops:
      crop = Crop((swav.small_area_min, swav.small_area_max),
                  max(1, round(swav.small_side * self._config.data.side)))
      crops = small_crops(recipe(plan.recipe, crop), swav.small_crops)
    return swav_step.make_step(
        self._net, tx, swav, views, crops,
        0 if plan.again else round(swav.queue_start_epochs * plan.steps_per_epoch))

  def chance_loss(self, batch_size: int) -> float | None:
    del batch_size
    # All images get the same codes, which use all prototypes alike (equation 4).
    return math.log(self._config.swav.prototypes)

  def project(self, state: EncoderState, images: jax.Array) -> jax.Array:
    return building.project(self._net, state.net, [images])
