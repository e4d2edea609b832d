"""SimCLR as a pre-trainer; its step is in steps/simclr.py."""

from collections.abc import Iterator
from typing import ClassVar

import jax
import optax

from augment_gen.config import Config
from augment_gen.methods import building
from augment_gen.models import norm
from augment_gen.models.build import build_encoder, dtype_of
from augment_gen.models.heads import ProjectedEncoder, ProjectionHead
from augment_gen.run.contracts import PyTree, Step, Views
from augment_gen.steps import simclr as simclr_step


class Simclr:
  """See `contracts.Pretrainer`."""
  title: ClassVar[str] = "SimCLR"
  show: ClassVar[tuple[str, ...]] = ("loss", "accuracy")

  def __init__(self, config: Config, devices: int):
    del devices  # batch norm spans all of them
    self._config = config
    self._net = ProjectedEncoder(
        build_encoder(config, norm.ALL_DEVICES),
        ProjectionHead(config.simclr.dim, dtype=dtype_of(config)))

  @staticmethod
  def problems(config: Config, devices: int) -> Iterator[str]:
    del devices
    for field in ("pretrain.batch_size", "retrain.batch_size"):
      if building.setting(config, field) < 2:
        yield (f"config.{field}=1 leaves SimCLR no other image to compare with: "
               "give at least 2")

  def init(self, tx: optax.GradientTransformation, key: jax.Array,
           encoder: PyTree | None = None) -> simclr_step.SimclrState:
    return simclr_step.init(
        self._net, tx, building.image_shape(self._config), key, encoder)

  def restart(self, state: simclr_step.SimclrState,
              tx: optax.GradientTransformation) -> simclr_step.SimclrState:
    return simclr_step.restart(state, tx)

  def make_step(self, tx: optax.GradientTransformation, views: Views) -> Step:
    return simclr_step.make_step(self._net, tx, self._config.simclr, views)

  def encoder_variables(self, state: simclr_step.SimclrState) -> dict:
    return building.encoder_of(state.net)

  def project(self, state: simclr_step.SimclrState, images: jax.Array) -> jax.Array:
    return building.project(self._net, state.net, images)
