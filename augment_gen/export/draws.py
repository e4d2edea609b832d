"""Random draws for images: functions of a seed and of the image's name alone."""

import hashlib

import numpy as np


def latents(seed: int, name: str, number: int, bank: np.ndarray | None, dim: int
            ) -> np.ndarray:
  """Draws the latents z of one copy of one image.

  Args:
    seed: the user's.
    name: path of the image below its folder, or its place in a batch.
    number: of the copy, from 0.
    bank: float32 [M, Z], whose rows are drawn uniformly, as in (15). None for the prior,
      uniform on [0, 1]^Z.
    dim: Z.

  Returns:
    float32 [Z] in [0, 1].
  """
  random = _random(f"{seed}/{number}/{name}")
  if bank is None:
    return random.random(dim, np.float32)
  return bank[random.integers(len(bank))]


def coin(seed: int, name: str) -> float:
  """Draws a number, uniform on [0, 1), that is independent of the latents."""
  return _random(f"coin/{seed}/{name}").random()


def _random(text: str) -> np.random.Generator:
  digest = hashlib.sha256(text.encode(errors="surrogateescape")).digest()
  return np.random.Generator(np.random.Philox(
      key=int.from_bytes(digest[:16], "little")))
