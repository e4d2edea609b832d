"""Where pictures are taken: views, tables, light and cameras, drawn at random."""

import dataclasses

import numpy as np

from augment_gen.data.products import build, camera, light, skin
from augment_gen.data.products.catalogue import colour
from augment_gen.data.products.families import Rng


@dataclasses.dataclass(frozen=True)
class View:
  """From where a picture is taken.

  Attributes:
    azimuth: of the camera around what stands on the table; 0 is its front; radians.
    elevation: above the table, radians.
    distance: from the middle of the solid, in units of its size.
    shift: of the middle of the picture against it, across and up, in units of its size.
    roll: in radians.
    tangent: of half the angle of view.
  """
  azimuth: float
  elevation: float
  distance: float
  shift: tuple[float, float]
  roll: float
  tangent: float


def shop_view(rng: Rng) -> View:
  """A view of a product's front from a little above, as of somebody before the table."""
  tangent = np.tan(np.radians(rng.uniform(12, 20)))
  return View(np.radians(rng.uniform(-55, 55)), np.radians(rng.uniform(12, 48)),
              rng.uniform(1.0, 1.35) / tangent, tuple(rng.uniform(-0.12, 0.12, 2)),
              np.radians(rng.normal(0, 3)), tangent)


def any_view(rng: Rng) -> View:
  """A view from any side."""
  tangent = np.tan(np.radians(rng.uniform(10, 26)))
  return View(rng.uniform(-np.pi, np.pi), np.radians(rng.uniform(5, 65)),
              rng.uniform(0.8, 1.35) / tangent, tuple(rng.uniform(-0.2, 0.2, 2)),
              np.radians(rng.normal(0, 5)), tangent)


def table(rng: Rng, view: View) -> skin.Room:
  """A table, and a wall behind it as seen from the camera."""
  kind = int(rng.integers(len(skin.TABLES)))
  base, other, grain = {
      "laminate": _laminate, "wood": _wood, "cloth": _cloth, "checked": _checked,
  }[skin.TABLES[kind]](rng)
  behind = view.azimuth + rng.normal(0, 0.25)
  hue, value = rng.random(), rng.uniform(0.5, 0.95)
  saturation = rng.uniform(0.0, 0.3)
  return skin.Room(
      kind=np.int32(kind), colours=np.stack([base, other]), grain=np.float32(grain),
      turn=np.float32(rng.uniform(0, np.pi)), gloss=np.float32(
          rng.uniform(0.0, 0.35) if skin.TABLES[kind] in ("laminate", "wood") else 0.0),
      wall=build.floats([np.sin(behind), np.cos(behind), rng.uniform(0.9, 2.5)]),
      paint=np.stack([colour(hue, saturation, value),
                      colour(hue + 0.03, saturation, value * rng.uniform(0.75, 1.0))]),
      seed=np.int32(rng.integers(2**30)))


def _laminate(rng: Rng):
  hue, saturation, value = rng.random(), rng.uniform(0, 0.15), rng.uniform(0.5, 0.92)
  grain = rng.uniform(2, 40)
  return (colour(hue, saturation, value), colour(hue, saturation, value * 0.85),
          (grain, grain))


def _wood(rng: Rng):
  hue, saturation = rng.uniform(0.05, 0.11), rng.uniform(0.35, 0.65)
  value = rng.uniform(0.4, 0.85)
  return (colour(hue, saturation, value),
          colour(hue - 0.015, min(1.0, saturation + 0.12), value * rng.uniform(0.6, 0.8)),
          (rng.uniform(0.6, 1.4), rng.uniform(6, 14)))


def _cloth(rng: Rng):
  hue, saturation, value = rng.random(), rng.uniform(0.05, 0.7), rng.uniform(0.35, 0.92)
  grain = rng.uniform(4, 10)
  return (colour(hue, saturation, value), colour(hue, saturation, value * 0.72),
          (grain, grain))


def _checked(rng: Rng):
  hue, saturation, value = rng.random(), rng.uniform(0.4, 0.8), rng.uniform(0.4, 0.75)
  return colour(hue, 0.03, 0.9), colour(hue, saturation, value), (8.0, 8.0)


def place_camera(rng: Rng, view: View, form: build.Form, exposure: float,
                 varied: float = 1.0) -> camera.Camera:
  """The camera of a view.

  Args:
    rng: draws lens and sensor.
    view: from where.
    form: what stands in the middle of the picture.
    exposure: factor on the light.
    varied: how much white balance varies.
  """
  size = max(0.5 * form.height, form.radius * 1.05) + 0.08
  away = view.distance * size
  target = np.array([0.0, 0.5 * form.height, 0.0])
  flat = np.cos(view.elevation)
  ahead = np.array([np.sin(view.azimuth) * flat, np.sin(view.elevation),
                    np.cos(view.azimuth) * flat])
  across = np.array([np.cos(view.azimuth), 0.0, -np.sin(view.azimuth)])
  target = target + size * (view.shift[0] * across + view.shift[1] * np.array([0, 1.0, 0]))
  warmth, tint = varied * rng.normal(0, 0.05), varied * rng.normal(0, 0.015)
  return camera.Camera(
      eye=np.float32(target + ahead * away), target=np.float32(target),
      roll=np.float32(view.roll), tangent=np.float32(view.tangent),
      exposure=np.float32(exposure), white=np.float32(np.exp([warmth, tint, -warmth])),
      defocus=np.float32(min(rng.gamma(2.0, 1.4), 5.0)),
      vignetting=np.float32(rng.uniform(0, 0.35)),
      electrons=np.float32(np.exp(rng.uniform(np.log(1500), np.log(8000)))),
      read=np.float32(rng.uniform(0.001, 0.004)), contrast=np.float32(rng.uniform(0, 0.6)))


def room_light(rng: Rng, view: View, form: build.Form) -> tuple[light.Lights, float]:
  """Soft and slightly warm light from lamps at the ceiling, and the exposure for it."""
  warm = np.array([1.0, 0.95, 0.86]) ** rng.uniform(0.6, 1.4)
  sky = 0.52 * warm * rng.uniform(0.85, 1.15)
  azimuth = view.azimuth + rng.uniform(-np.pi, np.pi)
  none = spotlight(rng, view, form)[0]
  lights = none._replace(
      sky=np.float32(sky), ground=np.float32(0.5 * sky * [1.0, 0.97, 0.93]),
      lamp=np.float32(0.85 * warm * rng.uniform(0.8, 1.2)),
      lamp_way=direction(azimuth, np.radians(rng.uniform(42, 72))),
      lamp_width=np.float32(rng.uniform(0.3, 0.55)), spot=np.zeros(3, np.float32))
  return lights, float(np.exp2(rng.normal(-0.05, 0.15)))


def spotlight(rng: Rng, view: View, form: build.Form) -> tuple[light.Lights, float]:
  """A spotlight from one side in a dark room, and the exposure for it."""
  side = rng.choice([-1.0, 1.0])
  azimuth = view.azimuth + side * np.radians(rng.uniform(35, 85))
  way = direction(azimuth, np.radians(rng.uniform(25, 50)))
  away = rng.uniform(2.2, 3.5)
  aim = np.array([0.0, 0.4 * form.height, 0.0]) + rng.uniform(-0.1, 0.1, 3)
  reach = np.hypot(0.6 * form.height, form.radius) * rng.uniform(1.0, 1.5)
  cone = np.arctan(reach / away)
  warmth = rng.uniform(-0.16, 0.22)  # cooler or warmer than the room
  tone = np.exp([warmth, 0.0, -1.3 * warmth])
  dark = 0.06 * rng.uniform(0.6, 1.4)
  lights = light.Lights(
      sky=np.float32(dark * np.array([1.0, 0.98, 1.0])),
      ground=np.float32(dark * 0.5 * np.array([1.0, 0.98, 0.96])),
      lamp=np.zeros(3, np.float32), lamp_way=direction(0.0, 1.3),
      lamp_width=np.float32(0.5), spot=np.float32(1.9 * tone),
      spot_place=np.float32(aim + way * away), spot_aim=np.float32(aim),
      spot_cone=build.floats([np.cos(cone * 1.18), np.cos(cone * 0.95)]),
      spot_radius=np.float32(rng.uniform(0.01, 0.05)))
  return lights, float(np.exp2(rng.normal(0.0, 0.2)))


def any_light(rng: Rng, view: View, form: build.Form) -> tuple[light.Lights, float]:
  """A random mixture of light from all around, a lamp and a spotlight, and an exposure.

  The exposure makes up for most of what the mixture is brighter or darker than usual.
  """
  def tint(spread: float) -> np.ndarray:
    warmth = rng.normal(0, spread)
    return np.exp([warmth, rng.normal(0, 0.2 * spread), -warmth])

  shares = rng.dirichlet([1.1, 0.9, 0.7])
  sky = tint(0.12) * (0.1 + 0.9 * shares[0])
  spot = spotlight(rng, view, form)[0]
  place = spot.spot_aim + direction(rng.uniform(-np.pi, np.pi), np.radians(
      rng.uniform(20, 75))) * rng.uniform(2.0, 4.0)
  cone = rng.uniform(0.15, 0.8)
  lights = spot._replace(
      sky=np.float32(sky), ground=np.float32(sky * rng.uniform(0.2, 0.6)),
      lamp=np.float32(1.3 * tint(0.15) * shares[1]),
      lamp_way=direction(rng.uniform(-np.pi, np.pi), np.radians(rng.uniform(15, 80))),
      lamp_width=np.float32(rng.uniform(0.12, 0.8)),
      spot=np.float32(2.2 * tint(0.15) * shares[2]), spot_place=np.float32(place),
      spot_cone=build.floats([np.cos(cone * rng.uniform(1.05, 1.5)), np.cos(cone)]),
      spot_radius=np.float32(rng.uniform(0.01, 0.2)))
  level = float(lights.sky.mean() + 0.7 * lights.lamp.mean() + 0.5 * lights.spot.mean())
  return lights, 0.85 / level * float(np.exp2(rng.normal(0.0, 0.45)))


def direction(azimuth: float, elevation: float) -> np.ndarray:
  """A unit vector, float32 [3]; angles in radians, azimuth 0 is along z."""
  flat = np.cos(elevation)
  return build.floats([np.sin(azimuth) * flat, np.sin(elevation), np.cos(azimuth) * flat])
