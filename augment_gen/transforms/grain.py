"""The learned augmentation as a random transformation of grain.

    augment = LearnedAugmentation("runs/quickstart-export", p=0.5, field="image")
    dataset = grain.MapDataset.source(records).seed(0).random_map(augment)
"""

import os
from typing import Any

import grain
import numpy as np

from augment_gen import export
from augment_gen.transforms import as_learned, as_type

_SEEDS = 2**62


class LearnedAugmentation(grain.transforms.RandomMap):
  """G_A(x, z) with latents drawn from the generator that grain gives to each element.

  Elements are images [H, W, C] or batches [n, H, W, C], whole numbers in 0..255,
  floats in [0, 1] or bools, or dicts that have them in a field. The type stays.

  Args:
    learned: what `export.load` has returned, or a folder for it. grain's worker processes
      are spawned, and load it again: a folder of `augment-gen export` is faster there.
    p: probability that an image is changed.
    strength: see `export.Learned.__call__`.
    latents: "bank" or "prior", likewise.
    field: name of the images in an element that is a dict; None: it is the images.

  Raises:
    UserError: see `export.load`; when called, see `export.Learned.__call__`.
  """

  def __init__(self, learned: export.Learned | str | os.PathLike[str], p: float = 1.0,
               strength: float = 1.0, latents: str = "bank", field: str | None = None):
    self._learned = as_learned(learned)
    self._p, self._strength, self._latents, self._field = p, strength, latents, field

  def random_map(self, element: Any, rng: np.random.Generator) -> Any:
    """Returns the element with augmented images."""
    images = np.asarray(element if self._field is None else element[self._field])
    out = as_type(self._learned(
        images, int(rng.integers(_SEEDS)), p=self._p, strength=self._strength,
        latents=self._latents), images.dtype)
    return out if self._field is None else {**element, self._field: out}
