"""Light: from all around, from one large lamp, and from a spotlight."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from augment_gen.data.products import geometry, occlusion
from augment_gen.data.products.skin import Surface
from augment_gen.data.products.vector import mix, Scalar, smoothstep, Vector, vector

_BOUNCE = 0.14  # share of the spotlight that table and room send back


class Lights(NamedTuple):
  """The light of one picture; colours are linear, and 1 lights a white surface to white.

  Attributes:
    sky: float32 [3], light from above and all around.
    ground: float32 [3], light from below.
    lamp: float32 [3], colour of a large lamp.
    lamp_way: float32 [3], unit vector to it.
    lamp_width: float32, tangent of half the angle under which it is seen.
    spot: float32 [3], colour of a spotlight, where it is aimed at.
    spot_place: float32 [3], where it is.
    spot_aim: float32 [3], which point it is aimed at.
    spot_cone: float32 [2], cosines of the angles at which the cone ends and begins to
      fade.
    spot_radius: float32, of the bulb; it makes the edge of shadows slightly soft.
  """
  sky: Any
  ground: Any
  lamp: Any
  lamp_way: Any
  lamp_width: Any
  spot: Any
  spot_place: Any
  spot_aim: Any
  spot_cone: Any
  spot_radius: Any


def shade(lights: Lights, solid: geometry.Solid, occluders: occlusion.Occluders,
          surface: Surface, point: Vector, normal: Vector, way: Vector,
          on_solid: jax.Array, bulb: tuple[Scalar, Scalar]) -> Vector:
  """The light that leaves each point towards the camera.

  Args:
    lights: the light.
    solid: casts the spotlight's shadow.
    occluders: stands for the solid in soft shadows.
    surface: what the points are made of.
    point: where.
    normal: unit normals there.
    way: unit vectors from the camera to the points.
    on_solid: bool [P], whether a point lies on the solid.
    bulb: two numbers in [-1, 1] for each ray, the place on the bulb that lights it.

  Returns:
    Linear radiance for each ray.
  """
  free = occlusion.openness(occluders, point, normal, on_solid)
  lamp_way = vector(lights.lamp_way)
  # What is off costs nothing.
  lamp_seen = jax.lax.cond(
      lights.lamp.max() > 0,
      lambda: occlusion.lamp(occluders, point, normal, lamp_way, lights.lamp_width,
                             on_solid), lambda: jnp.zeros_like(free))
  # A large lamp reaches round the edge of the shaded side.
  wrap = 0.5 * lights.lamp_width
  lamp_cos = jnp.maximum((normal.dot(lamp_way) + wrap) / (1.0 + wrap), 0.0)
  lamp = vector(lights.lamp) * lamp_seen
  spot, spot_way = _spotlight(lights, solid, point, normal, bulb)
  spot_cos = jnp.maximum(normal.dot(spot_way), 0.0)
  up = 0.5 + 0.5 * normal.y
  around = mix(vector(lights.ground), vector(lights.sky), up) * free
  bounce = vector(lights.spot) * (_BOUNCE * (1.0 - up) * free * jnp.exp(-point.y))
  diffuse = around + bounce + lamp * lamp_cos + spot * spot_cos

  mirror = way - normal * (2.0 * normal.dot(way))
  facing = jnp.clip(1.0 + normal.dot(way), 0.0, 1.0)  # 1 − cos of the angle of view
  rising = jnp.square(jnp.square(facing)) * facing  # Schlick's approximation
  share = mix(Vector(0.04, 0.04, 0.04), surface.colour, surface.metal)
  share = share + (Vector(1.0, 1.0, 1.0) - share) * (rising * surface.gloss)
  gloss = surface.gloss
  # Rough surfaces show a wide and weak image of a lamp, smooth ones a sharp and bright one.
  sharp = 6.0 + 214.0 * gloss * gloss
  image = smoothstep(1.0 - (0.3 - 0.2 * gloss), 1.0 - 0.1 * (1.0 - gloss) - 0.02,
                     mirror.dot(lamp_way))
  dot = jnp.clip(mirror.dot(spot_way), 1e-4, 1.0)
  lobe = jnp.exp(sharp * (dot - 1.0)) * (0.3 + sharp / 12.0)
  sky = mix(vector(lights.ground), vector(lights.sky), smoothstep(-0.25, 0.5, mirror.y))
  specular = (sky * (0.3 + 0.7 * free) + lamp * (image * (1.0 + 3.0 * gloss))
              + spot * (lobe * (spot_cos > 0)) + vector(lights.spot) * 0.03) * share
  return (surface.colour * diffuse * (1.0 - surface.metal)
          + specular * (0.15 + 0.85 * jnp.maximum(gloss, surface.metal)))


def _spotlight(lights: Lights, solid: geometry.Solid, point: Vector, normal: Vector,
               bulb: tuple[Scalar, Scalar]) -> tuple[Vector, Vector]:
  """What of the spotlight arrives at each point, and the unit vectors to it."""
  place, aim = vector(lights.spot_place), vector(lights.spot_aim)
  axis = aim - place
  start = point + normal * 2e-3
  side = Vector(axis.z, 0.0 * axis.y, -axis.x).unit()
  there = (place + side * (bulb[0] * lights.spot_radius)
           + Vector(0.0, 1.0, 0.0) * (bulb[1] * lights.spot_radius))
  gap = there - start
  way = gap.unit()
  nearness = axis.dot(axis) / gap.dot(gap)
  cone = smoothstep(lights.spot_cone[0], lights.spot_cone[1],
                    -way.dot(axis.unit()))
  seen = jax.lax.cond(lights.spot.max() > 0,
                      lambda: ~geometry.blocked(solid, start, gap),
                      lambda: cone < 0.0)
  return vector(lights.spot) * (nearness * cone * seen), way
