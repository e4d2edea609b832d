"""The hand-made recipes of augment_gen/augment/recipes.py in torchvision and kornia.

torchvision changes one image at a time, so that each has its own draws: in this process,
or in a DataLoader with two workers, whichever is faster. kornia changes whole batches.
Its crops are not antialiased.
"""

from collections.abc import Callable, Iterator
import math
import time

import numpy as np
import torch
from torch import nn
from torch.utils import data as torch_data
from torchvision.transforms import v2

from pytorch.inputs import pictures
from pytorch.running import Setting
from pytorch.turns import Block

_RATIO = (3 / 4, 4 / 3)
# Lengths of the recipes are in pixels of images of these sizes.
_PHOTOGRAPH, _CHARACTER = 224, 28
_LOADERS = 2


def _sigmas(size: int) -> tuple[float, float]:
  pixel = size / _PHOTOGRAPH
  return 0.1 * pixel, 2.0 * pixel


def _kernel(sigma: float) -> int:
  """The side of a Gaussian filter that is cut off at three standard deviations."""
  return 2 * math.ceil(3 * sigma) + 1


def torchvision_recipe(name: str, size: int, channels: int,
                       ) -> Callable[[torch.Tensor], torch.Tensor]:
  """Builds a recipe for one image: uint8 [C, H, W] -> float32 [C, H, W] in [0, 1].

  As torchvision advises, images stay uint8 up to the last step.

  Raises:
    ValueError: the recipe has no PyTorch side.
  """
  crop = lambda least: v2.RandomResizedCrop(
      size, scale=(least, 1.0), ratio=_RATIO, antialias=True)
  if name == "moco_v2":
    colours = channels == 3  # grey images have no saturation and hue
    steps = [
        crop(0.2),
        v2.RandomApply([v2.ColorJitter(0.4, 0.4, *((0.4, 0.1) if colours else ()))], 0.8),
        *([v2.RandomGrayscale(0.2)] if colours else []),
        v2.RandomApply([v2.GaussianBlur(_kernel(_sigmas(size)[1]), _sigmas(size))], 0.5),
        v2.RandomHorizontalFlip(0.5)]
  elif name == "handwriting":
    pixel = size / _CHARACTER
    steps = [
        crop(0.4),
        v2.RandomAffine(10, (0.05, 0.05), (0.8, 1.1), 10,
                        v2.InterpolationMode.BILINEAR),
        # torchvision's alpha is in halves of a pixel.
        v2.ElasticTransform(24.0 * pixel, 3.0 * pixel),
        v2.RandomApply([v2.ColorJitter(0.4, 0.4)], 0.8)]
  else:
    raise ValueError(f"recipe '{name}' has no PyTorch side")
  return v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True)])


def kornia_recipe(name: str, size: int, channels: int) -> nn.Module:
  """Builds a recipe for batches: float32 [B, C, H, W] in [0, 1], as the result.

  Raises:
    ValueError: the recipe has no kornia side.
  """
  from kornia import augmentation as kornia  # pylint: disable=g-import-not-at-top
  # "resample" crops all images at once.
  crop = lambda least: kornia.RandomResizedCrop(
      (size, size), scale=(least, 1.0), ratio=_RATIO, cropping_mode="resample")
  if name == "moco_v2":
    colours, kernel = channels == 3, _kernel(_sigmas(size)[1])
    steps = [
        crop(0.2),
        kornia.ColorJitter(0.4, 0.4, *((0.4, 0.1) if colours else (0.0, 0.0)), p=0.8),
        *([kornia.RandomGrayscale(p=0.2)] if colours else []),
        kornia.RandomGaussianBlur((kernel, kernel), _sigmas(size), p=0.5),
        kornia.RandomHorizontalFlip(p=0.5)]
  elif name == "handwriting":
    sigma = 3.0 * size / _CHARACTER
    kernel = _kernel(sigma)
    steps = [
        crop(0.4),
        kornia.RandomAffine(10.0, (0.05, 0.05), (0.8, 1.1), 10.0, p=1.0),
        # kornia's alpha is in halves of the image's side.
        kornia.RandomElasticTransform(
            (kernel, kernel), (sigma, sigma), (24.0 / _CHARACTER,) * 2, p=1.0),
        kornia.ColorJitter(0.4, 0.4, 0.0, 0.0, p=0.8)]
  else:
    raise ValueError(f"recipe '{name}' has no kornia side")
  return nn.Sequential(*steps)


class _Views(torch_data.Dataset):
  """Some views of each of a set's images."""

  def __init__(self, images: np.ndarray, recipe: Callable, views: int):
    self._images = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    self._recipe, self._views = recipe, views

  def __len__(self) -> int:
    return len(self._images)

  def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
    return tuple(self._recipe(self._images[index]) for _ in range(self._views))


class _Batches:
  """A batch sampler of exactly `count` random batches."""

  def __init__(self, size: int, batch: int):
    self.count = 0
    self._size, self._batch = size, batch

  def __len__(self) -> int:
    return self.count

  def __iter__(self) -> Iterator[list[int]]:
    for _ in range(self.count):
      yield torch.randperm(self._size)[:self._batch].tolist()


class Sources:
  """Batches of augmented images, in this process or from a DataLoader.

  A loader's workers start with the first batch of a block and have no work after the
  last one. So they take no time from another side, and a block does all of its work.
  """

  def __init__(self, images: np.ndarray, recipe: Callable, batch: int, views: int):
    """Makes the source; it works in this process at first.

    Args:
      images: uint8 [N, H, W, C].
      recipe: from `torchvision_recipe`.
      batch: images in a batch.
      views: views of each image.
    """
    self._views = _Views(images, recipe, views)
    self._batches = _Batches(len(images), batch)
    self._loader: torch_data.DataLoader | None = None

  def batches(self, count: int) -> Iterator[list[torch.Tensor]]:
    """Yields batches, each a list of views, float32 [B, C, H, W] in channels_last."""
    self._batches.count = count
    source = self._loader or (
        torch_data.default_collate([self._views[index] for index in indices])
        for indices in self._batches)
    for views in source:
      yield [view.contiguous(memory_format=torch.channels_last) for view in views]

  def settle(self, run: Callable[[int], None]) -> str:
    """Keeps the faster way to run steps; returns which one and its lead."""
    loader = torch_data.DataLoader(
        self._views, batch_sampler=self._batches, num_workers=_LOADERS,
        persistent_workers=True)
    times: dict[torch_data.DataLoader | None, float] = {}
    for source in (None, loader) * 2:  # twice, as other work can only slow one down
      self._loader = source
      run(1)  # starts the workers
      start = time.perf_counter()
      run(2)
      elapsed = (time.perf_counter() - start) / 2
      times[source] = min(times.get(source, elapsed), elapsed)
    self._loader = loader if times[loader] < times[None] else None
    where = f"in a DataLoader with {_LOADERS} workers" if self._loader else "in process"
    return (f"augmented {where} ({times[None]:.3g} s a step in process, "
            f"{times[loader]:.3g} s with the loader)")


def torchvision_side(recipe: str, size: int, channels: int, batch: int, device: str,
                     precision: str) -> Block:
  """Augments batches with torchvision, on the CPU."""
  del precision
  Setting(device)
  sources = Sources(pictures(4 * batch, size, channels, seed=0),
                    torchvision_recipe(recipe, size, channels), batch, views=1)

  def run(steps: int) -> None:
    for _ in sources.batches(steps):
      pass
  return Block(run, settle=lambda: sources.settle(run))


def kornia_side(recipe: str, size: int, channels: int, batch: int, device: str,
                precision: str) -> Block:
  """Augments batches with kornia."""
  del precision
  setting = Setting(device)
  augment = kornia_recipe(recipe, size, channels).to(device)
  images = setting.images(pictures(batch, size, channels, seed=0))
  with torch.no_grad():
    contiguous = images.contiguous()

  @torch.no_grad()
  def step():
    augment(contiguous)
  return Block(setting.repeat(step))
