"""What a run has learned, as functions for use elsewhere.

    learned = export.load("runs/mnist-omniglot")  # or a folder of `augment-gen export`
    views = learned(images, seed=0)            # G_A with latents that are drawn for you
    views = learned.augment(images, latents)   # G_A(x, z)
    features = learned.encode(images)          # F, re-trained with G_A
    clean, read = learned.eliminate(images)    # G_E(x), G_L(x)
    export.save_encoder("runs/mnist-omniglot", "encoder.safetensors")  # F for PyTorch

`images` are [n, H, W, C] in the size that the run was trained on: integers in 0..255,
floats in [0, 1], or bools. `latents` are floats [n, Z] in [0, 1]. Uniform draws give z
from the prior; `read`, computed from images of X̃_f, gives z from the bank. Any other
input raises a `UserError` of one line.

The package `transforms` has `learned` as a transform of torchvision, tf.data and grain.
"""

import os
import pathlib

from augment_gen.export.learned import Learned as Learned


def load(folder: str | os.PathLike[str], encoder: str | None = None, *,
         root: str = "") -> Learned:
  """Loads F, G_A, G_E and G_L of a run, each from its newest checkpoint, or of an export.

  This needs neither the kind of device that the run was trained on nor, for anything but
  latents from the bank, its images. An export needs JAX alone, loads faster, and holds
  the bank: it is the one to give to the workers of a data loader.

  Args:
    folder: a run's folder, whose method must be "augmentation_generator", or a folder
      that `augment-gen export` has written.
    encoder: the stage that F is taken from: "pretrain", or "retrain-ARM" with any arm
      but "policy". None: "retrain-generator", or the one that was exported.
    root: where the run's images lie now, for the bank; "" for its config.data.root.

  Raises:
    UserError: the folder is neither, has no checkpoint of these stages, or has one that
      this code cannot read. Without `encoder`, a missing F is an error only once
      features are asked for.
  """
  # pylint: disable=g-import-not-at-top
  path = pathlib.Path(folder)
  # Only what is needed: the workers of a data loader import it each.
  from augment_gen.export import programs
  if programs.is_export(path):
    return programs.load(path, encoder)
  from augment_gen.export import runs
  return runs.load(path, encoder, root)


def save_encoder(run: str | os.PathLike[str], file: str | os.PathLike[str],
                 encoder: str = "retrain-generator") -> None:
  """Writes F of a run for use in PyTorch; see `runs.save_encoder`."""
  from augment_gen.export import runs  # pylint: disable=g-import-not-at-top
  runs.save_encoder(run, file, encoder)
