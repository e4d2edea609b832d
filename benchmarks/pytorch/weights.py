"""Flax parameters as PyTorch's.

The modules here have the names of ours, so a name such as "encoder.stem_conv.weight" is
the path of the Flax parameter with another last part.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

_LAST = {"kernel": "weight", "scale": "weight", "mean": "running_mean",
         "var": "running_var"}


def from_flax(tree: Mapping[str, Any]) -> dict[str, torch.Tensor]:
  """Flattens parameters (or gradients, or batch statistics) to PyTorch's names.

  Kernels of convolutions change from HWIO to OIHW; kernels of dense layers are transposed.
  """
  return {name: torch.from_numpy(array) for name, array in _flat(tree, "")}


def load(module: nn.Module, params: Mapping[str, Any],
         batch_stats: Mapping[str, Any] | None = None) -> None:
  """Copies Flax variables into a module.

  Raises:
    RuntimeError: a parameter is missing or left over, or has another shape.
  """
  state = from_flax(params) | from_flax(batch_stats or {})
  counters = {name: tensor for name, tensor in module.state_dict().items()
              if name.endswith("num_batches_tracked")}
  module.load_state_dict(state | counters)


def _flat(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, np.ndarray]]:
  for name, value in tree.items():
    if isinstance(value, Mapping):
      yield from _flat(value, f"{prefix}{name}.")
      continue
    array = np.array(value)
    if name == "kernel":
      array = array.T if array.ndim == 2 else array.transpose(3, 2, 0, 1)
    yield prefix + _LAST.get(name, name), np.ascontiguousarray(array)
