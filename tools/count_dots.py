"""Counts the dots and greys that a run's G_A draws, and the true dots that G_E leaves.

    python tools/count_dots.py RUN...

Each folder must hold a run with a finished stage 2 and a known clean X_f. The counts are
over 2,048 images of X_f. "Ground" is what is black in the clean image.

    dots     pixels of the ground above 0.5, mean ± std over images
    greys    pixels between 0.1 and 0.5, in percent of the ground
    1, 2, …  dots in percent of the ground at this distance from the nearest pixel that
             is not ground (in pixels; diagonals count 1); the last column includes all
             larger distances
    dimmed   mean loss of the strokes, which are above 0.5 in the clean image
"""

import argparse
import pathlib
import sys

import jax
import numpy as np
from scipy import ndimage

from augment_gen import export
from augment_gen.config import errors
from augment_gen.data.base import evenly
from augment_gen.data.task import load_task
from augment_gen.evaluate.chunks import floats
from augment_gen.export import runs
from augment_gen.run.random import stream

_IMAGES = 2048
_BLACK, _GREY, _WHITE = 0.05, 0.1, 0.5
_DISTANCES = 4


def count(images: np.ndarray, clean: np.ndarray) -> dict[str, float]:
  """Counts what was drawn on clean images; both are float [n, H, W, 1] in [0, 1]."""
  ground, strokes = clean < _BLACK, clean > _WHITE
  dots = (images > _WHITE) & ground
  greys = (images > _GREY) & (images <= _WHITE) & ground
  per_image = np.sum(dots, axis=(1, 2, 3))
  distance = np.stack([ndimage.distance_transform_cdt(image, "chessboard")
                       for image in ground[..., 0]])[..., None]
  distance = np.minimum(distance, _DISTANCES)
  return {"dots": np.mean(per_image), "std": np.std(per_image),
          "greys": 100 * np.mean(greys[ground]),
          "dimmed": np.mean((clean - images)[strokes]),
          **{str(d): 100 * np.mean(dots[distance == d])
             for d in range(1, _DISTANCES + 1)}}


def of_run(folder: pathlib.Path) -> dict[str, dict[str, float]]:
  """Returns `count` for x̃, for G_A with each kind of latents, and for G_E.

  Raises:
    UserError: the folder holds no run or no stage 2, the images have colours, or the
      clean X_f is not known.
  """
  config = runs.load_config(folder)
  if config.data.channels != 1:
    raise errors.UserError(f"{folder}: dots are counted on grey images alone")
  task = load_task(config.data)
  if task.finetune_clean is None:
    raise errors.UserError(f"{folder}: the clean X_f is not known")
  learned = export.load(folder, encoder="pretrain")
  chosen = evenly(len(task.finetune), min(_IMAGES, len(task.finetune)))
  clean = floats(task.finetune_clean.images[chosen])
  augmented = floats(task.finetune.images[chosen])
  eliminated, bank = learned.eliminate(augmented)
  prior = np.asarray(jax.random.uniform(
      stream(jax.random.key(config.seed), "count_dots"), bank.shape))
  return {"x̃": count(augmented, clean),
          "G_A(x, z), prior": count(learned.augment(clean, prior), clean),
          "G_A(x, G_L(x̃))": count(learned.augment(clean, bank), clean),
          "G_E(x̃)": count(eliminated, clean)}


def main() -> int:
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("runs", nargs="+", type=pathlib.Path)
  for folder in parser.parse_args().runs:
    try:
      found = of_run(folder)
    except errors.UserError as error:
      print(error, file=sys.stderr)
      return 2
    print(folder.name)
    for name, of in found.items():
      by_distance = "  ".join(
          f"{d}: {of[str(d)]:.1f}" for d in range(1, _DISTANCES + 1))
      print(f"  {name:18} dots {of['dots']:5.1f} ± {of['std']:4.1f}   greys "
            f"{of['greys']:4.1f} %   {by_distance}   dimmed {of['dimmed']:6.3f}")
  return 0


if __name__ == "__main__":
  sys.exit(main())
