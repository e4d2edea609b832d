"""A tiny export of a chain of operators, and the chain itself to compare with."""

import json
import pathlib
from typing import NamedTuple

import jax
import numpy as np

from augment_gen.apply import stablehlo
from augment_gen.config.command_line import parse
from augment_gen.export import programs
from augment_gen.models.build import build_augmenter

SHAPE = (8, 8, 3)
X = np.random.default_rng(0).integers(0, 256, (5, *SHAPE), np.uint8)


class Exported(NamedTuple):
  """A folder of `augment-gen export` without F, and what it was made from."""
  folder: pathlib.Path
  bank: np.ndarray
  original: object  # (images float32, latents, share) -> copies, by Flax alone


def write(folder: pathlib.Path, operators: str = "noise,blur,tone") -> Exported:
  """Writes an export."""
  root = pathlib.Path(__file__).parents[1]
  config = parse(["main.py", f"--config={root}/configs/quickstart.py", "--workdir=unused",
                  "--config.data.image_size=8", "--config.data.channels=3",
                  f"--config.generator.networks.operators={operators}"]).config
  chain = build_augmenter(config)
  z = np.zeros((1, len(chain.latents)), np.float32)
  params = jax.jit(chain.init)(
      jax.random.key(0), np.zeros((1, *SHAPE), np.float32), z)["params"]
  written = {name: function for name, function in stablehlo.programs(
      config, {"augmenter": params}).items() if name.startswith("augmenter")}
  folder.mkdir(exist_ok=True)
  for name, (function, shapes) in written.items():
    (folder / f"{name}{programs.SUFFIX}").write_bytes(
        stablehlo.exported(function, shapes).serialize())
  bank = np.random.default_rng(1).random((7, z.shape[1]), np.float32)
  np.save(folder / programs.BANK, bank)
  (folder / programs.SETTINGS).write_text(json.dumps(
      stablehlo.described(config) | {"stage": "pretrain", "bank": len(bank),
                                     "functions": dict.fromkeys(written, "")}))
  original = jax.jit(lambda x, z, share: chain.apply({"params": params}, x, z, share=share))
  return Exported(folder, bank, original)
