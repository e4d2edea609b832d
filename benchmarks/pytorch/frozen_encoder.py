"""F as Algorithm 1 sees it; compare augment_gen/steps/frozen_encoder.py."""

from collections.abc import Mapping
import dataclasses

import torch
from torch import nn

from augment_gen.config import Config
from pytorch.layers import flatten, ResNet
from pytorch.running import Setting

_SILENT = 0.01  # least standard deviation, as a fraction of what is typical


@dataclasses.dataclass(frozen=True)
class Frozen:
  """F in inference mode, and the embeddings of the real images."""
  encoder: nn.Module
  embeddings: Mapping[str, torch.Tensor]  # "x_p" [N, D] and "x_f" [M, D]
  shift: torch.Tensor  # [D + K]
  scale: torch.Tensor  # [D + K]


@torch.no_grad()
def freeze(config: Config, setting: Setting, sets: Mapping[str, torch.Tensor]) -> Frozen:
  """Freezes a random F, and embeds the sets once."""
  features = config.generator.discriminator.features
  encoder = setting.place(ResNet(config.encoder, config.data).eval().requires_grad_(False))
  embeddings, details = {}, []
  for name, images in sets.items():
    parts = [_see(encoder, features, batch) for batch in images.split(64)]
    embeddings[name] = torch.cat([y for y, _ in parts])
    details.append(parts[0][1])
  y, detail = torch.cat(list(embeddings.values())), torch.cat(details)
  scales = []
  for values, groups in ((y, y.shape[1]), (detail, config.encoder.width)):
    if features == "embedding" or not values.shape[1]:
      scales.append((torch.zeros_like(values[0]), torch.ones_like(values[0])))
      continue
    rows = values.reshape(-1, groups)
    repeats, std = values.shape[1] // groups, rows.std(0)
    std = torch.maximum(std, _SILENT * std.square().mean().sqrt()) + 1e-6
    scales.append((rows.mean(0).repeat(repeats), (1 / std).repeat(repeats)))
  return Frozen(encoder, embeddings, *(torch.cat(parts) for parts in zip(*scales)))


def see_images(frozen: Frozen, features: str, x: torch.Tensor) -> torch.Tensor:
  """Features of images for D_f and D_p, [b, D + K]."""
  return _to_scale(frozen, *_see(frozen.encoder, features, x))


@torch.no_grad()
def see_real(frozen: Frozen, features: str, x: torch.Tensor, name: str,
             index: torch.Tensor) -> torch.Tensor:
  """Features of real images [b, D + K]; the embeddings are those of `frozen`."""
  y = frozen.embeddings[name][index]
  detail = flatten(frozen.encoder.stem(x)) if features == "maps" else y[:, :0]
  return _to_scale(frozen, y, detail)


def _see(encoder: nn.Module, features: str, x: torch.Tensor,
         ) -> tuple[torch.Tensor, torch.Tensor]:
  """`frozen_encoder.make_see`: images -> y [b, D] and detail [b, K]."""
  y, maps = encoder(x)
  if features == "stages":
    parts = [y]
    for name in sorted(name for name in maps if name.startswith("stage")):
      variance, mean = torch.var_mean(maps[name], (2, 3), correction=0)
      parts += [mean, torch.sqrt(variance + 1e-6)]
    y = torch.cat(parts, 1)
  detail = flatten(maps["stem_conv"]) if features == "maps" else y[:, :0]
  return y, detail


def _to_scale(frozen: Frozen, y: torch.Tensor, detail: torch.Tensor) -> torch.Tensor:
  return (torch.cat([y, detail], 1) - frozen.shift) * frozen.scale
