"""Resampling of images at places between their pixels.

Separable maps are two matrix products, which batch well on every backend. Their matrices
are nearly empty, though, so that XLA:CPU is faster if it takes the few pixels that count
(docs/experiments/021). General deformations gather once per output pixel.
"""

import math

import jax
from jax import lax
import jax.numpy as jnp

from augment_gen.run import forms

# A Gaussian is below float32's resolution at this many standard deviations.
_REACH = 5.5
# At 224 x 224, a shifted sum takes about as long as three columns of a product.
_COLUMNS_PER_TAP = 3


def resample(image: jax.Array, rows: jax.Array, cols: jax.Array) -> jax.Array:
  """Applies one linear map to the columns and one to the rows of an image.

  Args:
    image: [H, W, C].
    rows: [H', H] weights of the input rows for each output row.
    cols: [W', W] weights of the input columns for each output column.

  Returns:
    [H', W', C].
  """
  # At default precision, TPUs and GPUs would round pixels to 8 or 11 bits.
  return jnp.einsum("ph,hwc,qw->pqc", rows, image, cols,
                    precision=lax.Precision.HIGHEST)


def resized_crop(image: jax.Array, top, left, height, width,
                 side: int | None = None) -> jax.Array:
  """Cuts a box and resizes it, bilinear and antialiased.

  The result equals Pillow's `crop` and `resize(BILINEAR)`, without its rounding. Pixels
  outside the box have no influence.

  Args:
    image: [H, W, C].
    top, left, height, width: scalars, in pixels; the box must lie within the image.
    side: height and width of the result in pixels; None for those of the image.

  Returns:
    [H, W, C], or [side, side, C].
  """
  segments = (top, height), (left, width)
  outs = [side or size for size in image.shape[:2]]
  enlarges = all(out >= size for out, size in zip(outs, image.shape[:2]))
  if enlarges and forms.for_cpu():
    for axis, (segment, out) in enumerate(zip(segments, outs)):
      image = _enlarged(image, *segment, out, axis)
    return image
  rows, cols = (crop_weights(*segment, size, out)
                for segment, size, out in zip(segments, image.shape[:2], outs))
  return resample(image, rows, cols)


def _enlarged(image: jax.Array, start, length, out: int, axis: int) -> jax.Array:
  """A segment of one side of an image at `out` ≥ `length` places: two pixels for each."""
  place = start - 0.5 + length / out * (jnp.arange(out) + 0.5)
  before = jnp.floor(place)
  first, last = jnp.ceil(start - 0.5), jnp.ceil(start + length - 0.5) - 1

  def at(pixel):
    pixel = jnp.clip(pixel, first, last).astype(jnp.int32)
    return jnp.take(image, pixel, axis=axis, mode="clip")

  part = jnp.expand_dims(place - before, [n for n in range(image.ndim) if n != axis])
  return (1 - part) * at(before) + part * at(before + 1)


def crop_weights(start, length, size: int, out: int) -> jax.Array:
  """Weights that resize a segment of one side of an image.

  Args:
    start: scalar, the first pixel of the segment.
    length: scalar, the length of the segment in pixels.
    size: length of the image's side in pixels.
    out: length of the result in pixels.

  Returns:
    float32 [out, size]; each row sums to 1.
  """
  step = length / out
  support = jnp.maximum(step, 1.0)  # shrinking needs a wider tent
  pixels = jnp.arange(size) + 0.5
  centres = start + step * (jnp.arange(out) + 0.5)
  distance = jnp.abs(pixels[None, :] - centres[:, None])
  inside = (pixels > start) & (pixels < start + length)
  weights = jnp.maximum(0.0, 1.0 - distance / support) * inside[None, :]
  return weights / jnp.sum(weights, axis=1, keepdims=True)


def gaussian_blur(image: jax.Array, sigma, largest: float) -> jax.Array:
  """Blurs an image; the border pixel is not repeated (c b | a b c | b a).

  Args:
    image: [H, W, C].
    sigma: scalar > 0, in pixels, the same for rows and columns. The result is exact to
      float32 if sigma < min(H, W) / 6.
    largest: no smaller than `sigma`, known when this is traced.

  Returns:
    [H, W, C].
  """
  height, width = image.shape[:2]
  radius = math.ceil(_REACH * largest)
  if forms.for_cpu() and _COLUMNS_PER_TAP * (2 * radius + 1) <= min(height, width):
    taps = jnp.exp(-0.5 * jnp.square(jnp.arange(-radius, radius + 1.0) / sigma))
    planes = jnp.moveaxis(image, -1, 0)  # shifts along a row of pixels vectorise
    for axis in (1, 2):
      planes = _filtered(planes, taps / jnp.sum(taps), axis)
    return jnp.moveaxis(planes, 0, -1)
  return resample(image, gaussian_weights(height, sigma), gaussian_weights(width, sigma))


def _filtered(planes: jax.Array, taps: jax.Array, axis: int) -> jax.Array:
  """Sums shifted copies along one axis, with reflected borders."""
  radius, size = len(taps) // 2, planes.shape[axis]
  padding = [(radius, radius) if n == axis else (0, 0) for n in range(planes.ndim)]
  # XLA would otherwise compute the padding again for each shift.
  padded = lax.optimization_barrier(jnp.pad(planes, padding, mode="reflect"))
  return sum(tap * lax.slice_in_dim(padded, n, n + size, axis=axis)
             for n, tap in enumerate(taps))


def gaussian_weights(size: int, sigma) -> jax.Array:
  """Rows of a Gaussian filter with reflected borders, [size, size].

  As in torchvision's `GaussianBlur`, the border pixel itself is not repeated
  (c b | a b c | b a). Only one reflection is used, which is exact to float32 if
  sigma < size / 6. The kernel is not cut off.

  Args:
    size: length of the image's side in pixels.
    sigma: scalar > 0, in pixels.
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
  """Row and column of each pixel of an image [H, W, C], float32 [H, W] each."""
  height, width = image.shape[:2]
  rows, cols = jnp.meshgrid(jnp.arange(height, dtype=jnp.float32),
                            jnp.arange(width, dtype=jnp.float32), indexing="ij")
  return rows, cols


def warp(image: jax.Array, rows: jax.Array, cols: jax.Array) -> jax.Array:
  """Bilinear samples of an image that is surrounded by zeros.

  Args:
    image: [H, W, C].
    rows, cols: [H', W'], sampling positions in pixels; 0 is the centre of the first
      pixel.

  Returns:
    [H', W', C].
  """
  height, width, channels = image.shape
  # Put the four neighbours side by side, so that one gather fetches them all. Place
  # (i, j) of `corners` starts at pixel (i - 1, j - 1) of the image.
  padded = jnp.pad(image, ((1, 1), (1, 1), (0, 0)))
  corners = jnp.stack([padded[:-1, :-1], padded[:-1, 1:],
                       padded[1:, :-1], padded[1:, 1:]], axis=2)
  # All samples are zero up to -1, and from H or W on.
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
