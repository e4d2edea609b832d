"""Blur of the lens and sharpening by the camera."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from augment_gen.augment.operators import base
from augment_gen.augment.operators.base import Amount, Amounts, Operator

_TAPS = 9  # samples along a motion


def _filtered(image: jax.Array, transfer) -> jax.Array:
  """Multiplies the spectrum of an image with reflected borders.

  Args:
    image: [H, W, C].
    transfer: (ω_y [H', 1], ω_x [1, W']) -> [H', W'], in radians per pixel.
  """
  height, width = image.shape[:2]
  top, left = -(-height // 4), -(-width // 4)
  x = jnp.moveaxis(jnp.pad(
      image, ((top, top), (left, left), (0, 0)), mode="symmetric"), -1, 0)
  rows, cols = x.shape[1:]
  response = transfer(
      jnp.asarray(2 * np.pi * np.fft.fftfreq(rows), jnp.float32)[:, None],
      jnp.asarray(2 * np.pi * np.fft.rfftfreq(cols), jnp.float32)[None, :])
  x = jnp.fft.irfft2(jnp.fft.rfft2(x) * response[None], s=(rows, cols))
  return jnp.moveaxis(x, 0, -1)[top:top + height, left:left + width]


def _spread(omega_y: jax.Array, omega_x: jax.Array) -> jax.Array:
  """(1 − cos ω_y) + (1 − cos ω_x): half of minus the discrete Laplacian."""
  return 2.0 - jnp.cos(omega_y) - jnp.cos(omega_x)


def _blur(image: jax.Array, amounts: Amounts, u: jax.Array) -> jax.Array:
  """Defocus (Gaussian) and motion along a line, as one filter.

  The amounts are variances: at 0, an image changes in proportion to a variance, but not
  to σ or a length. The Gaussian is the discrete one of Lindeberg (1990), exp(v Δ/2),
  which has this slope also where σ is less than a pixel.
  """
  del u
  scale = base.pixel(image) ** 2
  defocus = scale * amounts["defocus"]
  # A line of length L has the variance L² / 12.
  length = jnp.sqrt(12 * scale * amounts["motion"] + 1e-4)
  angle = 2 * math.pi * amounts["turns"]

  def transfer(omega_y, omega_x):
    along = length * (jnp.cos(angle) * omega_x + jnp.sin(angle) * omega_y)
    taps = (np.arange(_TAPS) - (_TAPS - 1) / 2) / _TAPS
    # The taps −t and t together are 2 cos; the middle one is 1.
    line = (1 + 2 * sum(jnp.cos(t * along) for t in taps[taps > 0])) / _TAPS
    return jnp.exp(-defocus * _spread(omega_y, omega_x)) * line

  return _filtered(image, transfer)


def _sharpening(image: jax.Array, amounts: Amounts, u: jax.Array) -> jax.Array:
  """Unsharp masking with a Gaussian of σ = 1 px: x + a (x − blurred x)."""
  del u
  variance = base.pixel(image) ** 2
  return _filtered(image, lambda omega_y, omega_x: 1 + amounts["strength"] * (
      1 - jnp.exp(-variance * _spread(omega_y, omega_x))))


BLUR = Operator("blur", (
    Amount("defocus", "{share} are out of focus, σ {range} px", 0.0, 6.0, (-3.0, 2.0),
           reads=np.sqrt),
    Amount("motion", "{share} are blurred by a motion of {range} px", 0.0, 12.0,
           (-6.0, 3.0), reads=lambda v: np.sqrt(12 * v)),
    Amount("turns", "direction of the motion {range} degrees", 0.0, 0.5, (0.0, 0.5),
           strength=False, shown_by=("motion",), reads=lambda v: 360 * v),
), _blur)

SHARPENING = Operator("sharpening", (
    Amount("strength", "{share} are sharpened, {range} % at a radius of 1 px", 0.0, 3.0,
           (-2.0, 1.0), reads=lambda v: 100 * v),
), _sharpening)
