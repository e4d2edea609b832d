"""Whether the generators behind a table are healthy.

A gain of a generator with a number out of bounds is not that of a learned augmentation,
whatever the accuracy (evaluate/health.py).
"""

from collections.abc import Sequence
from typing import Any


def complaints(results: Sequence[dict[str, Any]]) -> list[str]:
  """One line for each number out of bounds, with the run that it is of."""
  # Loads JAX, which a table without generators does without.
  from augment_gen.evaluate import health  # pylint: disable=g-import-not-at-top
  return [f"{_run(result)}: {words}" for result in results
          for words in health.warnings(result.get("health") or {})]


def note(results: Sequence[dict[str, Any]]) -> list[str]:
  """A line for the table that says which generators are not healthy; none if all are."""
  if not any(result.get("health") for result in results):
    return []
  sick = list(dict.fromkeys(
      _run(result) for result in results if complaints([result])))
  if not sick:
    return []
  return [f"Not healthy (--check-health says why): the generator of {'; '.join(sick)}."]


def _run(result: dict[str, Any]) -> str:
  seeds = {row["seed"] for row in result["rows"]}
  # The pre-trainer, as runs with several may be one experiment.
  base = next((f"{row['method'].partition(' + ')[0]}, " for row in result["rows"]
               if " + " in row["method"]), "")
  return f"{result['experiment']}, {base}seed {', '.join(map(str, sorted(seeds)))}"
