"""Noise, patterns, logos and glyphs."""

import jax
import numpy as np
import pytest

from augment_gen.data.products import textures

X, Y = (a.ravel().astype(np.float32) for a in np.meshgrid(
    np.linspace(-2, 2, 64), np.linspace(-2, 2, 64)))
_noise = jax.jit(textures.noise)
_pattern = jax.jit(textures.pattern)
_glyphs = jax.jit(textures.glyphs)


def slow_hash(x, y, seed):
  """textures.hashed in Python's own whole numbers."""
  h = (x * 0x9E3779B1 ^ y * 0x85EBCA77 ^ seed * 0xC2B2AE3D) % 2**32
  h = (h ^ (h >> 15)) * 0x2C1B3C6D % 2**32
  h = (h ^ (h >> 12)) * 0x297A2D39 % 2**32
  return (h ^ (h >> 15)) >> 8


def test_noise_interpolates_hashed_corners():
  found = np.asarray(_noise(X, Y, 5))
  def slow(x, y):
    i, j = int(np.floor(x)), int(np.floor(y))
    u, v = x - i, y - j
    u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
    corner = lambda a, b: slow_hash((i + a) % 2**32, (j + b) % 2**32, 5) / 2**24
    return ((corner(0, 0) * (1 - u) + corner(1, 0) * u) * (1 - v)
            + (corner(0, 1) * (1 - u) + corner(1, 1) * u) * v)
  places = [0, 77, 1000, 2048, 4095]
  expected = [slow(float(X[p]), float(Y[p])) for p in places]
  np.testing.assert_allclose(found[places], expected, atol=1e-5)
  assert found.min() >= 0 and found.max() < 1 and found.std() > 0.1


def test_patterns_have_their_share_and_period():
  share = {}
  for number, name in enumerate(textures.PATTERNS):
    found = np.asarray(_pattern(number, X, Y, 0.0, 0.5, 0.4, np.asarray(_noise(X, Y, 1))))
    assert found.shape == X.shape and found.min() >= 0 and found.max() <= 1
    share[name] = found.mean()
    if name not in ("plain", "clouds"):
      later = np.asarray(_pattern(number, X + 0.5, Y, 0.0, 0.5, 0.4, 0 * X))
      assert np.abs(found - later).mean() < 0.02
  assert share["plain"] == 0
  assert share["stripes"] == pytest.approx(0.4, abs=0.05)
  assert share["checks"] == pytest.approx(0.5, abs=0.05)
  assert share["dots"] == pytest.approx(np.pi * 0.8 * 0.4 / 4, abs=0.05)


def test_stripes_turn():
  upright, level = (
      np.asarray(_pattern(1, X, Y, angle, 0.5, 0.4, 0 * X)).reshape(64, 64)
      for angle in (0.0, np.pi / 2))
  assert (upright.std(0) == 0).all() and level.std(1).max() == 0


def test_a_logo_is_a_disc_with_a_hole():
  found = np.asarray(jax.jit(textures.logo)(X, Y, 1.5, 4.0, 0.0, 0.5, 0.0))
  radius = np.hypot(X, Y)
  np.testing.assert_array_equal(found, (radius < 1.5) & (radius > 0.75))


def test_rows_of_glyphs_stay_in_their_block():
  draw = lambda seed: np.asarray(_glyphs(X, Y, -1.0, 1.0, 2.0, 0.25, 3.0, seed))
  ink = draw(3)
  assert 0.03 < ink.mean() < 0.3
  assert X[ink].min() >= -1 and X[ink].max() <= 1
  assert Y[ink].max() <= 1 and Y[ink].min() >= 1 - 3 * 1.6 * 0.25
  down = (1.0 - Y[ink]) / (1.6 * 0.25)
  assert (down - np.floor(down)).max() <= 5 / 8  # there is space between rows
  assert (ink != draw(4)).any() and (ink == draw(3)).all()
