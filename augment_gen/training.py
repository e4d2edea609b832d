"""The loop that every trained stage goes through."""

from collections.abc import Callable
import contextlib
import dataclasses
import threading
from typing import Any

import jax
import numpy as np

from augment_gen import parallel, preemption
from augment_gen.checkpoint import Checkpoints
from augment_gen.config import LogConfig
from augment_gen.errors import NonFiniteError, UserError
from augment_gen.metrics import MetricWriter
from augment_gen.progress import Progress
from augment_gen.run_folder import RunFolder

PyTree = Any


@dataclasses.dataclass(frozen=True)
class Stage:
  """A stage of a run that trains something.

  Attributes:
    name: of its checkpoints and metrics.
    state: where it starts if there is no checkpoint; has a field `step`.
    step: `(state, frozen, batch, key) -> (state, metrics)`, for one device.
    frozen: what the step reads and never writes: resident images, frozen
      networks. Replicated over the devices.
    feed: `feed.place(step)` is what travels to the devices for a step.
    fetch: `(frozen, place) -> batch`, inside the step.
    total_steps: when it ends.
    batch_size: images of X_p a step, over all devices.
    key: base of the step's randomness.
    show: metrics for the progress line.
    online: `(state) -> metrics`, called every `online_every` steps (0: not)
      and at the end: measurements too slow for every step.
  """
  name: str
  state: PyTree
  step: Callable
  frozen: PyTree
  feed: Any
  fetch: Callable
  total_steps: int
  batch_size: int
  key: jax.Array
  show: tuple[str, ...] = ("loss",)
  online: Callable[[PyTree], dict[str, float]] | None = None
  online_every: int = 0


def finished_state(stage: Stage, folder: RunFolder, log=print) -> PyTree:
  """The final state of a stage that has been trained before.

  Raises:
    UserError: it has not been, or not to its end.
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
          log=print) -> PyTree:
  """Trains a stage to its end, from its last checkpoint if there is one.

  Metrics are read one step late, so that the device never waits for the host.

  Args:
    stage: what is trained.
    folder: of the run.
    mesh: the devices.
    writer: of the metrics.
    config: what is written and when.
    terminated: once it is set, the state is saved at the step's end.
    log: is given lines for people.

  Returns:
    The final state, as NumPy arrays.

  Raises:
    NonFiniteError: names the metric and the steps between which it broke; no
      checkpoint is written from then on.
    Preempted: `terminated` was set, and the state is saved.
  """
  checkpoints = Checkpoints(
      folder.checkpoints(stage.name), config.keep_checkpoints, log)
  restored = checkpoints.restore(stage.state)
  state = stage.state if restored is None else restored
  first = int(state.step)
  if first >= stage.total_steps:
    log(f"{stage.name}: finished before ({first} steps)")
    return jax.device_get(state)
  if first:
    log(f"{stage.name}: going on from step {first}")
  writer.resume(stage.name, first)

  mapped = parallel.map_step(stage.step, mesh, stage.fetch)
  state = parallel.replicate(state, mesh)
  frozen = parallel.replicate(stage.frozen, mesh)
  key = parallel.replicate(stage.key, mesh)
  progress = Progress(stage.name, first, stage.total_steps, stage.batch_size)
  report = _Reporter(stage, first, writer, progress)

  with contextlib.closing(progress):
    for t in range(first, stage.total_steps):
      place = parallel.shard(stage.feed.place(t), mesh)
      state, metrics = mapped(state, frozen, place, key)
      done = t + 1
      report.flush()
      progress.advance(done)
      last = done == stage.total_steps
      save = last or done % config.checkpoint_every_steps == 0
      stop = terminated.is_set()
      due = done % config.every_steps == 0 or save
      if due or stop:  # where it is stopped must not show in metrics.jsonl
        report.hold(done, metrics, write=due)
      if stage.online is not None and (
          last or (stage.online_every and done % stage.online_every == 0)):
        report.online(done, stage.online(state))
      if save or stop:
        report.flush()  # a state is only saved once its metrics are finite
        checkpoints.save(done, state)
      if stop:
        preemption.leave_if(terminated, f"{stage.name} at step {done}")
  writer.close()
  log(f"{stage.name}: {stage.total_steps} steps, "
      f"{progress.images_per_second():.0f} images/s")
  return jax.device_get(state)


class _Reporter:
  """Holds one step's metrics on the device until the next step is under way."""

  def __init__(self, stage: Stage, first: int, writer: MetricWriter,
               progress: Progress):
    self._stage, self._writer, self._progress = stage, writer, progress
    self._held: tuple[int, dict[str, jax.Array], bool] | None = None
    self._finite_until = first

  def hold(self, step: int, metrics: dict[str, jax.Array], write: bool) -> None:
    self._held = (step, metrics, write)

  def flush(self) -> None:
    """Reads and checks what is held, and writes it if it is to be written."""
    if self._held is None:
      return
    step, metrics, write = self._held
    self._held = None
    metrics = {n: float(v) for n, v in jax.device_get(metrics).items()}
    broken = [n for n, v in metrics.items() if not np.isfinite(v)]
    if broken:
      raise NonFiniteError(
          f"{self._stage.name}: {', '.join(broken)} became NaN or infinite "
          f"between steps {self._finite_until} and {step}; the last good "
          "checkpoint is kept. Lower the learning rate of that network, or run "
          "with --config.debug to find the operation")
    self._finite_until = step
    if not write:
      return
    self._writer.scalars(self._stage.name, step, metrics)
    self._progress.show({n: metrics[n] for n in self._stage.show})

  def online(self, step: int, values: dict[str, float]) -> None:
    self._writer.scalars(self._stage.name, step, values)
