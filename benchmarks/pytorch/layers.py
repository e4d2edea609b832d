"""Encoders, heads and discriminators, as in augment_gen/models/.

Images are float32 [B, C, H, W] in [0, 1], in channels_last. Flattened maps have the order
(H, W, C) of ours; in channels_last this copies nothing.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import nn
from torch.nn import functional

from augment_gen.config import (
  DataConfig,
  DiscriminatorConfig,
  EncoderConfig,
  OptimizerConfig,
)

_BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}


def flatten(maps: torch.Tensor) -> torch.Tensor:
  """[B, C, H, W] -> [B, H · W · C]."""
  return maps.permute(0, 2, 3, 1).reshape(len(maps), -1)


class Normalise(nn.Module):
  """(x − mean) / std per channel."""

  def __init__(self, mean: Sequence[float], std: Sequence[float]):
    super().__init__()
    for name, values in (("mean", mean), ("std", std)):
      self.register_buffer(name, torch.tensor(values).reshape(1, -1, 1, 1),
                           persistent=False)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    return (x - self.mean) / self.std


def _convolution(old: int, new: int, size: int, stride: int = 1) -> nn.Conv2d:
  """A `size` x `size` convolution without bias, zero-padded."""
  return nn.Conv2d(old, new, size, stride, size // 2, bias=False)


class _Block(nn.Module):
  """torchvision's BasicBlock or Bottleneck."""

  def __init__(self, old: int, width: int, stride: int, bottleneck: bool):
    super().__init__()
    new = 4 * width if bottleneck else width
    sizes = ([(old, width, 1, 1), (width, width, 3, stride), (width, new, 1, 1)]
             if bottleneck else [(old, width, 3, stride), (width, new, 3, 1)])
    self.count = len(sizes)
    for number, shape in enumerate(sizes, start=1):
      setattr(self, f"conv{number}", _convolution(*shape))
      setattr(self, f"norm{number}", nn.BatchNorm2d(shape[1]))
    self.shortcut = stride != 1 or old != new
    if self.shortcut:
      self.shortcut_conv = _convolution(old, new, 1, stride)
      self.shortcut_norm = nn.BatchNorm2d(new)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    y = x
    for number in range(1, self.count + 1):
      y = getattr(self, f"norm{number}")(getattr(self, f"conv{number}")(y))
      if number < self.count:
        y = functional.relu(y, inplace=True)
    if self.shortcut:
      x = self.shortcut_norm(self.shortcut_conv(x))
    return functional.relu(y + x, inplace=True)


class ResNet(nn.Module):
  """`models.resnet.ResNet`: images -> the embedding, and the maps by name."""

  def __init__(self, config: EncoderConfig, data: DataConfig):
    super().__init__()
    width, bottleneck = config.width, config.name == "resnet50"
    self.imagenet = config.stem == "imagenet"
    self.normalise = Normalise(data.mean, data.std)
    self.stem_conv = _convolution(
        data.channels, width, *((7, 2) if self.imagenet else (3, 1)))
    self.stem_norm = nn.BatchNorm2d(width)
    self.blocks: list[list[str]] = []
    old = width
    for stage, blocks in enumerate(config.blocks or _BLOCKS[config.name]):
      new = width * 2**stage
      names = [f"stage{stage + 1}_block{index + 1}" for index in range(blocks)]
      for index, name in enumerate(names):
        self.add_module(name, _Block(old, new, 2 if stage and not index else 1,
                                     bottleneck))
        old = 4 * new if bottleneck else new
      self.blocks.append(names)
    self.dim = old
    for module in self.modules():
      if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

  def stem(self, x: torch.Tensor) -> torch.Tensor:
    """The first convolution, norm and ReLU: [B, C, H, W] -> [B, width, H', W']."""
    return functional.relu(self.stem_norm(self.stem_conv(self.normalise(x))),
                           inplace=True)

  def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    maps = {"stem_conv": self.stem(x)}
    x = maps["stem_conv"]
    if self.imagenet:
      x = functional.max_pool2d(x, 3, 2, 1)
    for stage, names in enumerate(self.blocks, start=1):
      for name in names:
        x = getattr(self, name)(x)
      maps[f"stage{stage}"] = x
    return x.mean((2, 3)), maps


class ConvNet(nn.Module):
  """`models.convnet.ConvNet`: images -> the flattened last map, and no other maps."""

  def __init__(self, config: EncoderConfig, data: DataConfig, size: int):
    """`size` is the side of the images, which need not be that of the data."""
    super().__init__()
    self.normalise = Normalise(data.mean, data.std)
    self.names: list[str] = []
    old = data.channels
    for stage, convolutions in enumerate(config.blocks or (1, 2, 2)):
      new = config.width * 2**stage
      for index in range(convolutions):
        self.names.append(f"stage{stage + 1}_%s{index + 1}")
        convolution = _convolution(old, new, 3, 1 if index else 2)
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        self.add_module(self.names[-1] % "conv", convolution)
        self.add_module(self.names[-1] % "norm", nn.BatchNorm2d(new))
        old = new
      size = -(-size // 2)
    self.dim = size**2 * old

  def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    x = self.normalise(x)
    for name in self.names:
      x = getattr(self, name % "norm")(getattr(self, name % "conv")(x))
      x = functional.relu(x, inplace=True)
    return flatten(x), {}


class ProjectionHead(nn.Module):
  """`models.heads.ProjectionHead`: two layers ("mlp") or one ("linear")."""

  def __init__(self, features: int, dim: int, kind: str = "mlp"):
    super().__init__()
    self.hidden = nn.Linear(features, features) if kind == "mlp" else None
    self.out = nn.Linear(features, dim)

  def forward(self, y: torch.Tensor) -> torch.Tensor:
    if self.hidden is not None:
      y = functional.relu(self.hidden(y))
    return functional.normalize(self.out(y), eps=1e-6)


class ProjectedEncoder(nn.Module):
  """H∘F: images -> unit vectors [B, D]."""

  def __init__(self, encoder: nn.Module, dim: int, head: str = "mlp"):
    super().__init__()
    self.encoder = encoder
    self.head = ProjectionHead(encoder.dim, dim, head)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    return self.head(self.encoder(x)[0])


class Discriminator(nn.Module):
  """D_f or D_p: features of images [B, D + K] -> logits [B]."""

  def __init__(self, features: int, config: DiscriminatorConfig):
    super().__init__()
    self.layers = config.layers
    for index in range(1, config.layers):
      self.add_module(f"hidden{index}", nn.Linear(features, config.hidden))
      features = config.hidden
    self.out = nn.Linear(features, 1)

  def forward(self, y: torch.Tensor) -> torch.Tensor:
    for index in range(1, self.layers):
      y = functional.leaky_relu(getattr(self, f"hidden{index}")(y), 0.2)
    return self.out(y).squeeze(-1)


def optimizer(params: Iterable[nn.Parameter], config: OptimizerConfig,
              ) -> torch.optim.Optimizer:
  """The optimiser of a stage at its first rate, in its fastest form.

  Raises:
    ValueError: it is neither SGD nor Adam.
  """
  settings = {"lr": config.lr, "weight_decay": config.weight_decay, "fused": True}
  if config.name == "sgd":
    return torch.optim.SGD(params, momentum=config.momentum, **settings)
  if config.name == "adam":
    return torch.optim.Adam(params, betas=(config.momentum, 0.999), **settings)
  raise ValueError(f"optimizer '{config.name}' has no PyTorch side")
