"""Output of measurements: metrics.jsonl (the source of truth) and sinks beside it."""

import json
from typing import Any, TextIO

from clu import parameter_overview as clu_overview
import numpy as np

from augment_gen.config.errors import Preempted
from augment_gen.run.folder import RunFolder
from augment_gen.run.sinks import Sinks


def parameter_overview(title: str, params: Any, log) -> None:
  """Prints a network's parameters as a table."""
  log(f"\n{title}:")
  log(clu_overview.get_parameter_overview(
      {"params": params}, include_stats=False))


class MetricWriter:
  """Writes a run's scalars and images.

  Args:
    folder: the run's folder.
    sinks: where else they go.
  """

  def __init__(self, folder: RunFolder, sinks: Sinks):
    self._folder = folder
    self._file: TextIO | None = None
    self._sinks = sinks

  def resume(self, stage: str, step: int) -> None:
    """Must be called before a stage writes; drops lines after the resumed step."""
    self.close()
    self._folder.forget_metrics(stage, after_step=step)

  def scalars(self, stage: str, step: int, values: dict[str, Any]) -> None:
    """Writes one line of metrics.jsonl: {"step", "stage", name: value, …}."""
    values = {name: float(value) for name, value in values.items()}
    if self._file is None:
      self._file = open(self._folder.metrics_path, "a", encoding="utf-8")
    line = {"step": step, "stage": stage, **values}
    self._file.write(json.dumps(line) + "\n")
    self._file.flush()
    self._sinks.write_scalars(
        step, {f"{stage}/{name}": v for name, v in values.items()})
    self._sinks.flush()  # TensorBoard shows a run that is going on

  def image(self, name: str, step: int, image: np.ndarray) -> None:
    """Writes a figure, uint8 [H, W, 3], to the sinks (its PNG exists already)."""
    self._sinks.write_images(step, {name: image[None]})
    self._sinks.flush()

  def close(self) -> None:
    """Closes metrics.jsonl, which the next write opens again, and flushes the rest."""
    if self._file is not None:
      self._file.close()
      self._file = None
    self._sinks.flush()

  def __enter__(self) -> "MetricWriter":
    return self

  def __exit__(self, error: type[BaseException] | None, *_: Any) -> None:
    """Ends the sinks, too; nothing can be written after that."""
    self.close()
    self._sinks.close(failed=error is not None and error is not Preempted)


