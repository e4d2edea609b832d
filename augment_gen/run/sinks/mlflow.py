"""A run of MLflow behind clu's `MetricWriter`."""

from collections.abc import Iterator, Mapping
import os
import pathlib
import time
from typing import Any

import mlflow
from mlflow.entities import Metric, Param
import numpy as np

from augment_gen.run.sinks.base import Sink

_MOST_PARAMS = 100  # in a request
_LONGEST = 500  # characters of a parameter, which all versions allow


class MlflowRun(Sink):
  """Writes scalars and images.

  MLflow's own settings hold, such as MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME.

  Args:
    experiment: the experiment, unless MLFLOW_EXPERIMENT_NAME names one.
    folder: the run's folder, whose name is the run's.
    run_id: a run to go on with; None: a new one.
    values: the config.

  Attributes:
    id: the run's id.
  """

  def __init__(self, experiment: str, folder: pathlib.Path, run_id: str | None,
               values: Mapping[str, Any]):
    # Training waits for a request. MLflow would try for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    self._client = mlflow.MlflowClient()
    if run_id is not None:
      self.id = run_id
      self._client.update_run(run_id, status="RUNNING")
      return
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or experiment
    found = self._client.get_experiment_by_name(name)
    place = found.experiment_id if found else self._client.create_experiment(name)
    self.id = self._client.create_run(
        place, run_name=folder.absolute().name).info.run_id
    params = [Param(key, str(value)[:_LONGEST]) for key, value in _flat(values)]
    for start in range(0, len(params), _MOST_PARAMS):
      self._client.log_batch(self.id, params=params[start:start + _MOST_PARAMS])

  def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
    """Writes numbers named STAGE/METRIC."""
    now = int(1000 * time.time())
    self._client.log_batch(self.id, metrics=[
        Metric(name, float(value), now, step) for name, value in scalars.items()])

  def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
    """Writes images, uint8 [N, H, W, C]; a later one takes the place of an earlier one."""
    del step
    for name, batch in images.items():
      for number, image in enumerate(np.asarray(batch)):
        self._client.log_image(
            self.id, image, artifact_file=f"{name}{f'-{number}' if number else ''}.png")

  def flush(self) -> None:
    """Nothing is held back."""

  def close(self, failed: bool = False) -> None:
    self._client.set_terminated(self.id, status="FAILED" if failed else "FINISHED")


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
  """The fields of a config by their dotted names."""
  for name, value in values.items():
    if isinstance(value, Mapping):
      yield from _flat(value, f"{prefix}{name}.")
    else:
      yield prefix + name, value
