"""How the augmentations read an image at other places than its pixels.

Separable maps are two matrix products, which batch well on every backend;
general deformations gather, once per output pixel.
"""

import jax
from jax import lax
import jax.numpy as jnp


def resample(image: jax.Array, rows: jax.Array, cols: jax.Array) -> jax.Array:
  """Applies one linear map to the columns and one to the rows of an image.

  Args:
    image: [H, W, C].
    rows: [H', H] weights of the input rows for each output row.
    cols: [W', W] weights of the input columns for each output column.

  Returns:
    [H', W', C].
  """
  # HIGHEST: the default of TPUs and GPUs would round pixels to 8 or 11 bits.
  return jnp.einsum("ph,hwc,qw->pqc", rows, image, cols,
                    precision=lax.Precision.HIGHEST)


def crop_weights(start, length, size: int, out: int | None = None) -> jax.Array:
  """Weights that resize a part of one side of an image.

  Args:
    start: first pixel of the part; a scalar, as `length`.
    length: of the part, pixels.
    size: of the image's side, pixels.
    out: pixels that the part becomes; None: as many as the side has.

  Returns:
    float32 [out, size], rows that sum to 1.
  """
  out = size if out is None else out
  step = length / out
  support = jnp.maximum(step, 1.0)  # a wider tent when the crop is shrunk
  pixels = jnp.arange(size) + 0.5
  centres = start + step * (jnp.arange(out) + 0.5)
  distance = jnp.abs(pixels[None, :] - centres[:, None])
  inside = (pixels > start) & (pixels < start + length)
  weights = jnp.maximum(0.0, 1.0 - distance / support) * inside[None, :]
  return weights / jnp.sum(weights, axis=1, keepdims=True)


def gaussian_weights(size: int, sigma) -> jax.Array:
  """[size, size] rows of a Gaussian filter, reflected at the borders.

  As torchvision's `GaussianBlur` the border pixel itself is not repeated
  (c b | a b c | b a). One reflection is taken: exact to float32 while
  sigma < size / 6. The kernel is not cut off.

  Args:
    size: pixels.
    sigma: scalar > 0, pixels.
  """
  pixel = jnp.arange(size, dtype=jnp.float32)
  out, source = pixel[:, None], pixel[None, :]

  def kernel(distance):
    return jnp.exp(-0.5 * jnp.square(distance / sigma))

  weights = kernel(out - source)
  weights += jnp.where(source > 0, kernel(out + source), 0.0)
  weights += jnp.where(source < size - 1,
                       kernel(2 * (size - 1) - source - out), 0.0)
  return weights / jnp.sum(weights, axis=1, keepdims=True)


def pixel_grid(image: jax.Array) -> tuple[jax.Array, jax.Array]:
  """float32 [H, W] row and column of each pixel of an image [H, W, C]."""
  height, width = image.shape[:2]
  return jnp.meshgrid(jnp.arange(height, dtype=jnp.float32),
                      jnp.arange(width, dtype=jnp.float32), indexing="ij")


def warp(image: jax.Array, rows: jax.Array, cols: jax.Array) -> jax.Array:
  """Bilinear samples of an image that is surrounded by zeros.

  Args:
    image: [H, W, C].
    rows, cols: [H', W'] where to sample, in pixels; 0 is the first centre.

  Returns:
    [H', W', C].
  """
  height, width, channels = image.shape
  # All four neighbours side by side, so that one gather fetches them; place
  # (i, j) of `corners` starts at pixel (i - 1, j - 1) of the image.
  padded = jnp.pad(image, ((1, 1), (1, 1), (0, 0)))
  corners = jnp.stack([padded[:-1, :-1], padded[:-1, 1:],
                       padded[1:, :-1], padded[1:, 1:]], axis=2)
  # From -1 and H on all that is seen is zero.
  rows = jnp.clip(rows, -1.0, height) + 1.0
  cols = jnp.clip(cols, -1.0, width) + 1.0
  top = jnp.minimum(jnp.floor(rows), height).astype(jnp.int32)
  left = jnp.minimum(jnp.floor(cols), width).astype(jnp.int32)
  taps = jnp.take(corners.reshape(-1, 4, channels), top * (width + 1) + left,
                  axis=0, mode="clip")  # [H', W', 4, C]
  down, right = rows - top, cols - left
  weights = jnp.stack([(1 - down) * (1 - right), (1 - down) * right,
                       down * (1 - right), down * right], axis=-1)
  return jnp.sum(taps * weights[..., None], axis=2)
