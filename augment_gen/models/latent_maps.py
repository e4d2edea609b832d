"""Spatial layouts of latents for U-Nets, and the marks drawn from them."""

import dataclasses
import math

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from augment_gen.config import errors
from augment_gen.models import conv

PRIOR_STD = 1 / math.sqrt(12)  # standard deviation of a latent, uniform on [0, 1]


@dataclasses.dataclass(frozen=True)
class FirstMarks:
  """What `Marks` draws before training; lengths are standard deviations of a latent.

  It decides much of what is drawn after training, too (docs/experiments/005).
  """
  fine_gain: float = 0.85  # of the finest two maps: pixels, and squares of 2 × 2
  gain_ratio: float = 0.75  # from one scale to the next coarser one
  amount_gain: float = 0.6  # of the first latent, added to all others
  # What lies beyond is drawn: with 49 latents at 28 × 28, 17 % of black ground is
  # at first brighter than 0.5, and 2 % grey (0.1 to 0.5). True dots, of which G_A
  # learns to draw nearly as many (docs/experiments/012), are 1 to 8 %.
  threshold: float = 1.4
  # How steeply it then turns white or black, in logits (docs/experiments/012).
  steepness: float = 40.0
  # Thresholds are learned faster than other parameters by this factor.
  threshold_slope: float = 3.0


MARKS = FirstMarks()


class Pyramid(nn.Module):
  """Maps of all scales, linear in z: [B, Z] -> [B, H, W, levels].

  The first map has the size of the image. Each further map has half the size of the
  previous one, down to the last size above 1 x 1. All maps are resized to the image. At
  initialisation each has the variance of z.

  Attributes:
    height: H.
    width: W.
  """
  height: int
  width: int

  @nn.compact
  def __call__(self, z: jax.Array) -> jax.Array:
    maps = []
    for level in range((max(self.height, self.width) - 1).bit_length()):
      rows, columns = (-(-size // 2**level)
                       for size in (self.height, self.width))
      h = nn.Dense(rows * columns, name=f"level{level}",
                   kernel_init=nn.initializers.variance_scaling(
                       1.0, "fan_in", "normal"))(z)
      maps.append(area_resize(
          h.reshape(-1, rows, columns, 1), self.height, self.width))
    return jnp.concatenate(maps, axis=-1)


class Marks(nn.Module):
  """Light and dark marks of all sizes, at any place, drawn from maps of latents.

  NOTE(paper): This layer is ours. Before training, a U-Net that only reads maps of
  latents is nearly the identity, and it stays so: a latent that changes nothing cannot
  be recovered, and a latent that cannot be recovered changes nothing. Marks are present
  from the first step, at different places for each z. Most of the image lies below the
  threshold and is left unchanged. The threshold depends on the local image content, so
  that marks soon keep to the ground, keep to the strokes, or vanish, depending on X̃_f
  (docs/experiments/005).

  NOTE(paper): One latent controls the amount that is drawn and does nothing else. It
  can only be recovered from this amount, so the bank's G_L(x̃) in turn follows the
  amount in x̃, as in Fig. 5. A combination of all latents, or a latent that the U-Net
  also sees, would be encoded in a few pixels instead (docs/experiments/012).

  Attributes:
    channels: C, the number of image channels.
    start: the marks drawn before training.
  """
  channels: int
  start: FirstMarks = MARKS

  @nn.compact
  def __call__(self, maps: jax.Array, amount: jax.Array,
               h: jax.Array) -> jax.Array:
    """Draws the marks.

    Args:
      maps: float32 [B, H, W, levels], of variance about 1, from fine to coarse.
      amount: float32 [B, 1], of variance 1; larger values draw more light marks.
      h: [B, H, W, features], the U-Net's output for the image.

    Returns:
      float32 [B, H, W, C], mostly 0, to be added to the logits of the image.
    """
    levels, start = maps.shape[-1], self.start

    def first_gains(key, shape):
      del key
      gains = start.fine_gain * start.gain_ratio ** np.maximum(
          np.arange(levels) - 1, 0)
      return jnp.asarray([*gains, start.amount_gain])[:, None] * jnp.ones(shape)

    gain = self.param("gain", first_gains, (levels + 1, self.channels))
    thresholds = start.threshold + start.threshold_slope * conv.Conv(
        2 * self.channels, (1, 1), dtype=jnp.float32,
        kernel_init=nn.initializers.zeros, name="threshold")(h)
    light, dark = jnp.split(thresholds, 2, axis=-1)
    lift = (amount * gain[-1:])[:, None, None]
    logits = jnp.zeros_like(light)
    for level in range(levels):
      mark = (maps[..., level:level + 1] * gain[None, None, None, level]
              + lift)
      logits += nn.relu(mark - light) - nn.relu(-mark - dark)
    return start.steepness * logits


def square(z: jax.Array, height: int, width: int) -> jax.Array:
  """Lays Z latents out as a map of side √Z, resized: [B, Z] -> [B, H, W, 1].

  Raises:
    UserError: Z is not a square number.
  """
  side = latent_side(z.shape[-1])
  return area_resize(z.reshape(-1, side, side, 1), height, width)


def latent_side(latent_dim: int) -> int:
  """The side of the square map of `latent_dim` latents.

  Raises:
    UserError: `latent_dim` is not a square number.
  """
  side = math.isqrt(latent_dim)
  if side**2 != latent_dim:
    raise errors.UserError(
        f"generator.latent.dim={latent_dim} is no square number, but U-Nets lay "
        f"latents out as a square map: take {side**2} or {(side + 1) ** 2}")
  return side


def area_resize(x: jax.Array, height: int, width: int) -> jax.Array:
  """Resizes by the mean over the area of each new pixel.

  If one size divides the other, this is nearest-neighbour upsampling or average
  pooling, so that upsampling and then downsampling is the identity.

  Args:
    x: [B, H, W, C].
    height: H', the new height.
    width: W', the new width.

  Returns:
    [B, H', W', C].
  """
  rows = jnp.asarray(_area_weights(x.shape[1], height), x.dtype)
  columns = jnp.asarray(_area_weights(x.shape[2], width), x.dtype)
  return jnp.einsum("bhwc,Hh,Ww->bHWc", x, rows, columns,
                    precision=jax.lax.Precision.HIGHEST)


def _area_weights(old: int, new: int) -> np.ndarray:
  """[new, old]: the fraction of each new pixel that lies in each old pixel."""
  old_edges = np.arange(old + 1) / old
  new_edges = np.arange(new + 1) / new
  first = np.maximum(new_edges[:-1, None], old_edges[None, :-1])
  last = np.minimum(new_edges[1:, None], old_edges[None, 1:])
  return np.maximum(last - first, 0) * new
