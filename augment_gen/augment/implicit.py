"""Implicit augmentations: the unknown change that made X̃_f out of X_f.

Each is a per-image function like those of recipes.py. `apply_once` makes a
fixed X̃_f with them; a training step may also draw them afresh, which is the
oracle that a learned G_A is compared with. Where the paper is silent the
strengths are ours: visible at a glance, the content still readable.

Lengths are given in pixels of a 28 x 28 image and scale with the shorter side.
"Ink" is what is drawn: full white on grey images; on RGB images one random
colour per image whose largest channel is 1, so that it stands out both on the
dark ground of characters and on photographs.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from augment_gen.augment import photometric, recipes, sampling
from augment_gen.config import errors
from augment_gen.run.random import stream

_CHUNK = 256  # images per call of `apply_once`


def _pixel(image: jax.Array) -> float:
  """The length of a pixel of a 28 x 28 image, in pixels of `image`."""
  return min(image.shape[:2]) / 28


def _uniform(key: jax.Array, name: str, low, high, shape=()) -> jax.Array:
  return jax.random.uniform(stream(key, name), shape, minval=low, maxval=high)


def _places(key: jax.Array, image: jax.Array,
            count: int) -> tuple[jax.Array, jax.Array]:
  """[count] rows and [count] columns, uniform over the image."""
  height, width = image.shape[:2]
  return (_uniform(key, "row", 0.0, height, (count,)),
          _uniform(key, "column", 0.0, width, (count,)))


def _ink(key: jax.Array, image: jax.Array) -> jax.Array:
  """[1, 1, C]: white, or on RGB one colour."""
  channels = image.shape[-1]
  if channels == 1:
    return jnp.ones((1, 1, 1))
  colour = _uniform(key, "ink", 0.0, 1.0, (1, 1, channels))
  return colour / jnp.maximum(jnp.max(colour), 1e-6)


def _paint(image: jax.Array, cover: jax.Array, ink: jax.Array) -> jax.Array:
  """Ink [1, 1, C] over the image, opaque where cover [H, W] is 1."""
  cover = cover[..., None]
  return image * (1 - cover) + ink * cover


def _dots(key: jax.Array, image: jax.Array, *, large: float = 0.0) -> jax.Array:
  """Random dots, the implicit augmentation of the paper's Omniglot (Fig. 4).

  NOTE(paper): their number and sizes are not given. Here uniformly 10 to 60
  for each 784 pixels of area, at uniform places, each a single pixel or, with
  probability `large`, 2 x 2, all in full ink.
  """
  height, width = image.shape[:2]
  most = max(1, round(60 * height * width / 784))
  least = round(10 * height * width / 784)
  number = jax.random.randint(stream(key, "number"), (), least, most + 1)
  rows = jax.random.randint(stream(key, "row"), (most,), 0, height)
  cols = jax.random.randint(stream(key, "column"), (most,), 0, width)
  sizes = 1 + jax.random.bernoulli(stream(key, "size"), large, (most,))
  sizes = jnp.where(jnp.arange(most) < number, sizes, 0)
  # Upper left corners first; a size of 2 then spreads to the right and down.
  corner = jnp.zeros((height, width), jnp.int32).at[rows, cols].max(sizes)
  below = jnp.pad(corner == 2, ((1, 0), (1, 0)))
  covered = ((corner > 0) | below[:-1, 1:] | below[1:, :-1] | below[:-1, :-1])
  return jnp.where(covered[..., None], _ink(key, image), image)


def _blur(key: jax.Array, image: jax.Array) -> jax.Array:
  """A camera out of focus: sigma uniform on 0.5 to 1.8 pixels of 28."""
  pixel = _pixel(image)
  return photometric.gaussian_blur(
      key, image, sigma=(0.5 * pixel, 1.8 * pixel))


def _gradient(key: jax.Array, image: jax.Array) -> jax.Array:
  """Stray light that falls in from a random side.

  x + (1 - x) g with g rising linearly from 0 to 0.4-0.9 across the image. The
  light is added ("screen"), not multiplied: a product would leave no trace on
  the dark ground of characters, and would only dim their strokes.
  """
  rows, cols = sampling.pixel_grid(image)
  angle = _uniform(key, "angle", 0.0, 2 * math.pi)
  along = jnp.cos(angle) * cols + jnp.sin(angle) * rows
  low, high = jnp.min(along), jnp.max(along)
  light = (along - low) / jnp.maximum(high - low, 1e-6)
  light = light * _uniform(key, "strength", 0.4, 0.9)
  return _paint(image, light, jnp.ones((1, 1, image.shape[-1])))


def _strokes(key: jax.Array, image: jax.Array) -> jax.Array:
  """One to four scratches: straight lines of random place, turn and length."""
  most, pixel = 4, _pixel(image)
  number = jax.random.randint(stream(key, "number"), (), 1, most + 1)
  start_y, start_x = _places(key, image, most)
  angle = _uniform(key, "angle", 0.0, 2 * math.pi, (most,))
  length = pixel * _uniform(key, "length", 8.0, 22.0, (most,))
  reach = pixel * _uniform(key, "width", 0.8, 1.6, (most,)) / 2
  reach = jnp.where(jnp.arange(most) < number, reach, -1.0)  # -1: not drawn
  rows, cols = sampling.pixel_grid(image)

  def cover(start_y, start_x, angle, length, reach):
    """[H, W] of one line with round ends; its edge is one pixel soft."""
    y, x = rows - start_y, cols - start_x
    along = jnp.clip(jnp.cos(angle) * x + jnp.sin(angle) * y, 0.0, length)
    distance = jnp.hypot(x - jnp.cos(angle) * along,
                         y - jnp.sin(angle) * along)
    return jnp.clip(reach + 0.5 - distance, 0.0, 1.0)

  covers = jax.vmap(cover)(start_y, start_x, angle, length, reach)
  return _paint(image, jnp.max(covers, axis=0), _ink(key, image))


def _blobs(key: jax.Array, image: jax.Array) -> jax.Array:
  """One to three soft spots, each bright (glare) or dark (stain)."""
  most, pixel = 3, _pixel(image)
  number = jax.random.randint(stream(key, "number"), (), 1, most + 1)
  centre_y, centre_x = _places(key, image, most)
  radius = pixel * _uniform(key, "radius", 2.0, 5.0, (most,))
  opacity = _uniform(key, "opacity", 0.6, 1.0, (most,))
  opacity = jnp.where(jnp.arange(most) < number, opacity, 0.0)
  bright = jax.random.bernoulli(stream(key, "bright"), 0.5, (most,))
  rows, cols = sampling.pixel_grid(image)
  for i in range(most):
    square = (rows - centre_y[i]) ** 2 + (cols - centre_x[i]) ** 2
    cover = opacity[i] * jnp.exp(-0.5 * square / radius[i] ** 2)
    tone = bright[i].astype(jnp.float32)
    image = _paint(image, cover, jnp.full((1, 1, image.shape[-1]), tone))
  return image


def _erase(key: jax.Array, image: jax.Array) -> jax.Array:
  """One to three rectangles set to zero, as Cutout (DeVries, Taylor 2017)."""
  most, pixel = 3, _pixel(image)
  number = jax.random.randint(stream(key, "number"), (), 1, most + 1)
  centre_y, centre_x = _places(key, image, most)
  half = pixel * _uniform(key, "side", 5.0, 12.0, (2, most)) / 2
  rows, cols = sampling.pixel_grid(image)
  covered = jnp.zeros(image.shape[:2], bool)
  for i in range(most):
    covered |= ((jnp.abs(rows - centre_y[i]) <= half[0, i])
                & (jnp.abs(cols - centre_x[i]) <= half[1, i]) & (i < number))
  return jnp.where(covered[..., None], 0.0, image)


def _inversion(key: jax.Array, image: jax.Array) -> jax.Array:
  """The negative, always: an implicit augmentation without any randomness."""
  del key
  return 1.0 - image


def _noise(key: jax.Array, image: jax.Array) -> jax.Array:
  """Sensor noise: Gaussian, of standard deviation 0.1 to 0.3, each pixel."""
  deviation = _uniform(key, "deviation", 0.1, 0.3)
  noise = jax.random.normal(stream(key, "noise"), image.shape)
  return jnp.clip(image + deviation * noise, 0.0, 1.0)


_IMPLICIT: dict[str, recipes.Augment] = {
    "dots": _dots,
    # Of two sizes: G_A, too, has to learn how many of each.
    "mixed_dots": functools.partial(_dots, large=0.25),
    "blur": _blur,
    "gradient": _gradient,
    "strokes": _strokes,
    "blobs": _blobs,
    "erase": _erase,
    "inversion": _inversion,
    "noise": _noise,
}
NAMES = tuple(_IMPLICIT)


def implicit(name: str) -> recipes.Augment:
  """The implicit augmentation called `name`.

  Raises:
    UserError: there is none of this name.
  """
  if name not in _IMPLICIT:
    raise errors.UserError(
        f"implicit augmentation '{name}' is unknown; choose from: "
        f"{', '.join(NAMES)}")
  return _IMPLICIT[name]


@functools.partial(jax.jit, static_argnames="name")
def _apply_chunk(name: str, key: jax.Array, indices: jax.Array,
                 images: jax.Array) -> jax.Array:
  """uint8 [B, H, W, C] -> uint8; image i gets the key of `indices[i]`."""
  keys = jax.vmap(jax.random.fold_in, (None, 0))(key, indices)
  out = recipes.augment_batch(
      implicit(name), keys, images.astype(jnp.float32) / 255)
  return jnp.round(out * 255).astype(jnp.uint8)


def apply_once(name: str, images: np.ndarray, seed: int) -> np.ndarray:
  """Augments each image once, the same way each time: X_f -> X̃_f.

  What an image becomes depends on the name, the seed, its index and itself
  alone.

  Args:
    name: one of NAMES.
    images: uint8 [N, H, W, C]; N may be 0.
    seed: of the draws.

  Returns:
    uint8 [N, H, W, C], a new array.

  Raises:
    UserError: the name is unknown.
  """
  implicit(name)  # say so before anything is compiled, also for no images
  key = stream(jax.random.key(seed), name)
  out = np.empty_like(images)
  for start in range(0, len(images), _CHUNK):
    chunk = images[start:start + _CHUNK]
    # A last chunk of the same size: nothing is compiled twice.
    missing = _CHUNK - len(chunk)
    padded = np.pad(chunk, ((0, missing), (0, 0), (0, 0), (0, 0)))
    indices = np.arange(start, start + _CHUNK, dtype=np.uint32)
    done = _apply_chunk(name, key, *jax.device_put((indices, padded)))
    out[start:start + _CHUNK] = jax.device_get(done)[:len(chunk)]
  return out
