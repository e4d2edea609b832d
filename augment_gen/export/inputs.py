"""Images and latents that users give: converted, or refused in one line."""

import numpy as np

from augment_gen.config.errors import UserError


def as_floats(images: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
  """Converts images to the networks' input: float32 [n, H, W, C] in [0, 1].

  Args:
    images: [n, H, W, C] integers in 0..255, floats in [0, 1], or bools.
    shape: the (H, W, C) that the run was trained on.

  Raises:
    UserError: the shape, the type or the range is wrong.
  """
  images = np.asarray(images)
  if images.shape[1:] != shape or not len(images):
    raise UserError(
        f"images of the shape {images.shape} are not [n, "
        f"{', '.join(map(str, shape))}] with n of at least 1, as this run was "
        "trained: add the missing axes, or resize and convert the images")
  if images.dtype == bool:
    return images.astype(np.float32)
  whole = np.issubdtype(images.dtype, np.integer)
  if not whole and not np.issubdtype(images.dtype, np.floating):
    raise UserError(f"images of the type {images.dtype} are not understood: give "
                    "uint8, or floats in [0, 1]")
  _check_range("images", images, 255 if whole else 1)
  # A single image may be that dark.
  if whole and len(images) > 1 and images.max() == 1:
    raise UserError(
        f"images of the type {images.dtype} hold 0 and 1 alone: as whole numbers in "
        "0..255 they would be black; give bools or floats")
  images = images.astype(np.float32)
  return images / np.float32(255) if whole else images


def as_latents(latents: np.ndarray, count: int, dim: int) -> np.ndarray:
  """Converts latents to G_A's input: float32 [count, dim] in [0, 1].

  Raises:
    UserError: the shape, the type or the range is wrong.
  """
  latents = np.asarray(latents)
  if latents.shape != (count, dim):
    raise UserError(f"latents of the shape {latents.shape} are not [{count}, {dim}]: "
                    f"{count} images need one of {dim} numbers each")
  if not np.issubdtype(latents.dtype, np.floating):
    raise UserError(f"latents of the type {latents.dtype} are not floats in [0, 1]")
  _check_range("latents", latents, 1)
  return latents.astype(np.float32)


def _check_range(what: str, values: np.ndarray, top: int) -> None:
  # Float32 rounding may exceed the range slightly.
  slack = 0 if top > 1 else 1e-6
  # `not (… >= …)` rather than `<`, so that NaN does not pass.
  if not (values.min() >= -slack and values.max() <= top + slack):
    raise UserError(
        f"{what} of the type {values.dtype} reach from {values.min():g} to "
        f"{values.max():g}, outside 0..{top}: scale them")
