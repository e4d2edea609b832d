"""The functions that `export.load` returns, whether from a run or from an export."""

from collections.abc import Callable
import dataclasses
import functools
import os
import pathlib
from typing import Any

import numpy as np

from augment_gen.config import Config
from augment_gen.config.errors import UserError
from augment_gen.export import draws
from augment_gen.export.inputs import as_floats, as_latents

LATENTS = ("bank", "prior")
_LARGEST = 64  # images in a pass of G_A

# (images float32 [b, H, W, C], latents float32 [b, Z], strength float32 [b], or None for
# all of it) -> copies [b, H, W, C]
Augmenter = Callable[[np.ndarray, np.ndarray, np.ndarray | None], Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Functions:
  """What a run or an export provides, for arrays that are as they must be.

  Attributes:
    encode: F, images float32 [n, H, W, C] -> float32 [n, D].
    augment: G_A, see `Augmenter`; raises UserError if it has no strengths.
    eliminate: G_E and G_L, images -> (images, latents).
    bank: () -> float32 [M, Z], Z̃; raises UserError if it is not there.
  """
  encode: Callable[[np.ndarray], np.ndarray]
  augment: Augmenter
  eliminate: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
  bank: Callable[[], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Learned:
  """Functions on NumPy arrays of any number n ≥ 1 of images.

  It is pickled as the name of its folder, which is loaded again where it is unpickled.

  Attributes:
    loader, arguments: what loads it again; the first argument is its folder.
    image_shape: (H, W, C) of its images.
    latent_dim: Z, the number of latents.
    config: the run's config; None for an export.
    functions: what it calls.
  """
  loader: Callable[..., "Learned"]
  arguments: tuple[pathlib.Path, str | None, str]
  image_shape: tuple[int, int, int]
  latent_dim: int
  config: Config | None
  functions: Functions

  def __call__(self, images: np.ndarray, seed: int, *, strength: float = 1.0,
               latents: str = "bank", p: float = 1.0) -> np.ndarray:
    """Augments images as the run has learned it, with latents drawn for each of them.

    The latents of image i are a function of the seed and of i alone.

    Args:
      images: [n, H, W, C], or one image [H, W, C]; see the module `export`.
      seed: of the latents, at least 0.
      strength: factor in [0, 1] of all strengths of a chain of operators; with 0, images
        stay as they are. Other forms of G_A have 1 alone.
      latents: "bank": z is drawn from those of X̃_f, as in (15). "prior": z is uniform.
      p: probability that an image is changed at all; each image has its own draw.

    Returns:
      The same shape, rounded to their own type for whole numbers, and float32 in [0, 1]
      for others.

    Raises:
      UserError: an argument is something else, or the bank is not there.
    """
    images = np.asarray(images)
    single = images.shape == self.image_shape
    given = images[None] if single else images
    x = as_floats(given, self.image_shape)
    _check(seed, strength, latents, p)
    names = [str(i) for i in range(len(x))]
    chosen = np.array([draws.coin(seed, name) < p for name in names])
    if chosen.any():
      bank = self.functions.bank() if latents == "bank" else None
      z = np.stack([draws.latents(seed, name, 0, bank, self.latent_dim)
                    for name, taken in zip(names, chosen) if taken])
      x[chosen] = self._augment(x[chosen], z, strength)
    if np.issubdtype(images.dtype, np.integer):
      x = np.rint(255 * x).clip(0, 255).astype(images.dtype)
    return x[0] if single else x

  def augment(self, images: np.ndarray, latents: np.ndarray, strength: float = 1.0
              ) -> np.ndarray:
    """G_A(x, z): images [n, H, W, C], latents [n, Z] -> float32 [n, H, W, C] in [0, 1].

    Raises:
      UserError: see `__call__`.
    """
    x = as_floats(images, self.image_shape)
    z = as_latents(latents, len(x), self.latent_dim)
    _check(0, strength, "prior", 1.0)
    return self._augment(x, z, strength)

  def encode(self, images: np.ndarray) -> np.ndarray:
    """F(x): images -> float32 [n, D]; raises as `__call__`."""
    return self.functions.encode(as_floats(images, self.image_shape))

  def eliminate(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """G_E(x) and G_L(x), both in [0, 1]: images -> (float32 [n, H, W, C], [n, Z])."""
    return self.functions.eliminate(as_floats(images, self.image_shape))

  def _augment(self, x: np.ndarray, z: np.ndarray, strength: float) -> np.ndarray:
    factor = None if strength == 1 else np.full(len(x), strength, np.float32)
    return in_parts(self.functions.augment, x, z, factor)

  def __reduce__(self):
    return self.loader, self.arguments


def in_parts(function: Callable, *arrays: np.ndarray | None) -> Any:
  """Applies a function to parts of at most 64 examples.

  Each new number of examples is compiled, so parts are padded to powers of two.

  Args:
    function: of arrays [b, …], or None in the place of one, -> [b, …], or several of
      them; treats examples independently of each other.
    arrays: [n, …] each, n ≥ 1, or None.
  """
  import jax  # pylint: disable=g-import-not-at-top  (see `of_this_process`)

  of_this_process()
  first = next(a for a in arrays if a is not None)
  outs = []
  for start in range(0, len(first), _LARGEST):
    parts = [None if a is None else a[start:start + _LARGEST] for a in arrays]
    count = min(_LARGEST, len(first) - start)
    size = 1 << (count - 1).bit_length()
    full = [None if a is None else np.resize(a, (size, *a.shape[1:])) for a in parts]
    outs.append(jax.tree.map(lambda a, n=count: np.asarray(a)[:n], function(*full)))
  return outs[0] if len(outs) == 1 else jax.tree.map(
      lambda *parts: np.concatenate(parts), *outs)


@functools.cache
def _first_process() -> int:
  return os.getpid()


def of_this_process() -> None:
  """Must be called before JAX computes: its threads do not survive a fork.

  Raises:
    UserError: this process is a fork of one in which JAX has computed already. Here it
      would hang, if it did not before.
  """
  if _first_process() != os.getpid():
    raise UserError(
        "the augmentation was used before this process was forked, and JAX does not "
        "survive a fork: start workers with multiprocessing_context='spawn' (or "
        "'forkserver'), or load a folder of `augment-gen export`, and do not call it, "
        "before the workers start")


def _check(seed: int, strength: float, latents: str, p: float) -> None:
  if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
    raise UserError(f"seed={seed!r} is no whole number of at least 0")
  for name, value in (("strength", strength), ("p", p)):
    if not 0 <= value <= 1:
      raise UserError(f"{name}={value!r} is not in [0, 1]")
  if latents not in LATENTS:
    raise UserError(f"latents={latents!r} is neither 'bank' nor 'prior'")
