"""Statistics of an image's own pixels, which no training of F can make invisible.

Contrastive training teaches F to overlook brightness, colour and blur, because hand-made
augmentations change them. An implicit augmentation of light or focus is made of just these.
"""

import jax
import jax.numpy as jnp

from augment_gen.models.latent_maps import area_resize

_GRID = 4  # cells along each side over which brightness is averaged
_LEAST = 2  # side of the smallest image whose detail is measured


def pixel_statistics(x: jax.Array) -> jax.Array:
  """Where an image is light, and how much detail it has at each scale.

  Two kinds of numbers, for each channel:

  - the mean over each of 4 x 4 cells, which shows light, its colour and its direction;
  - for each octave of a Laplacian pyramid down to 2 pixels, the mean and the root mean
    square of |detail| (the second is the larger, the fewer places have the detail), and the
    mean absolute differences of neighbours along rows and along columns. They show blur,
    its direction, noise and marks; the last octaves show how uneven the light is.

  Args:
    x: [B, H, W, C] in [0, 1].

  Returns:
    float32 [B, n]; n depends on H, W and C alone.
  """
  level = x.astype(jnp.float32)
  parts = [area_resize(level, min(_GRID, x.shape[1]), min(_GRID, x.shape[2]))]
  while min(level.shape[1:3]) >= _LEAST:
    height, width = level.shape[1:3]
    smaller = area_resize(level, height // 2, width // 2)
    detail = level - area_resize(smaller, height, width)
    parts += [
        _mean(jnp.abs(detail)),
        # Without detail, the slope of the root would be infinite.
        jnp.sqrt(_mean(jnp.square(detail)) + 1e-6),
        _mean(jnp.abs(jnp.diff(level, axis=1))),
        _mean(jnp.abs(jnp.diff(level, axis=2)))]
    level = smaller
  return jnp.concatenate([part.reshape(len(x), -1) for part in parts], axis=-1)


def _mean(x: jax.Array) -> jax.Array:
  return jnp.mean(x, axis=(1, 2))
