"""What surfaces are made of: materials, labels and prints of a product; table and wall."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from augment_gen.data.products import textures
from augment_gen.data.products.geometry import Hit
from augment_gen.data.products.vector import mix, Scalar, smoothstep, Vector, vector, where

SLOTS = 3  # materials of a product: body, cap, and a third one
TABLES = ("laminate", "wood", "cloth", "checked")


class Print(NamedTuple):
  """A two-colour pattern; see textures.pattern."""
  kind: Any
  angle: Any
  pitch: Any
  duty: Any


class Skin(NamedTuple):
  """Materials and label of a product.

  Colours are linear. Lengths along the surface are counted from the middle of the front,
  heights from the table.

  Attributes:
    colours: float32 [SLOTS, 3], of the materials.
    gloss: float32 [SLOTS], 0: matt, 1: a clear mirror image.
    metal: float32 [SLOTS], 1 where it reflects in its own colour.
    girth: float32, radius of the body, which turns angles into lengths.
    body: the print on the body beside the label, in the first ink.
    inks: float32 [3, 3], colours of the label's ground and of two inks.
    label: float32 [3], lower edge, upper edge, half the width; none if it is empty.
    on_top: float32, 1 if the label is on what faces up, not on the sides; `label`, logo
      and texts then count from the middle.
    pattern: the print on the label, in the first ink.
    logo: float32 [7], place (2), then the arguments of textures.logo; second ink.
    texts: float32 [2, 5], title and small print: the arguments of textures.glyphs from
      `left` to `rows`; second ink.
    seed: int32, which texts and which clouds.
  """
  colours: Any
  gloss: Any
  metal: Any
  girth: Any
  body: Print
  inks: Any
  label: Any
  on_top: Any
  pattern: Print
  logo: Any
  texts: Any
  seed: Any


class Room(NamedTuple):
  """Table and wall.

  Attributes:
    kind: int32, which of TABLES.
    colours: float32 [2, 3], two linear colours of the table's pattern.
    grain: float32 [2], grains for each unit of length, along and across.
    turn: float32, angle of the table's pattern, in radians.
    gloss: float32, of the table.
    wall: float32 [3], horizontal unit normal of the wall (x, z), and its distance.
    paint: float32 [2, 3], linear colours of the wall below and above.
    seed: int32, which pattern.
  """
  kind: Any
  colours: Any
  grain: Any
  turn: Any
  gloss: Any
  wall: Any
  paint: Any
  seed: Any


class Surface(NamedTuple):
  """What a ray meets: linear colour, gloss and metal of each, float32 [P]."""
  colour: Vector
  gloss: Scalar
  metal: Scalar


def surface(skin: Skin, room: Room, hit: Hit, point: Vector, on_table: jax.Array,
            on_wall: jax.Array) -> Surface:
  """The surface at `point`, where rays meet the product, the table or the wall."""
  u, v, top = _coordinates(skin, hit, point)
  cos, sin = jnp.cos(room.turn), jnp.sin(room.turn)
  along, across = point.x * cos + point.z * sin, point.z * cos - point.x * sin
  # One evaluation of the noise serves all: each ray meets one surface.
  outside = on_table | on_wall
  cloud = textures.clouds(
      jnp.where(outside, along * room.grain[0], u * 9.0),
      jnp.where(outside, across * room.grain[1], v * 9.0),
      jnp.where(outside, room.seed, skin.seed))
  product = _product(skin, hit.slot, u, v, top, cloud)
  table = _table(room, along, across, cloud)
  height = jnp.clip(point.y / 2.5, 0.0, 1.0)
  wall = mix(vector(room.paint[0]), vector(room.paint[1]), height) * (0.94 + 0.12 * cloud)
  pick = lambda values: sum(jnp.where(hit.slot == s, values[s], 0.0) for s in range(SLOTS))
  return Surface(
      where(on_table, table, where(on_wall, wall, product)),
      jnp.where(on_table, room.gloss, jnp.where(on_wall, 0.0, pick(skin.gloss))),
      jnp.where(outside, 0.0, pick(skin.metal)))


def _coordinates(skin: Skin, hit: Hit, point: Vector
                 ) -> tuple[Scalar, Scalar, jax.Array]:
  """Places along and up the product's surface, and whether it faces up there."""
  local = point - hit.centre
  top = jnp.abs(hit.normal.y) > 0.8
  side = jnp.where(hit.lying, local.y, local.x)
  around = jnp.arctan2(side, local.z + 1e-9) * skin.girth
  # On a flat face: along the horizontal tangent (n_z, 0, −n_x).
  length = jnp.sqrt(jnp.square(hit.normal.x) + jnp.square(hit.normal.z) + 1e-9)
  straight = (point.x * hit.normal.z - point.z * hit.normal.x) / length
  u = jnp.where(hit.flat, straight, around)
  top &= ~hit.lying
  return (jnp.where(top, point.x, u),
          jnp.where(top, -point.z, jnp.where(hit.lying, local.x, point.y)), top)


def _product(skin: Skin, slot: Scalar, u: Scalar, v: Scalar, top: jax.Array,
             cloud: jax.Array) -> Vector:
  colour = where(slot == 0, vector(skin.colours[0]),
                 where(slot == 1, vector(skin.colours[1]), vector(skin.colours[2])))
  printed = textures.pattern(skin.body.kind, u, v, skin.body.angle, skin.body.pitch,
                             skin.body.duty, cloud)
  ground, first, second = (vector(skin.inks[i]) for i in range(3))
  body = mix(colour, first, printed)
  low, high, half = skin.label[0], skin.label[1], skin.label[2]
  label = mix(ground, first, textures.pattern(
      skin.pattern.kind, u, v, skin.pattern.angle, skin.pattern.pitch, skin.pattern.duty,
      cloud))
  rim = 0.02
  edge = (v < low + rim) | (v > high - rim)
  label = where(edge, second, label)
  x, y, size, points, depth, hole, turn = (skin.logo[i] for i in range(7))
  ink = textures.logo(u - x, v - y, size, points, depth, hole, turn)
  for i in range(2):
    left, above, width, height, rows = (skin.texts[i, j] for j in range(5))
    ink |= textures.glyphs(u, v, left, above, width, height, rows, skin.seed + i)
  label = where(ink, second, label)
  labelled = ((v > low) & (v < high) & (jnp.abs(u) < half)
              & (top == (skin.on_top > 0.5)))
  printed_body = where(labelled, label, body)
  # A little unevenness, as of a real surface.
  return where(slot == 0, printed_body, colour) * (0.97 + 0.06 * cloud)


def _table(room: Room, along: Scalar, across: Scalar, cloud: jax.Array) -> Vector:
  planks = jnp.floor(across / 0.55)
  tone = textures.uniform(textures.hashed(
      planks.astype(jnp.int32), jnp.zeros_like(planks).astype(jnp.int32), room.seed))
  gap = textures.wave(across / 0.55) < 0.025
  wood = 0.6 * textures.wave(cloud * 4.0 + tone) + 0.3 * tone + 0.6 * gap
  stripes = lambda x: smoothstep(0.4, 0.6, textures.wave(x / 0.28))
  weave = 0.25 * (textures.wave(along * 23.0) + textures.wave(across * 23.0))
  shares = (
      smoothstep(0.35, 0.75, cloud), wood, 0.5 * cloud + weave,
      0.45 * (stripes(along) + stripes(across)) + 0.2 * cloud)
  share = sum(jnp.where(room.kind == i, value, 0.0) for i, value in enumerate(shares))
  return mix(vector(room.colours[0]), vector(room.colours[1]), share)
