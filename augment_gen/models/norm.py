"""Normalisation of images, and batch norm with statistics per group."""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from augment_gen.config import errors
from augment_gen.run import parallel


def of_images(x: jax.Array, mean: tuple[float, ...],
              std: tuple[float, ...]) -> jax.Array:
  """(x − mean) / std per channel, the first operation of every encoder.

  Args:
    x: float32 [B, H, W, C].
    mean: one number per channel, or one for all.
    std: likewise.

  Returns:
    float32 [B, H, W, C].

  Raises:
    UserError: the length of mean or std is neither 1 nor C.
  """
  channels = x.shape[-1]
  errors.raise_if_any(
      f"data.{name} has {len(values)} numbers but the images have {channels} "
      "channel(s): give one for each channel, or one for all"
      for name, values in (("mean", mean), ("std", std))
      if len(values) not in (1, channels))
  shift, scale = (jnp.asarray(values, jnp.float32).reshape(1, 1, 1, -1)
                  for values in (mean, std))
  return (x - shift) / scale


# The value of `BatchNorm.groups` for one group that spans all devices.
ALL_DEVICES = 0


class BatchNorm(nn.Module):
  """Batch norm over `groups` equal, consecutive parts of this device's batch.

  The official MoCo trains on 8 GPUs, each with its own statistics. Shuffling the keys
  across GPUs keeps the network from recognising a positive by its batch statistics (He
  et al. 2020, section 3.3). On one device, groups play the role of these GPUs.
  `groups=1` is `nn.BatchNorm`, with the same variables.

  With `groups=ALL_DEVICES` the statistics are those of the whole batch, for any number
  of devices (synchronised batch norm). A step needs this if its positives lie on one
  device: statistics shared by positives but not by negatives would separate the two.

  The running averages are means over groups and devices, whereas PyTorch's
  DistributedDataParallel keeps those of the first GPU. Their variance is the biased
  one, as in Flax (PyTorch: n / (n - 1) times that).

  Attributes:
    groups: number of groups on this device, which must divide the batch; or
      ALL_DEVICES.
    momentum: fraction of the running averages that is kept at each step.
    epsilon: added to the variance.
    dtype: dtype of the output; None for that of the input. Statistics and scaling are
      float32.
    scale_init: initialiser of the learned scale.
  """
  groups: int = 1
  momentum: float = 0.9
  epsilon: float = 1e-5
  dtype: Any = None
  scale_init: nn.initializers.Initializer = nn.initializers.ones

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    """Normalises `x`.

    Args:
      x: [N, ..., C].
      train: If True, use the statistics of the groups and update the running averages
        (collection `batch_stats`, which must then be mutable). If False, use the
        running averages.

    Returns:
      An array of the shape of `x`.

    Raises:
      ValueError: `train` is True and the groups do not divide N.
    """
    features = x.shape[-1]
    running_mean = self.variable(
        "batch_stats", "mean", jnp.zeros, (features,), jnp.float32)
    running_var = self.variable(
        "batch_stats", "var", jnp.ones, (features,), jnp.float32)
    scale = self.param("scale", self.scale_init, (features,), jnp.float32)
    bias = self.param("bias", nn.initializers.zeros, (features,), jnp.float32)

    groups = (self.groups or 1) if train else 1
    if x.shape[0] % groups:
      raise ValueError(
          f"{groups} batch-norm groups don't divide a batch of {x.shape[0]}")
    grouped = x.astype(jnp.float32).reshape(groups, -1, features)
    if train:
      # Two passes, because E[x^2] - E[x]^2 would cancel for a large mean.
      together = parallel.mean if self.groups == ALL_DEVICES else lambda a: a
      mean = together(grouped.mean(axis=1, keepdims=True))  # [G, 1, C]
      var = together(jnp.square(grouped - mean).mean(axis=1, keepdims=True))
      if not self.is_initializing():
        new_mean, new_var = parallel.mean(
            (mean.mean(axis=(0, 1)), var.mean(axis=(0, 1))))
        keep = self.momentum
        running_mean.value = keep * running_mean.value + (1 - keep) * new_mean
        running_var.value = keep * running_var.value + (1 - keep) * new_var
    else:
      mean, var = running_mean.value, running_var.value
      mean, var = (a.reshape(1, 1, features) for a in (mean, var))

    factor = jax.lax.rsqrt(var + self.epsilon) * scale.reshape(1, 1, features)
    y = (grouped - mean) * factor + bias.reshape(1, 1, features)
    return y.reshape(x.shape).astype(self.dtype or x.dtype)
