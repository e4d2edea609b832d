"""SimCLR as a pre-trainer; its step is in steps/simclr.py."""

import math
from typing import ClassVar

import jax
import optax

from augment_gen.config import Config
from augment_gen.methods import building
from augment_gen.methods.pretrainers.base import Base
from augment_gen.models import norm
from augment_gen.models.build import build_encoder, dtype_of
from augment_gen.models.heads import ProjectedEncoder, ProjectionHead
from augment_gen.run.contracts import Plan, PyTree, Step, Views
from augment_gen.steps import simclr as simclr_step
from augment_gen.steps.state import EncoderState


class Simclr(Base):
  """See `contracts.Pretrainer`.

  NOTE(paper): H is the two layers of the paper's section 2.1. The official code also has
  batch norm behind both, and no bias in the last.
  """
  title: ClassVar[str] = "SimCLR"
  show: ClassVar[tuple[str, ...]] = ("loss", "accuracy")

  def __init__(self, config: Config, devices: int):
    super().__init__(config, devices)
    self._net = ProjectedEncoder(
        build_encoder(config, norm.ALL_DEVICES),
        ProjectionHead(config.simclr.dim, dtype=dtype_of(config)))

  def init(self, tx: optax.GradientTransformation, key: jax.Array,
           encoder: PyTree | None = None) -> EncoderState:
    return simclr_step.init(
        self._net, tx, building.image_shape(self._config), key, encoder)

  def chance_loss(self, batch_size: int) -> float | None:
    return math.log(2 * batch_size - 1)  # the other views of a batch

  def make_step(self, tx: optax.GradientTransformation, views: Views,
                plan: Plan) -> Step:
    del plan
    return simclr_step.make_step(self._net, tx, self._config.simclr, views)
