"""Soft shadow: how much of the light from all around, or from a large lamp, arrives.

The solid is replaced by a few upright prisms with rounded corners, whose distance is known
in closed form. Shadows of a point light are exact (geometry.blocked), and not done here.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from augment_gen.data.products.vector import Scalar, smoothstep, Vector

OCCLUDERS = 4
# Distances from the surface at which the surroundings are felt, and how much each counts.
_REACH = ((0.03, 0.22), (0.08, 0.26), (0.2, 0.28), (0.5, 0.24))
_STEPS = tuple(0.035 * 1.62**i for i in range(8))  # along the way to a lamp; up to 1.02


class Occluders(NamedTuple):
  """Upright prisms; each array has OCCLUDERS rows.

  Attributes:
    centre: float32 [K, 2], x and z.
    half: float32 [K, 2], half the width along x and z, at the foot.
    taper: float32 [K, 2], growth of `half` with y.
    span: float32 [K, 2], foot and top.
    roundness: float32 [K], 0: rectangular, 1: elliptic section.
    count: int32 [], how many rows are used.
  """
  centre: Any
  half: Any
  taper: Any
  span: Any
  roundness: Any
  count: Any


def distance(occluders: Occluders, k: Any, point: Vector) -> Scalar:
  """About the distance to prism k, negative inside; float32 [P].

  It is exact for boxes and round cylinders.
  """
  low, high = occluders.span[k, 0], occluders.span[k, 1]
  up = jnp.clip(point.y, low, high) - low
  wide = jnp.maximum(occluders.half[k, 0] + occluders.taper[k, 0] * up, 1e-3)
  deep = jnp.maximum(occluders.half[k, 1] + occluders.taper[k, 1] * up, 1e-3)
  corner = occluders.roundness[k] * jnp.minimum(wide, deep)
  x = jnp.abs(point.x - occluders.centre[k, 0]) - wide + corner
  z = jnp.abs(point.z - occluders.centre[k, 1]) - deep + corner
  side = _outside(x, z) - corner
  end = jnp.maximum(low - point.y, point.y - high)
  return _outside(side, end)


def _outside(x: Scalar, y: Scalar) -> Scalar:
  """Distance to the quadrant x ≤ 0, y ≤ 0; negative inside."""
  far = jnp.sqrt(jnp.square(jnp.maximum(x, 0.0)) + jnp.square(jnp.maximum(y, 0.0)))
  return far + jnp.minimum(jnp.maximum(x, y), 0.0)


def openness(occluders: Occluders, point: Vector, normal: Vector,
             on_solid: Scalar) -> Scalar:
  """How much of the half space above a surface is free, in [0, 1]; float32 [P].

  Args:
    occluders: what stands in the way.
    point: where, for each ray.
    normal: unit normals there.
    on_solid: bool [P], whether the point lies on the solid itself, whose prisms are only
      nearly where it is: distances are then counted from that of the point.
  """
  # The solid's own prisms and the table darken each other's edges.
  own = jnp.where(on_solid, _nearest(occluders, point), 0.0)

  def prism(k, free):
    return tuple(jnp.minimum(f, distance(occluders, k, point + normal * reach) - own)
                 for f, (reach, _) in zip(free, _REACH))

  free = tuple(jnp.where(on_solid, point.y + normal.y * reach, reach)
               for reach, _ in _REACH)
  free = jax.lax.fori_loop(0, occluders.count, prism, free)
  lost = sum(weight * (1.0 - jnp.clip(f / reach, 0.0, 1.0))
             for f, (reach, weight) in zip(free, _REACH))
  return jnp.square(1.0 - lost)


def _nearest(occluders: Occluders, point: Vector) -> jax.Array:
  """About the distance to the nearest prism."""
  return jax.lax.fori_loop(
      0, occluders.count,
      lambda k, least: jnp.minimum(least, distance(occluders, k, point)),
      jnp.full_like(point.y, 1e3))


def lamp(occluders: Occluders, point: Vector, normal: Vector, way: Vector,
         width: Scalar, on_solid: Scalar) -> Scalar:
  """The share of a large lamp that is seen from each point, in [0, 1]; float32 [P].

  It is estimated from how closely the ray to the lamp passes the prisms, compared to the
  width of the cone of light there.

  Args:
    occluders: what stands in the way.
    point: where, for each ray.
    normal: unit normals there.
    way: unit vector to the middle of the lamp.
    width: tangent of half the angle under which the lamp is seen.
    on_solid: as in `openness`.
  """
  start = point + normal * 0.01
  own = jnp.where(on_solid, jnp.minimum(_nearest(occluders, start), 0.0), 0.0)

  def prism(k, seen):
    for step in _STEPS:
      gap = distance(occluders, k, start + way * step) - own
      seen = jnp.minimum(seen, gap / (width * step))
    return seen

  return smoothstep(-1.0, 1.0, jax.lax.fori_loop(
      0, occluders.count, prism, jnp.ones_like(point.y)))
