"""Products under two lights, and a world of other things.

`products:shop` and `products:world` need no download. They stand in for ImageNet-DAISO:
`shop` has the same products under soft room light and under a spotlight, `world` has other
things under any light, without labels. They are rendered when they are first asked for,
and then kept in the user's cache folder.
"""

from collections.abc import Sequence
from concurrent import futures
import contextlib
import dataclasses
import functools
import hashlib
import os
import pathlib
import secrets

import jax
import numpy as np

from augment_gen.data import base, pixels
from augment_gen.data.products import catalogue, scenes
from augment_gen.run import cache, progress

# Options by address, with what 0 stands for.
OPTIONS = {"shop": {"classes": 100, "per_class": 20}, "world": {"images": 10_000}}
_MOST = {"classes": 1000}
_TOGETHER = 64  # pictures between two looks at Ctrl-C
_MOST_WORKERS = 16

Picture = scenes.ShopPicture | scenes.WorldPicture


@dataclasses.dataclass(frozen=True)
class Products(base.Source):
  """Options of products:shop and products:world.

  Attributes:
    light: of the shop: "room" or "spotlight".
    part: of the shop: "finetune" or "test", which have different views and tables.
    classes: number of products of the shop (0: 100); four share a shape.
    per_class: pictures of each product of the shop (0: 20).
    images: number of pictures of the world (0: 10,000).
    seed: seed of the pictures; it does not affect which products there are.
  """
  light: scenes.Light = "room"
  part: scenes.Part = "finetune"
  classes: int = 0
  per_class: int = 0
  images: int = 0
  seed: int = 0

  def problems(self) -> list[str]:
    if self.address not in OPTIONS:
      return [f"there is no 'products:{self.address}'; there are: "
              f"{', '.join('products:' + name for name in OPTIONS)}"]
    mine = {*OPTIONS[self.address], "seed"}
    if self.address == "shop":
      mine |= {"light", "part"}
    given = [f for f in dataclasses.fields(self)
             if f.name not in ("address", "root") and getattr(self, f.name) != f.default]
    problems = [f"products:{self.address} has no option {f.name}; it has: "
                f"{', '.join(sorted(mine))}" for f in given if f.name not in mine]
    problems += [f"option {f.name}={getattr(self, f.name)} of products:{self.address} "
                 "must not be negative"
                 for f in given if f.type is int and getattr(self, f.name) < 0]
    problems += [f"products:{self.address} has {most} {name}, fewer than the "
                 f"{name}={getattr(self, name)} asked for"
                 for name, most in _MOST.items() if getattr(self, name) > most]
    return problems

  def _option(self, name: str) -> int:
    return getattr(self, name) or OPTIONS[self.address][name]

  def count(self) -> int:
    if self.address == "world":
      return self._option("images")
    return self._option("classes") * self._option("per_class")

  def load(self, request: base.Request) -> base.ImageSet:
    images = self._rendered(request.image_size)
    images = pixels.to_channels(images, request.channels, convert=True, name=request.name)
    if self.address == "world":
      return base.ImageSet(request.name, images, None, ())
    labels = np.repeat(np.arange(self._option("classes"), dtype=np.int32),
                       self._option("per_class"))
    names = tuple(catalogue.product(i)[2] for i in range(self._option("classes")))
    return base.ImageSet(request.name, images, labels, names)

  def pictures(self) -> list[Picture]:
    """What is to be rendered, in order."""
    if self.address == "world":
      return [scenes.WorldPicture(i, self.seed) for i in range(self.count())]
    return [scenes.ShopPicture(number, copy, self.light, self.part, self.seed)
            for number in range(self._option("classes"))
            for copy in range(self._option("per_class"))]

  def _rendered(self, size: int) -> np.ndarray:
    """The pictures, uint8 [N, size, size, 3]; from the cache, if they are there."""
    pictures = self.pictures()
    file = _cache_file(pictures, size)
    shape = (len(pictures), size, size, 3)
    if file is not None and (images := _read(file, shape)) is not None:
      return images
    images = render(pictures, size, f"rendering products:{self.address}")
    if file is not None:
      _write(file, images)
    return images


def render(pictures: Sequence[Picture], size: int, title: str) -> np.ndarray:
  """Renders pictures on all cores, with a progress bar; uint8 [N, size, size, 3]."""
  images = np.empty((len(pictures), size, size, 3), np.uint8)
  cpu = _cpu()

  def take(i: int) -> None:
    # A thread does not have the settings of the one that started it.
    with jax.default_device(cpu):
      images[i] = scenes.take(pictures[i], size)

  take(0)  # compiles
  shown = progress.Progress(title, 0, len(pictures), 1)
  workers = min(_MOST_WORKERS, os.cpu_count() or 1)
  with contextlib.closing(shown), futures.ThreadPoolExecutor(workers) as pool:
    for start in range(0, len(pictures), _TOGETHER):
      end = min(start + _TOGETHER, len(pictures))
      list(pool.map(take, range(start, end)))
      shown.advance(end)
      shown.show({})
  return images


def _cpu() -> jax.Device | None:
  """The CPU, on which all machines of one kind render alike; None if JAX may not use it."""
  try:
    return jax.local_devices(backend="cpu")[0]
  except RuntimeError:  # JAX_PLATFORMS names others only
    return None


def _cache_file(pictures: Sequence[Picture], size: int) -> pathlib.Path | None:
  """Where these pictures are kept; None if there is no such folder."""
  folder = cache.folder("products")
  if folder is None:
    return None
  digest = hashlib.sha256(_renderer().encode())
  digest.update(repr((size, pictures)).encode())
  return folder / f"{digest.hexdigest()[:24]}.npy"


@functools.cache
def _renderer() -> str:
  """The renderer's version: a hash of its code, so that no change of it is forgotten."""
  digest = hashlib.sha256()
  for file in sorted(pathlib.Path(__file__).parent.glob("*.py")):
    digest.update(file.read_bytes())
  return digest.hexdigest()


def _read(file: pathlib.Path, shape: tuple[int, ...]) -> np.ndarray | None:
  """The kept pictures; None if there are none, or if the file is damaged."""
  try:
    images = np.load(file, allow_pickle=False)
  except (OSError, ValueError, EOFError):
    return None
  return images if images.dtype == np.uint8 and images.shape == shape else None


def _write(file: pathlib.Path, images: np.ndarray) -> None:
  """Keeps pictures for later; without room for them, they are rendered again."""
  # Other runs never see a part of the file.
  part = file.with_name(f"{file.stem}.{secrets.token_hex(4)}.part")
  try:
    with part.open("wb") as out:
      np.save(out, images, allow_pickle=False)
    os.replace(part, file)
  except OSError:
    part.unlink(missing_ok=True)
