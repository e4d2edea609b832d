"""Output of measurements: metrics.jsonl (the source of truth) and TensorBoard."""

import json
import os
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
    tensorboard: whether to also write event files, through clu. This needs
      TensorFlow; if that is not installed, they are left out with a message.
    log: called with that message.
  """

  def __init__(self, folder: RunFolder, tensorboard: bool, log=print):
    self._folder = folder
    self._file: TextIO | None = None
    self._summaries = None
    if tensorboard:
      # TensorFlow only writes files here; its start-up messages are suppressed.
      os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
      os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
      try:
        from clu import metric_writers  # pylint: disable=g-import-not-at-top
      except ImportError:
        log("TensorBoard files are left out: tensorflow is not installed")
      else:
        self._summaries = metric_writers.SummaryWriter(
            str(folder.path / "tensorboard"))

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
    if self._summaries:
      self._summaries.write_scalars(
          step, {f"{stage}/{name}": v for name, v in values.items()})

  def image(self, name: str, step: int, image: np.ndarray) -> None:
    """Writes a figure, uint8 [H, W, 3], to TensorBoard (its PNG exists already)."""
    if self._summaries:
      self._summaries.write_images(step, {name: image[None]})
      self._summaries.flush()

  def close(self) -> None:
    """Closes metrics.jsonl, which the next write opens again, and flushes the rest."""
    if self._file is not None:
      self._file.close()
      self._file = None
    if self._summaries:
      self._summaries.flush()


