"""The camera: rays through its pixels, lens, sensor and tone curve."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from augment_gen.data.products.vector import Vector, vector

_BLUR = 3  # taps on each side of the blur


class Camera(NamedTuple):
  """One camera and its settings.

  Attributes:
    eye: float32 [3], where it is.
    target: float32 [3], what is in the middle of the picture.
    roll: float32, turn about the axis of the lens, in radians.
    tangent: float32, tangent of half the angle of view.
    exposure: float32, factor on the light.
    white: float32 [3], white balance, factors on red, green and blue.
    defocus: float32, σ of the blur in thousandths of the picture's side.
    vignetting: float32, loss of light in the corners, in [0, 1).
    electrons: float32, electrons that a white pixel holds: shot noise has the variance
      value / electrons.
    read: float32, σ of the read noise; white is 1.
    contrast: float32, strength of an S-shaped tone curve, in [0, 1].
  """
  eye: Any
  target: Any
  roll: Any
  tangent: Any
  exposure: Any
  white: Any
  defocus: Any
  vignetting: Any
  electrons: Any
  read: Any
  contrast: Any


def rays(camera: Camera, side: int) -> Vector:
  """One ray through the middle of each of side × side cells, row by row.

  Returns:
    Unit vectors, float32 [side²] for each component.
  """
  eye, target = vector(camera.eye), vector(camera.target)
  ahead = (target - eye).unit()
  right = Vector(-ahead.z, 0.0 * ahead.x, ahead.x).unit()
  up = Vector(right.y * ahead.z - right.z * ahead.y, right.z * ahead.x - right.x * ahead.z,
              right.x * ahead.y - right.y * ahead.x)
  cos, sin = jnp.cos(camera.roll), jnp.sin(camera.roll)
  right, up = right * cos + up * sin, up * cos - right * sin
  place = ((jnp.arange(side) + 0.5) / side * 2.0 - 1.0) * camera.tangent
  x, y = jnp.tile(place, side), jnp.repeat(-place, side)
  spread = lambda v: Vector(*(jnp.full_like(x, c) for c in v))
  way = spread(ahead) + spread(right) * x + spread(up) * y
  return way.unit()


def develop(camera: Camera, radiance: jax.Array, noise: Any) -> jax.Array:
  """What the camera stores of the light that falls on it.

  Args:
    camera: its settings.
    radiance: float32 [S, S, 3], linear.
    noise: float32 [S, S, 3], standard normal numbers: the sensor's noise.

  Returns:
    float32 [S, S, 3] in [0, 1], encoded as sRGB.
  """
  side = radiance.shape[0]
  signal = blur(radiance, camera.defocus * side / 1000.0)
  place = (jnp.arange(side) + 0.5) / side * 2.0 - 1.0
  corner = 0.5 * (place[:, None, None]**2 + place[None, :, None]**2)
  signal *= camera.exposure * (1.0 - camera.vignetting * corner)
  signal = jnp.clip(signal, 0.0, 4.0)
  deviation = jnp.sqrt(signal / camera.electrons + camera.read**2)
  signal += deviation * noise
  # Light sources and bright spots saturate the sensor; white balance comes after it.
  signal = jnp.clip(jnp.clip(signal, 0.0, 1.2) * camera.white[None, None], 0.0, 1.0)
  encoded = srgb(signal)
  curved = encoded * encoded * (3.0 - 2.0 * encoded)
  return encoded + camera.contrast * (curved - encoded)


def blur(image: jax.Array, sigma: jax.Array) -> jax.Array:
  """Gaussian blur of [S, S, 3] with σ in pixels; the border is repeated outside."""
  offsets = jnp.arange(-_BLUR, _BLUR + 1)
  weights = jnp.exp(-0.5 * (offsets / jnp.maximum(sigma, 0.05))**2)
  weights /= weights.sum()
  side = image.shape[0]
  wide = jnp.pad(image, ((_BLUR, _BLUR), (_BLUR, _BLUR), (0, 0)), mode="edge")
  taps = range(len(offsets))
  rows = jnp.stack([weights[i] * wide[i:i + side] for i in taps]).sum(0)
  return jnp.stack([weights[i] * rows[:, i:i + side] for i in taps]).sum(0)


def srgb(linear: jax.Array) -> jax.Array:
  """The encoding of IEC 61966-2-1, of values in [0, 1]."""
  return jnp.where(linear <= 0.0031308, 12.92 * linear,
                   1.055 * jnp.maximum(linear, 0.0031308)**(1 / 2.4) - 0.055)
