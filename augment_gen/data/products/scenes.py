"""The pictures of the two sets: which thing, where, under which light."""

import dataclasses
from typing import Literal

import numpy as np

from augment_gen.data.products import catalogue, render, surroundings, world
from augment_gen.data.products.catalogue import generator

Light = Literal["room", "spotlight"]
Part = Literal["finetune", "test"]

_SHOP, _WORLD = 1, 2  # first words of random streams
_NOISE = 9  # a further word
_PARTS = {"finetune": 0, "test": 1}
_LIGHTS = {"room": surroundings.room_light, "spotlight": surroundings.spotlight}


@dataclasses.dataclass(frozen=True)
class ShopPicture:
  """One picture of a product.

  View, table and lens do not depend on the light: the same picture exists under both. The
  parts have different ones.

  Attributes:
    number: which product.
    copy: which of its pictures.
    light: what lights it.
    part: which part of the set.
    seed: of the set.
  """
  number: int
  copy: int
  light: Light
  part: Part
  seed: int

  @property
  def words(self) -> tuple[int, ...]:
    """What names its random streams."""
    return _SHOP, self.seed, _PARTS[self.part], self.number, self.copy

  def scene(self) -> render.Scene:
    form, skin, _ = catalogue.product(self.number)
    rng = generator(*self.words)
    view = surroundings.shop_view(rng)
    room = surroundings.table(rng, view)
    lights, exposure = _LIGHTS[self.light](generator(*self.words, 1), view, form)
    camera = surroundings.place_camera(rng, view, form, exposure)
    return render.Scene(form.solid, form.occluders, skin, room, lights, camera)


@dataclasses.dataclass(frozen=True)
class WorldPicture:
  """One picture for X_p: things that are not in the shop, under any light."""
  number: int
  seed: int

  @property
  def words(self) -> tuple[int, ...]:
    """What names its random streams."""
    return _WORLD, self.seed, self.number

  def scene(self) -> render.Scene:
    rng = generator(*self.words)
    form = world.pile(rng)
    skin = catalogue.dress(form, rng)
    view = surroundings.any_view(rng)
    room = surroundings.table(rng, view)
    lights, exposure = surroundings.any_light(rng, view, form)
    camera = surroundings.place_camera(rng, view, form, exposure, varied=1.6)
    return render.Scene(form.solid, form.occluders, skin, room, lights, camera)


def take(picture: ShopPicture | WorldPicture, size: int) -> np.ndarray:
  """Renders one picture, uint8 [size, size, 3]; the same each time on one machine."""
  noise = generator(*picture.words, _NOISE).standard_normal(
      (size, size, 3), dtype=np.float32)
  return np.asarray(render.picture(picture.scene(), noise))
