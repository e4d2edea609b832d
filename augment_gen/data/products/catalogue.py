"""The products of the shop: their shapes and their labels."""

import colorsys
import functools

import numpy as np

from augment_gen.data.products import build, families, skin, textures
from augment_gen.data.products.families import Rng

LABELS = 4  # products that share a shape
_SHOP = 20_251  # seed of the catalogue: all users have the same products


@functools.cache
def product(number: int) -> tuple[build.Form, skin.Skin, str]:
  """Shape, skin and name of a product, which depend on its number alone.

  Products 4 k to 4 k + 3 have one shape and different labels.
  """
  shape = number // LABELS
  family = list(families.FAMILIES)[shape % len(families.FAMILIES)]
  form = families.FAMILIES[family](generator(_SHOP, 0, shape))
  name = f"{number:03d} {family} {shape // len(families.FAMILIES)}{'abcd'[number % LABELS]}"
  return form, dress(form, generator(_SHOP, 1, number)), name


def generator(*words: int) -> Rng:
  """A random generator for one purpose, named by whole numbers."""
  return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))


def colour(hue: float, saturation: float, value: float) -> np.ndarray:
  """A colour by hue, saturation and value (all in [0, 1]), linear, float32 [3]."""
  encoded = np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, value))
  linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055)**2.4)
  return linear.astype(np.float32)


def paint(rng: Rng) -> np.ndarray:
  """The colour of a package: vivid, pale, white or dark; linear, float32 [3]."""
  kind, hue, a, b = rng.random(4)
  if kind < 0.5:
    return colour(hue, 0.5 + 0.38 * a, 0.45 + 0.45 * b)
  if kind < 0.7:
    return colour(hue, 0.15 + 0.25 * a, 0.75 + 0.17 * b)
  if kind < 0.88:
    return colour(hue, 0.06 * a, 0.82 + 0.1 * b)
  return colour(hue, 0.1 + 0.5 * a, 0.1 + 0.15 * b)


def contrasting(rng: Rng, *others: np.ndarray) -> np.ndarray:
  """A colour of a package that differs clearly from `others` in lightness or hue."""
  roots = np.sqrt(others)
  best, most = others[0], -1.0
  for _ in range(12):
    candidate = paint(rng)
    # Differences of square roots are nearly those that the eye sees.
    gap = float(np.abs(np.sqrt(candidate) - roots).sum(1).min())
    if gap > most:
      best, most = candidate, gap
    if gap > 0.75:
      break
  return best


def dress(form: build.Form, rng: Rng) -> skin.Skin:
  """Draws materials and a label for a shape."""
  body, cap = paint(rng), paint(rng)
  if rng.random() < 0.3:
    cap = colour(0.0, 0.0, rng.choice([0.15, 0.9]))
  third = colour(rng.uniform(0.05, 0.12), *[(0.05, 0.75), (0.6, 0.3), (0.3, 0.85)][
      rng.integers(3)])
  ground = contrasting(rng, body) if rng.random() < 0.7 else body
  first = contrasting(rng, body, ground)
  second = contrasting(rng, ground, first)
  gloss = rng.choice([rng.uniform(0.05, 0.3), rng.uniform(0.5, 0.95)])
  metal = float(rng.random() < 0.12)
  low, high = form.band
  wrapped = rng.random() < 0.4 and not form.flat and form.front >= form.girth * 0.99
  half = np.pi * form.girth if wrapped else form.front * rng.uniform(0.8, 1.0)
  if not wrapped and form.front == form.girth:
    half *= 1.2  # round the curve
  height = high - low
  low, high = low + height * rng.uniform(0.0, 0.12), high - height * rng.uniform(0.0, 0.12)
  logo, texts = _layout(low, high, min(half, form.front), rng)
  return skin.Skin(
      colours=np.stack([body, cap, third]),
      gloss=build.floats([gloss, rng.uniform(0.1, 0.8), rng.uniform(0.3, 0.8)]),
      metal=build.floats([metal, float(rng.random() < 0.15), float(rng.random() < 0.5)]),
      girth=np.float32(form.girth), body=_print(rng, plain=0.6),
      inks=np.stack([ground, first, second]), label=build.floats([low, high, half]),
      on_top=np.float32(form.flat), pattern=_print(rng, plain=0.35),
      logo=logo, texts=texts, seed=np.int32(rng.integers(2**30)))


def _print(rng: Rng, plain: float) -> skin.Print:
  """A pattern; with the probability `plain`, none."""
  kind = 0 if rng.random() < plain else rng.integers(1, len(textures.PATTERNS))
  angle = rng.choice([0.0, np.pi / 2, np.pi / 4, rng.uniform(0, np.pi)])
  return skin.Print(np.int32(kind), np.float32(angle), np.float32(rng.uniform(0.07, 0.22)),
                    np.float32(rng.uniform(0.3, 0.6)))


def _layout(low: float, high: float, half: float, rng: Rng
            ) -> tuple[np.ndarray, np.ndarray]:
  """Logo, title and small print, in one of the orders of packages."""
  height = high - low
  size = min(0.3 * height, 0.6 * half) * rng.uniform(0.75, 1.1)
  title_height = min(0.2 * height, 0.3 * half) * rng.uniform(0.7, 1.1)
  above = rng.random() < 0.6
  logo_y = high - 0.08 * height - size if above else low + 0.1 * height + size
  title_top = (logo_y - 1.25 * size if above else high - 0.1 * height)
  rows = int(rng.integers(1, 3))
  small_top = title_top - 1.8 * title_height * rows
  points = rng.choice([3, 4, 5, 6, 8])
  depth = rng.choice([0.0, 0.25, 0.55])
  hole = rng.choice([0.0, 0.0, 0.6])
  logo = [rng.uniform(-0.25, 0.25) * half, logo_y, size, points, depth, hole,
          np.pi / 2 + rng.choice([0.0, np.pi / points])]
  left = -0.85 * half
  letters = title_height * rng.uniform(0.22, 0.3)
  texts = [
      [left, title_top, 1.7 * half * rng.uniform(0.6, 1.0), title_height, rows],
      [left, small_top, 1.7 * half, max(letters, 0.02), rng.integers(2, 6)]]
  return build.floats(logo), build.floats(texts)
