"""Images at random places on a larger black canvas (Regional MNIST)."""

import dataclasses
import zlib

import numpy as np

from augment_gen.data import base


def put_on(images: base.ImageSet, side: int, seed: int) -> base.ImageSet:
  """Puts each image at a uniformly random place on a black canvas.

  Source: Koyama et al., Regional MNIST.

  NOTE(paper): the poster specifies neither the canvas nor the distribution of places.
  Here, all places at which the whole image lies on the canvas are equally likely.

  The places depend only on the seed and the set's name, so the same spec gives the same
  images each time.

  Args:
    images: set of images with side S ≤ `side`.
    side: side of the canvas, in pixels.
    seed: seed of the random places.

  Returns:
    The set with images [N, side, side, C] and their `places`.
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
