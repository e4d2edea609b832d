"""What a run has learned, as functions for use elsewhere.

    learned = export.load("runs/mnist-omniglot")
    features = learned.encode(images)          # F, re-trained with G_A
    views = learned.augment(images, latents)   # G_A(x, z)
    clean, read = learned.eliminate(images)    # G_E(x), G_L(x)
    export.save_encoder("runs/mnist-omniglot", "encoder.safetensors")  # F for PyTorch

`images` are [n, H, W, C] in the size that the run was trained on: integers in 0..255,
floats in [0, 1], or bools. `latents` are floats [n, Z] in [0, 1]. Uniform draws give z
from the prior; `read`, computed from images of X̃_f, gives z from the bank. Any other
input raises a `UserError` of one line.
"""

from collections.abc import Callable
import dataclasses
import json
import os
import pathlib
from typing import Any

import jax
from jax.tree_util import Partial
import ml_collections
import numpy as np

from augment_gen import config as config_lib
from augment_gen.config import fingerprint, identity
from augment_gen.config.errors import UserError
from augment_gen.evaluate.chunks import chunked
from augment_gen.methods import building, encoder_init
from augment_gen.methods.augmentation_generator import stages
from augment_gen.methods.pretrainers import pretrainer
from augment_gen.models import torchvision_names
from augment_gen.models.build import build_encoder, generator_functions, latent_dim
from augment_gen.run import provenance, weight_files
from augment_gen.run.checkpoint import Checkpoints, checksum
from augment_gen.run.contracts import Plan
from augment_gen.run.folder import read_config, read_environment
from augment_gen.steps import generator as generator_step

_CHUNK = 256  # images per forward pass


@dataclasses.dataclass(frozen=True)
class Learned:
  """Functions on NumPy arrays of any number n ≥ 1 of images.

  Attributes:
    config: the run's config.
    encode: F, images -> float32 [n, D].
    augment: G_A, (images, latents [n, Z]) -> float32 [n, H, W, C] in [0, 1].
    eliminate: (G_E, G_L), images -> (float32 [n, H, W, C], float32 [n, Z]), both in
      [0, 1].

  All three raise `UserError` for images or latents that the module's docstring does
  not allow.
  """
  config: config_lib.Config
  encode: Callable
  augment: Callable
  eliminate: Callable


def load(run: str | os.PathLike[str],
         encoder: str = "retrain-generator") -> Learned:
  """Loads F, G_A, G_E and G_L of a run, each from its newest checkpoint.

  This needs neither the run's images nor the kind of device it was trained on.

  Args:
    run: the run's folder; its method must be "augmentation_generator".
    encoder: the stage that F is taken from: "pretrain", or "retrain-ARM" with any arm
      but "policy".

  Raises:
    UserError: the folder holds no such run, has no checkpoint of these stages, or has
      one that this code cannot read.
  """
  run = pathlib.Path(run)
  config = config_with_generator(run)
  trained = generator_state(run, config)
  g_a, g_el = generator_functions(config)
  variables = encoder_variables(run, config, encoder)
  encode = chunked(Partial(stages.encode(config), variables), _CHUNK)
  augment = chunked(Partial(g_a, trained.augmenter.final_params), _CHUNK)
  eliminate = chunked(Partial(g_el, trained.eliminator.final_params), _CHUNK)
  shape, dim = building.image_shape(config), latent_dim(config)

  def augment_checked(images, latents):
    images = as_floats(images, shape)
    return augment(images, as_latents(latents, len(images), dim))

  return Learned(
      config=config, augment=augment_checked,
      encode=lambda images: encode(as_floats(images, shape)),
      eliminate=lambda images: eliminate(as_floats(images, shape)))


def save_encoder(run: str | os.PathLike[str], file: str | os.PathLike[str],
                 encoder: str = "retrain-generator") -> None:
  """Writes F of a run for use in PyTorch, under the names of torchvision's ResNets.

  F subtracts a mean from images in [0, 1] and divides by a standard deviation. Both are
  no weights, so they are in the file's metadata: its entry "augment_gen" is a JSON object
  with mean, std, image_size, channels, the form of F (name, width, blocks, stem), the
  stage, and under "run" where F comes from. The file can be given as config.encoder.init.

  Args:
    run: the run's folder; its method must be "augmentation_generator", and F a ResNet.
    file: the file to write; ends in .safetensors.
    encoder: the stage that F is taken from, as in `load`. G_A is not needed.

  Raises:
    UserError: see `load`; F is no ResNet; the file cannot be written.
  """
  run, file = pathlib.Path(run), pathlib.Path(file)
  config = config_with_generator(run)
  if config.encoder.name == "convnet":
    raise UserError(f"{run}: F is a convnet, which PyTorch has no names for: only ResNets "
                    "can be written")
  if file.suffix != ".safetensors":
    raise UserError(f"{file} does not end in .safetensors")
  variables = encoder_variables(run, config, encoder)
  form, data = config.encoder, config.data
  described = {
      "name": form.name, "width": form.width, "stem": form.stem,
      "blocks": tuple(build_encoder(config).stage_sizes),
      "image_size": data.side, "channels": data.channels,
      "mean": data.mean, "std": data.std, "stage": encoder,
      "run": {**origin(run, config), "encoder": checksum(variables)}}
  weight_files.write(file, torchvision_names.to_torchvision(variables), {
      encoder_init.METADATA: json.dumps(described, sort_keys=True)})


def origin(run: pathlib.Path, config: config_lib.Config) -> dict[str, Any]:
  """Where a run's weights come from, as JSON values without paths."""
  starts = read_environment(run)
  return {"experiment": config.experiment, "seed": config.seed,
          "config": fingerprint(identity(read_config(run))),
          "data": provenance.read(run),
          "commit": starts[-1].get("commit") if starts else None}


def as_floats(images: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
  """Converts images to the networks' input: float32 [n, H, W, C] in [0, 1].

  Args:
    images: [n, H, W, C] integers in 0..255, floats in [0, 1], or bools.
    shape: the (H, W, C) that the run was trained on.

  Raises:
    UserError: the shape, the type or the range is wrong.
  """
  images = np.asarray(images)
  if images.shape[1:] != shape or not len(images):
    raise UserError(
        f"images of the shape {images.shape} are not [n, "
        f"{', '.join(map(str, shape))}] with n of at least 1, as this run was "
        "trained: add the missing axes, or resize and convert the images")
  if images.dtype == bool:
    return images.astype(np.float32)
  whole = np.issubdtype(images.dtype, np.integer)
  if not whole and not np.issubdtype(images.dtype, np.floating):
    raise UserError(f"images of the type {images.dtype} are not understood: give "
                    "uint8, or floats in [0, 1]")
  _check_range("images", images, 255 if whole else 1)
  if whole and images.max() == 1:
    raise UserError(
        f"images of the type {images.dtype} hold 0 and 1 alone: as whole numbers in "
        "0..255 they would be black; give bools or floats")
  images = images.astype(np.float32)
  return images / np.float32(255) if whole else images


def as_latents(latents: np.ndarray, count: int, dim: int) -> np.ndarray:
  """Converts latents to G_A's input: float32 [count, dim] in [0, 1].

  Raises:
    UserError: the shape, the type or the range is wrong.
  """
  latents = np.asarray(latents)
  if latents.shape != (count, dim):
    raise UserError(f"latents of the shape {latents.shape} are not [{count}, {dim}]: "
                    f"{count} images need one of {dim} numbers each")
  if not np.issubdtype(latents.dtype, np.floating):
    raise UserError(f"latents of the type {latents.dtype} are not floats in [0, 1]")
  _check_range("latents", latents, 1)
  return latents.astype(np.float32)


def _check_range(what: str, values: np.ndarray, top: int) -> None:
  # Float32 rounding may exceed the range slightly.
  slack = 0 if top > 1 else 1e-6
  # `not (… >= …)` rather than `<`, so that NaN does not pass.
  if not (values.min() >= -slack and values.max() <= top + slack):
    raise UserError(
        f"{what} of the type {values.dtype} reach from {values.min():g} to "
        f"{values.max():g}, outside 0..{top}: scale them")


def load_config(run: str | os.PathLike[str]) -> config_lib.Config:
  """The config of a run.

  Raises:
    UserError: the folder has no config, or one without all of today's fields.
  """
  return config_lib.typed(ml_collections.ConfigDict(read_config(run)))


def config_with_generator(run: pathlib.Path) -> config_lib.Config:
  """The config of a run of the augmentation generator.

  Raises:
    UserError: see `load_config`; the run has another method.
  """
  config = load_config(run)
  if config.method != "augmentation_generator":
    raise UserError(f"{run} is a run of the method '{config.method}', which has no "
                    "G_A: only runs of 'augmentation_generator' can be loaded")
  return config


def encoder_variables(run: pathlib.Path, config: config_lib.Config, stage: str) -> dict:
  """F's variables at the end of a stage, as NumPy arrays.

  Raises:
    UserError: there is no checkpoint of this stage that can be read.
  """
  return stages.encoder_variables(config, _newest(
      run, stage, _pretrainer_state, config,
      config.pretrain if stage == "pretrain" else config.retrain))


def generator_state(run: pathlib.Path, config: config_lib.Config
                    ) -> generator_step.GeneratorState:
  """The state at the end of stage 2; raises as `encoder_variables`."""
  return _newest(run, "generator", _generator_state, config)


def _newest(run: pathlib.Path, stage: str, make: Callable, *args):
  checkpoints = Checkpoints(run / "checkpoints" / stage, keep=1)
  # Only the shapes are needed, so nothing is computed.
  state = checkpoints.restore(jax.eval_shape(lambda: make(*args)))
  if state is None:
    there = sorted({path.parent.name for path in run.glob("checkpoints/*/*")})
    raise UserError(f"{run} has no checkpoint of a stage '{stage}'; it has: "
                    f"{', '.join(there) or 'none'}")
  return state


def _pretrainer_state(config: config_lib.Config,
                      stage: config_lib.PretrainConfig | config_lib.RetrainConfig):
  method = pretrainer(config, 1)
  return method.init(
      method.optimizer(Plan(stage.optimizer, 1, 1, stage.recipe)), jax.random.key(0))


def _generator_state(config: config_lib.Config) -> generator_step.GeneratorState:
  tx = building.optimizer(config.generator.optimizer, 1, 1)
  return generator_step.init(
      stages.generator_networks(config),
      dict.fromkeys(("augmenter", "eliminator", "disc_f", "disc_p"), tx),
      config.generator, building.image_shape(config), jax.random.key(0))
