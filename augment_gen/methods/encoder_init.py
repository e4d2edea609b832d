"""config.encoder.init: F starts from the weights of a file."""

from collections.abc import Iterator
import json

import jax
import jax.numpy as jnp

from augment_gen.config import Config
from augment_gen.config.errors import UserError
from augment_gen.methods import building
from augment_gen.models import torchvision_names
from augment_gen.models.build import build_encoder
from augment_gen.run import weight_files
from augment_gen.run.contracts import PyTree

METADATA = "augment_gen"  # the entry that `export.save_encoder` writes, as JSON
# By the number of channels; the grey numbers are the means of the others.
_IMAGENET: dict[int, dict[str, tuple[float, ...]]] = {
    1: {"mean": (0.449,), "std": (0.226,)},
    3: {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}}


def load(config: Config) -> tuple[PyTree, list[str]] | None:
  """F's variables from config.encoder.init; None if there is no such file.

  Returns:
    `{"params": …, "batch_stats": …}`, float32, and what the user should know of them,
    one line each.

  Raises:
    UserError: the file cannot be read, or holds another network than F. One line.
  """
  if not config.encoder.init:
    return None
  source = f"config.encoder.init={config.encoder.init}"
  if config.encoder.name == "convnet":
    raise UserError(
        f"{source} is for a ResNet, and config.encoder.name is convnet: weights for it "
        "have no common names")
  weights = weight_files.read(config.encoder.init, source)
  images = jnp.zeros((1, *building.image_shape(config)), jnp.float32)
  like = jax.eval_shape(
      lambda: build_encoder(config).init(jax.random.key(0), images, train=False))
  variables, notes = torchvision_names.from_torchvision(weights.arrays, like, source)
  return variables, [*notes, *_normalisation(config, weights.metadata, source)]


def problems(config: Config) -> Iterator[str]:
  """One problem if config.encoder.init cannot be loaded."""
  try:
    load(config)
  except UserError as error:
    yield from error.problems


def is_all(config: Config) -> bool:
  """Whether F stays as it is in the file: stage 1 has no steps."""
  stage = config.pretrain
  return bool(config.encoder.init) and not stage.epochs and not stage.steps


def _normalisation(config: Config, metadata: dict[str, str], source: str
                   ) -> Iterator[str]:
  """A warning if the images are normalised in another way than for the file."""
  data = config.data
  try:
    written = json.loads(metadata[METADATA])
    theirs = {name: tuple(map(float, written[name])) for name in ("mean", "std")}
    whose = "was trained with"
  except (KeyError, TypeError, ValueError):  # not written by `export.save_encoder`
    theirs = _IMAGENET[data.channels]
    whose = "does not say how its images were normalised; weights of ImageNet need"
  ours = {"mean": data.mean, "std": data.std}
  if all(_same(ours[name], theirs[name]) for name in theirs):
    return
  yield (f"WARNING: {source} {whose} config.data.mean={theirs['mean']} and "
         f"std={theirs['std']}; this run has {data.mean} and {data.std}")


def _same(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
  """Whether two normalisations agree; one number stands for all channels."""
  length = max(len(a), len(b))
  return all(abs(x - y) < 5e-3 for x, y in zip(
      a * length if len(a) == 1 else a, b * length if len(b) == 1 else b))
