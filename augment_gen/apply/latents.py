"""The latents z with which images are augmented."""

import dataclasses
import hashlib
import pathlib

import numpy as np

from augment_gen.config import Config
from augment_gen.config.errors import UserError
from augment_gen.data.task import load_finetune
from augment_gen.methods.augmentation_generator import stages
from augment_gen.run import provenance
from augment_gen.steps.generator import GeneratorState


def draw(seed: int, name: str, number: int, bank: np.ndarray | None, dim: int
         ) -> np.ndarray:
  """Draws the latents of one copy of one image, from these arguments alone.

  Args:
    seed: the user's.
    name: path of the image below its folder.
    number: of the copy, from 0.
    bank: float32 [M, Z], whose rows are drawn uniformly, as in (15). None for the prior,
      uniform on [0, 1]^Z.
    dim: Z.

  Returns:
    float32 [Z] in [0, 1].
  """
  digest = hashlib.sha256(f"{seed}/{number}/{name}".encode(errors="surrogateescape"))
  random = np.random.Generator(np.random.Philox(
      key=int.from_bytes(digest.digest()[:16], "little")))
  if bank is None:
    return random.random(dim, np.float32)
  return bank[random.integers(len(bank))]


def bank_of(run: pathlib.Path, config: Config, trained: GeneratorState, root: str = ""
            ) -> np.ndarray:
  """The run's bank Z̃ of latents, made anew from its X̃_f: float32 [M, Z] in [0, 1].

  Args:
    run: the run's folder.
    config: its config.
    trained: its state at the end of stage 2.
    root: where its images lie now, in place of config.data.root.

  Raises:
    UserError: X̃_f is missing, or is not what the run was trained on.
  """
  data = dataclasses.replace(config.data, root=root) if root else config.data
  finetune = load_finetune(data)
  before = provenance.read(run).get("finetune")
  if before not in (None, finetune.fingerprint):
    raise UserError(
        f"'{finetune.name}' is no longer the X̃_f that {run} was trained on (its "
        f"fingerprint was {before}, and is {finetune.fingerprint} now): bring the old "
        "images back, or name their folder with --root")
  return stages.latent_bank(config, finetune, trained)
