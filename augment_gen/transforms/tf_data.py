"""The learned augmentation as a function for tf.data.Dataset.map.

    augment = tf_data.mapper("runs/quickstart-export", p=0.5)
    dataset = dataset.map(lambda image, label: (augment(image), label))

It runs in a `tf.numpy_function`, that is, through JAX in this process. `jax2tf` would put
the program into TensorFlow's graph, but then TensorFlow has to know every operation of
the StableHLO that this JAX writes, and numbers are drawn in two ways.
"""

from collections.abc import Callable
import os
from typing import Any

import numpy as np
import tensorflow as tf

from augment_gen import export
from augment_gen.transforms import as_learned, as_type

_SEEDS = 2**62


def mapper(learned: export.Learned | str | os.PathLike[str], p: float = 1.0,
           strength: float = 1.0, latents: str = "bank") -> Callable[..., Any]:
  """Returns G_A(x, z) with drawn latents, for `dataset.map`.

  Args:
    learned: what `export.load` has returned, or a folder for it.
    p: probability that an image is changed.
    strength: see `export.Learned.__call__`.
    latents: "bank" or "prior", likewise.

  Returns:
    `(image, seed=None) -> image`, for [H, W, C] and, behind `batch`, [n, H, W, C], uint8
    or floats in [0, 1]; the type stays. The seed is a whole number of at least 0, such as
    the place in `dataset.enumerate()`; None: it is drawn, as `tf.random.set_seed` says.
    With such a seed of TensorFlow's, each pass over a dataset draws the same numbers
    again. Passes differ in one `dataset.repeat(epochs)`.

  Raises:
    UserError: see `export.load`. In a dataset, what `export.Learned.__call__` raises is
      the message of TensorFlow's own error.
  """
  loaded = as_learned(learned)

  def augment(images: np.ndarray, seed: np.ndarray) -> np.ndarray:
    return as_type(loaded(images, int(seed), p=p, strength=strength, latents=latents),
                   images.dtype)

  def apply(image: Any, seed: Any = None) -> Any:
    if seed is None:
      seed = tf.random.uniform((), maxval=_SEEDS, dtype=tf.int64)
    out = tf.numpy_function(augment, [image, seed], image.dtype)
    out.set_shape(image.shape)
    return out

  return apply
