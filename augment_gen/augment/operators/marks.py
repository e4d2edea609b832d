"""Marks on the scene: specks, scratches, spots, and occluders."""

import math

import jax
import jax.numpy as jnp

from augment_gen.augment import sampling
from augment_gen.augment.operators import base
from augment_gen.augment.operators.base import Amount, Amounts, Operator

_SOFT = 0.2  # share of the specks that are not full yet
_FEWEST = 1e-3  # density below which specks are faint
_SCRATCHES = 4  # of each tone, at most
_SPOTS = 3  # of each tone, at most
_OCCLUDERS = 3  # of each tone, at most


def _specks(image: jax.Array, amounts: Amounts, u: jax.Array) -> jax.Array:
  """Specks of one pixel and of 2 x 2, white and black, at random places.

  A pixel starts a speck if its random number is below the density p. The speck is full
  below (1 − _SOFT) p. Averaged over the partial ones, the slope of a loss along p is
  what a whole speck more or less changes, however bent the loss is between the two. A
  hard step with a soft gradient would only know what a faint speck does, which a
  discriminator that knows full specks rejects (docs/experiments/017).
  """
  density = jnp.stack([amounts["light"], amounts["light_large"],
                       amounts["dark"], amounts["dark_large"]])[:, None, None]
  starts = jnp.clip((density - u) / (_SOFT * density + _FEWEST), 0.0, 1.0)
  # Where there are none, the slope is that of the first faint ones.
  first = jnp.where(u < _FEWEST, density - jax.lax.stop_gradient(density), 0.0) / _FEWEST
  starts += jnp.where(density > 0, 0.0, first)
  for small, large, tone in ((0, 1, 1.0), (2, 3, 0.0)):
    wide = jnp.pad(starts[large], ((1, 0), (1, 0)))
    cover = 1 - (1 - starts[small]) * (1 - wide[1:, 1:]) * (1 - wide[:-1, 1:]) * (
        1 - wide[1:, :-1]) * (1 - wide[:-1, :-1])
    image = base.paint(image, cover, tone)
  return image


def _scratches(image: jax.Array, amounts: Amounts, u: jax.Array) -> jax.Array:
  """Straight lines with round ends, white and black, of random place and direction."""
  scale = base.pixel(image)
  rows, cols = sampling.pixel_grid(image)
  centre_row, centre_col = u[0] * rows.shape[0], u[1] * rows.shape[1]
  angle = math.pi * u[2]
  half = scale * amounts["length"] * (0.5 + u[3]) / 2
  reach = scale * amounts["width"] / 2

  def cover(centre_row, centre_col, angle, half):
    y, x = rows - centre_row, cols - centre_col
    along = jnp.cos(angle) * x + jnp.sin(angle) * y
    across = jnp.cos(angle) * y - jnp.sin(angle) * x
    beyond = jnp.maximum(jnp.abs(along) - half, 0.0)
    distance = jnp.sqrt(jnp.square(across) + jnp.square(beyond) + 1e-4)
    return jnp.clip(reach + 0.5 - distance, 0.0, 1.0)

  covers = jax.vmap(cover)(centre_row, centre_col, angle, half)
  opacity = jnp.concatenate([base.presence(amounts["light"], _SCRATCHES),
                             base.presence(amounts["dark"], _SCRATCHES)])
  covers = covers * opacity[:, None, None]
  image = base.paint(image, 1 - jnp.prod(1 - covers[_SCRATCHES:], axis=0), 0.0)
  return base.paint(image, 1 - jnp.prod(1 - covers[:_SCRATCHES], axis=0), 1.0)


def _spots(image: jax.Array, amounts: Amounts, u: jax.Array) -> jax.Array:
  """Soft round spots, bright (glare of a lamp) and dark (stains), at random places."""
  scale = base.pixel(image)
  rows, cols = sampling.pixel_grid(image)
  centre_row, centre_col = u[0] * rows.shape[0], u[1] * rows.shape[1]
  radius = scale * amounts["radius"] * (0.5 + u[2])
  square = (jnp.square(rows[None] - centre_row[:, None, None])
            + jnp.square(cols[None] - centre_col[:, None, None]))
  opacity = jnp.concatenate([base.presence(amounts["light"], _SPOTS),
                             base.presence(amounts["dark"], _SPOTS)])
  covers = opacity[:, None, None] * jnp.exp(
      -0.5 * square / jnp.square(radius)[:, None, None])
  image = base.paint(image, 1 - jnp.prod(1 - covers[_SPOTS:], axis=0), 0.0)
  return base.paint(image, 1 - jnp.prod(1 - covers[:_SPOTS], axis=0), 1.0)


def _occluders(image: jax.Array, amounts: Amounts, u: jax.Array) -> jax.Array:
  """Dark and light rectangles that hide what is behind them."""
  scale = base.pixel(image)
  rows, cols = sampling.pixel_grid(image)
  centre_row, centre_col = u[0] * rows.shape[0], u[1] * rows.shape[1]
  half = scale * amounts["side"] / 2 * (0.6 + 0.8 * u[2:])
  inside = lambda at, centre, half: jnp.clip(
      half[:, None, None] + 0.5 - jnp.abs(at[None] - centre[:, None, None]), 0.0, 1.0)
  covers = inside(rows, centre_row, half[0]) * inside(cols, centre_col, half[1])
  for tone, kind in (("dark", slice(_OCCLUDERS)), ("light", slice(_OCCLUDERS, None))):
    opacity = base.presence(amounts[tone], _OCCLUDERS)[:, None, None]
    cover = 1 - jnp.prod(1 - opacity * covers[kind], axis=0)
    image = base.paint(image, cover, amounts[f"{tone}_tone"])
  return image


SPECKS = Operator("specks", (
    Amount("light", "white specks of one pixel on {share}, on {range} % of the area",
           0.0, 0.25, (-0.12, 0.06), reads=lambda v: 100 * v),
    Amount("light_large", "white specks of 2 x 2 on {share}, from {range} % of the pixels",
           0.0, 0.1, (-0.06, 0.02), latent="light", reads=lambda v: 100 * v),
    Amount("dark", "black specks of one pixel on {share}, on {range} % of the area",
           0.0, 0.25, (-0.12, 0.06), reads=lambda v: 100 * v),
    Amount("dark_large", "black specks of 2 x 2 on {share}, from {range} % of the pixels",
           0.0, 0.1, (-0.06, 0.02), latent="dark", reads=lambda v: 100 * v),
), _specks, draws=lambda shape: (4, *shape[:2]))

SCRATCHES = Operator("scratches", (
    Amount("light", "white scratches on {share}, {range} of them", 0.0, _SCRATCHES,
           (-3.0, 1.5)),
    Amount("dark", "black scratches on {share}, {range} of them", 0.0, _SCRATCHES,
           (-3.0, 1.5)),
    Amount("length", "length {range} px", 2.0, 28.0, (6.0, 20.0),
           strength=False, shown_by=("light", "dark")),
    Amount("width", "width {range} px", 0.3, 4.0, (0.8, 1.8), strength=False,
           latent="length", shown_by=("light", "dark")),
), _scratches, draws=lambda shape: (4, 2 * _SCRATCHES))

SPOTS = Operator("spots", (
    Amount("light", "soft bright spots on {share}, {range} of them", 0.0, _SPOTS,
           (-2.4, 1.2)),
    Amount("dark", "soft dark spots on {share}, {range} of them", 0.0, _SPOTS,
           (-2.4, 1.2)),
    Amount("radius", "radius (σ) {range} px", 0.7, 10.0, (2.0, 6.0), strength=False,
           shown_by=("light", "dark")),
), _spots, draws=lambda shape: (3, 2 * _SPOTS))

# Dark and light ones apart: were their grey value one distribution, all would vanish
# before it had narrowed down to the right one (docs/experiments/017).
OCCLUDERS = Operator("occluders", (
    Amount("dark", "dark rectangles hide parts of {share}, {range} of them", 0.0,
           _OCCLUDERS, (-2.4, 1.2)),
    Amount("dark_tone", "grey value {range} of full scale", 0.0, 1.0, (0.0, 0.2),
           strength=False, shown_by=("dark",)),
    Amount("light", "light rectangles hide parts of {share}, {range} of them", 0.0,
           _OCCLUDERS, (-2.4, 1.2)),
    Amount("light_tone", "grey value {range} of full scale", 0.0, 1.0, (0.8, 1.0),
           strength=False, shown_by=("light",)),
    Amount("side", "side {range} px", 2.0, 20.0, (5.0, 12.0), strength=False,
           shown_by=("dark", "light")),
), _occluders, draws=lambda shape: (4, 2 * _OCCLUDERS))
