"""Implicit augmentations: the unknown change that turned X_f into X̃_f.

Each is a per-image function like those of recipes.py. `apply_once` uses them to make a
fixed X̃_f. A training step may also draw them anew, which is the oracle for a learned
G_A. Where the paper gives no strengths, they are ours: visible at a glance, but with
readable content.

Lengths are in pixels of a 28 x 28 image and scale with the shorter side. "Ink" is the
colour of what is drawn. On grey images it is full white. On RGB images it is one random
colour per image whose largest channel is 1, so that it stands out both on the dark
ground of characters and on photographs.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from augment_gen.augment import photometric, recipes, sampling
from augment_gen.config import errors
from augment_gen.run.random import stream

_CHUNK = 256  # images per call of `_apply_chunk`
_EXPOSURES = 15  # images along a motion


def _pixel(image: jax.Array) -> float:
  """The side of a pixel of a 28 x 28 image, in pixels of `image`."""
  return min(image.shape[:2]) / 28


def _uniform(key: jax.Array, name: str, low, high, shape=()) -> jax.Array:
  return jax.random.uniform(stream(key, name), shape, minval=low, maxval=high)


def _places(key: jax.Array, image: jax.Array,
            count: int) -> tuple[jax.Array, jax.Array]:
  """Draws [count] rows and [count] columns, uniformly over the image."""
  height, width = image.shape[:2]
  return (_uniform(key, "row", 0.0, height, (count,)),
          _uniform(key, "column", 0.0, width, (count,)))


def _ink(key: jax.Array, image: jax.Array) -> jax.Array:
  """The ink [1, 1, C]: white, or a random colour for RGB images."""
  channels = image.shape[-1]
  if channels == 1:
    return jnp.ones((1, 1, 1))
  colour = _uniform(key, "ink", 0.0, 1.0, (1, 1, channels))
  return colour / jnp.maximum(jnp.max(colour), 1e-6)


def _paint(image: jax.Array, cover: jax.Array, ink: jax.Array) -> jax.Array:
  """Paints ink [1, 1, C] over the image, with opacity cover [H, W] in [0, 1]."""
  cover = cover[..., None]
  return image * (1 - cover) + ink * cover


def _dots(key: jax.Array, image: jax.Array, *, large: float = 0.0) -> jax.Array:
  """Random dots, the implicit augmentation of the paper's Omniglot (Fig. 4).

  Source: Hayase et al., Fig. 4.

  NOTE(paper): The paper does not give their number and sizes. Here, the number is
  uniform on 10 to 60 per 784 pixels of area, and the places are uniform. Each dot is a
  single pixel or, with probability `large`, 2 x 2 pixels. All are in full ink.
  """
  height, width = image.shape[:2]
  most = max(1, round(60 * height * width / 784))
  least = round(10 * height * width / 784)
  number = jax.random.randint(stream(key, "number"), (), least, most + 1)
  rows = jax.random.randint(stream(key, "row"), (most,), 0, height)
  cols = jax.random.randint(stream(key, "column"), (most,), 0, width)
  sizes = 1 + jax.random.bernoulli(stream(key, "size"), large, (most,))
  sizes = jnp.where(jnp.arange(most) < number, sizes, 0)
  # Mark the upper left corners, then extend dots of size 2 to the right and down.
  corner = jnp.zeros((height, width), jnp.int32).at[rows, cols].max(sizes)
  below = jnp.pad(corner == 2, ((1, 0), (1, 0)))
  covered = ((corner > 0) | below[:-1, 1:] | below[1:, :-1] | below[:-1, :-1])
  return jnp.where(covered[..., None], _ink(key, image), image)


def _blur(key: jax.Array, image: jax.Array) -> jax.Array:
  """Defocus: a blur with sigma uniform on 0.5 to 1.8 pixels of a 28 x 28 image."""
  pixel = _pixel(image)
  return photometric.gaussian_blur(
      key, image, sigma=(0.5 * pixel, 1.8 * pixel))


def _ramp(key: jax.Array, image: jax.Array) -> jax.Array:
  """Rises linearly from 0 to 1 across the image in a random direction, [H, W]."""
  rows, cols = sampling.pixel_grid(image)
  angle = _uniform(key, "angle", 0.0, 2 * math.pi)
  along = jnp.cos(angle) * cols + jnp.sin(angle) * rows
  low, high = jnp.min(along), jnp.max(along)
  return (along - low) / jnp.maximum(high - low, 1e-6)


def _gradient(key: jax.Array, image: jax.Array) -> jax.Array:
  """Stray light from a random side: x + (1 - x) g.

  g rises linearly across the image, from 0 to a random value between 0.4 and 0.9. It is
  added ("screen"), not multiplied: a product would leave no trace on the dark ground
  of characters and would only dim their strokes.
  """
  light = _ramp(key, image) * _uniform(key, "strength", 0.4, 0.9)
  return _paint(image, light, jnp.ones((1, 1, image.shape[-1])))


def _strokes(key: jax.Array, image: jax.Array) -> jax.Array:
  """One to four scratches: straight lines of random place, direction and size."""
  most, pixel = 4, _pixel(image)
  number = jax.random.randint(stream(key, "number"), (), 1, most + 1)
  start_y, start_x = _places(key, image, most)
  angle = _uniform(key, "angle", 0.0, 2 * math.pi, (most,))
  length = pixel * _uniform(key, "length", 8.0, 22.0, (most,))
  reach = pixel * _uniform(key, "width", 0.8, 1.6, (most,)) / 2
  reach = jnp.where(jnp.arange(most) < number, reach, -1.0)  # -1: not drawn
  rows, cols = sampling.pixel_grid(image)

  def cover(start_y, start_x, angle, length, reach):
    """The cover [H, W] of one line with round ends and an edge one pixel soft."""
    y, x = rows - start_y, cols - start_x
    along = jnp.clip(jnp.cos(angle) * x + jnp.sin(angle) * y, 0.0, length)
    distance = jnp.hypot(x - jnp.cos(angle) * along,
                         y - jnp.sin(angle) * along)
    return jnp.clip(reach + 0.5 - distance, 0.0, 1.0)

  covers = jax.vmap(cover)(start_y, start_x, angle, length, reach)
  return _paint(image, jnp.max(covers, axis=0), _ink(key, image))


def _blobs(key: jax.Array, image: jax.Array) -> jax.Array:
  """One to three soft spots, each either bright (glare) or dark (stain)."""
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
  """One to three rectangles set to zero, as in Cutout (DeVries and Taylor 2017)."""
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
  """The negative of the image: an implicit augmentation without randomness."""
  del key
  return 1.0 - image


def _noise(key: jax.Array, image: jax.Array) -> jax.Array:
  """Sensor noise: Gaussian per pixel, with a standard deviation of 0.1 to 0.3."""
  deviation = _uniform(key, "deviation", 0.1, 0.3)
  noise = jax.random.normal(stream(key, "noise"), image.shape)
  return jnp.clip(image + deviation * noise, 0.0, 1.0)


def _motion_blur(key: jax.Array, image: jax.Array) -> jax.Array:
  """Motion along a straight line of 3 to 7 pixels in a random direction."""
  length = _pixel(image) * _uniform(key, "length", 3.0, 7.0)
  angle = _uniform(key, "angle", 0.0, math.pi)
  rows, cols = sampling.pixel_grid(image)
  last_row, last_col = rows.shape[0] - 1, rows.shape[1] - 1
  steps = (np.arange(_EXPOSURES) + 0.5) / _EXPOSURES - 0.5

  def moved(step):
    # What lies outside has the colour of the border.
    return sampling.warp(
        image, jnp.clip(rows + step * length * jnp.sin(angle), 0, last_row),
        jnp.clip(cols + step * length * jnp.cos(angle), 0, last_col))

  return jnp.mean(jax.vmap(moved)(jnp.asarray(steps, jnp.float32)), axis=0)


def _haze(key: jax.Array, image: jax.Array) -> jax.Array:
  """Low contrast behind haze: t x + (1 − t) a (Koschmieder's law).

  The transmission t is uniform on 0.3 to 0.7 and the light of the haze a on 0.5 to 0.9.
  """
  transmission = _uniform(key, "transmission", 0.3, 0.7)
  light = _uniform(key, "light", 0.5, 0.9)
  return transmission * image + (1 - transmission) * light


def _raster(key: jax.Array, image: jax.Array) -> jax.Array:
  """Fine parallel lines, one pixel wide and 3 to 5 apart, in a random direction."""
  pixel = _pixel(image)
  period = pixel * _uniform(key, "period", 3.0, 5.0)
  angle = _uniform(key, "angle", 0.0, math.pi)
  opacity = _uniform(key, "opacity", 0.3, 0.7)
  rows, cols = sampling.pixel_grid(image)
  along = jnp.cos(angle) * rows + jnp.sin(angle) * cols
  along = along + period * _uniform(key, "phase", 0.0, 1.0)
  distance = jnp.abs(along - period * jnp.round(along / period))
  line = jnp.clip(pixel / 2 + 0.5 - distance, 0.0, 1.0)
  return _paint(image, opacity * line, _ink(key, image))


def _lamp(key: jax.Array, image: jax.Array) -> jax.Array:
  """A warm lamp at one side: the light falls to 10 to 50 % at the other.

  On RGB images the lamp's red is 0.7 to 2 stops above its blue.
  """
  light = 1 - _ramp(key, image) * _uniform(key, "fall", 0.5, 0.9)
  warmth = _uniform(key, "warmth", 0.7, 2.0)
  tint = jnp.exp2(-warmth * jnp.linspace(0.0, 1.0, image.shape[-1]))
  return image * light[..., None] * tint[None, None]


def _vignette(key: jax.Array, image: jax.Array) -> jax.Array:
  """A lens that darkens the corners, by 40 to 90 %, with the squared distance."""
  rows, cols = sampling.pixel_grid(image)
  square = sum(jnp.square((at - at.mean()) / jnp.max(at - at.mean()))
               for at in (rows, cols))
  fall = _uniform(key, "fall", 0.4, 0.9)
  return image * (1 - fall * square / 2)[..., None]


def _underexposure(key: jax.Array, image: jax.Array) -> jax.Array:
  """One to two and a half stops too dark, with the noise of a sensor in little light."""
  image = image * jnp.exp2(-_uniform(key, "stops", 1.0, 2.5))
  noise = jax.random.normal(stream(key, "noise"), image.shape)
  return jnp.clip(image + _uniform(key, "deviation", 0.02, 0.06) * noise, 0.0, 1.0)


_IMPLICIT: dict[str, recipes.Augment] = {
    "dots": _dots,
    # Dots of two sizes: G_A must also learn how many of each to draw.
    "mixed_dots": functools.partial(_dots, large=0.25),
    "blur": _blur,
    "gradient": _gradient,
    "strokes": _strokes,
    "blobs": _blobs,
    "erase": _erase,
    "inversion": _inversion,
    "noise": _noise,
    "motion_blur": _motion_blur,
    "haze": _haze,
    "raster": _raster,
    # For photographs: on a black ground, less light changes nothing.
    "lamp": _lamp,
    "vignette": _vignette,
    "underexposure": _underexposure,
}
NAMES = tuple(_IMPLICIT)

# What a learned chain of operators should say of these augmentations: the range of each
# uniform amount, in the unit in which the operator reads it (augment/operators).
TRUE_RANGES: dict[str, dict[str, tuple[float, float]]] = {
    "dots": {"specks.light": (100 * 10 / 784, 100 * 60 / 784)},
    "mixed_dots": {"specks.light": (75 * 10 / 784, 75 * 60 / 784),
                   "specks.light_large": (25 * 10 / 784, 25 * 60 / 784)},
    "blur": {"blur.defocus": (0.5, 1.8)},
    "gradient": {"glare.strength": (40, 90), "glare.turns": (0, 360),
                 "glare.evenness": (0, 0)},
    "strokes": {"scratches.light": (1, 4), "scratches.length": (8, 22),
                "scratches.width": (0.8, 1.6)},
    "blobs": {"spots.radius": (2, 5)},
    "erase": {"occluders.dark": (1, 3), "occluders.side": (5, 12),
              "occluders.dark_tone": (0, 0)},
    "inversion": {"tone.negative": (1, 1)},
    "noise": {"noise.read": (255 * 0.1, 255 * 0.3)},
    "motion_blur": {"blur.motion": (3, 7), "blur.turns": (0, 180)},
    "haze": {"tone.contrast": (0.3, 0.7)},
    "raster": {"raster.light": (30, 70), "raster.period": (3, 5), "raster.width": (1, 1)},
    "lamp": {"shading.strength": (50, 90), "shading.turns": (0, 360),
             "colour.warmth": (0.7, 2)},
    "vignette": {"shading.corners": (40, 90)},
    "underexposure": {"tone.exposure": (-2.5, -1), "noise.read": (255 * 0.02, 255 * 0.06)},
}


def implicit(name: str) -> recipes.Augment:
  """Returns the implicit augmentation called `name`.

  Raises:
    UserError: the name is unknown.
  """
  if name not in _IMPLICIT:
    raise errors.UserError(
        f"implicit augmentation '{name}' is unknown; choose from: "
        f"{', '.join(NAMES)}")
  return _IMPLICIT[name]


@functools.partial(jax.jit, static_argnames="name")
def _apply_chunk(name: str, key: jax.Array, indices: jax.Array,
                 images: jax.Array) -> jax.Array:
  """Augments uint8 [B, H, W, C]; image i uses the key of `indices[i]`."""
  keys = jax.vmap(jax.random.fold_in, (None, 0))(key, indices)
  out = recipes.augment_batch(
      implicit(name), keys, images.astype(jnp.float32) / 255)
  return jnp.round(out * 255).astype(jnp.uint8)


def apply_once(name: str, images: np.ndarray, seed: int) -> np.ndarray:
  """Augments each image once and reproducibly: X_f -> X̃_f.

  Source: Hayase et al., Fig. 1.

  The result for an image depends only on the image, its index, the name and the seed.

  Args:
    name: one of NAMES.
    images: uint8 [N, H, W, C]; N may be 0.
    seed: seed of the draws.

  Returns:
    uint8 [N, H, W, C], a new array.

  Raises:
    UserError: the name is unknown.
  """
  implicit(name)  # raises before anything is compiled, and also for N = 0
  key = stream(jax.random.key(seed), name)
  out = np.empty_like(images)
  for start in range(0, len(images), _CHUNK):
    chunk = images[start:start + _CHUNK]
    # Pad the last chunk to the same size, so that nothing is compiled twice.
    missing = _CHUNK - len(chunk)
    padded = np.pad(chunk, ((0, missing), (0, 0), (0, 0), (0, 0)))
    indices = np.arange(start, start + _CHUNK, dtype=np.uint32)
    done = _apply_chunk(name, key, *jax.device_put((indices, padded)))
    out[start:start + _CHUNK] = jax.device_get(done)[:len(chunk)]
  return out
