"""What sensors and files add: noise, rasters, and compression."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from augment_gen.augment import sampling
from augment_gen.augment.operators import base
from augment_gen.augment.operators.base import Amount, Amounts, Operator

_LEAST = 1e-7
_BLOCK = 8  # side of a block of JPEG
# Of a period. Wider lines would run into one another and dim or brighten the whole image:
# with a price on exposure, G_A did so by them (docs/experiments/038).
_WIDEST = 0.6
_FINEST = 0.05  # f of `_compression`, of full scale


def _normal(u: jax.Array) -> jax.Array:
  """Uniform random numbers -> normal ones; u of 0 would give −∞."""
  return math.sqrt(2) * jax.scipy.special.erfinv(2 * jnp.maximum(u, _LEAST) - 1)


def _noise(image: jax.Array, amounts: Amounts, u: jax.Array) -> jax.Array:
  """Gaussian noise with a part that grows with the root of the light (shot noise)."""
  light = jnp.sqrt(jnp.clip(image, 0.0, 1.0) + 1e-4)
  std = amounts["read"] + amounts["shot"] * light
  return image + std * _normal(u)


def _raster(image: jax.Array, amounts: Amounts, u: jax.Array) -> jax.Array:
  """Parallel lines, light or dark, as of a screen, a scanner or print.

  Dark lines lie between the light ones. Drawn in the same places, they would hide them,
  and G_A could not learn light lines once it drew dark ones (docs/experiments/032). A
  line is no wider than `_WIDEST` of a period.
  """
  rows, cols = sampling.pixel_grid(image)
  angle = 2 * math.pi * amounts["turns"]
  along = jnp.cos(angle) * rows + jnp.sin(angle) * cols
  scale = base.pixel(image)
  period = scale * amounts["period"]
  reach = jnp.minimum(scale * amounts["width"], _WIDEST * period) / 2

  def lines(shift):
    """The cover [H, W] of lines with an edge one pixel soft."""
    place = along / period + u[0] + shift
    distance = period * jnp.abs(place - jnp.round(place))
    return jnp.clip(reach + 0.5 - distance, 0.0, 1.0)

  image = base.paint(image, amounts["dark"] * lines(0.5), 0.0)
  return base.paint(image, amounts["light"] * lines(0.0), 1.0)


def _cosines() -> np.ndarray:
  """The orthonormal DCT-II of a block, [frequency, place]."""
  k, n = np.arange(_BLOCK)[:, None], np.arange(_BLOCK)[None]
  basis = np.sqrt(2 / _BLOCK) * np.cos(np.pi * (n + 0.5) * k / _BLOCK)
  basis[0] /= np.sqrt(2)
  return basis.astype(np.float32)


def _compression(image: jax.Array, amounts: Amounts, u: jax.Array) -> jax.Array:
  """JPEG-like loss: small coefficients of each 8 x 8 block vanish.

  A coefficient c becomes c (1 − q² / (q² + c² + f²)), where JPEG rounds c / q: the same
  for large and for small ones, but smooth. q² grows with the frequency, and f keeps the
  slope along q² from growing beyond bounds for the smallest coefficients.
  """
  del u
  height, width, channels = image.shape
  pads = [(0, -size % _BLOCK) for size in (height, width)]
  x = jnp.pad(image, (*pads, (0, 0)), mode="edge")
  blocks = x.reshape(
      x.shape[0] // _BLOCK, _BLOCK, x.shape[1] // _BLOCK, _BLOCK, channels)
  basis, exact = jnp.asarray(_cosines()), jax.lax.Precision.HIGHEST
  c = jnp.einsum("ayxuc,ky,lu->akxlc", blocks, basis, basis, precision=exact)
  frequency = np.arange(_BLOCK)[:, None] + np.arange(_BLOCK)[None]
  share = jnp.asarray(frequency / (2 * _BLOCK - 2), jnp.float32)
  square = amounts["strength"] * share[None, :, None, :, None]
  lost = c * square / (square + jnp.square(c) + _FINEST**2)
  change = jnp.einsum("akxlc,ky,lu->ayxuc", lost, basis, basis, precision=exact)
  return image - change.reshape(x.shape)[:height, :width]


NOISE = Operator("noise", (
    Amount("read", "{share} are noisy everywhere, σ {range} grey levels", 0.0, 0.5,
           (-0.3, 0.2), reads=lambda v: 255 * v),
    Amount("shot", "{share} are noisy where they are light, σ {range} grey levels at white",
           0.0, 0.5, (-0.3, 0.15), reads=lambda v: 255 * v),
), _noise, draws=lambda shape: shape)

RASTER = Operator("raster", (
    Amount("light", "white lines on {share}, opacity {range} %", 0.0, 1.0, (-0.8, 0.4),
           reads=lambda v: 100 * v),
    Amount("dark", "black lines on {share}, opacity {range} %", 0.0, 1.0, (-0.8, 0.4),
           reads=lambda v: 100 * v),
    Amount("period", "period {range} px", 2.0, 8.0, (2.2, 5.0), strength=False,
           shown_by=("light", "dark")),
    Amount("width", "width {range} px", 0.3, 4.0, (0.8, 2.0), strength=False,
           shown_by=("light", "dark")),
    Amount("turns", "direction {range} degrees", 0.0, 0.5, (0.0, 0.5), strength=False,
           shown_by=("light", "dark"), reads=lambda v: 360 * v),
), _raster, draws=lambda shape: (1,))

COMPRESSION = Operator("compression", (
    Amount("strength", "{share} are compressed, coefficients below {range} grey levels "
           "are lost", 0.0, 0.1, (-0.06, 0.03), reads=lambda v: 255 * np.sqrt(v)),
), _compression)
