"""G_A, G_E and G_L: perceptrons, and U-Nets with "learned" latents.

Compare augment_gen/models/{perceptron,unet,latent_maps,outputs}.py.
"""

import math

import torch
from torch import nn
from torch.nn import functional

from augment_gen.config import Config
from augment_gen.models import latent_maps
from pytorch.layers import flatten

_EDIT_EPSILON = 0.01
_PRIOR_STD = 1 / math.sqrt(12)
_CHANNELS_PER_GROUP = 16
_SCALES = {"square": 2.0, "learned": 8.0}  # of latents, at the input of G_A


def build(config: Config) -> tuple[nn.Module, nn.Module]:
  """Builds G_A `(x, z) -> image`, and G_E with G_L `(x) -> (image, latents)`.

  Raises:
    ValueError: a U-Net has the "square" layout, which has no PyTorch side.
  """
  networks, latent, data = config.generator.networks, config.generator.latent, config.data
  if latent.layout != "learned" and "unet" in (networks.augmenter, networks.eliminator):
    raise ValueError("U-Nets with square latents have no PyTorch side")
  scale, shape = _SCALES[latent.layout], (data.channels, data.side, data.side)
  sizes = (networks.unet_width, networks.unet_depth, networks.output)
  dense = (networks.hidden, networks.layers, networks.output)
  augmenter: nn.Module = (
      Augmenter(shape, latent.dim, scale, latent_maps.MARKS, *sizes)
      if networks.augmenter == "unet" else
      PerceptronAugmenter(shape, latent.dim, scale, *dense))
  eliminator: nn.Module = (
      Eliminator(shape, latent.dim, *sizes) if networks.eliminator == "unet" else
      PerceptronEliminator(shape, latent.dim, *dense))
  return augmenter, eliminator


def to_image(logits: torch.Tensor, x: torch.Tensor, output: str) -> torch.Tensor:
  """`models.outputs.to_image`."""
  if output == "image":
    return torch.sigmoid(logits)
  inside = x.clamp(_EDIT_EPSILON, 1 - _EDIT_EPSILON)
  y = torch.sigmoid(logits + torch.logit(inside))
  # Zeros, whose slope is that of painting over x where x was clipped.
  slope = torch.where(inside == x, 0.0, 1.0 - (y - inside).abs()).detach()
  return y + slope * (x - x.detach())


class _HiddenLayers(nn.Module):
  """`layers` dense layers, each with a ReLU: [B, D] -> [B, hidden]."""

  def __init__(self, features: int, hidden: int, layers: int):
    super().__init__()
    self.layers = layers
    for index in range(1, layers + 1):
      layer = nn.Linear(features, hidden)
      nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
      self.add_module(f"dense{index}", layer)
      features = hidden

  def forward(self, h: torch.Tensor) -> torch.Tensor:
    for index in range(1, self.layers + 1):
      h = functional.relu(getattr(self, f"dense{index}")(h))
    return h


class PerceptronAugmenter(nn.Module):
  """G_A as a perceptron."""

  def __init__(self, shape: tuple[int, int, int], latents: int, scale: float,
               hidden: int, layers: int, output: str):
    super().__init__()
    self.scale, self.output = scale, output
    self.trunk = _HiddenLayers(math.prod(shape) + latents, hidden, layers - 1)
    self.image = nn.Linear(hidden, math.prod(shape))

  def forward(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    h = self.trunk(torch.cat([flatten(x), self.scale * (z - 0.5)], 1))
    return to_image(_as_maps(self.image(h), x), x, self.output)


class PerceptronEliminator(nn.Module):
  """G_E and G_L as a perceptron."""

  def __init__(self, shape: tuple[int, int, int], latents: int, hidden: int, layers: int,
               output: str):
    super().__init__()
    self.output = output
    self.trunk = _HiddenLayers(math.prod(shape), hidden, layers - 1)
    self.image = nn.Linear(hidden, math.prod(shape))
    self.latent = nn.Linear(hidden, latents)

  def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    h = self.trunk(flatten(x))
    return (to_image(_as_maps(self.image(h), x), x, self.output),
            torch.sigmoid(self.latent(h)))


class Augmenter(nn.Module):
  """G_A as a U-Net."""

  def __init__(self, shape: tuple[int, int, int], latents: int, scale: float,
               marks: latent_maps.FirstMarks, width: int, depth: int, output: str):
    super().__init__()
    self.scale, self.output = scale, output
    channels, height, _ = shape
    self.pyramid = Pyramid(latents - 1, height)
    self.unet = UNet(channels + self.pyramid.levels, width, depth)
    self.image = nn.Conv2d(width, channels, 1)
    self.marks = Marks(channels, self.pyramid.levels, width, marks)

  def forward(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    z = self.scale * (z - 0.5)
    maps = self.pyramid(z[:, 1:])
    h = self.unet(torch.cat([x, maps], 1))
    spread = self.scale * _PRIOR_STD
    logits = self.image(h) + self.marks(maps / spread, z[:, :1] / spread, h)
    return to_image(logits, x, self.output)


class Eliminator(nn.Module):
  """G_E and G_L as a U-Net."""

  def __init__(self, shape: tuple[int, int, int], latents: int, width: int, depth: int,
               output: str):
    super().__init__()
    self.output = output
    channels, height, columns = shape
    self.unet = UNet(channels, width, depth)
    self.image = nn.Conv2d(width, channels, 1)
    self.latent = nn.Linear(height * columns * width, latents)

  def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    h = self.unet(x)
    return (to_image(self.image(h), x, self.output),
            torch.sigmoid(self.latent(flatten(h))))


class Pyramid(nn.Module):
  """`latent_maps.Pyramid`: [B, Z] -> [B, levels, H, H]."""

  def __init__(self, latents: int, size: int):
    """Makes the layers.

    Raises:
      ValueError: the side of a map does not divide the side of the image.
    """
    super().__init__()
    self.size, self.levels = size, (size - 1).bit_length()
    for level in range(self.levels):
      side = -(-size // 2**level)
      if size % side:
        raise ValueError(f"maps of side {side} do not divide an image of side {size}")
      layer = nn.Linear(latents, side**2)
      nn.init.normal_(layer.weight, std=1 / math.sqrt(latents))
      self.add_module(f"level{level}", layer)

  def forward(self, z: torch.Tensor) -> torch.Tensor:
    maps = []
    for level in range(self.levels):
      side = -(-self.size // 2**level)
      h = getattr(self, f"level{level}")(z).view(-1, 1, side, side)
      maps.append(functional.interpolate(h, self.size, mode="nearest"))
    return torch.cat(maps, 1).contiguous(memory_format=torch.channels_last)


class Marks(nn.Module):
  """`latent_maps.Marks`: maps, the amount and the U-Net's output -> logits."""

  def __init__(self, channels: int, levels: int, width: int, start: latent_maps.FirstMarks):
    super().__init__()
    self.start = start
    gains = [start.fine_gain * start.gain_ratio ** max(level - 1, 0)
             for level in range(levels)]
    self.gain = nn.Parameter(
        torch.tensor([*gains, start.amount_gain])[:, None].repeat(1, channels))
    self.threshold = nn.Conv2d(width, 2 * channels, 1)
    nn.init.zeros_(self.threshold.weight)
    nn.init.zeros_(self.threshold.bias)

  def forward(self, maps: torch.Tensor, amount: torch.Tensor, h: torch.Tensor,
              ) -> torch.Tensor:
    start = self.start
    thresholds = start.threshold + start.threshold_slope * self.threshold(h)
    light, dark = thresholds.chunk(2, 1)
    lift = (amount * self.gain[-1:])[:, :, None, None]
    logits: torch.Tensor | float = 0.0
    for level in range(maps.shape[1]):
      mark = maps[:, level:level + 1] * self.gain[level][None, :, None, None] + lift
      logits = logits + functional.relu(mark - light) - functional.relu(-mark - dark)
    return start.steepness * logits


class _Convolutions(nn.Module):
  """Twice a 3x3 convolution, group norm and ReLU."""

  def __init__(self, old: int, features: int):
    super().__init__()
    groups = max(features // _CHANNELS_PER_GROUP, 1)
    if features % groups:
      groups = 1
    for index, inputs in ((1, old), (2, features)):
      convolution = nn.Conv2d(inputs, features, 3, padding=1, bias=False)
      nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
      self.add_module(f"conv{index}", convolution)
      self.add_module(f"norm{index}", nn.GroupNorm(groups, features, eps=1e-6))

  def forward(self, h: torch.Tensor) -> torch.Tensor:
    h = functional.relu(self.norm1(self.conv1(h)), inplace=True)
    return functional.relu(self.norm2(self.conv2(h)), inplace=True)


class UNet(nn.Module):
  """The layers below the last ones: [B, C, H, W] -> [B, width, H, W]."""

  def __init__(self, channels: int, width: int, depth: int):
    super().__init__()
    self.depth = depth
    for level in range(depth):
      features = width * 2**level
      self.add_module(f"down{level}", _Convolutions(channels, features))
      self.add_module(f"grow{level}", nn.Conv2d(2 * features, features, 3, padding=1))
      self.add_module(f"up{level}", _Convolutions(2 * features, features))
      channels = features
    self.bottom = _Convolutions(channels, width * 2**depth)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    height, width = x.shape[2:]
    missing_rows, missing_columns = (-side % 2**self.depth for side in (height, width))
    top, left = missing_rows // 2, missing_columns // 2
    h, skips = x, []
    if missing_rows or missing_columns:
      h = functional.pad(x, (left, missing_columns - left, top, missing_rows - top),
                         mode="replicate")
    for level in range(self.depth):
      h = getattr(self, f"down{level}")(h)
      skips.append(h)
      h = functional.max_pool2d(h, 2)
    h = self.bottom(h)
    for level in reversed(range(self.depth)):
      h = functional.interpolate(h, scale_factor=2.0, mode="nearest")
      h = torch.cat([skips[level], getattr(self, f"grow{level}")(h)], 1)
      h = getattr(self, f"up{level}")(h)
    return h[:, :, top:top + height, left:left + width]


def _as_maps(values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
  """The inverse of `flatten`, for maps of the shape of `x`."""
  batch, channels, height, width = x.shape
  return values.view(batch, height, width, channels).permute(0, 3, 1, 2)
