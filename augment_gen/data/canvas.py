"""Images at random places of a larger black canvas: Regional MNIST."""

import dataclasses
import zlib

import numpy as np

from augment_gen.data import base


def put_on(images: base.ImageSet, side: int, seed: int) -> base.ImageSet:
  """Puts each image at a uniformly random place of a black canvas.

  NOTE(paper): the poster gives neither the canvas nor the distribution of
  places: all places at which the image lies whole on the canvas are as likely.

  The places depend on the seed and on the set's name alone: the same spec gives
  the same images each time.

  Args:
    images: of side S ≤ `side`.
    side: of the canvas, pixels.
    seed: of the places.

  Returns:
    The set, with images [N, side, side, C] and their `places`.
  """
  n, size = images.images.shape[:2]
  bits = np.random.Philox(np.random.SeedSequence(
      [seed, zlib.crc32(images.name.encode())]))
  places = np.random.Generator(bits).integers(
      0, side - size + 1, (n, 2), dtype=np.int32)
  out = np.zeros((n, side, side, images.images.shape[3]), np.uint8)
  for canvas, image, (top, left) in zip(out, images.images, places):
    canvas[top:top + size, left:left + size] = image
  return dataclasses.replace(
      images, name=f"{images.name} on {side} x {side}", images=out,
      fingerprint="", places=places)
