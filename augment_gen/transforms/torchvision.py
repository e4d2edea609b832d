"""The learned augmentation as a transform of torchvision.transforms.v2, on the CPU.

    augment = LearnedAugmentation("runs/quickstart-export", p=0.5)
    images = v2.Compose([augment, v2.RandomHorizontalFlip()])(images)
"""

import functools
import os
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch.utils import data
from torchvision import tv_tensors
from torchvision.transforms import v2

from augment_gen import export
from augment_gen.config.errors import UserError
from augment_gen.export.learned import of_this_process
from augment_gen.transforms import as_learned, as_type

_SEEDS = 2**62


class LearnedAugmentation(v2.Transform):
  """G_A(x, z) with drawn latents, for one image or a batch, before or after collation.

  Takes tensors [..., C, H, W] of the size that the run was trained on, uint8 or floats in
  [0, 1], and returns the same shape, type and device. Of a nested input the images are
  changed, as in all transforms of v2, and the rest is passed through. Each image of a
  batch has its own latents. Seeds are drawn from PyTorch's random numbers, which
  `torch.manual_seed` and the workers of a DataLoader determine.

  Args:
    learned: what `export.load` has returned, or a folder for it. Workers of a DataLoader
      that are forked need a folder of `augment-gen export` that is not used before they
      start, or they hang; those that are spawned may have any.
    p: probability that an image is changed.
    strength: see `export.Learned.__call__`.
    latents: "bank" or "prior", likewise.

  Raises:
    UserError: see `export.load`; when called, see `export.Learned.__call__`, and if a
      PIL image is given.
  """

  _transformed_types = (torch.Tensor,)

  def __init__(self, learned: export.Learned | str | os.PathLike[str], p: float = 1.0,
               strength: float = 1.0, latents: str = "bank"):
    super().__init__()
    self.p, self.strength, self.latents = p, strength, latents
    self._learned = as_learned(learned)

  def check_inputs(self, flat_inputs: list[Any]) -> None:
    """Refuses a PIL image, which would be passed through unchanged.

    Raises:
      UserError: there is one.
    """
    if any(isinstance(given, PIL.Image.Image) for given in flat_inputs):
      raise UserError("LearnedAugmentation takes tensors, and was given a PIL image: put "
                      "v2.ToImage() before it")

  def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
    """Draws the seed of a call."""
    del flat_inputs
    return {"seed": int(torch.randint(_SEEDS, ()))}

  def transform(self, inpt: torch.Tensor, params: dict[str, Any]) -> torch.Tensor:
    """Augments one tensor; see the class."""
    if isinstance(inpt, tv_tensors.TVTensor) and not isinstance(
        inpt, (tv_tensors.Image, tv_tensors.Video)):
      return inpt  # no operator but `geometry`, which is off by default, moves things
    _leave_the_accelerator_to_torch()
    given = inpt.detach().cpu()
    images = np.moveaxis(
        (given.float() if given.is_floating_point() else given).numpy(), -3, -1)
    out = self._learned(
        images.reshape(-1, *images.shape[-3:]), params["seed"], p=self.p,
        strength=self.strength, latents=self.latents)
    out = as_type(out, images.dtype).reshape(images.shape)
    changed = torch.from_numpy(np.ascontiguousarray(np.moveaxis(out, -1, -3))).to(inpt)
    return tv_tensors.wrap(changed, like=inpt) if isinstance(
        inpt, tv_tensors.TVTensor) else changed


@functools.cache
def _leave_the_accelerator_to_torch() -> None:
  """In a worker, JAX must not take the memory of a GPU."""
  if data.get_worker_info() is not None:
    of_this_process()
    import jax  # pylint: disable=g-import-not-at-top
    jax.config.update("jax_platforms", "cpu")
