"""`augment-gen export`: F, G_A, and G_E with G_L as programs and as weights.

A program is StableHLO with the weights inside, for any number of images, on CPUs, NVIDIA
GPUs and TPUs. It needs JAX alone:

    program = jax.export.deserialize(bytearray(open("encoder.stablehlo", "rb").read()))
    features = program.call(images)

Images are float32 [n, H, W, C] in [0, 1], latents float32 [n, Z] in [0, 1].
"""

from collections.abc import Callable, Mapping
import pathlib
import sys
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from augment_gen.config import Config
from augment_gen.config.errors import UserError
from augment_gen.export import programs as reading
from augment_gen.export import runs
from augment_gen.methods import building
from augment_gen.methods.augmentation_generator import stages
from augment_gen.models.build import (
  build_augmenter,
  generator_functions,
  latent_dim,
  weakened_augmenter,
)
from augment_gen.run import forms, provenance, weight_files
from augment_gen.run.checkpoint import checksum
from augment_gen.run.folder import LEARNED, write_json
from augment_gen.transforms import recipe

PLATFORMS = ("cpu", "cuda", "tpu")
_RECIPES = ("torchvision_recipe.json", "torchvision_recipe.py")


def run(run: str, out: str, stage: str, bank: bool, root: str = "") -> None:
  """Writes the programs, the weights, the bank, a recipe and export.json.

  The weights of F are named as in torchvision if it is a ResNet, and as in Flax
  otherwise, as are those of G_A and of G_E with G_L.

  Args:
    run: the run's folder.
    out: the folder for the files; files of these names are replaced.
    stage: that F is taken from.
    bank: whether to write Z̃ as bank.npy, float32 [M, Z], for which X̃_f is read.
    root: where the run's images lie now; "" for its config.data.root.

  Raises:
    UserError: the run is not as it must be, or the files cannot be written.
  """
  path, folder = pathlib.Path(run), pathlib.Path(out)
  config = runs.config_with_generator(path)
  trained = runs.generator_state(path, config)
  variables = runs.encoder_variables(path, config, stage)
  found = None
  if bank:
    found = runs.bank_of(path, config, trained, root, "name its folder with --root, or "
                         "leave bank.npy out with --no-bank")
  try:
    folder.mkdir(parents=True, exist_ok=True)
    # Without the settings, which are written last, nothing can be loaded.
    for name in (reading.SETTINGS, reading.BANK, *_RECIPES):
      (folder / name).unlink(missing_ok=True)
    write_programs(folder, config, {
        "encoder": variables, "augmenter": trained.augmenter.final_params,
        "eliminator": trained.eliminator.final_params})
    if found is not None:
      np.save(folder / reading.BANK, found)
    if config.encoder.name == "convnet":
      weight_files.write(folder / "encoder.safetensors", flat(variables), {})
    else:
      runs.save_encoder(path, folder / "encoder.safetensors", stage)
    for name, player in (("augmenter", trained.augmenter),
                         ("eliminator", trained.eliminator)):
      weight_files.write(folder / f"{name}.safetensors", flat(player.final_params), {})
    _write_recipe(path, folder)
    write_json(folder / reading.SETTINGS, described(config) | {
        "stage": stage, "bank": None if found is None else len(found),
        "run": {**runs.origin(path, config), "encoder": checksum(variables),
                "generator": checksum(trained)},
        "versions": provenance.versions()})
  except OSError as error:
    raise UserError(f"{folder} cannot be written: {error.strerror}") from None
  print(f"{folder}: {', '.join(sorted(file.name for file in folder.iterdir()))}")


def _write_recipe(run: pathlib.Path, folder: pathlib.Path) -> None:
  """Writes the augmentation in words of torchvision, if the run says what it is."""
  if (run / LEARNED).exists():
    try:
      found = recipe.as_torchvision_recipe(run)
    except UserError as error:  # all else can be exported
      print(f"WARNING: no recipe: {error}", file=sys.stderr)
      return
    write_json(folder / _RECIPES[0], found)
    (folder / _RECIPES[1]).write_text(recipe.as_python(found), encoding="utf-8")


def programs(config: Config, weights: Mapping[str, Any]
             ) -> dict[str, tuple[Callable, tuple[tuple[int, ...], ...]]]:
  """The functions of a run.

  Args:
    config: that of the run.
    weights: F's variables and the others' parameters, by "encoder", "augmenter" and
      "eliminator".

  Returns:
    By the same names: a function of float32 arrays [n, …], and their shapes without n.
    A chain of operators also has `programs.WITH_STRENGTH`.
  """
  g_a, g_el = generator_functions(config)
  f, image = stages.encode(config), building.image_shape(config)
  latents = (latent_dim(config),)
  found: dict[str, tuple[Callable, tuple[tuple[int, ...], ...]]] = {
      "encoder": (lambda x: f(weights["encoder"], x), (image,)),
      "augmenter": (lambda x, z: g_a(weights["augmenter"], x, z), (image, latents)),
      "eliminator": (lambda x: g_el(weights["eliminator"], x), (image,))}
  if weakened := weakened_augmenter(config):
    found[reading.WITH_STRENGTH] = (
        lambda x, z, strength: weakened(weights["augmenter"], x, z, strength),
        (image, latents, ()))
  return found


def write_programs(folder: pathlib.Path, config: Config, weights: Mapping[str, Any]
                   ) -> None:
  """Writes NAME.stablehlo for each of `programs`."""
  for name, (function, shapes) in programs(config, weights).items():
    (folder / f"{name}{reading.SUFFIX}").write_bytes(exported(function, shapes).serialize())


def exported(function: Callable, shapes: tuple[tuple[int, ...], ...]
             ) -> jax.export.Exported:
  """A function for any number n of examples, on any of PLATFORMS.

  Args:
    function: of float32 arrays [n, …]. Its networks are traced in their plain form.
    shapes: their shapes without n.
  """
  (n,) = jax.export.symbolic_shape("n")
  arrays = [jax.ShapeDtypeStruct((n, *shape), jnp.float32) for shape in shapes]
  with forms.plain():
    return jax.export.export(jax.jit(function), platforms=PLATFORMS)(*arrays)


def flat(tree: Any) -> dict[str, np.ndarray]:
  """The arrays of a tree by their paths, such as "down1/conv/kernel"."""
  return {"/".join(str(entry.key) for entry in path): np.ascontiguousarray(leaf)
          for path, leaf in jax.tree.leaves_with_path(jax.device_get(tree))}


def described(config: Config) -> dict[str, Any]:
  """What the functions take, as JSON values."""
  data = config.data
  return {
      "image_size": data.side, "channels": data.channels,
      "images": "float32 [n, image_size, image_size, channels] in [0, 1]",
      "latents": "float32 [n, latent_dim] in [0, 1]",
      "latent_dim": latent_dim(config),
      "latent_names": list(build_augmenter(config).latents),
      "precision": config.precision, "platforms": list(PLATFORMS),
      "functions": {
          "encoder": "images -> features float32 [n, D]",
          "augmenter": "images, latents -> images",
          "eliminator": "images -> images, latents",
          **({reading.WITH_STRENGTH: "images, latents, strength float32 [n] in [0, 1] -> "
              "images"} if weakened_augmenter(config) else {})}}
