"""Marks on the scene: specks, scratches, spots, and occluders."""

import math

import jax
import jax.numpy as jnp

from augment_gen.augment import sampling
from augment_gen.augment.operators import base
from augment_gen.augment.operators.base import Amount, Amounts, Operator

_BARE = 1e-6  # what shows through an opaque object; its logarithm is finite
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
  centre_row, centre_col = _centres(image, u[:2])
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
  image = _painted(image, covers[_SCRATCHES:], amounts["dark"], 0.0)
  return _painted(image, covers[:_SCRATCHES], amounts["light"], 1.0)


def _spots(image: jax.Array, amounts: Amounts, u: jax.Array) -> jax.Array:
  """Soft round spots, bright (glare of a lamp) and dark (stains), at random places."""
  scale = base.pixel(image)
  rows, cols = sampling.pixel_grid(image)
  centre_row, centre_col = _centres(image, u[:2])
  radius = scale * amounts["radius"] * (0.5 + u[2])
  square = (jnp.square(rows[None] - centre_row[:, None, None])
            + jnp.square(cols[None] - centre_col[:, None, None]))
  covers = jnp.exp(-0.5 * square / jnp.square(radius)[:, None, None])
  image = _painted(image, covers[_SPOTS:], amounts["dark"], 0.0)
  return _painted(image, covers[:_SPOTS], amounts["light"], 1.0)


def _occluders(image: jax.Array, amounts: Amounts, u: jax.Array) -> jax.Array:
  """Dark and light rectangles that hide what is behind them."""
  scale = base.pixel(image)
  rows, cols = sampling.pixel_grid(image)
  centre_row, centre_col = _centres(image, u[:2])
  half = scale * amounts["side"] / 2 * (0.6 + 0.8 * u[2:])
  inside = lambda at, centre, half: jnp.clip(
      half[:, None, None] + 0.5 - jnp.abs(at[None] - centre[:, None, None]), 0.0, 1.0)
  covers = inside(rows, centre_row, half[0]) * inside(cols, centre_col, half[1])
  image = _painted(image, covers[:_OCCLUDERS], amounts["dark"], amounts["dark_tone"])
  return _painted(image, covers[_OCCLUDERS:], amounts["light"], amounts["light_tone"])


def _centres(image: jax.Array, u: jax.Array) -> jax.Array:
  """Places of objects, uniform over the image: u [2, n] -> rows and columns [2, n]."""
  return jnp.asarray(image.shape[:2], jnp.float32)[:, None] * u


def _painted(image: jax.Array, covers: jax.Array, number: jax.Array, tone) -> jax.Array:
  """Paints the first `number` of some objects, given the cover of each, [n, H, W]."""
  opacity = base.presence(number, len(covers))[:, None, None]
  # As a sum of logarithms. XLA:CPU copies all that makes a cover into every factor of a
  # product, and then takes twice as long to compile the chain.
  bare = jnp.exp(jnp.sum(jnp.log(jnp.maximum(1 - opacity * covers, _BARE)), axis=0))
  return base.paint(image, 1 - bare, tone)


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
