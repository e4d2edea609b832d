"""Exposure, contrast and colour."""

import jax
import jax.numpy as jnp
import numpy as np

from augment_gen.augment import photometric
from augment_gen.augment.operators.base import Amount, Amounts, Operator

_DARKEST = 1e-3  # a power of 0 has no slope
# From colours of luma 0 to I and Q of YIQ (as in Python's colorsys), and back.
_TO_CHROMA = np.array([[0.74, 0.0, -0.27], [0.48, 0.0, 0.41]], np.float32)
_FROM_CHROMA = np.linalg.inv(np.stack([photometric.LUMA, *_TO_CHROMA]))[:, 1:].astype(
    np.float32)


def _tone(image: jax.Array, amounts: Amounts, u: jax.Array) -> jax.Array:
  """A tone curve: gamma, exposure, contrast about middle grey, and the negative.

  The negative, n (1 − x) + (1 − n) x, is on or off. On the way there an image would pass
  through plain grey, which no set of images looks like (docs/experiments/020).
  """
  del u
  x = jnp.clip(image, _DARKEST, 1.0)
  image = image + x ** jnp.exp2(amounts["gamma"]) - x
  image = image * jnp.exp2(amounts["exposure"])
  image = 0.5 + (1 + amounts["contrast"]) * (jnp.clip(image, 0.0, 1.0) - 0.5)
  return image + amounts["negative"] * (1 - 2 * image)


def _colour(image: jax.Array, amounts: Amounts, u: jax.Array) -> jax.Array:
  """White balance along and across the colours of lamps, hue, and saturation.

  Hue turns the two chroma channels of YIQ, so that grey stays grey, and luma what it is.
  As in HSV, it turns from red over yellow to green.
  """
  del u
  warmth, tint = amounts["warmth"], amounts["tint"]
  gains = jnp.exp2(jnp.stack([warmth / 2, tint, -warmth / 2]))[None, None]
  image = image * gains
  grey = photometric.luma(jnp.moveaxis(image, -1, 0))[..., None]
  chroma = jnp.einsum("hwc,dc->hwd", image - grey, _turned(-2 * jnp.pi * amounts["hue"]),
                      precision=jax.lax.Precision.HIGHEST)
  return grey + (1 + amounts["saturation"]) * chroma


def _turned(angle: jax.Array) -> jax.Array:
  """Turns hues by an angle: [3, 3], applied to colours whose luma is 0."""
  turn = jnp.stack([jnp.stack([jnp.cos(angle), -jnp.sin(angle)]),
                    jnp.stack([jnp.sin(angle), jnp.cos(angle)])])
  return jnp.linalg.multi_dot([jnp.asarray(_FROM_CHROMA), turn, jnp.asarray(_TO_CHROMA)],
                              precision=jax.lax.Precision.HIGHEST)


TONE = Operator("tone", (
    Amount("exposure", "exposure changes on {share}, by {range} stops", -4.0, 4.0,
           (-1.0, 1.0)),
    Amount("gamma", "gamma changes on {share}, to {range}", -2.0, 2.0, (-0.5, 0.5),
           reads=np.exp2),
    Amount("contrast", "contrast changes on {share}, to {range} of what it was",
           -0.95, 1.5, (-0.5, 0.3), reads=lambda v: 1 + v),
    Amount("negative", "{share} are negatives", 0.0, 1.0, (1.0, 1.0), share=0.3),
), _tone)

COLOUR = Operator("colour", (
    Amount("warmth", "white balance changes on {share}, red over blue by {range} stops",
           -3.0, 3.0, (-0.7, 0.7)),
    Amount("tint", "green changes on {share}, by {range} stops", -1.0, 1.0, (-0.2, 0.2)),
    Amount("hue", "hues turn on {share}, by {range} degrees", -0.5, 0.5, (-0.05, 0.05),
           reads=lambda v: 360 * v),
    Amount("saturation", "saturation changes on {share}, to {range} of what it was",
           -1.0, 1.0, (-0.4, 0.4), reads=lambda v: 1 + v),
), _colour, colour_only=True)
