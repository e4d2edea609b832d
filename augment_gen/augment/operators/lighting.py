"""Light that changes slowly over the image: shading and glare."""

import math

import jax
import jax.numpy as jnp

from augment_gen.augment import sampling
from augment_gen.augment.operators.base import Amount, Amounts, Operator


def _ramp(image: jax.Array, turns: jax.Array) -> jax.Array:
  """Rises linearly from 0 to 1 across the image, [H, W]; `turns` is its direction."""
  rows, cols = sampling.pixel_grid(image)
  height, width = rows.shape
  y, x = (rows + 0.5) / height - 0.5, (cols + 0.5) / width - 0.5
  angle = 2 * math.pi * turns
  along = jnp.cos(angle) * x + jnp.sin(angle) * y
  reach = (jnp.abs(jnp.cos(angle)) * (1 - 1 / width)
           + jnp.abs(jnp.sin(angle)) * (1 - 1 / height))
  return along / reach + 0.5


def _from_centre(image: jax.Array) -> jax.Array:
  """The squared distance from the centre, 0 there and 1 in the corners, [H, W]."""
  rows, cols = sampling.pixel_grid(image)
  y, x = (2 * at / max(size - 1, 1) - 1 for at, size in zip((rows, cols), rows.shape))
  return (jnp.square(y) + jnp.square(x)) / 2


def _tint(channels: int, warmth: jax.Array | float) -> jax.Array:
  """A light's colour [1, 1, C], its largest channel 1: blue below 0, red above."""
  if channels == 1:
    return jnp.ones((1, 1, 1))
  gains = jnp.asarray([0.5, 0.0, -0.5]) * warmth
  return jnp.exp2(gains - jnp.max(gains))[None, None]


def _shading(image: jax.Array, amounts: Amounts, u: jax.Array) -> jax.Array:
  """Less light on one side or in the corners: x · (1 − s · d) · (1 − c · r²).

  d rises from 0 to 1 along an edge. An edge as wide as the image is light that falls off
  evenly; a narrow one is the border of the shadow that a spotlight leaves on a body. r is
  the distance from the centre, 1 at the corners, where lenses lose light (vignetting).
  """
  del u
  ramp = _ramp(image, amounts["turns"])
  dark = jnp.clip((ramp - amounts["place"]) / amounts["width"] + 0.5, 0.0, 1.0)
  light = (1 - amounts["strength"] * dark) * (
      1 - amounts["corners"] * _from_centre(image))
  return image * light[..., None]


def _glare(image: jax.Array, amounts: Amounts, u: jax.Array) -> jax.Array:
  """Light added from one side or, as haze does, evenly: x + (1 − x) · g ("screen")."""
  del u
  ramp = _ramp(image, amounts["turns"])
  light = amounts["strength"] * (ramp + amounts["evenness"] * (1 - ramp))
  light = light[..., None] * _tint(image.shape[-1], amounts.get("warmth", 0.0))
  return image + (1 - image) * light


def _direction(start: tuple[float, float] = (0.0, 1.0)) -> Amount:
  return Amount("turns", "direction {range} degrees clockwise from the right", 0.0, 1.0,
                start, strength=False, shown_by=("strength",), reads=lambda v: 360 * v)


SHADING = Operator("shading", (
    Amount("strength", "one side of {share} is darker, by {range} % of the light", 0.0,
           1.0, (-1.0, 0.6), reads=lambda v: 100 * v),
    _direction(),
    Amount("place", "the edge of the shadow lies at {range} % of the way", 0.2, 0.8,
           (0.4, 0.6), strength=False, shown_by=("strength",), reads=lambda v: 100 * v),
    Amount("width", "that edge is {range} % of the image wide", 0.05, 1.0, (0.4, 1.0),
           strength=False, shown_by=("strength",), reads=lambda v: 100 * v),
    Amount("corners", "the corners of {share} are darker, by {range} % of the light", 0.0,
           1.0, (-1.0, 0.6), reads=lambda v: 100 * v),
), _shading)

GLARE = Operator("glare", (
    Amount("strength", "light falls on {share}, up to {range} % of full scale", 0.0, 1.0,
           (-1.0, 0.6), reads=lambda v: 100 * v),
    _direction(),
    Amount("evenness", "the far side gets {range} % of it", 0.0, 1.0, (0.0, 0.6),
           strength=False, shown_by=("strength",), reads=lambda v: 100 * v),
    Amount("warmth", "its red is {range} stops above its blue", -3.0, 3.0, (-0.7, 0.7),
           strength=False, shown_by=("strength",), colour_only=True),
), _glare)
