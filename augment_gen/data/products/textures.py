"""Procedural textures: noise, patterns, logos and rows of glyphs, as functions of place."""

import math

import jax
import jax.numpy as jnp

from augment_gen.data.products.vector import Scalar, smoothstep

PATTERNS = ("plain", "stripes", "checks", "dots", "zigzag", "clouds")


def hashed(x: jax.Array, y: jax.Array, seed: Scalar) -> jax.Array:
  """Random bits of integers: uint32, of the shape of `x`."""
  h = (x.astype(jnp.uint32) * jnp.uint32(0x9E3779B1)
       ^ y.astype(jnp.uint32) * jnp.uint32(0x85EBCA77)
       ^ jnp.asarray(seed).astype(jnp.uint32) * jnp.uint32(0xC2B2AE3D))
  h = (h ^ (h >> 15)) * jnp.uint32(0x2C1B3C6D)
  h = (h ^ (h >> 12)) * jnp.uint32(0x297A2D39)
  return h ^ (h >> 15)


def uniform(bits: jax.Array) -> jax.Array:
  """Random bits as numbers in [0, 1)."""
  return (bits >> 8).astype(jnp.int32).astype(jnp.float32) * 2.0**-24


def noise(x: jax.Array, y: jax.Array, seed: Scalar) -> jax.Array:
  """Smooth value noise in [0, 1) whose grain has the side 1."""
  column, row = jnp.floor(x), jnp.floor(y)
  u, v = x - column, y - row
  u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
  i, j = column.astype(jnp.int32), row.astype(jnp.int32)
  corner = lambda di, dj: uniform(hashed(i + di, j + dj, seed))
  low = corner(0, 0) * (1 - u) + corner(1, 0) * u
  high = corner(0, 1) * (1 - u) + corner(1, 1) * u
  return low * (1 - v) + high * v


def clouds(x: jax.Array, y: jax.Array, seed: Scalar, octaves: int = 3) -> jax.Array:
  """Noise of several grains, each half as large and half as strong; in [0, 1)."""
  total, weight = jnp.zeros_like(x), 0.0
  for k in range(octaves):
    total += noise(x * 2.0**k, y * 2.0**k, seed + k) * 0.5**k
    weight += 0.5**k
  return total / weight


def wave(x: jax.Array) -> jax.Array:
  """A triangle wave of period 1 in [0, 1], 0 at whole numbers."""
  return jnp.abs(x - jnp.floor(x + 0.5)) * 2.0


def pattern(kind: Scalar, x: jax.Array, y: jax.Array, angle: Scalar, pitch: Scalar,
            duty: Scalar, cloud: jax.Array) -> jax.Array:
  """Where a two-colour pattern has its second colour: float32 in [0, 1].

  Args:
    kind: int32, which of PATTERNS.
    x: place along the surface.
    y: place up the surface, of the same shape.
    angle: of stripes, in radians.
    pitch: length of a period.
    duty: share of the second colour, roughly.
    cloud: clouds at (x, y) in [0, 1).
  """
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  u, v = (x * cos + y * sin) / pitch, (y * cos - x * sin) / pitch
  a, b = wave(u), wave(v)
  masks = {
      "plain": jnp.zeros_like(x),
      "stripes": a < duty,
      "checks": (a < 0.5) ^ (b < 0.5),
      "dots": a * a + b * b < 0.8 * duty,
      "zigzag": wave(u + 0.5 * b) < duty,
      "clouds": smoothstep(0.45, 0.55, cloud + 0.3 * (duty - 0.5)),
  }
  result = jnp.zeros_like(x)
  for number, name in enumerate(PATTERNS):
    result = jnp.where(kind == number, masks[name].astype(jnp.float32), result)
  return result


def logo(x: jax.Array, y: jax.Array, size: Scalar, points: Scalar, depth: Scalar,
         hole: Scalar, turn: Scalar) -> jax.Array:
  """A disc, flower, star or polygon around (0, 0), with or without a hole: bool.

  Args:
    x: place along the surface.
    y: place up the surface.
    size: outer radius.
    points: number of points of the star.
    depth: how far it is cut in between its points, in [0, 1).
    hole: radius of the hole as a share of the radius of the figure.
    turn: angle by which the figure is turned, in radians.
  """
  radius = jnp.sqrt(x * x + y * y + 1e-12) / size
  angle = (jnp.arctan2(y, x) + turn) * (points / (2 * math.pi))
  edge = 1.0 - depth * wave(angle)
  return (radius < edge) & (radius > hole * edge)


def glyphs(x: jax.Array, y: jax.Array, left: Scalar, top: Scalar, width: Scalar,
           height: Scalar, rows: Scalar, seed: Scalar) -> jax.Array:
  """Rows of glyph-like marks in words, ragged at the right: bool.

  Args:
    x: place along the surface.
    y: place up the surface.
    left: where the rows begin.
    top: upper edge of the first row.
    width: length of the longest row.
    height: height of a glyph; a row takes 1.6 of it.
    rows: number of rows.
    seed: int32, which text.
  """
  row = jnp.floor((top - y) / (1.6 * height))
  column = jnp.floor((x - left) / (0.8 * height))
  # Each glyph is a random bitmap of 3 × 5, with an empty column to its right.
  i = jnp.floor(((x - left) / (0.8 * height) - column) * 4.0).astype(jnp.int32)
  j = jnp.floor(((top - y) / (1.6 * height) - row) * 8.0).astype(jnp.int32)
  bits = hashed(column.astype(jnp.int32), row.astype(jnp.int32), seed)
  ink = ((bits >> (i + 3 * j).astype(jnp.uint32)) & 1) == 1
  ink |= (i == (bits >> 20).astype(jnp.int32) % 3)  # a stem holds the glyph together
  gap = (bits >> 24) < 40  # between words
  length = width * (0.55 + 0.45 * uniform(hashed(row.astype(jnp.int32),
                                                 jnp.full_like(i, 77), seed)))
  return (ink & ~gap & (i < 3) & (j < 5) & (row >= 0) & (row < rows)
          & (x >= left) & (x - left < length))
