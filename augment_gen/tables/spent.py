"""What the training behind a row has cost: images seen, operations and time.

A row with G_A has paid for stage 2, too. These columns show whether a baseline got as much.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from augment_gen.run.progress import duration

TITLES = ("images seen", "FLOP", "time")
_FIELDS = ("images_seen", "flops", "seconds")
_UNITS = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))

NOTE = ("Cost of all stages that a row needed, mean over seeds. An image counts each time "
        "that a step takes it from its set. FLOP: of the steps as they are written, before "
        "the compiler changes them. Time: wall time, compiling included; that of other "
        "machines, or of a busy one, is not comparable.")


def cells(rows: Sequence[dict[str, Any]]) -> list[str]:
  """The cells below TITLES, from the rows of all seeds; "-" where one does not say."""
  images, flops, seconds = (_mean(rows, field) for field in _FIELDS)
  return [_short(images), _short(flops), "-" if seconds is None else duration(seconds)]


def numbers(rows: Sequence[dict[str, Any]]) -> dict[str, float | None]:
  """The same as numbers, by name."""
  return {field: _mean(rows, field) for field in _FIELDS}


def _mean(rows: Sequence[dict[str, Any]], field: str) -> float | None:
  if not rows or not all(field in row for row in rows):
    return None
  return float(np.mean([row[field]["total"] for row in rows]))


def _short(value: float | None) -> str:
  """1234567 -> "1.23 M"."""
  if value is None:
    return "-"
  for size, unit in _UNITS:
    if value >= size:
      return f"{value / size:.3g} {unit}"
  return f"{value:.0f}"
