"""Puts solids together from named parts, in NumPy."""

from typing import Any, NamedTuple

import numpy as np

from augment_gen.data.products import geometry, occlusion

BODY, CAP, THIRD = 0, 1, 2  # materials


class Form(NamedTuple):
  """The shape of a product.

  Attributes:
    solid: what rays meet.
    occluders: what stands for it in soft shadows.
    height: of all of it.
    radius: of the smallest circle around it, seen from above.
    girth: radius of the body, for labels that are wrapped around it.
    band: lower and upper edge of the part of the body that has room for a label.
    flat: whether the label belongs on the top.
    front: half the width of a label on the front.
  """
  solid: geometry.Solid
  occluders: occlusion.Occluders
  height: float
  radius: float
  girth: float
  band: tuple[float, float]
  flat: bool
  front: float


class Builder:
  """Collects parts; `form` then returns the whole.

  Args:
    x: where the axis of what is built stands.
    z: likewise.
    scale: stretch of round parts along x and z.
  """

  def __init__(self, x: float = 0.0, z: float = 0.0,
               scale: tuple[float, float] = (1.0, 1.0)):
    self.x, self.z, self.scale = x, z, scale
    self._quadrics: list[tuple] = []
    self._polytopes: list[tuple[np.ndarray, int]] = []
    self._ring = ((0.0, 0.0, 0.0), (0.0, 0.0, -1.0), 0)
    self._occluders: list[tuple] = []

  def cone(self, low: float, high: float, r_low: float, r_high: float,
           slot: int = BODY) -> None:
    """A cylinder, or a part of a cone."""
    slope = (r_high - r_low) / (high - low)
    start = r_low - slope * low
    self.quadric((start**2, 2 * start * slope, slope**2), low, high, slot)
    self.prism(low, high, r_low, r_high)

  def shoulder(self, low: float, high: float, r_low: float, r_high: float,
               slot: int = BODY) -> None:
    """A part of an ellipsoid that rises from `low` with an upright wall."""
    c = (r_high**2 - r_low**2) / (high - low)**2
    self.quadric((r_low**2 + c * low**2, -2 * c * low, c), low, high, slot)
    self.prism(low, high, 0.97 * r_low, r_high + 0.25 * (r_low - r_high))

  def bulge(self, low: float, high: float, r_end: float, r_middle: float,
            slot: int = BODY) -> None:
    """A barrel, or with r_middle < r_end a waist; with r_end = 0 an ellipsoid."""
    middle, half = (low + high) / 2, (high - low) / 2
    c = (r_end**2 - r_middle**2) / half**2
    self.quadric((r_middle**2 + c * middle**2, -2 * c * middle, c), low, high, slot)
    bend = (r_end + 2 * r_middle) / 3
    self.prism(low + 0.1 * half, middle, (r_end + bend) / 2, r_middle * 0.97)
    self.prism(middle, high - 0.1 * half, r_middle * 0.97, (r_end + bend) / 2)

  def quadric(self, curve: tuple[float, float, float], low: float, high: float,
              slot: int, centre: tuple[float, float, float] | None = None,
              lying: bool = False) -> None:
    """One quadric of revolution; see geometry.Quadrics."""
    scale = (1.0, 1.0) if lying else self.scale
    self._quadrics.append((centre or (self.x, 0.0, self.z), scale, curve, (low, high),
                           float(lying), slot))

  def rod(self, left: float, right: float, radius: float, y: float, slot: int = CAP,
          z: float = 0.0) -> None:
    """A lying cylinder along x, at height y."""
    self.quadric((radius**2, 0.0, 0.0), left, right, slot,
                 (self.x, y, self.z + z), lying=True)

  def prism(self, low: float, high: float, r_low: float, r_high: float) -> None:
    """An elliptic occluder; those beyond the room for them are left out."""
    scale = np.array(self.scale)
    self.occluder(low, high, tuple(r_low * scale),
                  tuple((r_high - r_low) / (high - low) * scale), 1.0)

  def occluder(self, low: float, high: float, half: tuple[float, float],
               taper: tuple[float, float] = (0.0, 0.0), roundness: float = 0.0) -> None:
    self._occluders.append(((self.x, self.z), half, taper, (low, high), roundness))

  def box(self, low: float, high: float, half: tuple[float, float],
          lean: tuple[float, float] = (0.0, 0.0), bevel: float = 0.0, slot: int = BODY,
          turn: float = 0.0, roof: float = 0.0) -> None:
    """A box.

    Args:
      low: height of its foot.
      high: height of its top.
      half: half its width and depth at the foot.
      lean: how much the sides lean inwards for each unit of height.
      bevel: width of what is cut off its upright edges.
      slot: its material.
      turn: angle about its axis, in radians.
      roof: height of a gable below the top; 0: a flat top.
    """
    faces = [(0.0, -1.0, 0.0, -low)]
    if roof:
      slope = half[1] / roof
      faces += [(0.0, slope, side, slope * high) for side in (-1.0, 1.0)]
      # The offset of n · p ≤ d: at the ridge (y = high, z = 0) both roofs meet.
    else:
      faces.append((0.0, 1.0, 0.0, high))
    for axis in range(2):
      for side in (-1.0, 1.0):
        normal = np.zeros(3)
        normal[2 * axis], normal[1] = side, lean[axis]
        faces.append((*normal, half[axis] + lean[axis] * low))
    if bevel and not roof:
      reach = half[0] + half[1] - bevel
      mean = (lean[0] + lean[1])
      faces += [(sx, mean, sz, reach + mean * low) for sx in (-1, 1) for sz in (-1, 1)]
    self.polytope(np.array(faces), slot, turn)
    self.occluder(low, high - 0.5 * roof, half, (-lean[0], -lean[1]),
                  min(0.8, bevel / min(half)))

  def polytope(self, faces: np.ndarray, slot: int, turn: float = 0.0) -> None:
    """A convex body around the axis.

    Args:
      faces: [F ≤ FACES, 4], outward normals of any length and offsets.
      slot: its material.
      turn: angle about the axis, in radians.
    """
    normal, offset = faces[:, :3].astype(float), faces[:, 3].astype(float)
    cos, sin = np.cos(turn), np.sin(turn)
    normal = np.stack([cos * normal[:, 0] + sin * normal[:, 2], normal[:, 1],
                       cos * normal[:, 2] - sin * normal[:, 0]], 1)
    length = np.linalg.norm(normal, axis=1)
    normal, offset = normal / length[:, None], offset / length
    offset = offset + normal @ np.array([self.x, 0.0, self.z])
    rows = np.concatenate([normal, offset[:, None]], 1)
    # Faces that cut nothing off fill the rest.
    rest = np.tile([0.0, 1.0, 0.0, 1e3], (geometry.FACES - len(rows), 1))
    self._polytopes.append((np.concatenate([rows, rest]), slot))

  def ring(self, centre: tuple[float, float, float], inner: float, outer: float,
           half: float, slot: int = BODY) -> None:
    """The upright ring; there is one for each form."""
    self._ring = centre, (inner, outer, half), slot

  def form(self, height: float, radius: float, girth: float, band: tuple[float, float],
           flat: bool = False, front: float | None = None) -> Form:
    """The whole; see Form for the arguments."""
    return Form(
        geometry.Solid(self._all_quadrics(), self._all_polytopes(),
                       geometry.Ring(floats(self._ring[0]), floats(self._ring[1]),
                                     np.int32(self._ring[2])),
                       np.array([len(self._quadrics), len(self._polytopes),
                                 self._ring[1][2] > 0], np.int32)),
        self._all_occluders(), height, radius, girth, band, flat,
        girth if front is None else front)

  def _all_quadrics(self) -> geometry.Quadrics:
    none = ((0.0, 0.0, 0.0), (1.0, 1.0), (0.0, 0.0, 0.0), (0.0, 0.0), 0.0, 0)
    rows = _padded(self._quadrics, none, geometry.QUADRICS)
    centre, scale, curve, span, lying, slot = zip(*rows)
    return geometry.Quadrics(
        floats(centre), floats(scale), floats(curve), floats(span), floats(lying),
        np.array(slot, np.int32))

  def _all_polytopes(self) -> geometry.Polytopes:
    nothing = np.zeros((geometry.FACES, 4))
    faces, slots = zip(*_padded(self._polytopes, (nothing, 0), geometry.POLYTOPES))
    return geometry.Polytopes(floats(faces), np.array(slots, np.int32))

  def _all_occluders(self) -> occlusion.Occluders:
    none = ((0.0, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0), 0.0)
    # The largest count most.
    area = lambda row: (row[3][1] - row[3][0]) * sum(row[1])
    rows = sorted(self._occluders, key=area, reverse=True)[:occlusion.OCCLUDERS]
    centre, half, taper, span, roundness = map(
        floats, zip(*_padded(rows, none, occlusion.OCCLUDERS)))
    return occlusion.Occluders(
        centre, half, taper, span, roundness, np.int32(len(rows)))


def floats(values: Any) -> np.ndarray:
  """Values as a float32 array."""
  return np.array(values, np.float32)


def _padded(rows: list, none, count: int) -> list:
  """`rows` filled up to `count` with `none`.

  Raises:
    ValueError: there are more than `count`.
  """
  if len(rows) > count:
    raise ValueError(f"{len(rows)} parts of one kind; there is room for {count}")
  return rows + [none] * (count - len(rows))
