"""Things that are not in the shop: random solids in random colours, for X_p."""

import numpy as np

from augment_gen.data.products import build, geometry
from augment_gen.data.products.build import BODY, Builder, CAP, THIRD
from augment_gen.data.products.families import Rng


def pile(rng: Rng) -> build.Form:
  """One to three random solids side by side."""
  count = int(rng.choice([1, 2, 3], p=[0.5, 0.3, 0.2]))
  b = Builder()
  room = geometry.QUADRICS // count
  height, reach, polytopes = 0.0, 0.0, 0
  for i in range(count):
    angle = rng.uniform(0, 2 * np.pi)
    away = 0.0 if count == 1 else rng.uniform(0.2, 0.42)
    angle += i * 2 * np.pi / count
    b.x, b.z = away * np.sin(angle), away * np.cos(angle)
    b.scale = (1.0, 1.0) if rng.random() < 0.7 else (1.0, rng.uniform(0.5, 0.9))
    radius = rng.uniform(0.1, 0.32) / np.sqrt(count)
    if rng.random() < 0.4 and polytopes < geometry.POLYTOPES:
      top = crystal(b, radius, rng)
      polytopes += 1
    else:
      top = turned(b, radius, int(rng.integers(1, room + 1)), rng)
    height, reach = max(height, top), max(reach, away + radius)
  if rng.random() < 0.15:
    outer = rng.uniform(0.12, 0.25)
    b.ring((rng.uniform(-0.3, 0.3), outer, rng.uniform(0.2, 0.4)),
           outer * rng.uniform(0.4, 0.8), outer, rng.uniform(0.02, 0.08), CAP)
  flat = height < 0.25 and count == 1
  band = (-0.6 * reach, 0.6 * reach) if flat else (0.05 * height, 0.95 * height)
  return b.form(height, reach, reach, band, flat, front=reach)


def turned(b: Builder, radius: float, parts: int, rng: Rng) -> float:
  """A body as from a lathe, of a random outline; returns its height."""
  y, r = 0.0, radius * rng.uniform(0.5, 1.0)
  for _ in range(parts):
    top = y + rng.uniform(0.08, 0.9) / parts
    after = float(np.clip(r * np.exp(rng.normal(0, 0.4)), 0.03, radius))
    slot = int(rng.choice([BODY, CAP, THIRD], p=[0.6, 0.25, 0.15]))
    kind = rng.choice(3)
    if kind == 0 or (kind == 2 and after > r):
      b.cone(y, top, r, after, slot)
    elif kind == 1:
      after = r
      middle = float(np.clip(r * rng.uniform(0.5, 1.7), 0.03, 1.2 * radius))
      b.bulge(y, top, r, middle, slot)
    else:
      b.shoulder(y, top, r, after, slot)
    y, r = top, after
  return y


def crystal(b: Builder, radius: float, rng: Rng) -> float:
  """A convex body with random faces; returns its height."""
  height = rng.uniform(0.15, 0.9)
  sides = int(rng.integers(3, geometry.FACES - 1))
  angles = (np.arange(sides) + rng.uniform(-0.25, 0.25, sides)) * 2 * np.pi / sides
  if rng.random() < 0.5:
    sides, angles = 4, np.arange(4) * np.pi / 2 + rng.uniform(0, np.pi)
  lean = rng.uniform(-0.15, 0.5, sides) * (rng.random() < 0.5)
  width = radius * rng.uniform(0.7, 1.1, sides)
  faces = [(np.sin(a), k, np.cos(a), w) for a, k, w in zip(angles, lean, width)]
  faces += [(0, -1, 0, 0), (rng.normal(0, 0.15), 1, rng.normal(0, 0.15), height)]
  b.polytope(np.array(faces), int(rng.choice([BODY, BODY, CAP])))
  b.occluder(0.0, height, (radius * 0.9, radius * 0.9),
             (-float(lean.mean()),) * 2, 0.6)
  return height
