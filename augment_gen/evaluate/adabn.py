"""AdaBN (Li et al. 2016): batch-norm statistics re-estimated on other images.

This is a control that needs no training. On images from conditions other than those of
training, an encoder loses accuracy in part because its batch norms still use the old
statistics. Like G_A, AdaBN reads X̃_f without labels.
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
  """Returns `(variables, images uint8 [b, H, W, C]) -> batch_stats` of that batch.

  Args:
    encoder: F; its `norm.BatchNorm`s must have one group.
  """
  @jax.jit
  def batch_statistics(variables, images):
    x = images.astype(jnp.float32) / 255
    nothing = jax.tree.map(jnp.zeros_like, variables["batch_stats"])
    _, new = encoder.apply({**variables, "batch_stats": nothing}, x, train=True,
                           mutable=["batch_stats"])
    # Running averages that start at 0 hold (1 - momentum) times the statistics.
    return jax.tree.map(
        lambda a: a / (1 - BatchNorm.momentum), new["batch_stats"])
  return batch_statistics


def reestimate(batch_statistics: Callable, variables: PyTree, images: Images | np.ndarray,
               batch_size: int, seed: int) -> PyTree:
  """Replaces an encoder's batch-norm means and variances by those of `images`.

  Batches are drawn at random, and each is normalised by its own statistics. The new
  means and variances are those of all batches together.

  Args:
    batch_statistics: from `make_batch_statistics`.
    variables: the encoder's variables; the parameters stay unchanged.
    images: a set, or uint8 [N, H, W, C]. An incomplete last batch is left out.
    batch_size: images per batch; values above N count as N.
    seed: seed of the order.

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
  """Mean and variance of the union of batches of equal size.

  The variance is the mean variance within batches plus the variance of their means.
  """
  if "mean" not in batches[0]:
    return {name: _together([batch[name] for batch in batches])
            for name in batches[0]}
  mean, var = (np.stack([batch[name] for batch in batches]).astype(np.float64)
               for name in ("mean", "var"))
  return {"mean": mean.mean(0).astype(np.float32),
          "var": (var.mean(0) + mean.var(0)).astype(np.float32)}
