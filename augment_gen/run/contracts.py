"""What the parts of a run may expect of each other.

A *method* runs *stages* in order. A stage that trains has a *step* and a *feed*; the
loop brings the two together. A *pre-trainer* is what trains the encoder F on pairs of
views, in stage 1 and again in re-training.

    Method.run ──▶ Stage ──▶ loop.train ──▶ parallel.map_step
                    │  └ Feed: host_batch(t) on the host, fetch(…) in the step
                    └ Step: (state, frozen, batch, key) -> (state, metrics)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
import dataclasses
import threading
from typing import Any, ClassVar, Protocol, TYPE_CHECKING

import jax

from augment_gen.config import Config, names

if TYPE_CHECKING:
  import optax

  from augment_gen.data.task import Task
  from augment_gen.run.folder import RunFolder
  from augment_gen.run.metrics import MetricWriter

PyTree = Any
State = Any  # a flax.struct dataclass with a field `step`, int32
Metrics = dict[str, jax.Array]  # scalars
# Sets by name, float32 [b, H, W, C] in [0, 1]; under "index" the places [b] of these
# images in their sets, by the same names.
Batch = Mapping[str, Any]
# (frozen, batch, key) -> two views of the images "x_p", [b, H, W, C] in [0, 1].
Views = Callable[[PyTree, Batch, jax.Array], tuple[jax.Array, jax.Array]]


class Step(Protocol):
  """One training step, written as what one device does (see `parallel.map_step`)."""

  def __call__(self, state: State, frozen: PyTree, batch: Batch, key: jax.Array,
               ) -> tuple[State, Metrics]:
    """Trains once.

    Args:
      state: all that the step reads and writes.
      frozen: what it reads and never writes, such as a frozen network.
      batch: this device's part of the batch.
      key: of this step, the same on all devices.

    Returns:
      The new state, and metrics that are means over the devices.
    """


class Feed(Protocol):
  """Where a stage's batches come from, on the devices or off them.

  Attributes:
    batch_size: images of each set in a step, over all devices.
    steps_per_epoch: whole batches in one pass, by set name.
    resident: arrays that are copied to every device before the first step.
  """
  batch_size: int
  steps_per_epoch: dict[str, int]
  resident: PyTree

  def host_batch(self, step: int) -> PyTree:
    """What travels to the devices for a step: arrays, cut along their first axis.

    A pure function of `step`, so that a resumed run sees what it would have seen.
    """

  def fetch(self, resident: PyTree, host_batch: PyTree) -> Batch:
    """The batch, of one device's part of `host_batch`; called inside the step."""


@dataclasses.dataclass(frozen=True)
class Stage:
  """A stage of a run that trains something.

  Attributes:
    name: of its checkpoints and metrics.
    state: where it starts if there is no checkpoint.
    step: see `Step`.
    frozen: what the step reads and never writes; copied to every device.
    feed: see `Feed`.
    total_steps: when it ends.
    key: base of the step's randomness.
    show: metrics for the progress line.
    online: `(state) -> metrics`, called every `online_every` steps (0: never) and at
      the end: measurements too slow for every step.
    online_every: in steps.
  """
  name: str
  state: State
  step: Step
  frozen: PyTree
  feed: Feed
  total_steps: int
  key: jax.Array
  show: tuple[str, ...] = ("loss",)
  online: Callable[[State], dict[str, float]] | None = None
  online_every: int = 0


@dataclasses.dataclass(frozen=True)
class Run:
  """What all stages of a run share.

  Attributes:
    config: of the run.
    config_values: the same, as plain JSON values.
    command: that started the run, without the folder's name.
    task: the images.
    folder: of the run.
    mesh: the devices.
    writer: of metrics and figures.
    terminated: set by SIGTERM or Ctrl-C: save, and leave.
    log: is given lines for people.
  """
  config: Config
  config_values: dict[str, Any]
  command: str
  task: Task
  folder: RunFolder
  mesh: jax.sharding.Mesh
  writer: MetricWriter
  terminated: threading.Event
  log: Callable[..., None] = print

  @property
  def devices(self) -> int:
    return self.mesh.size

  def wants(self, stage: str) -> bool:
    """Is this stage among those that the command chose?"""
    return not {"all", stage}.isdisjoint(names(self.config.stages))


class Pretrainer(Protocol):
  """A method of self-supervised learning that trains F on pairs of views.

  It is built from the config and the number of devices. `methods/pretrainers` has
  the list of all.

  Attributes:
    title: of its rows in the tables.
    show: metrics for the progress line.
  """
  title: ClassVar[str]
  show: ClassVar[tuple[str, ...]]

  def __init__(self, config: Config, devices: int):
    ...

  @staticmethod
  def problems(config: Config, devices: int) -> Iterator[str]:
    """What is wrong between several settings, one line each."""

  def init(self, tx: optax.GradientTransformation, key: jax.Array) -> State:
    """A fresh state."""

  def restart(self, state: State, tx: optax.GradientTransformation) -> State:
    """A state to train further from: same networks, fresh optimiser, step 0."""

  def make_step(self, tx: optax.GradientTransformation, views: Views) -> Step:
    """The training step."""

  def encoder_variables(self, state: State) -> PyTree:
    """F's part of a state, as Flax variables."""

  def project(self, state: State, images: jax.Array) -> jax.Array:
    """H(F(x)) in inference mode: [b, H, W, C] in [0, 1] -> [b, D], of unit length."""


class Method(Protocol):
  """A method of one of the papers: a module that has these (methods/__init__.py).

  Attributes:
    STAGES: names for config.stages, in order.
  """
  STAGES: tuple[str, ...]

  def problems(self, config: Config, devices: int) -> Iterator[str]:
    """What is wrong between several settings, one line each."""

  def data_problems(self, config: Config, task: Task) -> Iterator[str]:
    """The same of settings and images, once these are loaded."""

  def trained_sections(self, config: Config) -> tuple[str, ...]:
    """Sections of the config that describe a stage which is trained."""

  def reads_finetune(self, stage: str, values: Mapping[str, Any]) -> bool:
    """Does a trained stage depend on X̃_f? `values` are a config's JSON values."""

  def run(self, run: Run) -> dict[str, Any] | None:
    """Runs the chosen stages, from where they were.

    Returns:
      The contents of results.json, or None if `evaluate` was not chosen.

    Raises:
      UserError, Preempted, NonFiniteError: see `loop.train`.
    """
