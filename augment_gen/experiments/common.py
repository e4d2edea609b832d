"""What all experiments share: the run, and where its numbers come from."""

from collections.abc import Iterator
import dataclasses
import functools
import importlib.metadata
import pathlib
import platform
import subprocess
import threading
from typing import Any

from clu import parameter_overview
import jax

from augment_gen import preemption, training
from augment_gen.config import Config, fingerprint, identity, names
from augment_gen.data.task import Task
from augment_gen.evaluate.protocol import protocol_fingerprint
from augment_gen.metrics import MetricWriter
from augment_gen.run_folder import RunFolder
from augment_gen.tables import format_table

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


@dataclasses.dataclass(frozen=True)
class Run:
  """What all stages share."""
  config: Config
  config_values: dict[str, Any]  # the same, as plain JSON values
  command: str  # without the folder's name
  task: Task
  folder: RunFolder
  mesh: jax.sharding.Mesh
  writer: MetricWriter
  terminated: threading.Event  # by SIGTERM or Ctrl-C: save, and leave
  log: Any = print

  @property
  def devices(self) -> int:
    return self.mesh.size

  def wants(self, stage: str) -> bool:
    return not {"all", stage}.isdisjoint(names(self.config.stages))

  def trained(self, stage: training.Stage, wanted: bool) -> Any:
    """The end of a stage: trained now, or read if it was trained before."""
    if wanted:
      state = training.train(
          stage, folder=self.folder, mesh=self.mesh, writer=self.writer,
          config=self.config.log, terminated=self.terminated, log=self.log)
      preemption.leave_if(self.terminated, f"after {stage.name}")
      return state
    return training.finished_state(stage, self.folder, self.log)

  def overview(self, title: str, params: Any) -> None:
    """Prints a network's parameters."""
    self.log(f"\n{title}:")
    self.log(parameter_overview.get_parameter_overview(
        {"params": params}, include_stats=False))


def experiment(config: Config) -> str:
  """What the table calls the experiment."""
  # Numbers of a development split must not stand beside those of a test set.
  return config.experiment + (
      ", development split" if config.data.development else "")


def provenance(run: Run, ends: dict[str, str]) -> dict[str, Any]:
  """Where the numbers come from; holds no time, and of paths those alone that the
  command names (data.root, pretrain.run)."""
  return {
      "command": run.command,
      "config": fingerprint(identity(run.config_values)),
      "data": run.task.fingerprints,
      "protocol": protocol_fingerprint(run.config.evaluate),
      "stages": ends,  # checksums of the states that were evaluated
      "devices": run.devices,
      "platform": run.mesh.devices.flat[0].platform,
      "versions": versions(),
      "commit": commit(),
  }


def versions() -> dict[str, str]:
  """Versions that can change a number."""
  return {"augment_gen": importlib.metadata.version("augment_gen"),
          "python": platform.python_version(),
          **{name: importlib.metadata.version(name) for name in PACKAGES}}


@functools.cache
def commit() -> str | None:
  """The git commit of the code, "+" if changed since; None outside git.

  Cached: what counts is the code as this process started.
  """
  def git(*args):
    return subprocess.run(
        ["git", *args], cwd=pathlib.Path(__file__).parent, check=True,
        capture_output=True, text=True).stdout.strip()
  try:
    changed = git("status", "--porcelain", "--untracked-files=no")
    return git("rev-parse", "HEAD") + ("+" if changed else "")
  except (OSError, subprocess.CalledProcessError):
    return None


def summary(run: Run, results: dict[str, Any] | None) -> Iterator[str]:
  """What the command prints at its end."""
  if results is not None:
    yield format_table([results])
  yield "figures:"
  for path in sorted(run.folder.figures.glob("*.png")):
    yield f"  {path}"
  yield f"run folder: {run.folder.path}"
