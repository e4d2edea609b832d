"""One start of the command: checks, devices, data and folder, then the stages."""

from collections.abc import Iterator
import dataclasses
import datetime
import os
import pathlib
import platform
import signal
import threading
from typing import Any

import jax

from augment_gen import report
from augment_gen.config import checks, Config, names
from augment_gen.config.command_line import Options
from augment_gen.config.errors import raise_if_any, UserError
from augment_gen.data.base import Images
from augment_gen.data.files import some
from augment_gen.data.task import check_data, load_task, Task
from augment_gen.methods import METHODS, rules
from augment_gen.run import (
  parallel,
  preemption,
  provenance,
  runtime,
  sinks,
  takeover,
)
from augment_gen.run.contracts import Run
from augment_gen.run.folder import check_owner, RunFolder
from augment_gen.run.metrics import MetricWriter
from augment_gen.tables import format_table


def start(options: Options) -> None:
  """Runs the command.

  The config, the folder and the data are checked, in this order, before anything is
  compiled or written.

  Raises:
    UserError: a check failed.
    Preempted: SIGTERM came, or Ctrl-C once there was something to save.
  """
  with preemption.watch() as terminated:
    _start(options, terminated)


@dataclasses.dataclass(frozen=True)
class Checked:
  """What all checks have found to be sound.

  Attributes:
    mesh: the devices.
    task: the images.
    fingerprints: of the images and of F's initial weights.
    warnings: what can be trained, but hardly well.
  """
  mesh: jax.sharding.Mesh
  task: Task
  fingerprints: dict[str, str]
  warnings: tuple[str, ...]


def checked(options: Options) -> Checked:
  """Takes hold of the devices, loads the data, and checks all that can be; writes nothing.

  Raises:
    UserError: a check failed.
  """
  if options.multihost:
    jax.distributed.initialize()
  runtime.keep_compiled_code()
  runtime.keep_freed_memory()
  config = options.config
  mesh = parallel.make_mesh()
  to_copy = takeover.still_needed(options.config_values, options.workdir)
  raise_if_any([*problems(config, mesh.size), *takeover.problems(to_copy),
                *missing_stages(config, options.workdir)])
  check_owner(options.workdir, options.config_values)
  method = METHODS[config.method]
  task = load_task(config.data, parallel.host_copies(mesh.size))
  fingerprints = provenance.fingerprints(config, task.fingerprints)
  raise_if_any([
      *rules.evaluation_problems(config, task),
      *method.data_problems(config, task),
      *provenance.takeover_problems(to_copy, fingerprints, method.reads_finetune),
      *provenance.problems(options.workdir, options.config_values,
                           fingerprints, method.reads_finetune)])
  return Checked(mesh, task, fingerprints, tuple(method.data_warnings(config, task)))


def _start(options: Options, terminated: threading.Event) -> None:
  config = options.config
  if config.debug:
    jax.config.update("jax_debug_nans", True)
    jax.config.update("jax_log_compiles", True)
  found = checked(options)
  mesh, task = found.mesh, found.task
  log = print if jax.process_index() == 0 else lambda *_: None
  _hello(options, found, log)
  folder = RunFolder(options.workdir, options.config_values)
  try:
    provenance.write(folder.path, found.fingerprints)
    writer = MetricWriter(
        folder, sinks.open_all(config, options.config_values, folder, log))
    run = Run(
        config=config, config_values=options.config_values,
        command=options.command, task=task, folder=folder, mesh=mesh,
        writer=writer, terminated=terminated, log=log)
    # Up to here there is nothing to save, and Ctrl-C stops at once.
    with (writer, folder.start(_environment(options, mesh)),
          preemption.watch(signal.SIGINT, terminated)):
      results = METHODS[config.method].run(run)
    log()
    for line in _summary(run, results):
      log(line)
  finally:
    folder.close()


def problems(config: Config, devices: int) -> list[str]:
  """All problems of a config, one readable line each; empty if it is sound.

  Conflicts between fields are only checked once each field by itself is sound.
  """
  return list(checks.problems(config)) or [
      *rules.problems(config, devices),
      *METHODS[config.method].problems(config, devices),
      *sinks.problems(config),
      *check_data(config.data, parallel.host_copies(devices))]


def missing_stages(config: Config, workdir: str | os.PathLike[str]) -> Iterator[str]:
  """One line for each stage that a command needs and does not run, and that is not there.

  They are found before anything is trained. A stage that was begun and not finished is
  found when its state is read.

  Args:
    config: a config without problems.
    workdir: the run's folder, which need not exist.
  """
  checkpoints = pathlib.Path(workdir) / "checkpoints"
  for name in METHODS[config.method].read_only(config):
    if not any(path.name.isdigit() for path in (checkpoints / name).glob("*")):
      arm = name.startswith("retrain-")
      yield (f"stage '{name}' is not finished in --workdir={workdir}, and this command "
             f"does not run it: add '{'retrain' if arm else name}' to --config.stages"
             + (f", or leave '{name.removeprefix('retrain-')}' out of "
                "--config.retrain.arms" if arm else ""))


def _summary(run: Run, results: dict[str, Any] | None) -> Iterator[str]:
  """The lines that the command prints at its end."""
  if results is not None:
    try:
      yield format_table([results], names(run.config.evaluate.protocols)[0])
    except UserError as error:  # the run is whole, whatever its table may be
      yield f"WARNING: no table: {error}"
  yield "figures:"
  for path in sorted(run.folder.figures.glob("*.png")):
    yield f"  {path}"
  yield f"report: {_report(run)}"
  yield f"run folder: {run.folder.path}"


def _report(run: Run) -> str:
  """Makes the report; returns its path, or why there is none."""
  try:
    return str(report.write([run.folder.path]))
  except UserError as error:
    return f"none, {error}"
  except Exception as error:  # a bug in the page must not end a run that is whole
    return (f"none, {type(error).__name__}: {error} (a bug; augment-gen report "
            f"{run.folder.path} shows where)")


def _hello(options: Options, found: Checked, log) -> None:
  log(devices_line(found.mesh))
  log(f"{options.config.experiment}, seed {options.config.seed}, in "
      f"{options.workdir}")
  for name, images in sets_by_name(found.task).items():
    for line in describe(images):
      log(f"  {name}: {line}")
  for warning in found.warnings:
    log(f"WARNING: {warning}")


def devices_line(mesh: jax.sharding.Mesh) -> str:
  """Versions and devices."""
  kinds = sorted({d.device_kind for d in mesh.devices.flat})
  versions = provenance.versions()
  return (f"augment_gen {versions['augment_gen']}, jax {versions['jax']}, flax "
          f"{versions['flax']}: {mesh.size} × {', '.join(kinds)}, process "
          f"{jax.process_index() + 1} of {jax.process_count()}")


def sets_by_name(task: Task) -> dict[str, Images]:
  """The sets of a task under the names that the user reads."""
  return {"X_p": task.pretrain, "X̃_f": task.finetune,
          **{f"test {name}": images for name, images in task.tests.items()}}


def describe(images: Any) -> Iterator[str]:
  """What to check before trusting a number: counts, ranges, first classes."""
  values = images.resident
  levels = ("read as they are needed" if values is None else
            f"grey levels {values.min()} to {values.max()} (mean {values.mean():.0f})")
  skipped = f", {images.skipped} bad files skipped" if images.skipped else ""
  yield (f"{len(images)} images {images.shape}, {levels}, {images.name} "
         f"[{images.fingerprint}]{skipped}")
  if images.labels is not None:
    yield f"{images.num_classes} classes: {some(images.class_names, 5)}"
  yield from images.notes


def _environment(options: Options, mesh) -> dict:
  return {
      "time": datetime.datetime.now(datetime.UTC).isoformat(),
      "command": options.command,
      "commit": provenance.commit(),
      "versions": provenance.versions(),
      "devices": [d.device_kind for d in mesh.devices.flat],
      "processes": jax.process_count(),
      "machine": platform.platform(),
      "cpus": os.cpu_count(),
      "xla_flags": os.environ.get("XLA_FLAGS", ""),
  }
