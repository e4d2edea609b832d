"""ResNets (He et al. 2016) as in torchvision, for any number of image channels.

Bottleneck blocks have their stride in the 3x3 convolution (torchvision's "v1.5").
"""

from collections.abc import Sequence
import functools
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from augment_gen.config import errors
from augment_gen.models import conv, norm, pooling

STEMS = ("imagenet", "small")

# torchvision: kaiming_normal_(mode="fan_out", nonlinearity="relu").
_KAIMING = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def _convolution(features: int, size: int, stride: int, dtype, name: str
                 ) -> nn.Conv:
  """A `size` x `size` convolution without bias, zero-padded as in PyTorch."""
  return conv.Conv(
      features, (size, size), strides=(stride, stride),
      padding=((size // 2, size // 2),) * 2, use_bias=False,
      kernel_init=_KAIMING, dtype=dtype, name=name)


class BasicBlock(nn.Module):
  """Two 3x3 convolutions: [B, H, W, C] -> [B, H/stride, W/stride, width].

  The scale of the last batch norm starts at one, as by default in torchvision and thus
  in the official MoCo.
  """
  width: int
  stride: int
  bn_groups: int
  dtype: Any

  expansion = 1

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    convolution = functools.partial(_convolution, dtype=self.dtype)
    batch_norm = functools.partial(
        norm.BatchNorm, groups=self.bn_groups, dtype=self.dtype)

    y = convolution(self.width, 3, self.stride, name="conv1")(x)
    y = nn.relu(batch_norm(name="norm1")(y, train=train))
    y = convolution(self.width, 3, 1, name="conv2")(y)
    y = batch_norm(name="norm2")(y, train=train)
    if x.shape != y.shape:
      x = convolution(self.width, 1, self.stride, name="shortcut_conv")(x)
      x = batch_norm(name="shortcut_norm")(x, train=train)
    return nn.relu(x + y)


class BottleneckBlock(nn.Module):
  """1x1, 3x3 and 1x1 convolutions: [B, H, W, C] -> [B, H/stride, W/stride, 4 width]."""
  width: int
  stride: int
  bn_groups: int
  dtype: Any

  expansion = 4

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    convolution = functools.partial(_convolution, dtype=self.dtype)
    batch_norm = functools.partial(
        norm.BatchNorm, groups=self.bn_groups, dtype=self.dtype)

    features = self.width * self.expansion
    y = convolution(self.width, 1, 1, name="conv1")(x)
    y = nn.relu(batch_norm(name="norm1")(y, train=train))
    y = convolution(self.width, 3, self.stride, name="conv2")(y)
    y = nn.relu(batch_norm(name="norm2")(y, train=train))
    y = convolution(features, 1, 1, name="conv3")(y)
    y = batch_norm(name="norm3")(y, train=train)
    if x.shape != y.shape:
      x = convolution(features, 1, self.stride, name="shortcut_conv")(x)
      x = batch_norm(name="shortcut_norm")(x, train=train)
    return nn.relu(x + y)


class ResNet(nn.Module):
  """F: X -> Y, without a classifier.

  Source: Hayase et al., (1).

  Attributes:
    stage_sizes: number of blocks per stage.
    block: `BasicBlock` or `BottleneckBlock`.
    width: channels of the first stage; each further stage doubles them.
    stem: "imagenet" (7x7 of stride 2, then 3x3 max pooling of stride 2) or "small"
      (3x3 without pooling, as in SimCLR for CIFAR).
    dtype: dtype of the convolutions and maps; parameters, statistics and the output are
      float32.
    bn_groups: number of groups in *this device's* batch, see `norm.BatchNorm`.
    mean: subtracted from the images; one number per channel, or one for all.
    std: divisor of the centred images; one number per channel, or one for all.
    remat: whether blocks are computed again for their gradients.
  """
  stage_sizes: Sequence[int]
  block: type[BasicBlock] | type[BottleneckBlock]
  width: int = 64
  stem: str = "imagenet"
  dtype: Any = jnp.float32
  bn_groups: int = 1
  mean: tuple[float, ...] = (0.5,)
  std: tuple[float, ...] = (0.5,)
  remat: bool = False

  @property
  def feature_dim(self) -> int:
    """d, the dimension of Y."""
    doublings = len(self.stage_sizes) - 1
    return self.width * 2**doublings * self.block.expansion

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool
               ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Embeds images.

    Args:
      x: float32 [B, H, W, C] in [0, 1].
      train: If True, use batch statistics and update their running averages. If False,
        use the running averages.

    Returns:
      The embedding, float32 [B, feature_dim], and the maps by name: "stem_conv" (before
      the pooling of an ImageNet stem), "stem", "stage1", ..., and "pooled", which is
      the embedding.

    Raises:
      UserError: the stem is unknown, or the length of mean or std is neither 1 nor C.
    """
    out = {}
    x = norm.of_images(x, self.mean, self.std).astype(self.dtype)
    x = self._stem_conv(x, train)
    out["stem_conv"] = x
    if self.stem == "imagenet":
      x = pooling.max_pool_3x3(x)
    out["stem"] = x
    apply = lambda block, x: block(x, train=train)
    if self.remat:
      apply = nn.remat(apply)
    for stage, blocks in enumerate(self.stage_sizes, start=1):
      for index in range(blocks):
        x = apply(self.block(
            width=self.width * 2 ** (stage - 1),
            stride=2 if stage > 1 and index == 0 else 1,
            bn_groups=self.bn_groups, dtype=self.dtype,
            name=f"stage{stage}_block{index + 1}"), x)
      out[f"stage{stage}"] = x
    out["pooled"] = x.astype(jnp.float32).mean(axis=(1, 2))
    return out["pooled"], out

  def _stem_conv(self, x, train):
    if self.stem not in STEMS:
      raise errors.UserError(
          f"encoder.stem '{self.stem}' is unknown; choose from "
          f"{', '.join(STEMS)}")
    size, stride = (7, 2) if self.stem == "imagenet" else (3, 1)
    x = _convolution(
        self.width, size, stride, self.dtype, name="stem_conv")(x)
    x = norm.BatchNorm(
        groups=self.bn_groups, dtype=self.dtype, name="stem_norm")(
            x, train=train)
    return nn.relu(x)


ResNet18 = functools.partial(
    ResNet, stage_sizes=(2, 2, 2, 2), block=BasicBlock)
ResNet34 = functools.partial(
    ResNet, stage_sizes=(3, 4, 6, 3), block=BasicBlock)
ResNet50 = functools.partial(
    ResNet, stage_sizes=(3, 4, 6, 3), block=BottleneckBlock)
