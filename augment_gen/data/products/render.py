"""From a scene to a picture, for all rays at once.

The programs are few, and compiled once for each size of picture. They are not one program:
XLA on CPU would compute what one stage hands to the next again for each of its uses, which
is 20 times slower here, optimization barriers or not.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from augment_gen.data.products import camera as camera_lib
from augment_gen.data.products import geometry, light, occlusion, skin
from augment_gen.data.products.vector import Vector, vector, where

_SUB = 2  # rays along each side of a pixel
_SKY = 50.0  # how far rays go that meet neither table nor wall
_BRIGHTEST = 4.0  # a reflection would otherwise outshine the other rays of its pixel


class Scene(NamedTuple):
  """All that is in one picture."""
  solid: geometry.Solid
  occluders: occlusion.Occluders
  skin: skin.Skin
  room: skin.Room
  lights: light.Lights
  camera: camera_lib.Camera


class Seen(NamedTuple):
  """What the rays meet; on_solid, on_table and on_wall are bool [P], one of them true."""
  way: Vector
  hit: geometry.Hit
  point: Vector
  normal: Vector
  on_solid: jax.Array
  on_table: jax.Array
  on_wall: jax.Array


def picture(scene: Scene, noise: np.ndarray) -> jax.Array:
  """Takes one picture of a scene.

  Args:
    scene: what there is.
    noise: float32 [S, S, 3], standard normal numbers for the sensor's noise; S is the
      side of the picture in pixels.

  Returns:
    uint8 [S, S, 3].
  """
  return _develop(scene.camera, trace(scene, noise.shape[0]), noise)


def trace(scene: Scene, size: int) -> jax.Array:
  """The light that falls on each pixel of the sensor, linear, float32 [size, size, 3]."""
  seen = meet(scene.solid, scene.room, scene.camera.eye,
              _rays(scene.camera, side=size * _SUB))
  surface = _surface(scene.skin, scene.room, seen)
  return _light(scene.lights, scene.solid, scene.occluders, surface, seen)


@functools.partial(jax.jit, static_argnames="side")
def _rays(camera: camera_lib.Camera, side: int) -> Vector:
  return camera_lib.rays(camera, side)


@jax.jit
def meet(solid: geometry.Solid, room: skin.Room, place: jax.Array, way: Vector) -> Seen:
  """What rays from `place` ([3]) along the unit vectors `way` meet first."""
  eye = vector(place)
  hit = geometry.first_hit(solid, eye, way)
  table = jnp.where(way.y < -1e-6, -eye.y / way.y, geometry.FAR)
  toward = Vector(room.wall[0], 0.0, room.wall[1])
  speed = toward.dot(way)
  wall = jnp.where(speed < -1e-6, -(toward.dot(eye) + room.wall[2])
                   / jnp.minimum(speed, -1e-6), geometry.FAR)
  t = jnp.minimum(jnp.minimum(hit.distance, table), jnp.minimum(wall, _SKY))
  on_solid = hit.distance <= t
  on_table = (table <= t) & ~on_solid
  on_wall = ~on_table & ~on_solid
  normal = where(on_table, Vector(0.0, 1.0, 0.0), where(on_wall, toward, hit.normal))
  return Seen(way, hit, eye + way * t, normal, on_solid, on_table, on_wall)


@jax.jit
def _surface(skin_: skin.Skin, room: skin.Room, seen: Seen) -> skin.Surface:
  return skin.surface(skin_, room, seen.hit, seen.point, seen.on_table, seen.on_wall)


@jax.jit
def _light(lights: light.Lights, solid: geometry.Solid, occluders: occlusion.Occluders,
           surface: skin.Surface, seen: Seen) -> jax.Array:
  """The light of all rays, averaged over those of a pixel; float32 [S, S, 3]."""
  side = round(seen.way.x.size**0.5)
  # The four rays of a pixel see the light of four places on the bulb.
  half = jnp.where(jnp.arange(side) % 2 == 0, -0.5, 0.5)
  bulb = jnp.tile(half, side), jnp.repeat(half, side)
  colour = light.shade(lights, solid, occluders, surface, seen.point, seen.normal,
                       seen.way, seen.on_solid, bulb)
  image = jnp.minimum(jnp.stack(colour, -1), _BRIGHTEST)
  size = side // _SUB
  return image.reshape(size, _SUB, size, _SUB, 3).mean((1, 3))


@jax.jit
def _develop(camera: camera_lib.Camera, radiance: jax.Array,
             noise: np.ndarray) -> jax.Array:
  image = camera_lib.develop(camera, radiance, noise)
  return jnp.round(image * 255.0).astype(jnp.uint8)
