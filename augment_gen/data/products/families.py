"""Shapes of products, by family: each function draws one shape of its family."""

from collections.abc import Callable, Mapping

import numpy as np

from augment_gen.data.products.build import BODY, Builder, CAP, Form, THIRD

Rng = np.random.Generator


def bottle(rng: Rng) -> Form:
  radius, height = rng.uniform(0.15, 0.24), rng.uniform(0.8, 1.15)
  neck, body = radius * rng.uniform(0.3, 0.5), height * rng.uniform(0.5, 0.66)
  rise = body + height * rng.uniform(0.12, 0.2)
  cap = height * rng.uniform(0.86, 0.92)
  b = Builder()
  if rng.random() < 0.35:
    b.bulge(0.0, body, radius, radius * rng.uniform(0.78, 0.92))
  else:
    b.cone(0.0, body, radius, radius)
  b.shoulder(body, rise, radius, neck)
  b.cone(rise, cap, neck, neck * rng.uniform(0.8, 1.0))
  b.cone(cap, height, neck * 1.15, neck * 1.15, CAP)
  return b.form(height, radius, radius, (0.06, body - 0.03))


def can(rng: Rng) -> Form:
  radius, height = rng.uniform(0.17, 0.26), rng.uniform(0.4, 0.75)
  rim = radius * 0.84
  b = Builder()
  b.cone(0.0, 0.03, rim, radius, THIRD)
  b.cone(0.03, height - 0.05, radius, radius)
  b.cone(height - 0.05, height - 0.01, radius, rim, THIRD)
  b.cone(height - 0.01, height, rim, rim, THIRD)
  return b.form(height, radius, radius, (0.04, height - 0.06))


def jar(rng: Rng) -> Form:
  radius, height = rng.uniform(0.2, 0.3), rng.uniform(0.35, 0.6)
  lid = height * rng.uniform(0.74, 0.84)
  b = Builder()
  if rng.random() < 0.5:
    b.bulge(0.0, lid - 0.02, radius * 0.85, radius)
  else:
    b.cone(0.0, lid - 0.05, radius, radius)
    b.shoulder(lid - 0.05, lid - 0.02, radius, radius * 0.85)
  b.cone(lid - 0.02, height, radius * 0.9, radius * 0.9, CAP)
  return b.form(height, radius, radius, (0.05, lid - 0.07))


def shampoo(rng: Rng) -> Form:
  """An oval bottle with a wide cap."""
  radius, height = rng.uniform(0.22, 0.3), rng.uniform(0.75, 1.05)
  b = Builder(scale=(1.0, rng.uniform(0.5, 0.68)))
  body, cap = height * rng.uniform(0.66, 0.74), height * rng.uniform(0.78, 0.82)
  b.cone(0.0, body, radius * rng.uniform(0.85, 1.0), radius)
  b.shoulder(body, cap, radius, radius * 0.5)
  b.cone(cap, height, radius * 0.5, radius * rng.uniform(0.4, 0.5), CAP)
  return b.form(height, radius, radius * 0.8, (0.06, body - 0.02), front=0.7 * radius)


def pump(rng: Rng) -> Form:
  """A bottle with a dispenser."""
  radius, body = rng.uniform(0.18, 0.26), rng.uniform(0.5, 0.7)
  b = Builder(scale=(1.0, rng.uniform(0.7, 1.0)))
  b.cone(0.0, body, radius, radius)
  b.shoulder(body, body + 0.1, radius, 0.09)
  b.cone(body + 0.1, body + 0.17, 0.085, 0.085, CAP)
  b.cone(body + 0.17, body + 0.26, 0.035, 0.035, CAP)
  b.cone(body + 0.26, body + 0.32, 0.07, 0.06, CAP)
  b.rod(-0.05, rng.uniform(0.17, 0.24), 0.028, body + 0.29)
  return b.form(body + 0.32, radius, radius, (0.06, body - 0.03))


def spray(rng: Rng) -> Form:
  """A spray can with a domed cap."""
  radius, height = rng.uniform(0.13, 0.18), rng.uniform(0.85, 1.15)
  cap = height * rng.uniform(0.72, 0.8)
  b = Builder()
  b.cone(0.0, cap - 0.03, radius, radius)
  b.cone(cap - 0.03, cap, radius, radius * 0.88, THIRD)
  top = height - radius * 0.6
  b.cone(cap, top, radius * 0.9, radius * 0.9, CAP)
  b.shoulder(top, height, radius * 0.9, radius * rng.uniform(0.1, 0.6), CAP)
  return b.form(height, radius, radius, (0.05, cap - 0.06))


def tube(rng: Rng) -> Form:
  """A tube of cream that stands on its cap."""
  radius, height = rng.uniform(0.17, 0.23), rng.uniform(0.65, 0.95)
  b = Builder()
  b.cone(0.0, 0.12, radius * 0.8, radius * 0.8, CAP)
  width = radius * rng.uniform(1.0, 1.2)
  lean = radius * 0.92 / (height - 0.12)
  edge = width + 0.55 * radius + lean * 0.12
  b.polytope(np.array([
      (0, -1, 0, -0.12), (0, 1, 0, height), (1, 0, 0, width), (-1, 0, 0, width),
      *((0, lean, side, radius + lean * 0.12) for side in (-1, 1)),
      *((x, lean, z, edge) for x in (-1, 1) for z in (-1, 1))]), BODY)
  b.occluder(0.12, height, (width, radius), (0.0, -lean), 0.5)
  return b.form(height, width, radius, (0.18, height - 0.06), front=width)


def carton(rng: Rng) -> Form:
  """A box with a flat top or a gable."""
  half = rng.uniform(0.16, 0.3), rng.uniform(0.1, 0.25)
  height = rng.uniform(0.45, 1.0)
  roof = rng.uniform(0.12, 0.22) if rng.random() < 0.4 else 0.0
  b = Builder()
  b.box(0.0, height, half, roof=roof)
  if roof:
    b.box(height - 0.06, height + 0.06, (half[0], 0.012), slot=CAP)
  return b.form(height + (0.06 if roof else 0.0), float(np.hypot(*half)), half[0],
                (0.03, height - roof - 0.03), front=half[0] - 0.02)


def flat_box(rng: Rng) -> Form:
  """A low box with its label on the top."""
  half, height = (rng.uniform(0.28, 0.42), rng.uniform(0.22, 0.32)), rng.uniform(0.1, 0.24)
  b = Builder()
  lid = height * rng.uniform(0.5, 0.7)
  b.box(0.0, lid, half, slot=CAP)
  b.box(lid, height, (half[0] + 0.012, half[1] + 0.012))
  return b.form(height, float(np.hypot(*half)), half[0], (-half[1] + 0.04, half[1] - 0.04),
                flat=True, front=half[0] - 0.04)


def tin(rng: Rng) -> Form:
  """A low round tin with its label on the lid."""
  radius, height = rng.uniform(0.28, 0.4), rng.uniform(0.12, 0.24)
  b = Builder(scale=(1.0, rng.choice([1.0, 0.72])))
  lid = height * rng.uniform(0.45, 0.65)
  b.cone(0.0, lid, radius, radius, CAP)
  b.cone(lid, height - 0.02, radius * 1.03, radius * 1.03)
  b.shoulder(height - 0.02, height, radius * 1.03, radius * 0.98)
  reach = radius * 0.62
  return b.form(height, radius, radius, (-reach, reach), flat=True, front=reach)


def prism_jar(rng: Rng) -> Form:
  """A pot with six or eight sides and a round lid."""
  sides, radius = int(rng.choice([6, 8])), rng.uniform(0.2, 0.28)
  height = rng.uniform(0.4, 0.65)
  lid = height * 0.8
  b = Builder()
  angle = np.arange(sides) * 2 * np.pi / sides
  faces = [(np.sin(a), 0.0, np.cos(a), radius) for a in angle]
  b.polytope(np.array([*faces, (0, 1, 0, lid - 0.02), (0, -1, 0, 0)]), BODY)
  b.prism(0.0, lid - 0.02, radius * 1.03, radius * 1.03)
  b.cone(lid - 0.02, height, radius * 0.82, radius * 0.82, CAP)
  return b.form(height, radius, radius, (0.05, lid - 0.06),
                front=radius * np.tan(np.pi / sides) * 0.95)


def mug(rng: Rng) -> Form:
  radius, height = rng.uniform(0.2, 0.27), rng.uniform(0.42, 0.6)
  b = Builder()
  b.cone(0.0, height, radius * rng.uniform(0.8, 1.0), radius)
  b.cone(height, height + 0.002, radius * 0.9, radius * 0.9, THIRD)
  outer = height * rng.uniform(0.28, 0.36)
  b.ring((radius * 0.98, height * 0.52, 0.0), outer - 0.055, outer, 0.04)
  return b.form(height, radius * 1.3, radius, (0.05, height - 0.05))


def cup(rng: Rng) -> Form:
  """A paper cup with a lid."""
  radius, height = rng.uniform(0.2, 0.26), rng.uniform(0.6, 0.85)
  b = Builder()
  b.cone(0.0, height, radius * rng.uniform(0.62, 0.75), radius)
  b.cone(height, height + 0.035, radius * 1.06, radius * 1.06, CAP)
  b.cone(height + 0.035, height + 0.08, radius * 0.95, radius * 0.86, CAP)
  return b.form(height + 0.08, radius, radius * 0.85, (0.1, height - 0.08))


def bowl(rng: Rng) -> Form:
  radius, height = rng.uniform(0.28, 0.38), rng.uniform(0.2, 0.3)
  b = Builder()
  b.cone(0.0, 0.03, radius * 0.5, radius * 0.5)
  c = (radius**2 - (0.5 * radius)**2) / (height - 0.03)
  b.quadric((0.25 * radius**2 - c * 0.03, c, 0.0), 0.03, height, BODY)
  b.prism(0.03, height, radius * 0.6, radius)
  b.cone(height, height + 0.002, radius * 0.92, radius * 0.92, THIRD)
  return b.form(height, radius, radius, (0.07, height - 0.02))


def ball(rng: Rng) -> Form:
  """A round flask or bauble with a small cap."""
  radius = rng.uniform(0.24, 0.34)
  height = 2 * radius * rng.uniform(0.8, 1.1)
  b = Builder()
  b.cone(0.0, 0.04, radius * 0.45, radius * 0.4, CAP)
  b.bulge(0.01, height, 0.0, radius)
  b.cone(height - 0.02, height + 0.07, radius * 0.22, radius * 0.22, CAP)
  return b.form(height + 0.07, radius, radius, (0.25 * height, 0.75 * height))


def spool(rng: Rng) -> Form:
  """A roll of tape that stands upright."""
  outer = rng.uniform(0.26, 0.36)
  inner = outer * rng.uniform(0.45, 0.72)
  b = Builder()
  half = rng.uniform(0.07, 0.14)
  b.ring((0.0, outer, 0.0), inner, outer, half)
  b.occluder(0.0, 0.3 * outer, (0.5 * outer, half), (1.1, 0.0))
  b.occluder(0.3 * outer, 2 * outer, (0.9 * outer, half * 0.7))
  return b.form(2 * outer, outer, outer, (0.02, 2 * outer - 0.02), front=outer)


def pouch(rng: Rng) -> Form:
  """A bag that stands on its wide foot."""
  half, height = (rng.uniform(0.2, 0.3), rng.uniform(0.1, 0.15)), rng.uniform(0.6, 0.9)
  b = Builder()
  b.box(0.0, height, half, lean=(rng.uniform(0.0, 0.06), (half[1] - 0.012) / height))
  spout = 0.1 if rng.random() < 0.5 else 0.0
  if spout:
    b.cone(height - 0.03, height + spout, 0.07, 0.06, CAP)
  return b.form(height + spout, float(np.hypot(*half)), half[0], (0.04, height - 0.06),
                front=half[0] - 0.04)


def canister(rng: Rng) -> Form:
  """A box-like bottle with a handle, as for oil or detergent."""
  half, height = (rng.uniform(0.2, 0.27), rng.uniform(0.13, 0.18)), rng.uniform(0.6, 0.85)
  b = Builder()
  b.box(0.0, height, half, bevel=0.07)
  b.ring((-half[0] * 0.25, height, 0.0), 0.1, 0.155, 0.045)
  b.x = half[0] * 0.6
  b.cone(height, height + 0.04, 0.06, 0.06)
  b.cone(height + 0.04, height + 0.14, 0.075, 0.07, CAP)
  return b.form(height + 0.14, float(np.hypot(*half)), half[0], (0.05, height - 0.06),
                front=half[0] - 0.06)


def toy(rng: Rng) -> Form:
  """A figure of balls, or a house."""
  b = Builder()
  if rng.random() < 0.5:
    big = rng.uniform(0.2, 0.27)
    b.bulge(0.0, 2 * big, big * 0.3, big)
    head = big * rng.uniform(0.6, 0.75)
    b.bulge(2 * big - 0.06, 2 * big - 0.06 + 2 * head, head * 0.2, head, THIRD)
    top = 2 * big - 0.06 + 1.8 * head
    b.cone(top - 0.06, top - 0.02, head * 0.95, head * 0.95, CAP)
    b.cone(top - 0.02, top + head, head * 0.6, head * 0.5, CAP)
    return b.form(top + head, big, big, (0.1, 1.5 * big))
  half, height = (rng.uniform(0.2, 0.3), rng.uniform(0.18, 0.24)), rng.uniform(0.3, 0.45)
  b.box(0.0, height, half)
  b.box(height, height + 0.25, (half[0] + 0.03, half[1] + 0.04), roof=0.25, slot=CAP)
  b.x = half[0] * 0.5
  b.cone(height + 0.05, height + 0.28, 0.04, 0.04, THIRD)
  return b.form(height + 0.28, float(np.hypot(*half)), half[0], (0.03, height - 0.03),
                front=half[0] - 0.03)


FAMILIES: Mapping[str, Callable[[Rng], Form]] = {
    f.__name__: f for f in (
        bottle, carton, can, shampoo, mug, jar, pump, flat_box, spray, cup, prism_jar, tube,
        tin, canister, ball, pouch, bowl, toy, spool)}
