"""Random changes of colour and sharpness of single images.

Random augmentations take `(key, image)` with a float32 image [H, W, C] in [0, 1], where C
is 1 or 3. They return the same shape and range and are meant for vmap over keys and
images. Functions without a key are deterministic and can be tested on their own. Colours
are computed on planes [C, H, W], which is three times as fast because XLA:CPU vectorises
it.
"""

import jax
import jax.numpy as jnp

from augment_gen.augment import sampling

# ITU-R BT.601, as in Pillow's convert("L").
LUMA = (0.299, 0.587, 0.114)
# Indices of the blends in the factors of `color_jitter`; saturation is the last one.
_BRIGHTNESS, _CONTRAST = 0, 1


def luma(planes: jax.Array) -> jax.Array:
  """The grey values of planes, [C, H, W] -> [H, W]; the plane itself if C is 1."""
  if planes.shape[0] == 1:
    return planes[0]
  return sum(weight * plane for weight, plane in zip(LUMA, planes))


def adjust_hue(planes: jax.Array, turns) -> jax.Array:
  """Rotates the HSV hue of planes [3, H, W] by `turns` (1 is the whole circle)."""
  red, green, blue = planes
  value = jnp.maximum(jnp.maximum(red, green), blue)
  chroma = value - jnp.minimum(jnp.minimum(red, green), blue)
  divisor = jnp.where(chroma > 0, chroma, 1.0)
  hue = jnp.where(  # in sixths of the circle
      value == red, (green - blue) / divisor,
      jnp.where(value == green, (blue - red) / divisor + 2,
                (red - green) / divisor + 4)) + 6 * turns

  def channel(offset):
    place = hue + offset
    place -= 6 * jnp.floor(place / 6)
    return value - chroma * jnp.clip(jnp.minimum(place, 4 - place), 0.0, 1.0)

  return jnp.clip(jnp.stack([channel(5), channel(3), channel(1)]), 0.0, 1.0)


def color_jitter(
    key: jax.Array, image: jax.Array, *, brightness: float = 0.0,
    contrast: float = 0.0, saturation: float = 0.0, hue: float = 0.0,
    p: float = 1.0,
) -> jax.Array:
  """torchvision's ColorJitter: four changes in random order.

  Saturation and hue are skipped for grey images, which have neither.

  Args:
    key: PRNG key.
    image: [H, W, C] in [0, 1].
    brightness, contrast, saturation: strengths. Each factor is uniform on
      [max(0, 1 - strength), 1 + strength]; a factor of 1 changes nothing.
    hue: largest rotation to either side, as a fraction of the circle, at most 1/2.
    p: probability of applying the changes.

  Returns:
    [H, W, C] in [0, 1].
  """
  strengths = {"brightness": brightness, "contrast": contrast}
  if image.shape[-1] == 3:
    strengths["saturation"] = saturation
  # One draw for all: on CPU, each is a loop of its own (docs/experiments/016).
  u_factors, u_order, (u_place, u_hue, u_apply) = jnp.split(
      jax.random.uniform(key, (2 * len(strengths) + 3,)),
      [len(strengths), 2 * len(strengths)])
  strength = jnp.asarray(list(strengths.values()))
  low = jnp.maximum(0.0, 1 - strength)
  factors = low + (1 + strength - low) * u_factors

  def change(out, kind, factor):
    """Blends with black, with the mean grey value, or with the grey image."""
    grey = luma(out)
    other = jnp.where(kind == _BRIGHTNESS, 0.0,
                      jnp.where(kind == _CONTRAST, jnp.mean(grey), grey))
    return jnp.clip(factor * out + (1 - factor) * other[None], 0.0, 1.0)

  # An order of the four changes is an order of the three blends and a place for the hue.
  # Each blend is applied before and after the hue, one of the two times with factor 1. A
  # vmapped batch thus computes the costly hue once instead of at each of four places.
  order = jnp.argsort(u_order)
  out = jnp.moveaxis(image, -1, 0)
  if image.shape[-1] == 1:
    for kind in order:
      out = change(out, kind, factors[kind])
  else:
    hue_place = jnp.floor(4 * u_place)
    turns = hue * (2 * u_hue - 1)
    for place, kind in enumerate(order):
      out = change(out, kind, jnp.where(place < hue_place, factors[kind], 1.0))
    out = adjust_hue(out, turns)
    for place, kind in enumerate(order):
      out = change(out, kind, jnp.where(place < hue_place, 1.0, factors[kind]))
  return jnp.where(u_apply < p, jnp.moveaxis(out, 0, -1), image)


def random_grayscale(key: jax.Array, image: jax.Array, *,
                     p: float) -> jax.Array:
  """Replaces all channels by the grey value with probability `p`."""
  grey = luma(jnp.moveaxis(image, -1, 0))
  grey = jnp.broadcast_to(grey[..., None], image.shape)
  return jnp.where(jax.random.bernoulli(key, p), grey, image)


def gaussian_blur(key: jax.Array, image: jax.Array, *,
                  sigma: tuple[float, float], p: float = 1.0) -> jax.Array:
  """Blurs with probability `p`.

  The filter is a true Gaussian with reflected borders, as in torchvision (which cuts it
  off at the kernel size). Pillow, used by the official MoCo code, approximates it by
  three box filters.

  Args:
    key: PRNG key.
    image: [H, W, C] in [0, 1].
    sigma: range of the standard deviation, in pixels, > 0; drawn uniformly.
    p: probability of the blur.

  Returns:
    [H, W, C] in [0, 1].
  """
  u_sigma, u_apply = jax.random.uniform(key, (2,))
  drawn = sigma[0] + (sigma[1] - sigma[0]) * u_sigma
  out = jnp.clip(sampling.gaussian_blur(image, drawn, sigma[1]), 0.0, 1.0)
  return jnp.where(u_apply < p, out, image)
