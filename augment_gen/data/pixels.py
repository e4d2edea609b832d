"""Resizing and channel conversion of image arrays."""

from collections.abc import Iterator

import numpy as np

from augment_gen.config import errors

_CHUNK_BYTES = 2**25  # uint8 input per chunk; float32 intermediates take 4 times this
# Images whose brightest pixel is below this fraction of white cause a warning.
_DARK = 1 / 8
_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601-2, as in Pillow


def resize_weights(source: int, target: int) -> np.ndarray:
  """Weights of an antialiased triangle filter, float32 [target, source]; rows sum to 1.

  This is the filter of Pillow's BILINEAR and of jax.image.resize. When shrinking, its
  support grows with the scale, so that every source pixel contributes.
  """
  scale = source / target
  support = max(scale, 1.0)
  centre = (np.arange(target)[:, None] + 0.5) * scale
  distance = np.abs(np.arange(source) + 0.5 - centre) / support
  weights = np.maximum(0.0, 1.0 - distance)
  return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def chunks(count: int, bytes_each: int) -> Iterator[slice]:
  """Yields slices of [0, count) that each hold a moderate number of bytes."""
  step = max(1, _CHUNK_BYTES // max(1, bytes_each))
  for start in range(0, count, step):
    yield slice(start, min(start + step, count))


def resize_images(images: np.ndarray, size: int) -> np.ndarray:
  """Resizes uint8 [N, H, W, C] to uint8 [N, size, size, C], antialiased.

  Images that are not square are first cropped to their centre square.
  """
  count, height, width, channels = images.shape
  side = min(height, width)
  top, left = (height - side) // 2, (width - side) // 2
  images = images[:, top:top + side, left:left + side]
  if side == size:
    return np.ascontiguousarray(images)
  weights = resize_weights(side, size)
  result = np.empty((count, size, size, channels), np.uint8)
  for part in chunks(count, side * side * channels):
    x: np.ndarray = images[part].astype(np.float32).reshape(-1, side, side * channels)
    x = (weights @ x).reshape(-1, size, side, channels)
    x = weights @ x
    result[part] = np.clip(np.rint(x), 0, 255)
  return result


def to_channels(
    images: np.ndarray, channels: int, convert: bool, name: str,
) -> np.ndarray:
  """Converts uint8 [N, H, W, 1 or 3] to uint8 [N, H, W, channels].

  Images with three equal channels count as grey.

  Raises:
    UserError: a conversion is needed, but `convert` is false.
  """
  have = images.shape[-1]
  if have == channels:
    return images
  if have == 3 and all(
      (images[part] == images[part][..., :1]).all()
      for part in chunks(len(images), images[0].size if len(images) else 1)):
    return images[..., :1].copy()  # grey stored as RGB
  if not convert:
    raise errors.UserError(mixed_channels(f"'{name}' has", have, channels))
  if channels == 3:
    return np.repeat(images, 3, axis=-1)
  result = np.empty((*images.shape[:3], 1), np.uint8)
  for part in chunks(len(images), images[0].size if len(images) else 1):
    result[part, ..., 0] = np.rint(images[part].astype(np.float32) @ _GREY)
  return result


def nearly_black(high: float, white: float) -> tuple[str, ...]:
  """A warning if the brightest pixel of a set is far from white."""
  if not 0 < high < _DARK * white:
    return ()
  return (f"WARNING: the brightest pixel is {high:g} where {white:g} is white: nearly "
          "black; say which value is white with the option max=",)


def mixed_channels(subject: str, have: int, channels: int) -> str:
  """Error message for images with `have` channels instead of the requested `channels`."""
  kind = {1: "grey", 3: "colour"}
  return (f"{subject} {kind[have]} images, but config.data.channels is "
          f"{channels}: set --config.data.channels={have} (with one number each for "
          "config.data.mean and std if they are grey), or convert them "
          "with the option convert=1 in the spec")
