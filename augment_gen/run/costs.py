"""What the stages of a run have cost: costs.json, beside the run's results.

    {STAGE: {"steps": int, "of": int, "images": int, "flops": float | null,
             "seconds": float}}

"steps" are those of the last checkpoint, "of" those of the whole stage.

Wall time depends on the machine and on stops, so it stands here and not in results.json,
which has the same bytes in a run that was stopped and in one that was not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
import json
import os
import pathlib
from typing import Any, TYPE_CHECKING

from augment_gen.run.folder import write_json

if TYPE_CHECKING:
  from augment_gen.run.contracts import Stage

_FILE = "costs.json"


def read(folder: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
  """The costs by stage; empty if they are not known."""
  try:
    found = json.loads((pathlib.Path(folder) / _FILE).read_text(encoding="utf-8"))
  except (OSError, ValueError):
    return {}
  return found if isinstance(found, dict) else {}


def steps_done(folder: str | os.PathLike[str], stage: str) -> tuple[int, int] | None:
  """Steps of a stage that are done, and of all; None if they are not known."""
  found = read(folder).get(stage, {})
  return (found["steps"], found["of"]) if "of" in found else None


class Meter:
  """Notes what a stage costs, over all starts of the run.

  Args:
    folder: the run's folder.
    stage: the stage.
    resumed: whether it goes on from a checkpoint. If it does not, what is noted is of
      training that is lost.
  """

  def __init__(self, folder: pathlib.Path, stage: Stage, resumed: bool):
    self._folder, self._stage = folder, stage
    before = read(folder).get(stage.name, {}) if resumed else {}
    self._before = before.get("seconds", 0.0)

  def note(self, step: int, seconds: float, flops: float | None) -> None:
    """Writes the costs up to a step that was saved.

    Args:
      step: number of steps done, those of earlier starts included.
      seconds: wall time of this start's part of the stage, compiling included.
      flops: floating-point operations of a step on all devices; None: not known.
    """
    images = step * self._stage.feed.batch_size * len(self._stage.feed.steps_per_epoch)
    write_json(self._folder / _FILE, read(self._folder) | {self._stage.name: {
        "steps": step, "of": self._stage.total_steps, "images": images,
        "flops": None if flops is None else step * flops,
        "seconds": round(self._before + seconds, 1)}})


def take_over(source: str | os.PathLike[str], stage: str, folder: pathlib.Path) -> None:
  """Copies the costs of a stage that is taken over from another run, if it knows them."""
  if stage in (found := read(source)):
    write_json(folder / _FILE, read(folder) | {stage: found[stage]})


def of_stages(folder: pathlib.Path, stages: Iterable[str]) -> dict[str, Any]:
  """What a row of results.json says of the training that its encoder had.

  Args:
    folder: the run's folder.
    stages: the stages that had to be trained for it.

  Returns:
    "images_seen" and "flops", each stage, or "total" -> number. What is not known of one
    of the stages is left out. An image counts each time that a step takes it from its
    set, in however many views.
  """
  known = read(folder)
  out = {}
  for field, name in (("images", "images_seen"), ("flops", "flops")):
    parts = {stage: known.get(stage, {}).get(field) for stage in stages}
    if None not in parts.values():
      out[name] = _with_total(parts)
  return out


def add_seconds(rows: Sequence[dict[str, Any]], folder: pathlib.Path) -> None:
  """Adds "seconds" to rows of results.json whose stages are all in costs.json."""
  known = read(folder)
  for row in rows:
    stages = [name for name in row.get("images_seen", ()) if name != "total"]
    if "images_seen" in row and all("seconds" in known.get(s, {}) for s in stages):
      row["seconds"] = _with_total({s: known[s]["seconds"] for s in stages})


def _with_total(parts: Mapping[str, Any]) -> dict[str, Any]:
  return {**parts, "total": sum(parts.values())}
