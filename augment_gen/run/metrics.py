"""Output of measurements: metrics.jsonl (the source of truth) and TensorBoard."""

import json
from typing import Any, TextIO

from clu import parameter_overview as clu_overview
import numpy as np

from augment_gen.run.folder import RunFolder


def parameter_overview(title: str, params: Any, log) -> None:
  """Prints a network's parameters as a table."""
  log(f"\n{title}:")
  log(clu_overview.get_parameter_overview(
      {"params": params}, include_stats=False))


class MetricWriter:
  """Writes a run's scalars and images.

  Args:
    folder: the run's folder.
    tensorboard: whether to also write event files.
  """

  def __init__(self, folder: RunFolder, tensorboard: bool):
    self._folder = folder
    self._file: TextIO | None = None
    self._events: Any = None
    if tensorboard:
      # Imported here, because TensorBoard's modules take a while to load.
      from augment_gen.run import event_files  # pylint: disable=g-import-not-at-top
      self._events = event_files.EventFiles(folder.path / "tensorboard")

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
    if self._events:
      self._events.write_scalars(
          step, {f"{stage}/{name}": v for name, v in values.items()})
      self._events.flush()  # TensorBoard shows a run that is going on

  def image(self, name: str, step: int, image: np.ndarray) -> None:
    """Writes a figure, uint8 [H, W, 3], to TensorBoard (its PNG exists already)."""
    if self._events:
      self._events.write_images(step, {name: image[None]})
      self._events.flush()

  def close(self) -> None:
    """Closes metrics.jsonl, which the next write opens again, and flushes the rest."""
    if self._file is not None:
      self._file.close()
      self._file = None
    if self._events:
      self._events.flush()


