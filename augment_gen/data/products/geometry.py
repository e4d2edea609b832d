"""Solids made of analytic primitives, and where rays meet them.

Three kinds suffice for things in a shop:

- a quadric of revolution between two planes, x²/s² + z²/s'² = a + b y + c y²: cylinders,
  cones, balls, barrels, waists, shoulders of bottles, all also with an elliptic section;
- a convex polytope: boxes, cartons with a gable, prisms, pouches;
- an upright flat ring: handles, rolls of tape.

Lengths are in units of about 20 cm. The table is the plane y = 0.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from augment_gen.data.products.vector import Scalar, Vector, vector, where

QUADRICS, POLYTOPES, FACES = 8, 2, 10  # how many there is room for
FAR = 1e4  # where a ray ends that meets nothing
_NEAR = 1e-4  # what is nearer is the surface that the ray leaves
_EDGE = 1e-4  # points this near the end of a quadric lie on the flat end


class Quadrics(NamedTuple):
  """Quadrics of revolution; each array has QUADRICS rows.

  Attributes:
    centre: float32 [Q, 3], where the axis meets y = 0 in local coordinates.
    scale: float32 [Q, 2], stretch of the section along x and z.
    curve: float32 [Q, 3], the squared radius a + b y + c y².
    span: float32 [Q, 2], the range of y.
    lying: float32 [Q], 1 where the axis lies along x (x and y change places).
    slot: int32 [Q], which material.
  """
  centre: Any
  scale: Any
  curve: Any
  span: Any
  lying: Any
  slot: Any


class Polytopes(NamedTuple):
  """Convex polytopes, the points with n · p ≤ d for all faces.

  Attributes:
    faces: float32 [K, FACES, 4], outward unit normals n and offsets d.
    slot: int32 [K], which material.
  """
  faces: Any
  slot: Any


class Ring(NamedTuple):
  """A flat ring in a plane of constant z.

  Attributes:
    centre: float32 [3].
    size: float32 [3], inner radius, outer radius, half the width along z.
    slot: int32 [], which material.
  """
  centre: Any
  size: Any
  slot: Any


class Solid(NamedTuple):
  """A union of primitives.

  Attributes:
    quadrics: the first counts[0] rows are used.
    polytopes: the first counts[1] rows are used.
    ring: used if counts[2] is 1.
    counts: int32 [3].
  """
  quadrics: Quadrics
  polytopes: Polytopes
  ring: Ring
  counts: Any


class Hit(NamedTuple):
  """The first point where each ray meets the solid.

  Attributes:
    distance: float32 [P], FAR where it meets nothing.
    normal: outward unit normals.
    slot: int32 [P], the material.
    flat: bool [P], whether the point lies on a polytope.
    centre: the axis of the primitive (for polytopes 0).
    lying: bool [P], whether this axis lies.
  """
  distance: Scalar
  normal: Vector
  slot: Scalar
  flat: Scalar
  centre: Vector
  lying: Scalar


_RING = QUADRICS + POLYTOPES  # number of the ring among the primitives


def first_hit(solid: Solid, origin: Vector, way: Vector) -> Hit:
  """Where rays from `origin` along the unit vectors `way` first meet the solid.

  Rays that start inside a polytope or a ring do not meet it.
  """
  nearest, number = _nearest(solid, origin, way)
  point = origin + way * jnp.minimum(nearest, 1e3)
  row = _of_each_ray(solid.quadrics, number)
  round_normal = _quadric_normal(row, point)
  ring_normal = _ring_normal(solid.ring, point)
  flat = (number >= QUADRICS) & (number < _RING)
  ring = number == _RING
  flat_normal = _polytope_normal(solid.polytopes.faces, number - QUADRICS, point)
  pick = lambda a, b, c: jnp.where(ring, c, jnp.where(flat, b, a))
  slots = sum(jnp.where(number == QUADRICS + k, solid.polytopes.slot[k], 0)
              for k in range(POLYTOPES))
  return Hit(
      nearest, where(ring, ring_normal, where(flat, flat_normal, round_normal)),
      pick(row.slot, slots, solid.ring.slot), flat,
      where(ring, vector(solid.ring.centre), vector(row.centre)), row.lying > 0.5)


def blocked(solid: Solid, origin: Vector, way: Vector) -> jax.Array:
  """Whether the solid lies on the rays `origin` + t `way`, 0 < t < 1; bool [P]."""
  return _nearest(solid, origin, way)[0] < 1.0


def _nearest(solid: Solid, origin: Vector, way: Vector) -> tuple[jax.Array, jax.Array]:
  """The least t of `origin` + t `way`, and the number of the primitive; -1: none."""
  best = jnp.full_like(way.x, FAR), jnp.full(way.x.shape, -1, jnp.int32)

  def nearer(best, t, number):
    closer = t < best[0]
    return jnp.where(closer, t, best[0]), jnp.where(closer, number, best[1])

  def quadric(i, best):
    row = jax.tree.map(lambda array: array[i], solid.quadrics)
    return nearer(best, _quadric(row, origin, way), i)

  def polytope(i, best):
    return nearer(best, _polytope(solid.polytopes.faces[i], origin, way), QUADRICS + i)

  def ring(_, best):
    return nearer(best, _ring(solid.ring, origin, way), _RING)

  # Loops of as many rounds as there are primitives: most solids have few.
  for count, body in zip(solid.counts, (quadric, polytope, ring)):
    best = jax.lax.fori_loop(0, count, body, best)
  return best


def _of_each_ray(quadrics: Quadrics, number: jax.Array) -> Quadrics:
  """The row of the quadric that each ray meets; the arrays are [..., P].

  Eight selections are faster on a CPU than a gather.
  """
  def pick(array: jax.Array) -> Any:
    if array.ndim == 2:
      return tuple(pick(array[:, j]) for j in range(array.shape[1]))
    return sum(jnp.where(number == i, array[i], 0) for i in range(QUADRICS))

  return Quadrics(*map(pick, quadrics))


def _safe(x: Scalar) -> Scalar:
  """x, kept away from 0, so that it may divide."""
  return jnp.where(jnp.abs(x) < 1e-7, 1e-7, x)


def _turned(lying: Scalar, v: Vector) -> Vector:
  """x and y change places where the axis lies."""
  return Vector(jnp.where(lying, v.y, v.x), jnp.where(lying, v.x, v.y), v.z)


def _quadric(row: Quadrics, origin: Vector, way: Vector) -> jax.Array:
  """Distance to one quadric, FAR where the ray misses it."""
  lying = row.lying > 0.5
  o = _turned(lying, origin - vector(row.centre))
  d = _turned(lying, way)
  sx, sz = 1.0 / row.scale[0], 1.0 / row.scale[1]
  ox, oz, dx, dz = o.x * sx, o.z * sz, d.x * sx, d.z * sz
  a, b, c = row.curve[0], row.curve[1], row.curve[2]
  low, high = row.span[0], row.span[1]
  # Along the ray, x² + z² − (a + b y + c y²) is the polynomial A t² + 2 B t + C.
  square = 1.0 / _safe(dx * dx + dz * dz - c * d.y * d.y)
  linear = (ox * dx + oz * dz - d.y * (0.5 * b + c * o.y)) * square
  constant = (ox * ox + oz * oz - (a + b * o.y + c * o.y * o.y)) * square
  inside = linear * linear - constant
  root = jnp.sqrt(jnp.maximum(inside, 0.0))
  best = jnp.full_like(square, FAR)
  for t in (-linear - root, -linear + root):
    y = o.y + t * d.y
    valid = (inside > 0) & (t > _NEAR) & (y >= low) & (y <= high)
    best = jnp.where(valid, jnp.minimum(best, t), best)
  upwards = 1.0 / _safe(d.y)
  for level in (low, high):
    t = (level - o.y) * upwards
    x, z = ox + t * dx, oz + t * dz
    valid = (t > _NEAR) & (x * x + z * z <= a + b * level + c * level * level)
    best = jnp.where(valid, jnp.minimum(best, t), best)
  return best


def _quadric_normal(row: Quadrics, point: Vector) -> Vector:
  """The normals at points on quadrics, where each ray has its own row."""
  lying = row.lying > 0.5
  p = _turned(lying, point - Vector(*row.centre))
  b, c = row.curve[1], row.curve[2]
  wide, deep = (1.0 / jnp.maximum(jnp.square(s), 1e-6) for s in row.scale)
  side = Vector(p.x * wide, -(0.5 * b + c * p.y), p.z * deep).unit()
  low, high = (jnp.abs(p.y - level) < _EDGE for level in row.span)
  normal = where(low | high, Vector(0.0, jnp.where(high, 1.0, -1.0), 0.0), side)
  return _turned(lying, normal)


def _polytope(faces: jax.Array, origin: Vector, way: Vector) -> jax.Array:
  """Distance to a polytope ([FACES, 4]) from outside, FAR where the ray misses it."""
  enter = jnp.full_like(way.x, -FAR)
  leave = jnp.full_like(way.x, FAR)
  for i in range(FACES):
    n = vector(faces[i])
    speed = _safe(n.dot(way))
    t = (faces[i, 3] - n.dot(origin)) / speed
    enter = jnp.where(speed < 0, jnp.maximum(enter, t), enter)
    leave = jnp.where(speed > 0, jnp.minimum(leave, t), leave)
  return jnp.where((enter < leave) & (enter > _NEAR), enter, FAR)


def _polytope_normal(faces: jax.Array, number: jax.Array, point: Vector) -> Vector:
  """The normals at points on polytopes ([K, FACES, 4]): those of the nearest faces."""
  best = jnp.full_like(point.x, -FAR)
  normal = Vector(0.0, 1.0, 0.0)
  for i in range(FACES):
    row = [sum(jnp.where(number == k, faces[k, i, j], 0.0) for k in range(POLYTOPES))
           for j in range(4)]
    n = Vector(*row[:3])
    depth = n.dot(point) - row[3]
    normal = where(depth > best, n, normal)
    best = jnp.maximum(depth, best)
  return normal


def _ring(ring: Ring, origin: Vector, way: Vector) -> jax.Array:
  """Distance to a ring from outside, FAR where the ray misses it."""
  o = origin - vector(ring.centre)
  inner, outer, half = ring.size[0], ring.size[1], ring.size[2]
  square = 1.0 / _safe(way.x * way.x + way.y * way.y)
  linear = (o.x * way.x + o.y * way.y) * square
  radius = (o.x * o.x + o.y * o.y) * square
  best = jnp.full_like(way.x, FAR)
  # The outside is met on the way in, the wall of the hole on the way out.
  for r, sign in ((outer, -1.0), (inner, 1.0)):
    inside = linear * linear - radius + r * r * square
    t = -linear + sign * jnp.sqrt(jnp.maximum(inside, 0.0))
    valid = (inside > 0) & (t > _NEAR) & (jnp.abs(o.z + t * way.z) <= half)
    best = jnp.where(valid, jnp.minimum(best, t), best)
  t = (-jnp.sign(way.z) * half - o.z) / _safe(way.z)
  x, y = o.x + t * way.x, o.y + t * way.y
  distance = x * x + y * y
  valid = (t > _NEAR) & (distance >= inner * inner) & (distance <= outer * outer)
  return jnp.where(valid, jnp.minimum(best, t), best)


def _ring_normal(ring: Ring, point: Vector) -> Vector:
  """The normals at points on the ring."""
  p = point - vector(ring.centre)
  r = jnp.sqrt(p.x * p.x + p.y * p.y + 1e-12)
  outward = jnp.where(r > 0.5 * (ring.size[0] + ring.size[1]), 1.0, -1.0)
  face = jnp.abs(p.z) > ring.size[2] - _EDGE
  return where(face, Vector(0.0, 0.0, jnp.sign(p.z)),
               Vector(p.x / r * outward, p.y / r * outward, 0.0))
