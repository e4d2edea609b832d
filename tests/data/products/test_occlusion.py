"""Soft shadows."""

import jax
import numpy as np
import pytest

from augment_gen.data.products import build, occlusion
from augment_gen.data.products.vector import Vector

_distance = jax.jit(lambda o, p: occlusion.distance(o, 0, p))
_openness, _lamp = jax.jit(occlusion.openness), jax.jit(occlusion.lamp)
NEAR = np.float32([0.005, 0.05, 0.1, 0.2, 0.4, 3.0])  # distances from the solid


def occluders(round_: bool, height: float = 0.8):
  b = build.Builder()
  if round_:
    b.cone(0.0, height, 0.3, 0.3)
  else:
    b.box(0.0, height, (0.3, 0.2))
  return b.form(height, 0.3, 0.3, (0, 1)).occluders


def on_table():
  """Places on the table beside the solid, and its upward normals."""
  zero = np.zeros_like(NEAR)
  return Vector(0.3 + NEAR, zero, zero), Vector(zero, zero + 1, zero), zero > 1


@pytest.mark.parametrize("round_", [False, True])
def test_distance_is_that_to_the_nearest_of_many_points(round_):
  rng = np.random.default_rng(0)
  inside = rng.uniform(-1, 1, (400_000, 3)) * [0.3, 0.4, 0.3 if round_ else 0.2]
  if round_:
    inside = inside[np.hypot(inside[:, 0], inside[:, 2]) < 0.3]
  inside += [0, 0.4, 0]
  outside = np.float32([[0.7, 0.4, 0.1], [0.1, 1.3, 0.05], [0.6, 1.2, 0.6],
                        [-0.5, 0.2, -0.5], [0, 0.4, 0.9], [-0.2, -0.5, 0.0]])
  slow = [np.linalg.norm(inside - p, axis=1).min() for p in outside]
  found = _distance(occluders(round_), Vector(*outside.T))
  np.testing.assert_allclose(found, slow, atol=0.02)


def test_the_table_is_dark_at_the_foot_and_open_far_away():
  place, up, on_solid = on_table()
  found = np.asarray(_openness(occluders(True), place, up, on_solid))
  assert found[0] < 0.05 and found[-1] == 1 and (np.diff(found) >= 0).all()


def test_what_is_low_hides_less():
  place, up, on_solid = on_table()
  tall, low = (np.asarray(_openness(occluders(True, height), place, up, on_solid))
               for height in (0.8, 0.05))
  assert (low[1:5] > tall[1:5] + 0.02).all()


def test_a_wide_lamp_has_a_half_shadow():
  place, up, on_solid = on_table()
  one = np.ones_like(NEAR)
  way = np.float32([-0.8, 0.6, 0.0])  # the lamp is behind the solid
  shadow = lambda width, side: np.asarray(_lamp(
      occluders(True), place, up, Vector(side * way[0] * one, way[1] * one, 0 * one),
      np.float32(width), on_solid))
  behind = shadow(0.3, 1.0)
  assert behind[1] < 0.05 and behind[-1] == 1
  assert 0.02 < shadow(0.9, 1.0)[4] < 0.98
  assert (shadow(0.3, -1.0)[1:] == 1).all()  # nothing stands on the lamp's side
