"""Vectors and colours of many rays at once, one array for each component.

XLA on CPU vectorises [P] arrays well, and arrays [P, 3] badly.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

# A number, or float32 [P]: one number for each ray.
Scalar = Any


class Vector(NamedTuple):
  """Three components (x, y, z), or a colour (red, green, blue), for each ray.

  y points up. The operators work component by component, not on the tuple.
  """
  x: Scalar
  y: Scalar
  z: Scalar

  def __add__(self, other: Any) -> "Vector":
    other = spread(other)
    return Vector(self.x + other.x, self.y + other.y, self.z + other.z)

  def __sub__(self, other: Any) -> "Vector":
    other = spread(other)
    return Vector(self.x - other.x, self.y - other.y, self.z - other.z)

  def __mul__(self, other: Any) -> "Vector":
    other = spread(other)
    return Vector(self.x * other.x, self.y * other.y, self.z * other.z)

  def dot(self, other: "Vector") -> Scalar:
    return self.x * other.x + self.y * other.y + self.z * other.z

  def norm(self) -> Scalar:
    return jnp.sqrt(self.dot(self) + 1e-12)

  def unit(self) -> "Vector":
    """The vector at length 1."""
    return self * jax.lax.rsqrt(self.dot(self) + 1e-12)


def spread(value: Any) -> Vector:
  """A vector as it is; a number as a vector of three equal components."""
  return value if isinstance(value, Vector) else Vector(value, value, value)


def vector(row: jax.Array) -> Vector:
  """The three numbers of `row`, [3]."""
  return Vector(row[0], row[1], row[2])


def where(mask: jax.Array, a: Any, b: Any) -> Vector:
  """a where `mask` [P] holds, else b."""
  return Vector(*(jnp.where(mask, p, q) for p, q in zip(spread(a), spread(b))))


def mix(a: Any, b: Any, share: Scalar) -> Vector:
  """(1 − share) · a + share · b."""
  return spread(a) + (spread(b) - spread(a)) * share


def smoothstep(low: Scalar, high: Scalar, x: Scalar) -> Scalar:
  """0 below `low`, 1 above `high`, and a smooth rise between."""
  t = jnp.clip((x - low) / (high - low), 0.0, 1.0)
  return t * t * (3.0 - 2.0 * t)
