"""G_A, G_E and G_L as perceptrons; compare augment_gen/models/perceptron.py."""

import math

import torch
from torch import nn
from torch.nn import functional

from pytorch.layers import flatten
from pytorch.outputs import Augmenter, to_image


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


class PerceptronAugmenter(Augmenter):
  """G_A as a perceptron."""

  def __init__(self, shape: tuple[int, int, int], latents: int, scale: float,
               hidden: int, layers: int, output: str):
    super().__init__()
    self.scale, self.output = scale, output
    self.trunk = _HiddenLayers(math.prod(shape) + latents, hidden, layers - 1)
    self.image = nn.Linear(hidden, math.prod(shape))

  def forward(self, x: torch.Tensor, z: torch.Tensor, u: None = None) -> torch.Tensor:
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


def _as_maps(values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
  """The inverse of `flatten`, for maps of the shape of `x`."""
  batch, channels, height, width = x.shape
  return values.view(batch, height, width, channels).permute(0, 3, 1, 2)
