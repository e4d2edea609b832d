"""Batch-norm statistics estimated anew on other images: AdaBN (Li et al. 2016).

A control that costs nothing: where images come from other conditions than those
of training, a part of what an encoder loses is that its batch norms still divide
by the statistics of the old ones. It reads X̃_f without labels, as G_A does.
"""

from collections.abc import Callable
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from augment_gen.data.base import Images, reader
from augment_gen.models.norm import BatchNorm

PyTree = Any


def make_batch_statistics(encoder: nn.Module) -> Callable:
  """`(variables, images uint8 [b, H, W, C]) -> batch_stats` of this batch alone.

  Args:
    encoder: F, whose `norm.BatchNorm`s have one group.
  """
  @jax.jit
  def batch_statistics(variables, images):
    x = images.astype(jnp.float32) / 255
    nothing = jax.tree.map(jnp.zeros_like, variables["batch_stats"])
    _, new = encoder.apply({**variables, "batch_stats": nothing}, x, train=True,
                           mutable=["batch_stats"])
    # The running averages, from zero, have moved by this part of the way.
    return jax.tree.map(
        lambda a: a / (1 - BatchNorm.momentum), new["batch_stats"])
  return batch_statistics


def reestimate(batch_statistics: Callable, variables: PyTree, images: Images | np.ndarray,
               batch_size: int, seed: int) -> PyTree:
  """The encoder with means and variances of `images` in its batch norms.

  Batches are drawn at random and each is normalised by itself; means and
  variances are then those of all batches together.

  Args:
    batch_statistics: from `make_batch_statistics`.
    variables: of the encoder; the parameters stay as they are.
    images: a set, or uint8 [N, H, W, C]. What an incomplete last batch would hold is left
      out.
    batch_size: at most N counts.
    seed: of the order.

  Returns:
    Variables of the same structure.
  """
  size = min(batch_size, len(images))
  read = reader(images)
  order = np.random.Generator(np.random.Philox(seed)).permutation(len(images))
  batches = [jax.device_get(batch_statistics(variables, read(part)))
             for part in order[:len(images) // size * size].reshape(-1, size)]
  return {**variables, "batch_stats": _together(batches)}


def _together(batches: list[PyTree]) -> PyTree:
  """Mean and variance of the union of equally large batches.

  The variance is that within batches and that of their means.
  """
  if "mean" not in batches[0]:
    return {name: _together([batch[name] for batch in batches])
            for name in batches[0]}
  mean, var = (np.stack([batch[name] for batch in batches]).astype(np.float64)
               for name in ("mean", "var"))
  return {"mean": mean.mean(0).astype(np.float32),
          "var": (var.mean(0) + mean.var(0)).astype(np.float32)}
