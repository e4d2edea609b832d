"""The choices that the settings declare are those that the code has."""

import typing

import pytest

from augment_gen.augment import operators, recipes
from augment_gen.config import (
  Config,
  EncoderConfig,
  NetworksConfig,
  PretrainConfig,
  RetrainConfig,
  schema,
  TacConfig,
)
from augment_gen.config.checks import EachOf, unwrap
from augment_gen.methods import METHODS
from augment_gen.methods.augmentation_generator import stages
from augment_gen.methods.pretrainers import PRETRAINERS
from augment_gen.models.build import ENCODERS
from augment_gen.models.heads import HIDDEN


def choices(section, field):
  """The declared choices of a field, in order."""
  kind, metadata = unwrap(typing.get_type_hints(section, include_extras=True)[field])
  lists = [m.choices for m in metadata if isinstance(m, EachOf)]
  return lists[0] if lists else typing.get_args(kind)


@pytest.mark.parametrize("section, field, registry", [
    (Config, "method", METHODS), (PretrainConfig, "method", PRETRAINERS),
    (EncoderConfig, "name", ENCODERS), (TacConfig, "head", HIDDEN),
    (RetrainConfig, "arms", stages.ARMS), (NetworksConfig, "operators", operators.NAMES)])
def test_choices_are_those_of_the_registry(section, field, registry):
  assert set(choices(section, field)) == set(registry)


def test_recipes_are_declared():
  assert set(typing.get_args(schema.Recipe)) == set(recipes.NAMES)
