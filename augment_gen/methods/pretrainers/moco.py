"""MoCo v2 as a pre-trainer; its step is in steps/moco.py."""

from collections.abc import Iterator
import math
from typing import ClassVar

import jax
import optax

from augment_gen.config import Config
from augment_gen.data.base import Images
from augment_gen.methods import building
from augment_gen.methods.pretrainers.base import Base
from augment_gen.models.build import build_encoder, dtype_of
from augment_gen.models.heads import ProjectedEncoder, ProjectionHead
from augment_gen.run.contracts import Plan, PyTree, Step, Views
from augment_gen.steps import moco as moco_step


class MocoV2(Base):
  """See `contracts.Pretrainer`."""
  title: ClassVar[str] = "MoCo v2"
  show: ClassVar[tuple[str, ...]] = ("loss", "accuracy")

  def __init__(self, config: Config, devices: int):
    super().__init__(config, devices)
    self._groups = config.moco.bn_groups // devices  # of each device
    self._net = self._net_of(self._groups)

  def _net_of(self, groups: int) -> ProjectedEncoder:
    return ProjectedEncoder(
        build_encoder(self._config, groups),
        ProjectionHead(self._config.moco.dim, dtype=dtype_of(self._config)))

  @classmethod
  def problems(cls, config: Config, devices: int) -> Iterator[str]:
    groups, queue = config.moco.bn_groups, config.moco.queue
    for field in ("pretrain.batch_size", "retrain.batch_size"):
      batch = building.setting(config, field)
      if queue % batch or queue < batch:
        yield (f"config.moco.queue={queue} is not a multiple of "
               f"config.{field}={batch}: change one of them")
      if batch % groups or batch // groups < 2:
        yield (f"config.moco.bn_groups={groups} must divide config.{field}="
               f"{batch} into groups of at least 2 images")
    if groups % devices:
      yield (f"config.moco.bn_groups={groups} must be a multiple of the {devices} "
             "devices: each device normalises whole groups; give for example "
             f"{math.lcm(groups, devices)}")
      return
    for stage in ("pretrain", "retrain"):
      yield from building.micro_batch_problems(config, stage, devices)
      part = building.setting(config, f"{stage}.micro_batch")
      group = building.setting(config, f"{stage}.batch_size") // groups
      if part and group and part % group:
        yield (f"config.{stage}.micro_batch={part} must be a multiple of {group}, the "
               f"images of a batch-norm group (config.{stage}.batch_size / "
               "config.moco.bn_groups)")

  @staticmethod
  def data_warnings(config: Config, images: Images) -> Iterator[str]:
    queue, batch = config.moco.queue, config.pretrain.batch_size
    if queue > len(images):
      fitting = max(1, len(images) // batch) * batch
      yield (f"config.moco.queue={queue} is more than the {len(images)} images of stage 1, "
             "so that other views of an image are among its own negatives: give a smaller "
             f"multiple of config.pretrain.batch_size, such as {fitting}")

  def init(self, tx: optax.GradientTransformation, key: jax.Array,
           encoder: PyTree | None = None) -> moco_step.MocoState:
    return moco_step.init(self._net, tx, self._config.moco,
                          building.image_shape(self._config), key, encoder)

  def restart(self, state: moco_step.MocoState, tx: optax.GradientTransformation
              ) -> moco_step.MocoState:
    return moco_step.restart(state, tx)

  def make_step(self, tx: optax.GradientTransformation, views: Views,
                plan: Plan) -> Step:
    return moco_step.make_step(self._net_of(self._groups // plan.parts), tx,
                               self._config.moco, views, plan.parts)

  def chance_loss(self, batch_size: int) -> float | None:
    del batch_size  # the negatives are those of the queue
    return math.log(self._config.moco.queue + 1)

  def encoder_variables(self, state: moco_step.MocoState) -> dict:
    return building.encoder_of(state.query)

  def project(self, state: moco_step.MocoState, images: jax.Array) -> jax.Array:
    return building.project(self._net, state.query, images)
