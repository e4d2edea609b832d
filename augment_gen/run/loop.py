"""The training loop of all stages."""

import contextlib
import threading
import time

import jax
import numpy as np

from augment_gen.config import LogConfig
from augment_gen.config.errors import NonFiniteError, UserError
from augment_gen.run import costs, parallel, preemption
from augment_gen.run.batches import Batches
from augment_gen.run.checkpoint import Checkpoints
from augment_gen.run.contracts import Run, Stage, State
from augment_gen.run.folder import RunFolder
from augment_gen.run.metrics import MetricWriter
from augment_gen.run.profile import step_flops, StepProfile
from augment_gen.run.progress import Progress


def end_of(run: Run, stage: Stage, train_it: bool) -> State:
  """The final state of a stage: trained now, or read if it was trained before.

  Raises:
    UserError: the stage is not to be trained now and was not trained before.
    NonFiniteError, Preempted: see `train`.
  """
  if not train_it:
    return finished_state(stage, run.folder, run.log)
  state = train(
      stage, folder=run.folder, mesh=run.mesh, writer=run.writer,
      config=run.config.log, terminated=run.terminated, log=run.log,
      profile_steps=run.config.profile_steps)
  preemption.leave_if(run.terminated, f"after {stage.name}")
  return state


def finished_state(stage: Stage, folder: RunFolder, log=print) -> State:
  """The final state of a stage that was trained before.

  Raises:
    UserError: the stage was not trained, or not to its end.
  """
  checkpoints = Checkpoints(folder.checkpoints(stage.name), keep=1, log=log)
  state = checkpoints.restore(stage.state, at_least=stage.total_steps)
  if state is None:
    raise UserError(
        f"stage '{stage.name}' is not finished in {folder.path}, and this "
        "command does not run it: add it to --config.stages")
  return state


def train(stage: Stage, *, folder: RunFolder, mesh: jax.sharding.Mesh,
          writer: MetricWriter, config: LogConfig, terminated: threading.Event,
          log=print, profile_steps: str = "") -> State:
  """Trains a stage to its end, from its last checkpoint if there is one.

  Metrics are read one step late, so that the device never waits for the host.

  Args:
    stage: the stage to train.
    folder: the run's folder.
    mesh: the devices.
    writer: writes the metrics.
    config: what is written and when.
    terminated: once it is set, the state is saved at the end of the step.
    log: prints a line for the user.
    profile_steps: see `profile.StepProfile`.

  Returns:
    The final state, as NumPy arrays.

  Raises:
    NonFiniteError: a metric became NaN or infinite. The message names it and the
      steps between which this happened. No checkpoint is written after that.
    Preempted: `terminated` was set; the state is saved.
  """
  began = time.monotonic()
  checkpoints = Checkpoints(
      folder.checkpoints(stage.name), config.keep_checkpoints, log)
  restored = checkpoints.restore(stage.state)
  meter, flops = costs.Meter(folder.path, stage, restored is not None), None
  state = stage.state if restored is None else restored
  first = int(state.step)
  if first >= stage.total_steps:
    if restored is None:
      # Takeovers and exports read a checkpoint, also where no step was taken.
      log(f"{stage.name}: no steps")
      meter.note(0, 0.0, 0.0)
      checkpoints.save(first, state)
    else:
      log(f"{stage.name}: finished before ({first} steps)")
    return jax.device_get(state)
  if first:
    log(f"{stage.name}: going on from step {first}")
  writer.resume(stage.name, first)

  mapped = parallel.map_step(stage.step, mesh, stage.feed.fetch)
  state = parallel.replicate(state, mesh)
  frozen = parallel.replicate(stage.frozen, mesh)
  resident = parallel.replicate(stage.feed.resident, mesh)
  key = parallel.replicate(stage.key, mesh)
  batches = Batches(stage.feed, mesh, stage.total_steps)
  progress = Progress(stage.name, first, stage.total_steps, stage.feed.batch_size,
                      waited=(lambda: batches.waited) if stage.feed.streamed else None)
  report = _Reporter(stage, first, writer, progress)
  profiled = StepProfile(profile_steps, folder.path / "profile" / stage.name, mapped, log)

  metrics: dict[str, jax.Array] | None = None
  with (contextlib.closing(progress), contextlib.closing(profiled),
        contextlib.closing(batches)):
    for t in range(first, stage.total_steps):
      host_batch = batches.take(t, metrics)
      done = t + 1
      if t == first:
        counted = mapped if stage.undivided is None else parallel.map_step(
            stage.undivided, mesh, stage.feed.fetch)
        flops = step_flops(counted, (state, frozen, resident, host_batch, key), mesh.size)
      profiled.before(done, state)
      with jax.transfer_guard("disallow"):
        state, metrics = mapped(state, frozen, resident, host_batch, key)
      profiled.after(done, (state, frozen, resident, host_batch, key))
      report.flush()
      progress.advance(done)
      last = done == stage.total_steps
      save = last or done % config.checkpoint_every_steps == 0
      stop = terminated.is_set()
      due = done % config.every_steps == 0 or save
      if due or stop:  # metrics.jsonl must not show where a run was stopped
        report.hold(done, metrics, write=due)
      if stage.online is not None and (
          last or (stage.online_every and done % stage.online_every == 0)):
        report.flush()  # what is measured may read metrics.jsonl
        report.online(done, stage.online(state))
      if save or stop:
        report.flush()  # a state is only saved if its metrics are finite
        meter.note(done, time.monotonic() - began, flops)
        checkpoints.save(done, state)
      if stop:
        preemption.leave_if(terminated, f"{stage.name} at step {done}")
  writer.close()
  log(f"{stage.name}: {stage.total_steps} steps, "
      f"{progress.images_per_second():.0f} images/s{progress.bottleneck()}")
  for line in stage.feed.report():
    log(f"{stage.name}: {line}")
  return jax.device_get(state)


class _Reporter:
  """Keeps one step's metrics on the device until the next step is running."""

  def __init__(self, stage: Stage, first: int, writer: MetricWriter,
               progress: Progress):
    self._stage, self._writer, self._progress = stage, writer, progress
    self._held: tuple[int, dict[str, jax.Array], bool] | None = None
    self._finite_until = first

  def hold(self, step: int, metrics: dict[str, jax.Array], write: bool) -> None:
    self._held = (step, metrics, write)

  def flush(self) -> None:
    """Reads and checks the held metrics, and writes them if they are due."""
    if self._held is None:
      return
    step, metrics, write = self._held
    self._held = None
    values = {n: float(v) for n, v in jax.device_get(metrics).items()}
    broken = [n for n, v in values.items() if not np.isfinite(v)]
    if broken:
      raise NonFiniteError(
          f"{self._stage.name}: {', '.join(broken)} became NaN or infinite "
          f"between steps {self._finite_until} and {step}; the last good "
          "checkpoint is kept. Lower the learning rate of that network, or run "
          "with --config.debug to find the operation")
    self._finite_until = step
    if not write:
      return
    self._writer.scalars(self._stage.name, step, values)
    self._progress.show({n: values[n] for n in self._stage.show})

  def online(self, step: int, values: dict[str, float]) -> None:
    if values:
      self._writer.scalars(self._stage.name, step, values)
