"""Where rays meet solids, against marching along the rays in small steps."""

import jax
import numpy as np
import pytest

from augment_gen.data.products import build, catalogue, families, geometry, render
from augment_gen.data.products.skin import Room
from augment_gen.data.products.vector import Vector
from augment_gen.data.products.world import pile

RAYS = 256
STEP, REACH = 2e-3, 4.0
NO_WALL = Room(0, np.zeros((2, 3)), np.zeros(2), 0.0, 0.0,
               np.float32([0, 1, 900.0]), np.zeros((2, 3)), 0)


def inside(solid, points):
  """Whether points [..., 3] lie in the solid, from the definitions of the primitives."""
  found = np.zeros(points.shape[:-1], bool)
  for i in range(solid.counts[0]):
    row = jax.tree.map(lambda array, i=i: array[i].astype(float), solid.quadrics)
    p = points - row.centre
    if row.lying:
      p = p[..., [1, 0, 2]]
    y = p[..., 1]
    radius = (p[..., 0] / row.scale[0])**2 + (p[..., 2] / row.scale[1])**2
    a, b, c = row.curve
    found |= ((radius <= a + b * y + c * y**2)
              & (y >= row.span[0]) & (y <= row.span[1]))
  for i in range(solid.counts[1]):
    faces = solid.polytopes.faces[i].astype(float)
    found |= (points @ faces[:, :3].T <= faces[:, 3]).all(-1)
  if solid.counts[2]:
    p = points - solid.ring.centre
    inner, outer, half = solid.ring.size.astype(float)
    radius = np.hypot(p[..., 0], p[..., 1])
    found |= (radius >= inner) & (radius <= outer) & (np.abs(p[..., 2]) <= half)
  return found


def rays(form, seed):
  """An eye beside a form, and unit vectors [RAYS, 3] towards points in and around it."""
  rng = np.random.default_rng(seed)
  angle = rng.uniform(0, 2 * np.pi)
  eye = np.array([1.8 * np.sin(angle), rng.uniform(0.1, 1.6), 1.8 * np.cos(angle)])
  size = np.array([1.2 * form.radius, 0.6 * form.height, 1.2 * form.radius])
  goal = rng.uniform(-1, 1, (RAYS, 3)) * size + [0, 0.5 * form.height, 0]
  way = goal - eye
  return eye, way / np.linalg.norm(way, axis=1, keepdims=True)


def forms():
  for name in ("mug", "pump", "shampoo", "carton", "canister"):
    yield name, families.FAMILIES[name](catalogue.generator(1, len(name)))
  yield "pile", pile(catalogue.generator(8))


@pytest.mark.parametrize("name,form", list(forms()))
def test_first_hit_is_where_marching_arrives(name, form):
  eye, way = rays(form, 0)
  seen = render.meet(form.solid, NO_WALL, np.float32(eye),
                     Vector(*np.float32(way).T))
  steps = np.arange(STEP, REACH, STEP)
  lies = inside(form.solid, eye + steps[:, None, None] * way)
  marched = np.where(lies.any(0), steps[lies.argmax(0)], geometry.FAR)
  found = np.asarray(seen.hit.distance)
  # Marching steps over what is thinner than a step.
  same = np.abs(found - marched) <= STEP * 1.01
  missed = (found < marched) & ~inside(
      form.solid, eye + (found + STEP)[:, None] * way)
  assert (same | missed | ((marched > REACH) & (found > REACH))).all(), name
  assert missed.mean() < 0.03

  hit = np.flatnonzero(same & (marched < REACH))
  assert len(hit) > 0.15 * RAYS
  normal = np.stack(seen.hit.normal, 1)[hit]
  point = eye + found[hit, None] * way[hit]
  np.testing.assert_allclose(np.linalg.norm(normal, axis=1), 1, atol=1e-4)
  outward = ~inside(form.solid, point + 2e-3 * normal)
  inward = inside(form.solid, point - 2e-3 * normal)
  assert outward.mean() > 0.97 and inward.mean() > 0.97  # but for edges
  assert ((normal * way[hit]).sum(1) < 1e-3).mean() > 0.99  # seen from outside


def test_shadow_rays_end_at_the_lamp():
  b = build.Builder()
  b.cone(0.0, 1.0, 0.2, 0.2)
  solid = b.form(1.0, 0.2, 0.2, (0, 1)).solid
  ways = Vector(*np.float32([[2, 0, 0], [0.7, 0, 0], [0, 2, 0], [-2, 0, 0]]).T)
  found = jax.jit(geometry.blocked)(solid, Vector(-1.0, 0.5, 0.0), ways)
  assert found.tolist() == [True, False, False, False]


def test_there_is_room_for_all_parts_and_no_more():
  b = build.Builder()
  for i in range(geometry.QUADRICS):
    b.cone(i, i + 1, 1, 1)
  assert b.form(1, 1, 1, (0, 1)).solid.counts.tolist() == [geometry.QUADRICS, 0, 0]
  b.cone(9, 10, 1, 1)
  with pytest.raises(ValueError, match="room for 8"):
    b.form(1, 1, 1, (0, 1))
