"""The crops that the policy P(T|X) of CRL-TAC chooses from."""

import dataclasses

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from augment_gen.augment import sampling


@dataclasses.dataclass(frozen=True)
class CropGrid:
  """T: square windows on a grid of places, of one or several sizes.

  Attributes:
    image_size: side of the square images, in pixels.
    crop: side of the crops, in pixels.
    stride: distance between neighbouring places, in pixels.
    scales: window sizes as factors of `crop`; windows of other sizes than `crop` are
      resized to it.
  """
  image_size: int
  crop: int
  stride: int
  scales: tuple[float, ...] = (1.0,)

  @property
  def windows(self) -> tuple[tuple[int, int], ...]:
    """For each scale, the side of the window in pixels, and the places along a side."""
    sides = [round(self.crop * scale) for scale in self.scales]
    return tuple((side, (self.image_size - side) // self.stride + 1)
                 for side in sides)

  @property
  def size(self) -> int:
    """K, the number of transformations."""
    return sum(places**2 for _, places in self.windows)

  def boxes(self) -> np.ndarray:
    """Top, left and side of each window in pixels, int32 [K, 3].

    Windows are sorted by scale, then row by row.
    """
    parts = []
    for side, places in self.windows:
      rows, cols = np.divmod(np.arange(places**2), places)
      parts.append(np.stack(
          [rows * self.stride, cols * self.stride,
           np.full(places**2, side)], axis=1))
    return np.concatenate(parts).astype(np.int32)

  def cut(self, images: jax.Array, chosen: jax.Array) -> jax.Array:
    """Computes T(X).

    Args:
      images: float32 [B, H, W, C].
      chosen: int32 [B, m] in [0, K).

    Returns:
      float32 [B, m, crop, crop, C].
    """
    one = (self._resized if any(side != self.crop for side, _ in self.windows)
           else self._plain)
    boxes = jnp.asarray(self.boxes())[chosen]
    return jax.vmap(jax.vmap(one, (None, 0)))(images, boxes)

  def cut_at(self, images: jax.Array, boxes: jax.Array) -> jax.Array:
    """Cuts windows at any place and of any size, on the grid or not.

    Args:
      images: float32 [B, H, W, C].
      boxes: int32 [B, m, 3], top, left and side in pixels, within the image.

    Returns:
      float32 [B, m, crop, crop, C].
    """
    return jax.vmap(jax.vmap(self._resized, (None, 0)))(images, boxes)

  def _plain(self, image: jax.Array, box: jax.Array) -> jax.Array:
    return lax.dynamic_slice(
        image, (box[0], box[1], 0), (self.crop, self.crop, image.shape[2]))

  def _resized(self, image: jax.Array, box: jax.Array) -> jax.Array:
    return sampling.resized_crop(image, box[0], box[1], box[2], box[2], self.crop)

  def shares(self, images: jax.Array) -> jax.Array:
    """The fraction of an image's ink that each window holds.

    Args:
      images: float32 [B, H, W, C] in [0, 1], black except for their content.

    Returns:
      float32 [B, K] in [0, 1]; 0 for black images.
    """
    ink = jnp.cumsum(jnp.cumsum(images.sum(axis=-1), axis=1), axis=2)
    ink = jnp.pad(ink, ((0, 0), (1, 0), (1, 0)))  # sum of all ink above and to the left
    top, left, side = self.boxes().T
    inside = (ink[:, top + side, left + side] - ink[:, top, left + side]
              - ink[:, top + side, left] + ink[:, top, left])
    return jnp.clip(inside / jnp.maximum(ink[:, -1:, -1], 1e-6), 0.0, 1.0)

  def mass_on_content(self, images: jax.Array, log_p: jax.Array) -> jax.Array:
    """P's mass on windows that hold at least half of an image's ink.

    Args:
      images: see `shares`.
      log_p: float32 [B, K].

    Returns:
      float32 [B] in [0, 1].
    """
    return jnp.sum(jnp.exp(log_p) * (self.shares(images) >= 0.5), axis=1)
