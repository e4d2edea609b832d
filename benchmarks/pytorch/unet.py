"""G_A, G_E and G_L as U-Nets, with "learned" latents, or "pooled" ones of G_L.

Compare augment_gen/models/{unet,latent_maps}.py.
"""

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from augment_gen.models import latent_maps
from pytorch import outputs
from pytorch.layers import flatten
from pytorch.outputs import to_image

_PRIOR_STD = 1 / math.sqrt(12)
_CHANNELS_PER_GROUP = 16
_CELLS, _POOLED_HIDDEN = 4, 128  # of G_L with "pooled" latents


class Augmenter(outputs.Augmenter):
  """G_A as a U-Net."""

  def __init__(self, shape: tuple[int, int, int], latents: int, scale: float,
               marks: latent_maps.FirstMarks, width: int, depth: int, patch: int,
               output: str):
    super().__init__()
    self.scale, self.output, self.patch = scale, output, patch
    channels, height, _ = shape
    self.pyramid = Pyramid(latents - 1, height)
    self.unet = UNet(channels + self.pyramid.levels, width, depth, patch)
    self.image = nn.Conv2d(width, channels * patch**2, 1)
    self.marks = Marks(channels, self.pyramid.levels, width, marks)

  def forward(self, x: torch.Tensor, z: torch.Tensor, u: None = None) -> torch.Tensor:
    z = self.scale * (z - 0.5)
    maps = self.pyramid(z[:, 1:])
    h = self.unet(torch.cat([x, maps], 1))
    spread = self.scale * _PRIOR_STD
    of_pixels = h if self.patch == 1 else _centre(
        functional.interpolate(h, scale_factor=self.patch, mode="nearest"), x)
    logits = to_pixels(self.image(h), self.patch, x) + self.marks(
        maps / spread, z[:, :1] / spread, of_pixels)
    return to_image(logits, x, self.output)


class Eliminator(nn.Module):
  """G_E and G_L as a U-Net; `layout` is that of the latents, "learned" or "pooled"."""

  def __init__(self, shape: tuple[int, int, int], latents: int, layout: str, width: int,
               depth: int, patch: int, output: str):
    super().__init__()
    self.output, self.patch, self.pooled = output, patch, layout == "pooled"
    channels, height, width_of_x = shape
    self.unet = UNet(channels, width, depth, patch)
    self.image = nn.Conv2d(width, channels * patch**2, 1)
    rows, columns = (-(-side // patch) for side in (height, width_of_x))
    self.latent: nn.Module = (
        _Pooled(shape, (width, rows, columns), latents) if self.pooled else
        nn.Linear(rows * columns * width, latents))

  def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    h = self.unet(x)
    image = to_image(to_pixels(self.image(h), self.patch, x), x, self.output)
    logits = self.latent(x, h) if self.pooled else self.latent(flatten(h))
    return image, torch.sigmoid(logits)


class _Pooled(nn.Module):
  """G_L for amounts: x [B, C, H, W] and the trunk's h -> logits [B, latents]."""

  def __init__(self, of_x: tuple[int, int, int], of_h: tuple[int, int, int], latents: int):
    super().__init__()
    for name, shape in (("x", of_x), ("h", of_h)):
      for axis, side in zip(("rows", "columns"), shape[1:]):
        self.register_buffer(f"{axis}_{name}", _area_weights(side), persistent=False)
    self.hidden = nn.Linear(2 * _CELLS**2 * (of_x[0] + of_h[0]), _POOLED_HIDDEN)
    self.logits = nn.Linear(_POOLED_HIDDEN, latents)

  def forward(self, x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    means = lambda maps, rows, columns: (
        rows @ torch.cat([maps, maps.square()], 1) @ columns.T).chunk(2, 1)
    x, x_square = means(x - 0.5, self.rows_x, self.columns_x)
    h, h_square = means(h, self.rows_h, self.columns_h)
    cells = flatten(torch.cat([h, x, h_square, x_square], 1))
    return self.logits(functional.relu(self.hidden(cells)))


def _area_weights(old: int) -> torch.Tensor:
  """[_CELLS, old]: the fraction of each cell that lies in each pixel."""
  old_edges, new_edges = np.arange(old + 1) / old, np.arange(_CELLS + 1) / _CELLS
  first = np.maximum(new_edges[:-1, None], old_edges[None, :-1])
  last = np.minimum(new_edges[1:, None], old_edges[None, 1:])
  return torch.from_numpy(_CELLS * np.maximum(last - first, 0)).float()


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
  """All layers but the last: [B, C, H, W] -> [B, width, ⌈H / patch⌉, ⌈W / patch⌉]."""

  def __init__(self, channels: int, width: int, depth: int, patch: int):
    super().__init__()
    self.depth, self.patch = depth, patch
    channels *= patch**2
    for level in range(depth):
      features = width * 2**level
      self.add_module(f"down{level}", _Convolutions(channels, features))
      self.add_module(f"grow{level}", nn.Conv2d(2 * features, features, 3, padding=1))
      self.add_module(f"up{level}", _Convolutions(2 * features, features))
      channels = features
    self.bottom = _Convolutions(channels, width * 2**depth)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    if self.patch > 1:
      x = functional.pixel_unshuffle(_pad_to_multiple(x, self.patch), self.patch)
    h, skips = _pad_to_multiple(x, 2**self.depth), []
    for level in range(self.depth):
      h = getattr(self, f"down{level}")(h)
      skips.append(h)
      h = functional.max_pool2d(h, 2)
    h = self.bottom(h)
    for level in reversed(range(self.depth)):
      h = functional.interpolate(h, scale_factor=2.0, mode="nearest")
      h = torch.cat([skips[level], getattr(self, f"grow{level}")(h)], 1)
      h = getattr(self, f"up{level}")(h)
    return _centre(h, x)


def to_pixels(h: torch.Tensor, patch: int, x: torch.Tensor) -> torch.Tensor:
  """Pixel shuffle: maps of the U-Net, [B, C · patch², H', W'] -> the shape of `x`."""
  return h if patch == 1 else _centre(functional.pixel_shuffle(h, patch), x)


def _pad_to_multiple(x: torch.Tensor, multiple: int) -> torch.Tensor:
  """Repeats edges evenly on both sides, so that `multiple` divides height and width."""
  rows, columns = (-side % multiple for side in x.shape[2:])
  if not rows and not columns:
    return x
  top, left = rows // 2, columns // 2
  return functional.pad(x, (left, columns - left, top, rows - top), mode="replicate")


def _centre(h: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
  """Takes off what `_pad_to_multiple` has added to `x`."""
  height, width = x.shape[2:]
  top, left = (h.shape[2] - height) // 2, (h.shape[3] - width) // 2
  return h[:, :, top:top + height, left:left + width]
