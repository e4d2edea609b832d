"""Gradient accumulation: a batch passes through a network in parts, one after the other.

The usual form adds up the gradients of losses of the parts. It is right only if the loss is
a mean over examples. Here the outputs of all parts are there before the loss, and each part
is computed again when its gradient is needed, as in GradCache (Gao et al. 2021). So the
gradient is that of the whole batch, also for losses that compare its examples. What exists
at once are the activations of one part, for about a third more operations.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax import lax
import jax.numpy as jnp

PyTree = Any


def count(batch: int, micro_batch: int) -> int:
  """Number of parts of `micro_batch` images in `batch` images; 0: all in one part.

  Batches of training are multiples of it. Any others, as those of measurements during
  training, are one part.
  """
  return 1 if not micro_batch or batch % micro_batch else batch // micro_batch


def in_parts(function: Callable[..., PyTree], parts: int, *arrays: jax.Array) -> PyTree:
  """Applies a function that treats examples apart to equal parts of arrays [b, ...].

  Args:
    function: arrays [b / parts, ...] -> a tree of arrays [b / parts, ...].
    parts: number of parts, which divides b. With 1 it is a plain call.
    *arrays: [b, ...] each.

  Returns:
    A tree of arrays [b, ...].
  """
  if parts == 1:
    return function(*arrays)
  with_means = lambda *part: (function(*part), ())
  return in_parts_with_means(with_means, parts, *arrays)[0]


def of_size(function: Callable[..., PyTree], micro_batch: int, *arrays: jax.Array
            ) -> PyTree:
  """`in_parts` with as many parts as `count` says."""
  return in_parts(function, count(len(arrays[0]), micro_batch), *arrays)


def in_parts_with_means(function: Callable[..., tuple[PyTree, PyTree]], parts: int,
                        *arrays: jax.Array) -> tuple[PyTree, PyTree]:
  """`in_parts` of a function that also returns what is to be averaged over the parts.

  Args:
    function: arrays [b / parts, ...] -> (a tree of arrays [b / parts, ...], a tree of
      float arrays of any shape).
    parts: number of parts, which divides b. With 1 it is a plain call.
    *arrays: [b, ...] each.

  Returns:
    A tree of arrays [b, ...], and the means of the second tree.
  """
  if parts == 1:
    return function(*arrays)
  split = [a.reshape(parts, len(a) // parts, *a.shape[1:]) for a in arrays]
  # In a loop, XLA cannot merge what is computed again with what was computed first.
  again = jax.checkpoint(lambda part: function(*part), prevent_cse=False)
  rows, means = lax.map(again, split)
  joined = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), rows)
  return joined, jax.tree.map(lambda a: jnp.mean(a, axis=0), means)
