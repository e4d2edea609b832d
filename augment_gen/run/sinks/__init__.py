"""Where metrics and figures go beside metrics.jsonl: config.log.sinks.

    base.py         clu's interface, behind which all of them are
    event_files.py  "tensorboard": event files in the run folder
    wandb.py        "wandb": Weights & Biases
    mlflow.py       "mlflow": a tracking server or a folder of MLflow

"jsonl" is metrics.jsonl itself. It is always written, by run/metrics.py, because resuming
and figures read it.
"""

from collections.abc import Callable, Iterator, Mapping
import importlib.util
import json
import pathlib
from typing import Any
import uuid

import jax
import numpy as np

from augment_gen.config import Config, names
from augment_gen.config.errors import UserError
from augment_gen.run.folder import RunFolder, write_json
from augment_gen.run.sinks.base import Sink

_IDS = "sinks.json"  # in the run folder: sink -> id of the run there
_EXTRAS = ("wandb", "mlflow")  # sinks whose package is an extra of the same name


def problems(config: Config) -> Iterator[str]:
  """One line for each sink whose package is not installed."""
  for name in _EXTRAS:
    if name in names(config.log.sinks) and importlib.util.find_spec(name) is None:
      yield (f"config.log.sinks names {name}, whose package is not installed: pip install "
             f"'augment_gen[{name}]', or leave it out")


def open_all(config: Config, values: Mapping[str, Any], folder: RunFolder,
             log: Callable[..., None] = print) -> "Sinks":
  """Opens the sinks of a run. One that was open before goes on with the same run there.

  With several processes, the first one alone writes to services.

  Args:
    config: the run's config.
    values: the same, as plain JSON values.
    folder: the run's folder.
    log: prints a line for the user.

  Raises:
    UserError: a service does not accept the run.
  """
  # pylint: disable=g-import-not-at-top
  # Imported here, because these modules take a while to load.
  found: dict[str, Sink] = {}
  for name in dict.fromkeys(names(config.log.sinks)):
    if name == "tensorboard":
      from augment_gen.run.sinks.event_files import EventFiles
      found[name] = EventFiles(folder.path / "tensorboard")
    elif name in _EXTRAS and jax.process_index() == 0:
      try:
        found[name] = _service(name, config.experiment, values, folder.path)
      # A service can raise nearly any error.
      except Exception as error:  # pylint: disable=broad-except
        Sinks(found, log).close()
        raise UserError(f"config.log.sinks: {name} cannot be started ({_reason(error)}): "
                        "correct that, or leave it out") from None
  return Sinks(found, log)


class Sinks:
  """Several sinks as one. One that fails is left out from then on, and training goes on."""

  def __init__(self, sinks: Mapping[str, Sink], log: Callable[..., None] = print):
    self._sinks, self._log = dict(sinks), log

  def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
    """Writes numbers by their names, STAGE/METRIC."""
    self._each(lambda sink: sink.write_scalars(step, scalars))

  def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
    """Writes images by their names, uint8 [N, H, W, C]."""
    self._each(lambda sink: sink.write_images(step, images))

  def flush(self) -> None:
    """Writes what is held back."""
    self._each(lambda sink: sink.flush())

  def close(self, failed: bool = False) -> None:
    """Ends them all, as runs that failed if an error ended this one."""
    self._each(lambda sink: sink.close(failed))
    self._sinks.clear()

  def _each(self, call: Callable[[Sink], None]) -> None:
    for name, sink in list(self._sinks.items()):
      try:
        call(sink)
      except Exception as error:  # pylint: disable=broad-except
        del self._sinks[name]
        self._log(f"WARNING: config.log.sinks: {name} failed ({_reason(error)}) and gets "
                  "nothing more from this start; metrics.jsonl has everything")


def _service(name: str, experiment: str, values: Mapping[str, Any], folder: pathlib.Path
             ) -> Sink:
  # pylint: disable=g-import-not-at-top
  ids = _ids(folder)
  if name == "wandb":
    from augment_gen.run.sinks.wandb import WandbRun
    ids.setdefault(name, uuid.uuid4().hex)
    sink: Any = WandbRun(experiment, folder, ids[name], values)
  else:
    from augment_gen.run.sinks.mlflow import MlflowRun
    sink = MlflowRun(experiment, folder, ids.get(name), values)
    ids[name] = sink.id
  write_json(folder / _IDS, ids)
  return sink


def _ids(folder: pathlib.Path) -> dict[str, str]:
  try:
    return json.loads((folder / _IDS).read_text(encoding="utf-8"))
  except (OSError, ValueError):
    return {}


def _reason(error: Exception) -> str:
  return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
