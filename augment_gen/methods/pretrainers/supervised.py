"""Supervised training in a pre-trainer's place; its step is in steps/supervised.py."""

from collections.abc import Iterator
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax

from augment_gen.config import Config
from augment_gen.data.base import Images, labels_of
from augment_gen.methods import building
from augment_gen.methods.pretrainers.base import Base
from augment_gen.models import norm
from augment_gen.models.build import build_encoder
from augment_gen.models.heads import Classifier
from augment_gen.run.contracts import Plan, PyTree, Step, Views
from augment_gen.steps import supervised as supervised_step
from augment_gen.steps.state import EncoderState


class Supervised(Base):
  """See `contracts.Pretrainer`. It has no head H: `project` is F itself."""
  title: ClassVar[str] = "supervised"
  show: ClassVar[tuple[str, ...]] = ("loss", "accuracy")

  def __init__(self, config: Config, devices: int):
    super().__init__(config, devices)
    self._net = Classifier(
        build_encoder(config, norm.ALL_DEVICES), config.supervised.classes)

  @staticmethod
  def data_problems(config: Config, images: Images) -> Iterator[str]:
    found, classes = labels_of(images), config.supervised.classes
    if found is None:
      yield (f"config.pretrain.method=supervised needs labels, but '{images.name}' has "
             "none, or is streamed: give a set with labels, or another method")
    elif len(found[1]) != classes:
      yield (f"config.supervised.classes={classes}, but '{images.name}' has "
             f"{len(found[1])} classes: set this number")

  def init(self, tx: optax.GradientTransformation, key: jax.Array,
           encoder: PyTree | None = None) -> EncoderState:
    return supervised_step.init(
        self._net, tx, building.image_shape(self._config), key, encoder)

  def frozen(self, images: Images) -> dict[str, Any]:
    found = labels_of(images)
    assert found is not None  # see `data_problems`
    return {"labels": jnp.asarray(found[0])}

  def make_step(self, tx: optax.GradientTransformation, views: Views,
                plan: Plan) -> Step:
    del plan
    return supervised_step.make_step(self._net, tx, views)

  def chance_loss(self, batch_size: int) -> float | None:
    del batch_size
    return math.log(self._config.supervised.classes)  # if all are equally frequent

  def project(self, state: EncoderState, images: jax.Array) -> jax.Array:
    return building.project(self._net, state.net, images, method="embed")
