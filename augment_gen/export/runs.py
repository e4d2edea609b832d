"""Reads the networks of a run from its checkpoints."""

from collections.abc import Callable
import dataclasses
import functools
import json
import os
import pathlib
import sys
from typing import Any

import jax
from jax.tree_util import Partial
import ml_collections
import numpy as np

from augment_gen import config as config_lib
from augment_gen.config import fingerprint, identity
from augment_gen.config.errors import UserError
from augment_gen.data import sources
from augment_gen.data.task import load_finetune
from augment_gen.evaluate.chunks import chunked
from augment_gen.export.learned import Functions, Learned, of_this_process
from augment_gen.methods import building, encoder_init
from augment_gen.methods.augmentation_generator import stages
from augment_gen.methods.pretrainers import pretrainer
from augment_gen.models import torchvision_names
from augment_gen.models.build import (
  build_encoder,
  generator_functions,
  latent_dim,
  weakened_augmenter,
)
from augment_gen.run import costs, provenance, weight_files
from augment_gen.run.checkpoint import Checkpoints, checksum
from augment_gen.run.contracts import Plan
from augment_gen.run.folder import read_config, read_environment
from augment_gen.steps import generator as generator_step

RETRAINED = "retrain-generator"
_CHUNK = 256  # images per forward pass


def load(run: pathlib.Path, encoder: str | None, root: str) -> Learned:
  """Loads a run; see `export.load`."""
  config = config_with_generator(run)
  of_this_process()  # reading checkpoints starts JAX
  trained = generator_state(run, config)
  g_a, g_el = generator_functions(config)
  stage = encoder or RETRAINED

  @functools.cache
  def encode_function():
    return chunked(Partial(
        stages.encode(config), encoder_variables(run, config, stage)), _CHUNK)

  if encoder is not None:
    encode_function()  # a missing F is an error at once
  params = trained.augmenter.final_params
  whole, with_strength = jax.jit(g_a), weakened_augmenter(config)
  weakened = jax.jit(with_strength) if with_strength else None

  def augment(x, z, strength):
    if strength is None:
      return whole(params, x, z)
    if weakened is None:
      raise UserError(
          f"strength: only a chain of operators has strengths, and G_A of {run} is a "
          f"{config.generator.networks.augmenter}: leave it at 1")
    return weakened(params, x, z, strength)

  @functools.cache
  def bank():
    return bank_of(run, config, trained, root, "name its folder with root=, export the "
                   "run where it is, or draw from the prior with latents='prior'")

  return Learned(
      loader=load, arguments=(run, encoder, root), config=config,
      image_shape=building.image_shape(config), latent_dim=latent_dim(config),
      functions=Functions(
          encode=lambda x: encode_function()(x), augment=augment, bank=bank,
          eliminate=chunked(Partial(g_el, trained.eliminator.final_params), _CHUNK)))


def save_encoder(run: str | os.PathLike[str], file: str | os.PathLike[str],
                 encoder: str = RETRAINED) -> None:
  """Writes F of a run for use in PyTorch, under the names of torchvision's ResNets.

  F subtracts a mean from images in [0, 1] and divides by a standard deviation. Both are
  no weights, so they are in the file's metadata: its entry "augment_gen" is a JSON object
  with mean, std, image_size, channels, the form of F (name, width, blocks, stem), the
  stage, and under "run" where F comes from. The file can be given as config.encoder.init.

  Args:
    run: the run's folder; its method must be "augmentation_generator", and F a ResNet.
    file: the file to write; ends in .safetensors.
    encoder: the stage that F is taken from, as in `export.load`. G_A is not needed.

  Raises:
    UserError: see `export.load`; F is no ResNet; the file cannot be written.
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


def bank_of(run: pathlib.Path, config: config_lib.Config,
            trained: generator_step.GeneratorState, root: str, advice: str) -> np.ndarray:
  """The run's bank Z̃ of latents, made anew from its X̃_f: float32 [M, Z] in [0, 1].

  Args:
    run: the run's folder.
    config: its config.
    trained: its state at the end of stage 2.
    root: where its images lie now, in place of config.data.root; "" for there. Or a spec
      in place of config.data.finetune.
    advice: what the user can do if X̃_f is not to be had.

  Raises:
    UserError: X̃_f is missing, or is not what the run was trained on.
  """
  advice = f"the bank needs the run's X̃_f: {advice}"
  data = config.data
  if root.partition(":")[0] in sources.KINDS:
    data = dataclasses.replace(data, finetune=root)
  elif root and "{root}" not in data.finetune:
    raise UserError(
        f"{run} names its X̃_f by '{data.finetune}', in which there is no root to replace: "
        f"give such a spec of the place where it lies now instead of '{root}'")
  elif root:
    data = dataclasses.replace(data, root=root)
  try:
    finetune = load_finetune(data)
  except UserError as error:
    raise UserError(*error.problems, advice) from None
  before = provenance.read(run).get("finetune")
  if before not in (None, finetune.fingerprint):
    raise UserError(
        f"'{finetune.name}' is no longer the X̃_f that {run} was trained on (its "
        f"fingerprint was {before}, and is {finetune.fingerprint} now): bring the old "
        "images back, or say where they lie", advice)
  return stages.latent_bank(config, finetune, trained)


def origin(run: pathlib.Path, config: config_lib.Config) -> dict[str, Any]:
  """Where a run's weights come from, as JSON values without paths."""
  starts = read_environment(run)
  return {"experiment": config.experiment, "seed": config.seed,
          "config": fingerprint(identity(read_config(run))),
          "data": provenance.read(run),
          "commit": starts[-1].get("commit") if starts else None}


def load_config(run: str | os.PathLike[str]) -> config_lib.Config:
  """The config of a run.

  Raises:
    UserError: the folder has no config, or one without all of today's fields; those of
      sections `log` and `evaluate` may be others, and those without effect on the results
      may be missing.
  """
  values = read_config(run)
  today = config_lib.plain(config_lib.default_config())
  for field in config_lib.WITHOUT_EFFECT:
    *sections, name = field.split(".")
    there, default = values, today
    for section in sections:
      there, default = there.setdefault(section, {}), default[section]
    there.setdefault(name, default[name])
  # These sections change no network: fields of other versions do no harm.
  for section in ("log", "evaluate"):
    known = today[section]
    values[section] = known | {
        name: value for name, value in values.get(section, {}).items() if name in known}
  return config_lib.typed(ml_collections.ConfigDict(values))


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
  if stage == "retrain-policy":
    raise UserError(f"{run}: F of the arm 'policy' lies beside a policy, and cannot be "
                    "taken from there: name another stage")
  return stages.encoder_variables(config, _newest(
      run, stage, _pretrainer_state, config,
      config.pretrain if stage == "pretrain" else config.retrain))


def generator_state(run: pathlib.Path, config: config_lib.Config
                    ) -> generator_step.GeneratorState:
  """The state at the end of stage 2; raises as `encoder_variables`."""
  return _newest(run, "generator", _generator_state, config)


def _newest(run: pathlib.Path, stage: str, make: Callable, *args):
  """The last state of a stage; says if the stage is not finished."""
  checkpoints = Checkpoints(run / "checkpoints" / stage, keep=1)
  # Only the shapes are needed, so nothing is computed.
  state = checkpoints.restore(jax.eval_shape(lambda: make(*args)))
  if state is None:
    there = sorted({path.parent.name for path in run.glob("checkpoints/*/*")})
    raise UserError(f"{run} has no checkpoint of a stage '{stage}'; it has: "
                    f"{', '.join(there) or 'none'}")
  done, of = costs.steps_done(run, stage) or (0, 0)
  if done < of:
    print(f"WARNING: stage '{stage}' of {run} is not finished: this is its step {done} of "
          f"{of}", file=sys.stderr)
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
