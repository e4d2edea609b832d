"""Random crops, flips, affine and elastic deformations of single images.

Random augmentations take `(key, image)` with a float32 image [H, W, C] in [0, 1], where C
is 1 or 3. They return the same shape and range and are meant for vmap over keys and
images. Functions without a key are deterministic and can be tested on their own.
"""

import math

import jax
import jax.numpy as jnp

from augment_gen.augment import sampling
from augment_gen.run import forms

_CROP_TRIES = 10


def draw_crop_box(
    key: jax.Array, shape: tuple[int, int], *, scale: tuple[float, float],
    ratio: tuple[float, float],
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
  """Draws a box as in torchvision's `RandomResizedCrop.get_params`.

  Area and log aspect ratio are uniform. The box is the first of ten draws that fits the
  image. If none fits, it is the largest central box of an allowed ratio. All ten are
  drawn at once, so the distribution is torchvision's but the work does not depend on
  the key.

  Args:
    key: PRNG key.
    shape: H and W of the image, in pixels.
    scale: smallest and largest area, as a fraction of the image's area.
    ratio: smallest and largest width / height.

  Returns:
    top, left, height, width: float32 scalars with integer values, in pixels.
  """
  image_height, image_width = shape
  # One draw for all: on CPU, each is a loop of its own (docs/experiments/016).
  u_area, u_aspect, place = jnp.split(
      jax.random.uniform(key, (2 * _CROP_TRIES + 2,)), [_CROP_TRIES, 2 * _CROP_TRIES])
  area = image_height * image_width * (scale[0] + (scale[1] - scale[0]) * u_area)
  log_ratio = math.log(ratio[0]), math.log(ratio[1])
  aspect = jnp.exp(log_ratio[0] + (log_ratio[1] - log_ratio[0]) * u_aspect)
  widths = jnp.round(jnp.sqrt(area * aspect))
  heights = jnp.round(jnp.sqrt(area / aspect))
  fits = ((widths > 0) & (widths <= image_width)
          & (heights > 0) & (heights <= image_height))
  first = jnp.argmax(fits)

  central_width = min(image_width, round(image_height * ratio[1]))
  central_height = min(image_height, round(image_width / ratio[0]))

  any_fits = jnp.any(fits)
  width = jnp.where(any_fits, widths[first], central_width)
  height = jnp.where(any_fits, heights[first], central_height)
  # The minimum guards against u * n rounding up to n.
  top = jnp.minimum(jnp.floor(place[0] * (image_height - height + 1)),
                    image_height - height)
  left = jnp.minimum(jnp.floor(place[1] * (image_width - width + 1)),
                     image_width - width)
  top = jnp.where(any_fits, top, (image_height - central_height) // 2)
  left = jnp.where(any_fits, left, (image_width - central_width) // 2)
  return top, left, height, width


def random_resized_crop(
    key: jax.Array, image: jax.Array, *, scale: tuple[float, float],
    ratio: tuple[float, float] = (3 / 4, 4 / 3), side: int | None = None,
) -> jax.Array:
  """Cuts a random box and resizes it (Szegedy et al. 2015).

  Args:
    key: PRNG key.
    image: [H, W, C] in [0, 1].
    scale: range of the box's area, as a fraction of the image's area.
    ratio: range of the box's width / height, drawn uniformly in its logarithm.
    side: height and width of the result in pixels; None for those of the image.

  Returns:
    [H, W, C] or [side, side, C], in [0, 1].
  """
  height, width = image.shape[:2]
  box = draw_crop_box(key, (height, width), scale=scale, ratio=ratio)
  return jnp.clip(sampling.resized_crop(image, *box, side), 0.0, 1.0)


def horizontal_flip(key: jax.Array, image: jax.Array, *,
                    p: float = 0.5) -> jax.Array:
  """Mirrors left and right with probability `p`."""
  mirrored = jax.random.bernoulli(key, p)
  if forms.for_cpu():  # XLA:CPU does not vectorise a loop that reads backwards
    columns = jnp.arange(image.shape[1])
    columns = jnp.where(mirrored, columns[::-1], columns)
    return jnp.take(image, columns, axis=1, mode="clip")
  return jnp.where(mirrored, image[:, ::-1], image)


def affine(image: jax.Array, angle, shift_y, shift_x, scale,
           shear) -> jax.Array:
  """Shears, scales, rotates about the centre, then shifts, filling with zeros.

  Args:
    image: [H, W, C].
    angle: radians, from the x axis (right) towards the y axis (down).
    shift_y, shift_x: pixels.
    scale: factor; values above 1 enlarge.
    shear: radians; a pixel at height y moves by tan(shear) * y in x.

  Returns:
    [H, W, C], with bilinear interpolation.
  """
  rows, cols = sampling.pixel_grid(image)
  centre_y, centre_x = (image.shape[0] - 1) / 2, (image.shape[1] - 1) / 2
  # Find the source of each output pixel: invert each step, the last one first.
  y, x = rows - centre_y - shift_y, cols - centre_x - shift_x
  cos, sin = jnp.cos(angle) / scale, jnp.sin(angle) / scale
  y, x = cos * y - sin * x, sin * y + cos * x
  x = x - jnp.tan(shear) * y
  return sampling.warp(image, y + centre_y, x + centre_x)


def random_affine(
    key: jax.Array, image: jax.Array, *, degrees: float = 0.0,
    translate: float = 0.0, scale: tuple[float, float] = (1.0, 1.0),
    shear: float = 0.0,
) -> jax.Array:
  """Applies a random affine map, bilinear, filling with zeros (a dark background).

  Args:
    key: PRNG key.
    image: [H, W, C] in [0, 1].
    degrees: largest rotation to either side, in degrees.
    translate: largest shift in each direction, as a fraction of the side.
    scale: range of the scale factor.
    shear: largest horizontal shear to either side, in degrees.

  Returns:
    [H, W, C] in [0, 1].
  """
  # One draw for all: on CPU, each is a loop of its own (docs/experiments/016).
  *signed, u_scale = jax.random.uniform(key, (5,))
  u_angle, u_shear, u_y, u_x = (2 * u - 1 for u in signed)
  out = affine(
      image, math.radians(degrees) * u_angle, translate * u_y * image.shape[0],
      translate * u_x * image.shape[1], scale[0] + (scale[1] - scale[0]) * u_scale,
      math.radians(shear) * u_shear)
  return jnp.clip(out, 0.0, 1.0)


def elastic(key: jax.Array, image: jax.Array, *, alpha: float,
            sigma: float) -> jax.Array:
  """Elastic deformation (Simard, Steinkraus and Platt 2003), filling with zeros.

  Each pixel is sampled from a place displaced by smoothed uniform noise.

  Args:
    key: PRNG key.
    image: [H, W, C] in [0, 1].
    alpha: strength, in pixels; the noise before smoothing is uniform on
      [-alpha, alpha] in each direction.
    sigma: standard deviation of the Gaussian that smooths the noise, in pixels, > 0.

  Returns:
    [H, W, C] in [0, 1].
  """
  height, width = image.shape[:2]
  noise = jax.random.uniform(key, (height, width, 2), minval=-alpha,
                             maxval=alpha)
  shift = sampling.gaussian_blur(noise, sigma, sigma)
  rows, cols = sampling.pixel_grid(image)
  out = sampling.warp(image, rows + shift[..., 0], cols + shift[..., 1])
  return jnp.clip(out, 0.0, 1.0)
