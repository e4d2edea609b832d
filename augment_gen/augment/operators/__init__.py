"""Imaging operators: what light, lens and sensor do to an image.

`CHAIN` lists them as light travels: what lies on the scene, the light on it, the lens,
the sensor, the file. models/operator_chain.py learns their amounts.
"""

import dataclasses

from augment_gen.augment.operators import blur, geometry, lighting, marks, sensor, tone
from augment_gen.augment.operators.base import Amount, apply_all, KNOTS, Operator

CHAIN = (
    marks.OCCLUDERS, marks.SCRATCHES, marks.SPECKS, marks.SPOTS,
    lighting.SHADING, lighting.GLARE,
    geometry.GEOMETRY, blur.BLUR,
    tone.TONE, tone.COLOUR,
    sensor.NOISE, blur.SHARPENING, sensor.RASTER, sensor.COMPRESSION,
)
NAMES = tuple(operator.name for operator in CHAIN)

__all__ = ["CHAIN", "KNOTS", "NAMES", "Amount", "Operator", "apply_all", "chosen"]


def chosen(names: tuple[str, ...], channels: int) -> tuple[Operator, ...]:
  """The operators of these names, with the amounts that such images have, in order."""
  colour = channels == 3
  return tuple(
      dataclasses.replace(operator, amounts=tuple(
          amount for amount in operator.amounts if colour or not amount.colour_only))
      for operator in CHAIN
      if operator.name in names and (colour or not operator.colour_only))
