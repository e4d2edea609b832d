"""Reads a folder that `augment-gen export` has written (apply/stablehlo.py).

Nothing but JAX and NumPy is needed, and a program is read when it is first called.
"""

from collections.abc import Callable
import functools
import json
import pathlib

import jax
import jax.export
import numpy as np

from augment_gen.config.errors import UserError
from augment_gen.export.learned import Functions, in_parts, Learned, of_this_process

SETTINGS, BANK = "export.json", "bank.npy"
SUFFIX = ".stablehlo"
# G_A with a third argument, the strength of each image; for chains of operators alone.
WITH_STRENGTH = "augmenter_with_strength"


def is_export(folder: pathlib.Path) -> bool:
  """Whether a folder holds an export."""
  return (folder / SETTINGS).is_file()


def load(folder: pathlib.Path, encoder: str | None, root: str = "") -> Learned:
  """Loads an export; see `export.load`. It has its bank, so `root` is not read.

  Raises:
    UserError: a file is missing or damaged, or F is that of another stage.
  """
  try:
    described = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    size, channels, dim, stage, functions, has_bank = (described[name] for name in (
        "image_size", "channels", "latent_dim", "stage", "functions", "bank"))
  except (OSError, ValueError, KeyError, TypeError):
    raise UserError(f"{folder / SETTINGS} is damaged: export the run again") from None
  if encoder not in (None, stage):
    raise UserError(f"{folder} has F of the stage '{stage}', not of '{encoder}': export "
                    f"the run again with --stage={encoder}")
  for name in functions:
    if not (folder / f"{name}{SUFFIX}").is_file():
      raise UserError(f"{folder} has no {name}{SUFFIX}: export the run again")

  @functools.cache
  def program(name: str) -> Callable:
    of_this_process()
    try:
      found = jax.export.deserialize(bytearray((folder / f"{name}{SUFFIX}").read_bytes()))
    # A damaged file can raise nearly any error inside the reader.
    except Exception as error:  # pylint: disable=broad-except
      reason = (str(error).strip() or type(error).__name__).splitlines()[0]
      raise UserError(f"{folder / name}{SUFFIX} cannot be read ({reason[:160]}): export "
                      "the run again") from None
    return jax.jit(found.call)

  def augment(x, z, strength):
    if strength is None:
      return program("augmenter")(x, z)
    if WITH_STRENGTH not in functions:
      raise UserError(
          f"strength: {folder} has no {WITH_STRENGTH}{SUFFIX}. Only a chain of operators "
          "has strengths: leave it at 1, or export the run again if it is one")
    return program(WITH_STRENGTH)(x, z, strength)

  @functools.cache
  def bank() -> np.ndarray:
    try:
      if not has_bank:  # a file of this name would be of another export
        raise FileNotFoundError
      found = np.load(folder / BANK, allow_pickle=False)
    except (OSError, ValueError):
      raise UserError(f"{folder} has no {BANK} that can be read: export the run again "
                      "without --no-bank, or draw from the prior with latents='prior'"
                      ) from None
    if found.ndim != 2 or found.shape[1] != dim or not len(found):
      raise UserError(f"{folder / BANK} has the shape {found.shape}, not [M, {dim}]: "
                      "export the run again")
    return found

  return Learned(
      loader=load, arguments=(folder, encoder, root), config=None,
      image_shape=(size, size, channels), latent_dim=dim, functions=Functions(
          encode=lambda x: in_parts(program("encoder"), x), augment=augment,
          eliminate=lambda x: in_parts(program("eliminator"), x), bank=bank))
