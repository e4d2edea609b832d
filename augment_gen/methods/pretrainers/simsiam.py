"""SimSiam as a pre-trainer; its step is in steps/simsiam.py."""

import dataclasses
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
from augment_gen.steps import simsiam as simsiam_step
from augment_gen.steps.state import EncoderState, with_own_optimizer


class Simsiam(Base):
  """See `contracts.Pretrainer`.

  The projector's hidden layers are as wide as F's embedding, as in the official code.
  NOTE(paper): the official code starts the scale of the last batch norm of each residual
  block at 0. Here F starts as with all other pre-trainers.
  """
  title: ClassVar[str] = "SimSiam"
  show: ClassVar[tuple[str, ...]] = ("loss", "embedding_std")

  def __init__(self, config: Config, devices: int):
    super().__init__(config, devices)
    simsiam, dtype = config.simsiam, dtype_of(config)
    self._net = PredictedEncoder(
        build_encoder(config, norm.EACH_VIEW),
        NormedPerceptron((0, 0), simsiam.dim, "norm", dtype, norm.EACH_VIEW),
        NormedPerceptron(
            (simsiam.predictor_dim,), simsiam.dim, "bias", dtype, norm.EACH_VIEW))

  def optimizer(self, plan: Plan) -> optax.GradientTransformation:
    """The predictor's learning rate stays at its highest (section 4.2, --fix-pred-lr)."""
    fixed = dataclasses.replace(
        plan.optimizer, schedule="constant", warmup_epochs=0.0)
    return with_own_optimizer(
        "predictor", building.optimizer(fixed, plan.steps, plan.steps_per_epoch),
        super().optimizer(plan))

  def init(self, tx: optax.GradientTransformation, key: jax.Array,
           encoder: PyTree | None = None) -> EncoderState:
    return simsiam_step.init(
        self._net, tx, building.image_shape(self._config), key, encoder)

  def make_step(self, tx: optax.GradientTransformation, views: Views,
                plan: Plan) -> Step:
    del plan
    return simsiam_step.make_step(self._net, tx, self._config.simsiam, views)

  def project(self, state: EncoderState, images: jax.Array) -> jax.Array:
    return building.project(self._net, state.net, images, method="project")
