"""Devices, precision and blocks of steps on the PyTorch sides."""

from collections.abc import Callable
import contextlib
import dataclasses
import os

import numpy as np
import torch
from torch import nn


@dataclasses.dataclass(frozen=True)
class Setting:
  """How a PyTorch side computes.

  Attributes:
    device: "cpu" or "cuda".
    precision: "float32", or "bf16" for autocast to bfloat16.
    compiled: whether networks go through torch.compile.
  """
  device: str = "cpu"
  precision: str = "float32"
  compiled: bool = False

  def __post_init__(self):
    torch.set_num_threads(os.cpu_count() or 1)

  def cast(self) -> contextlib.AbstractContextManager:
    """The context of the forward pass."""
    if self.precision == "float32":
      return contextlib.nullcontext()
    return torch.autocast(self.device, torch.bfloat16)

  def place(self, module: nn.Module, compile_it: bool = True) -> nn.Module:
    """Moves a network to the device, in channels_last."""
    module = module.to(self.device, memory_format=torch.channels_last)
    if self.compiled and compile_it:
      module.compile()
    return module

  def images(self, images: np.ndarray) -> torch.Tensor:
    """uint8 [B, H, W, C] -> float32 [B, C, H, W] in channels_last, in [0, 1]."""
    # A permuted contiguous [B, H, W, C] is in channels_last.
    return torch.from_numpy(images).permute(0, 3, 1, 2).to(self.device).float() / 255

  def repeat(self, step: Callable[[], object]) -> Callable[[int], None]:
    """Builds the function that runs some steps and waits for their end."""
    def run(steps: int) -> None:
      for _ in range(steps):
        step()
      if self.device == "cuda":
        torch.cuda.synchronize()
    return run
