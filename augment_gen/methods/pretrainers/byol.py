"""BYOL as a pre-trainer; its step is in steps/byol.py."""

from typing import ClassVar

import jax
import optax

from augment_gen.config import Config
from augment_gen.methods import building
from augment_gen.methods.pretrainers.base import Base
from augment_gen.models import norm
from augment_gen.models.build import build_encoder, dtype_of
from augment_gen.models.heads import NormedPerceptron, PredictedEncoder
from augment_gen.run.contracts import Plan, PyTree, Step, Views
from augment_gen.steps import byol as byol_step
from augment_gen.steps.state import EncoderState


class Byol(Base):
  """See `contracts.Pretrainer`.

  NOTE(paper): Appendix B has two distributions of views, which differ in blur and
  solarisation. Here both views come from one recipe.
  """
  title: ClassVar[str] = "BYOL"
  show: ClassVar[tuple[str, ...]] = ("loss", "embedding_std")

  def __init__(self, config: Config, devices: int):
    super().__init__(config, devices)
    byol = config.byol

    def head():
      return NormedPerceptron(
          (byol.hidden,), byol.dim, "plain", dtype_of(config), norm.EACH_VIEW)
    self._net = PredictedEncoder(
        build_encoder(config, norm.EACH_VIEW), head(), head())

  def init(self, tx: optax.GradientTransformation, key: jax.Array,
           encoder: PyTree | None = None) -> byol_step.ByolState:
    return byol_step.init(
        self._net, tx, building.image_shape(self._config), key, encoder)

  def make_step(self, tx: optax.GradientTransformation, views: Views,
                plan: Plan) -> Step:
    return byol_step.make_step(
        self._net, tx, self._config.byol, views, plan.steps)

  def project(self, state: EncoderState, images: jax.Array) -> jax.Array:
    return building.project(self._net, state.net, images, method="project")
