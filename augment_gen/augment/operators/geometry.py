"""Small geometric changes, as of another place of the camera or another lens."""

import math

import jax
import jax.numpy as jnp

from augment_gen.augment import sampling
from augment_gen.augment.operators.base import Amount, Amounts, Operator


def _geometry(image: jax.Array, amounts: Amounts, u: jax.Array) -> jax.Array:
  """Shift, turn, zoom, perspective and radial distortion, as one resampling.

  A pixel at p, in half shorter sides from the centre, shows the image at
  R(turn) p (1 + k |p|²) 2^(−zoom) / (1 + tilt · p) − shift. Bilinear sampling is exact
  for all amounts 0. Outside, the image goes on in the colour of its border.
  """
  del u
  rows, cols = sampling.pixel_grid(image)
  height, width = rows.shape
  half = min(height, width) / 2
  y, x = (rows + 0.5 - height / 2) / half, (cols + 0.5 - width / 2) / half
  scale = (1 + amounts["distortion"] * (x * x + y * y)) * jnp.exp2(-amounts["zoom"])
  scale = scale / (1 + amounts["tilt_right"] * x + amounts["tilt_down"] * y)
  angle = 2 * math.pi * amounts["turn"]
  source_x = scale * (jnp.cos(angle) * x - jnp.sin(angle) * y) - amounts["right"]
  source_y = scale * (jnp.sin(angle) * x + jnp.cos(angle) * y) - amounts["down"]
  # The border once more, so that its pixels have the slope of what lies beyond them.
  padded = jnp.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
  return sampling.warp(
      padded, jnp.clip(source_y * half + height / 2 + 0.5, 0.0, height + 1.0),
      jnp.clip(source_x * half + width / 2 + 0.5, 0.0, width + 1.0))


GEOMETRY = Operator("geometry", (
    Amount("right", "{share} are shifted to the right, by {range} px", -0.3, 0.3,
           (-0.07, 0.07), reads=lambda v: 14 * v),
    Amount("down", "{share} are shifted down, by {range} px", -0.3, 0.3, (-0.07, 0.07),
           reads=lambda v: 14 * v),
    Amount("turn", "{share} are turned to the left, by {range} degrees", -0.1, 0.1,
           (-0.02, 0.02), reads=lambda v: 360 * v),
    Amount("zoom", "{share} are larger, by a factor of {range}", -0.5, 0.5, (-0.1, 0.1),
           reads=lambda v: 2.0**v),
    Amount("tilt_right", "{share} are smaller on the right, by {range} % of their middle",
           -0.3, 0.3, (-0.05, 0.05), reads=lambda v: 100 * v),
    Amount("tilt_down", "{share} are smaller at the bottom, by {range} % of their middle",
           -0.3, 0.3, (-0.05, 0.05), reads=lambda v: 100 * v),
    Amount("distortion", "{share} are distorted, by {range} % at the border (above 0: "
           "barrel)", -0.3, 0.3, (-0.05, 0.05), reads=lambda v: 100 * v),
), _geometry)
