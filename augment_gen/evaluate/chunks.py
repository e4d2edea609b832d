"""Networks applied to more images than should be on the device at once."""

from collections.abc import Callable

import jax
import numpy as np

from augment_gen.data.base import reader, shape_of

# Of the images of a chunk. A map of 64 channels has 12 MiB an image at 224 x 224, and a
# network keeps several.
_PIXELS = 256 * 64 * 64


def at_once(size: int, shape: tuple[int, ...]) -> int:
  """How many examples are on the device at once: `size`, or fewer if they are large.

  Args:
    size: the most.
    shape: of one example; that of an image is (H, W, C).
  """
  return max(1, min(size, _PIXELS // (shape[0] * shape[1]))) if len(shape) == 3 else size


def floats(images: np.ndarray) -> np.ndarray:
  """Converts uint8 to float32 in [0, 1]; returns floats unchanged."""
  if images.dtype == np.uint8:
    return images.astype(np.float32) / 255.0
  return images


@jax.jit
def _call(function: jax.tree_util.Partial, *arrays):
  return function(*arrays)


def chunked(function: Callable, size: int) -> Callable:
  """Applies `function` to any number of examples, from and to host memory.

  The function is compiled once per call of `chunked`. A `jax.tree_util.Partial(f,
  variables)` is compiled once per process, for all variables, if `f` is always the same
  object.

  Args:
    function: (arrays [b, ...]) -> a tree of arrays [b, ...]; must treat examples
      independently of each other.
    size: number of examples at a time; fewer if they are large images (`at_once`).

  Returns:
    The same function for NumPy arrays [n, ...] or sets of n images, n >= 1. It passes
    uint8 through `floats`.
  """
  if isinstance(function, jax.tree_util.Partial):
    compiled = lambda *arrays: _call(function, *arrays)
  else:
    compiled = jax.jit(function)

  def apply(*arrays):
    n = len(arrays[0])
    if any(len(a) != n for a in arrays) or not n:
      raise ValueError(f"{[len(a) for a in arrays]} examples: all arrays must hold "
                       "the same number, at least one")
    outs, reads = [], [reader(a) for a in arrays]
    count = min(at_once(size, shape_of(a)) for a in arrays)
    for start in range(0, n, count):
      chunk = np.arange(start, min(start + count, n))
      parts = [floats(read(chunk)) for read in reads]
      # The last chunk is padded: another shape would need another compilation.
      full = [np.resize(a, (count, *a.shape[1:])) for a in parts]
      outs.append(jax.tree.map(np.asarray, compiled(*full)))
    return jax.tree.map(lambda *chunks: np.concatenate(chunks)[:n], *outs)

  return apply
