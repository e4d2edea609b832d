"""What the networks of G_A share; compare augment_gen/models/outputs.py."""

import torch
from torch import nn

_EDIT_EPSILON = 0.01


class Augmenter(nn.Module):
  """A form of G_A, (x [B, C, H, W], z [B, Z]) -> image.

  Forms with random numbers of their own take them as a third argument, uniform on [0, 1),
  [B, K]. With None they draw them. The methods are those of a network, which has neither
  operators nor strengths.
  """

  def shown(self, z: torch.Tensor) -> torch.Tensor:
    """How plainly each latent shows in G_A(x, z), from 0 to 1: [B, Z] -> [B, Z]."""
    return torch.ones_like(z)

  def log_likelihood(self, z: torch.Tensor) -> torch.Tensor:
    """log p of what each z [B, Z] switches on or off, up to a constant: [B]."""
    return z.new_zeros(len(z))

  def cost(self, z: torch.Tensor) -> torch.Tensor:
    """All strengths, as shares of their ranges: [B, Z] -> [B]."""
    return z.new_zeros(len(z))


def to_image(logits: torch.Tensor, x: torch.Tensor, output: str) -> torch.Tensor:
  """`models.outputs.to_image`."""
  if output == "image":
    return torch.sigmoid(logits)
  inside = x.clamp(_EDIT_EPSILON, 1 - _EDIT_EPSILON)
  y = torch.sigmoid(logits + torch.logit(inside))
  # Zeros, whose slope is that of painting over x where x was clipped.
  slope = torch.where(inside == x, 0.0, 1.0 - (y - inside).abs()).detach()
  return y + slope * (x - x.detach())
