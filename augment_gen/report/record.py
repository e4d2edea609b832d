"""What a run folder says of its run, without images and networks."""

import dataclasses
import json
import pathlib
from typing import Any

from augment_gen import tables
from augment_gen.config.errors import UserError
from augment_gen.figures import inspection
from augment_gen.run import folder as folders
from augment_gen.run import provenance


@dataclasses.dataclass(frozen=True)
class Record:
  """A run as its folder has it. What the folder lacks is None or empty.

  Attributes:
    path: the folder.
    config: all settings, as plain JSON values.
    results: the contents of results.json.
    metrics: the lines of metrics.jsonl.
    learned: the contents of learned.json.
    scores: see `judged.summary`.
    points: the map of embeddings, {"method", "sets": {NAME: points}}.
    starts: the entries of environment.json.
    fingerprints: of what the run has read, by set.
  """
  path: pathlib.Path
  config: dict[str, Any]
  results: dict[str, Any] | None
  metrics: list[dict[str, Any]]
  learned: dict[str, Any] | None
  scores: dict[str, Any] | None
  points: dict[str, Any] | None
  starts: list[dict[str, Any]]
  fingerprints: dict[str, str]

  @property
  def title(self) -> str:
    pretrain = self.config.get("pretrain", {}) if self.has_generator else {}
    method = pretrain.get("method", "moco_v2")
    return (f"{self.config.get('experiment', 'a run')}"
            + f", {method}" * (method != "moco_v2")
            + ", X_p ∪ X̃_f" * bool(pretrain.get("with_finetune"))
            + f", seed {self.config.get('seed')}")

  @property
  def has_generator(self) -> bool:
    return self.config.get("method") != "crl_tac"

  @property
  def rows(self) -> list[dict[str, Any]]:
    return self.results["rows"] if self.results else []

  @property
  def health(self) -> dict[str, float]:
    """The generator's last health; empty if it was not measured."""
    of_results = (self.results or {}).get("health")
    return of_results or folders.last_measured(self.metrics, "generator", "health/")


def read(folder: pathlib.Path) -> Record:
  """Reads a run folder, also one of older code or of a run that is not finished.

  Raises:
    UserError: it is no run folder, or what it has is damaged.
  """
  config = folders.read_config(folder)
  results = None
  if (folder / "results.json").exists():
    (results,) = tables.load([str(folder)])
  return Record(
      path=folder, config=config, results=results, metrics=folders.read_metrics(folder),
      learned=_json(folder / folders.LEARNED, "operators"),
      scores=_json(folder / "report" / inspection.SCORES),
      points=_json(folder / "report" / inspection.MAP),
      starts=folders.read_environment(folder), fingerprints=provenance.read(folder))


def _json(path: pathlib.Path, *needed: str) -> dict[str, Any] | None:
  """The contents of a file, which must have some fields; None if it is not there."""
  try:
    found = json.loads(path.read_text(encoding="utf-8"))
    if missing := [name for name in needed if name not in found]:
      raise ValueError(f"it has no '{missing[0]}'")
    return found
  except FileNotFoundError:
    return None
  except ValueError as error:
    raise UserError(f"{path} is damaged ({error}): delete it, and the report is made "
                    "without it") from None
