"""Normalisation: of images, and of batches whose statistics stay in groups."""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from augment_gen.config import errors
from augment_gen.run import parallel


def of_images(x: jax.Array, mean: tuple[float, ...],
              std: tuple[float, ...]) -> jax.Array:
  """(x − mean) / std, channel by channel, as every encoder begins.

  Args:
    x: float32 [B, H, W, C].
    mean: one number per channel, or one for all.
    std: likewise.

  Returns:
    float32 [B, H, W, C].

  Raises:
    UserError: mean or std fit the channels of `x` in neither way.
  """
  channels = x.shape[-1]
  errors.raise_if_any(
      f"data.{name} has {len(values)} numbers but the images have {channels} "
      "channel(s): give one for each channel, or one for all"
      for name, values in (("mean", mean), ("std", std))
      if len(values) not in (1, channels))
  mean, std = (jnp.asarray(values, jnp.float32).reshape(1, 1, 1, -1)
               for values in (mean, std))
  return (x - mean) / std


# `BatchNorm.groups` for one group that spans the devices.
ALL_DEVICES = 0


class BatchNorm(nn.Module):
  """Batch norm over `groups` equal, consecutive parts of this device's batch.

  Official MoCo trains on 8 GPUs, each with statistics of its own; shuffling the
  keys over them is what keeps the network from recognising a positive by its
  batch statistics (He et al. 2020, section 3.3). Groups give a device the same
  meaning of "another GPU". `groups=1` is `nn.BatchNorm`, with the same
  variables.

  With `groups=ALL_DEVICES` the statistics are those of the whole batch, however
  many devices share it (synchronised batch norm). A step whose positives lie on
  one device needs this: statistics that positives share and negatives do not
  would tell them apart.

  The running averages take the mean over groups and devices, where PyTorch's
  DistributedDataParallel keeps those of the first GPU; their variance is the
  biased one, as in Flax (PyTorch: n / (n - 1) times that).

  Attributes:
    groups: number of groups on this device; it must divide the batch. Or
      ALL_DEVICES.
    momentum: what is kept of the running averages at each step.
    epsilon: added to the variance.
    dtype: of the output; statistics and scaling are float32. None: as the
      input.
    scale_init: of the learned scale.
  """
  groups: int = 1
  momentum: float = 0.9
  epsilon: float = 1e-5
  dtype: Any = None
  scale_init: nn.initializers.Initializer = nn.initializers.ones

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    """Normalises.

    Args:
      x: [N, ..., C].
      train: use the statistics of the groups, and update the running averages
        (collection `batch_stats`, which must then be mutable); else use the
        running averages.

    Returns:
      Of the shape of `x`.

    Raises:
      ValueError: the groups don't divide N (`train` only).
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
      # Two passes: E[x^2] - E[x]^2 would cancel where the mean is large.
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
