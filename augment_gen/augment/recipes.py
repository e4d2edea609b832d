"""Hand-made augmentations for contrastive learning, by name."""

from collections.abc import Callable
import dataclasses
import functools

import jax

from augment_gen.augment import geometric, photometric
from augment_gen.config import errors
from augment_gen.run.random import stream

# (key, image float32 [H, W, C] in [0, 1]) -> image in [0, 1] of the same shape, or of
# the side of the recipe's crop.
Augment = Callable[[jax.Array, jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class Crop:
  """A RandomResizedCrop, the first step of most recipes.

  Attributes:
    scale: range of the crop's area, as a fraction of the image's area.
    side: height and width of the result in pixels; None for those of the image.
  """
  scale: tuple[float, float]
  side: int | None = None


def _nothing(key: jax.Array, image: jax.Array, side: int) -> jax.Array:
  del key, side
  return image


def _moco_v2(key: jax.Array, image: jax.Array, side: int) -> jax.Array:
  """The "aug-plus" of MoCo v2 (Chen et al. 2020; official main_moco.py).

  NOTE(paper): The official code resizes every crop to 224 x 224 and blurs it with sigma
  0.1 to 2 pixels. Here, crops have the size of the image, and sigma scales with it, so
  that the same content gets the same blur. At 28 x 28 little blur is left; 2 pixels
  would wipe out the strokes of a character.
  """
  pixel = side / 224
  # The official code flips last. The result is the same, and a CPU is slower at that.
  image = geometric.horizontal_flip(stream(key, "flip"), image, p=0.5)
  image = photometric.color_jitter(
      stream(key, "jitter"), image, brightness=0.4, contrast=0.4,
      saturation=0.4, hue=0.1, p=0.8)
  image = photometric.random_grayscale(stream(key, "grayscale"), image, p=0.2)
  return photometric.gaussian_blur(
      stream(key, "blur"), image, sigma=(0.1 * pixel, 2.0 * pixel), p=0.5)


def _simclr(key: jax.Array, image: jax.Array, side: int) -> jax.Array:
  """SimCLR's augmentations (Chen et al. 2020, appendix A), at full strength.

  As in `_moco_v2`, σ of the blur scales with the image. Crops cover as little as 8 % of
  the image's area. SwAV differs in its crops alone, which cover at least 14 %.
  """
  pixel = side / 224
  image = geometric.horizontal_flip(stream(key, "flip"), image, p=0.5)
  image = photometric.color_jitter(
      stream(key, "jitter"), image, brightness=0.8, contrast=0.8,
      saturation=0.8, hue=0.2, p=0.8)
  image = photometric.random_grayscale(stream(key, "grayscale"), image, p=0.2)
  return photometric.gaussian_blur(
      stream(key, "blur"), image, sigma=(0.1 * pixel, 2.0 * pixel), p=0.5)


def _handwriting(key: jax.Array, image: jax.Array, side: int) -> jax.Array:
  """For bright characters on a dark ground: changes the hand, but not the character.

  There is no flip (b is not d), and rotations are small. Crops keep most of the
  character. Lengths are given for 28 x 28 and scale with the image.
  """
  pixel = side / 28
  image = geometric.random_affine(
      stream(key, "affine"), image, degrees=10.0, translate=0.05,
      scale=(0.8, 1.1), shear=10.0)
  image = geometric.elastic(
      stream(key, "elastic"), image, alpha=12.0 * pixel, sigma=3.0 * pixel)
  return photometric.color_jitter(
      stream(key, "jitter"), image, brightness=0.4, contrast=0.4, p=0.8)


# What a recipe crops, if it does, and `(key, image, side) -> image`, what it does then;
# `side` is the shorter side of the image before the crop, in pixels.
_RECIPES: dict[str, tuple[Crop | None, Callable]] = {
    "moco_v2": (Crop((0.2, 1.0)), _moco_v2),
    "simclr": (Crop((0.08, 1.0)), _simclr),
    "handwriting": (Crop((0.4, 1.0)), _handwriting),
    "swav": (Crop((0.14, 1.0)), _simclr),
    "crop": (Crop((0.2, 1.0)), _nothing),
    "none": (None, _nothing),
}
NAMES = tuple(_RECIPES)


def recipe(name: str, crop: Crop | None = None) -> Augment:
  """Returns the recipe called `name`.

  Source: Hayase et al., (3).

  Args:
    name: one of NAMES.
    crop: replaces the recipe's own crop, or is added to a recipe without one.

  Raises:
    UserError: the name is unknown.
  """
  if name not in _RECIPES:
    raise errors.UserError(
        f"augmentation recipe '{name}' is unknown; choose from: "
        f"{', '.join(NAMES)}")
  own, then = _RECIPES[name]
  return functools.partial(_augment, crop or own, then)


def _augment(crop: Crop | None, then: Callable, key: jax.Array,
             image: jax.Array) -> jax.Array:
  side = min(image.shape[:2])
  if crop is not None:
    image = geometric.random_resized_crop(
        stream(key, "crop"), image, scale=crop.scale, side=crop.side)
  return then(key, image, side)


def augment_batch(augment: Augment, keys: jax.Array,
                  images: jax.Array) -> jax.Array:
  """Augments each image with its own key.

  Args:
    augment: augmentation of one image.
    keys: [B] typed keys.
    images: float32 [B, H, W, C] in [0, 1].

  Returns:
    float32 [B, H', W', C] in [0, 1], see `Augment`.
  """
  return jax.vmap(augment)(keys, images)
