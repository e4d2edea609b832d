"""How U-Nets lay latents out in space, and what these draw there."""

import math

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from augment_gen.config import errors, MarksConfig
from augment_gen.models import conv

PRIOR_STD = 1 / math.sqrt(12)  # of a latent, uniform on [0, 1]


class Pyramid(nn.Module):
  """Maps of all scales, linear in z: [B, Z] -> [B, H, W, levels].

  From the size of the image, halved each time, to the last that is more than a
  single number, all of them brought back to the size of the image. At first each
  has the variance of z.

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
  """What maps of latents draw: light and dark marks of all sizes, anywhere.

  NOTE(paper): ours. A U-Net that only reads maps of latents is, before it is
  trained, nearly the identity, and stays so: a latent that changes nothing
  cannot be recovered, and what cannot be recovered changes nothing. Marks are
  there from the first step on, at other places for each z. Most of the image lies
  below the threshold and is left as it is. The threshold depends on what is shown
  there, so that marks soon keep to the ground, or to the strokes, or vanish, as
  X̃_f has it (docs/experiments/005).

  NOTE(paper): how much is drawn depends on one latent, which does nothing else:
  it can be read off the image in no other way than by the amount, and the bank's
  G_L(x̃) in turn follows the amount in x̃, as Fig. 5 has it. A combination of
  all latents, or one that the U-Net sees too, is told by a few pixels instead
  (docs/experiments/012).

  Attributes:
    channels: C of the image.
    start: what is drawn before training.
  """
  channels: int
  start: MarksConfig = MarksConfig()

  @nn.compact
  def __call__(self, maps: jax.Array, amount: jax.Array,
               h: jax.Array) -> jax.Array:
    """Draws.

    Args:
      maps: float32 [B, H, W, levels] of variance about 1, fine to coarse.
      amount: float32 [B, 1] of variance 1: the larger, the more is light.
      h: [B, H, W, features], what the U-Net makes of the image.

    Returns:
      float32 [B, H, W, C], added to the logits of the image; mostly 0.
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
  """Z latents as a map of side √Z: [B, Z] -> [B, H, W, 1].

  Raises:
    UserError: Z is no square.
  """
  side = latent_side(z.shape[-1])
  return area_resize(z.reshape(-1, side, side, 1), height, width)


def latent_side(latent_dim: int) -> int:
  """The side of the square map that `latent_dim` latents make.

  Raises:
    UserError: `latent_dim` is no square.
  """
  side = math.isqrt(latent_dim)
  if side**2 != latent_dim:
    raise errors.UserError(
        f"generator.latent.dim={latent_dim} is no square, but U-Nets lay the "
        f"latents out as a square map: take {side**2} or {(side + 1) ** 2}")
  return side


def area_resize(x: jax.Array, height: int, width: int) -> jax.Array:
  """Resizes by the mean over the area that each new pixel covers.

  Where one size divides the other this is nearest-neighbour upsampling and
  average pooling, so that going up and down again is the identity.

  Args:
    x: [B, H, W, C].
    height: H' of the result.
    width: W' of the result.

  Returns:
    [B, H', W', C].
  """
  rows = jnp.asarray(_area_weights(x.shape[1], height), x.dtype)
  columns = jnp.asarray(_area_weights(x.shape[2], width), x.dtype)
  return jnp.einsum("bhwc,Hh,Ww->bHWc", x, rows, columns,
                    precision=jax.lax.Precision.HIGHEST)


def _area_weights(old: int, new: int) -> np.ndarray:
  """[new, old]: the part of each new pixel that lies in each old one."""
  old_edges = np.arange(old + 1) / old
  new_edges = np.arange(new + 1) / new
  first = np.maximum(new_edges[:-1, None], old_edges[None, :-1])
  last = np.minimum(new_edges[1:, None], old_edges[None, 1:])
  return np.maximum(last - first, 0) * new
