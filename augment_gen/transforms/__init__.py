"""The learned augmentation as a transform of other frameworks' input pipelines.

    torchvision.py   a transform of torchvision.transforms.v2
    tf_data.py       a function for tf.data.Dataset.map
    grain.py         a grain.transforms.RandomMap
    recipe.py        the augmentation in words of torchvision, without any network

Each takes what `export.load` returns, or the name of its folder, and does the same as
`export.load(FOLDER)(images, seed)`. The frameworks are not imported before the module of
that name is. What they have in common is here.
"""

import os

import numpy as np

from augment_gen import export


def as_type(images: np.ndarray, wanted: np.dtype) -> np.ndarray:
  """What `Learned.__call__` returns, in the type of what it was given."""
  return images >= 0.5 if wanted.kind == "b" else images.astype(wanted)


def as_learned(given: export.Learned | str | os.PathLike[str]) -> export.Learned:
  """Loads a folder; returns what is loaded already."""
  return given if isinstance(given, export.Learned) else export.load(given)
