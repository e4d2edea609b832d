"""Normalisation of images, batch norm with statistics per group, and group norm."""

import functools
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from augment_gen.config import errors
from augment_gen.models import reductions
from augment_gen.run import forms, parallel


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


# Values of `BatchNorm.groups` for groups that span all devices: one of the whole batch,
# or two, where the first half of each device's batch are the first views of its images
# and the second half their second views.
ALL_DEVICES = -1
EACH_VIEW = -2


class BatchNorm(nn.Module):
  """Batch norm over `groups` equal, consecutive parts of this device's batch.

  The official MoCo trains on 8 GPUs, each with its own statistics. Shuffling the keys
  across GPUs keeps the network from recognising a positive by its batch statistics (He
  et al. 2020, section 3.3). On one device, groups play the role of these GPUs.
  `groups=1` is `nn.BatchNorm`, with the same variables.

  With `groups=ALL_DEVICES` the statistics are those of the whole batch, for any number
  of devices (synchronised batch norm). A step needs this if its positives lie on one
  device: statistics shared by positives but not by negatives would separate the two.
  `groups=EACH_VIEW` is the same for each of two views, as if they were passed through
  the network one after the other.

  The running averages are means over groups and devices, whereas PyTorch's
  DistributedDataParallel keeps those of the first GPU. Their variance is the biased
  one, as in Flax (PyTorch: n / (n - 1) times that).

  Attributes:
    groups: number of groups on this device, which must divide the batch; or
      ALL_DEVICES or EACH_VIEW.
    momentum: fraction of the running averages that is kept at each step.
    epsilon: added to the variance.
    dtype: dtype of the output; None for that of the input. Statistics and scaling are
      float32.
    scale_init: initialiser of the learned scale.
    affine: whether there are a learned scale and bias; if not, they are 1 and 0.
  """
  groups: int = 1
  momentum: float = 0.9
  epsilon: float = 1e-5
  dtype: Any = None
  scale_init: nn.initializers.Initializer = nn.initializers.ones
  affine: bool = True

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
    if self.affine:
      scale = self.param("scale", self.scale_init, (features,), jnp.float32)
      bias = self.param("bias", nn.initializers.zeros, (features,), jnp.float32)
    else:
      scale, bias = jnp.ones(features), jnp.zeros(features)

    if not train:
      return _by_running_averages(
          x, running_mean.value, running_var.value, scale, bias, self.epsilon,
          self.dtype or x.dtype)

    groups = abs(self.groups)
    if x.shape[0] % groups:
      raise ValueError(
          f"{groups} batch-norm groups don't divide a batch of {x.shape[0]}")
    y, mean, var = normalise(
        x.reshape(groups, -1, features), scale, bias, features, self.epsilon,
        self.groups < 0)
    if not self.is_initializing():
      new_mean, new_var = parallel.mean((mean.mean(axis=(0, 1)), var.mean(axis=(0, 1))))
      keep = self.momentum
      running_mean.value = keep * running_mean.value + (1 - keep) * new_mean
      running_var.value = keep * running_var.value + (1 - keep) * new_var
    return y.reshape(x.shape).astype(self.dtype or x.dtype)


class GroupNorm(nn.Module):
  """Group norm (Wu & He 2018), with the variables of `nn.GroupNorm`.

  Attributes:
    groups: number of groups of channels, which must divide the channels.
    epsilon: added to the variance.
    dtype: dtype of the output; None for that of the input. Statistics and scaling are
      float32.
  """
  groups: int
  epsilon: float = 1e-6
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Normalises each image: [B, ..., C] -> [B, ..., C]."""
    features = x.shape[-1]
    scale = self.param("scale", nn.initializers.ones, (features,), jnp.float32)
    bias = self.param("bias", nn.initializers.zeros, (features,), jnp.float32)
    y, _, _ = normalise(x.reshape(x.shape[0], -1, features), scale, bias, self.groups,
                        self.epsilon, False)
    return y.reshape(x.shape).astype(self.dtype or x.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def normalise(x: jax.Array, scale: jax.Array, bias: jax.Array, channel_groups: int,
              epsilon: float, all_devices: bool
              ) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Scales each set of rows to mean 0 and variance 1, then by `scale` and `bias`.

  Its gradient is the closed form, which reads x and the gradient of y twice each.
  Automatic differentiation would store and read several arrays of the size of x. The
  mean and the variance pass no gradient of their own.

  Args:
    x: [L, N, C], L sets of N rows.
    scale: float32 [C].
    bias: float32 [C].
    channel_groups: number of groups of neighbouring channels that share mean and
      variance: C for batch norm.
    epsilon: added to the variance.
    all_devices: whether the sets reach over all devices of a mapped step.

  Returns:
    float32 [L, N, C], and the mean and the biased variance, each float32 [L, 1, C].
  """
  return _normalise_forward(x, scale, bias, channel_groups, epsilon, all_devices)[0]


def _normalise_forward(x, scale, bias, channel_groups, epsilon, all_devices):
  wide = x.astype(jnp.float32)
  each_mean, var = reductions.moments(wide)
  together = _together(channel_groups, all_devices)
  mean = together(each_mean)
  if mean is not each_mean:
    # The variance about the common mean: Chan et al. (1979).
    var = together(var + jnp.square(each_mean - mean))
  inverse = jax.lax.rsqrt(var + epsilon)
  y = (wide - mean) * (inverse * _row(scale)) + _row(bias)
  return (y, mean, var), (x, scale, mean, inverse)


def _normalise_backward(channel_groups, epsilon, all_devices, saved, cotangents):
  del epsilon
  x, scale, mean, inverse = saved
  dy = cotangents[0]
  normal = (x.astype(jnp.float32) - mean) * inverse
  d_bias, d_scale = reductions.sums(dy, dy * normal)  # [L, 1, C]
  together = _together(channel_groups, all_devices)
  rows = x.shape[1]
  slope, curve = (together(part * _row(scale)) / rows for part in (d_bias, d_scale))
  dx = inverse * (dy * _row(scale) - slope - normal * curve)
  return dx.astype(x.dtype), d_scale.sum(axis=(0, 1)), d_bias.sum(axis=(0, 1))


normalise.defvjp(forms.traced_once(_normalise_forward, static_argnums=(3, 4, 5)),
                 forms.traced_once(_normalise_backward, static_argnums=(0, 1, 2)))


@functools.partial(forms.traced_once, static_argnums=(5, 6))
def _by_running_averages(x, mean, var, scale, bias, epsilon, dtype):
  factor = jax.lax.rsqrt(var + epsilon) * scale
  y = (x.astype(jnp.float32) - _last(mean, x)) * _last(factor, x)
  return (y + _last(bias, x)).astype(dtype)


def _together(channel_groups: int, all_devices: bool):
  """The mean over what shares statistics, of one value for each channel [L, 1, C]."""
  def mean(values):
    channels = values.shape[-1]
    if channel_groups != channels:
      grouped = values.reshape(values.shape[0], 1, channel_groups, -1)
      values = jnp.broadcast_to(
          grouped.mean(axis=-1, keepdims=True), grouped.shape).reshape(values.shape)
    return parallel.mean(values) if all_devices else values
  return mean


def _row(values: jax.Array) -> jax.Array:
  """[C] -> [1, 1, C]."""
  return values.reshape(1, 1, -1)


def _last(values: jax.Array, x: jax.Array) -> jax.Array:
  """Shapes [C] so that it broadcasts along the last axis of `x`."""
  return values.reshape((1,) * (x.ndim - 1) + (-1,))
