"""The interfaces between the parts of a run.

A *method* runs *stages* in order. A stage that trains has a *step* and a *feed*, which
the loop brings together. A *pre-trainer* trains the encoder F on pairs of views, in
stage 1 and again in re-training.

    Method.run ──▶ Stage ──▶ loop.train ──▶ parallel.map_step
                    │  └ Feed: host_batch(t) on the host, fetch(…) in the step
                    └ Step: (state, frozen, batch, key) -> (state, metrics)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
import dataclasses
import threading
from typing import Any, ClassVar, Protocol, TYPE_CHECKING

import jax

from augment_gen.config import Config, names, OptimizerConfig

if TYPE_CHECKING:
  import optax

  from augment_gen.data.base import Images
  from augment_gen.data.task import Task
  from augment_gen.run.folder import RunFolder
  from augment_gen.run.metrics import MetricWriter

PyTree = Any
State = Any  # a flax.struct dataclass with a field `step`, int32
Metrics = dict[str, jax.Array]  # scalars
# Set name -> images, float32 [b, H, W, C] in [0, 1]. "index" holds, under the same
# names, the positions [b] of these images in their sets.
Batch = Mapping[str, Any]
# (frozen, batch, key) -> two views of the images "x_p", [b, H, W, C] in [0, 1].
Views = Callable[[PyTree, Batch, jax.Array], tuple[jax.Array, jax.Array]]


@dataclasses.dataclass(frozen=True)
class Plan:
  """The stage in which a pre-trainer trains.

  Attributes:
    optimizer: the stage's optimiser and schedule.
    steps: number of steps.
    steps_per_epoch: number of steps in a pass over X_p.
    recipe: name of the hand-made recipe, for views beside the two that it is given.
    parts: number of parts in which a device's images pass through the network.
    again: whether the networks were trained before, so that nothing has to settle.
  """
  optimizer: OptimizerConfig
  steps: int
  steps_per_epoch: int
  recipe: str
  parts: int = 1
  again: bool = False


class Step(Protocol):
  """One training step, written for one device (see `parallel.map_step`)."""

  def __call__(self, state: State, frozen: PyTree, batch: Batch, key: jax.Array,
               ) -> tuple[State, Metrics]:
    """Runs one step.

    Args:
      state: everything that the step reads and writes.
      frozen: what the step only reads, such as a frozen network.
      batch: this device's part of the batch.
      key: the step's key, the same on all devices.

    Returns:
      The new state, and the metrics as means over the devices.
    """


class Feed(Protocol):
  """The source of a stage's batches, on the devices or on the host.

  Attributes:
    batch_size: images of each set per step, over all devices.
    steps_per_epoch: full batches in one pass, by set name.
    resident: arrays that are copied to every device before the first step.
    streamed: names of the sets whose images `host_batch` has to read; the loop asks for
      such batches ahead of their steps.
  """
  batch_size: int
  steps_per_epoch: dict[str, int]
  resident: PyTree
  streamed: tuple[str, ...]

  def host_batch(self, step: int) -> PyTree:
    """The arrays sent to the devices for a step, split along their first axis.

    This is a pure function of `step`, so that a resumed run sees the same batches. With
    several processes, these are the `parallel.own_rows` of this one.
    """

  def fetch(self, resident: PyTree, host_batch: PyTree) -> Batch:
    """Builds the batch from a device's part of `host_batch`; called inside the step."""

  def report(self) -> Iterable[str]:
    """Lines for the user on what was found while reading, at the end of the stage."""

  def close(self) -> None:
    """Ends what runs in the background; called at the end of the stage."""


@dataclasses.dataclass(frozen=True)
class Stage:
  """A stage of a run that trains something.

  Attributes:
    name: the stage's name in checkpoints and metrics.
    state: the initial state, used if there is no checkpoint.
    step: see `Step`.
    frozen: what the step only reads; copied to every device.
    feed: see `Feed`.
    total_steps: number of steps.
    key: base key of the step's randomness.
    show: names of the metrics on the progress line.
    online: `(state) -> metrics`, for measurements that are too slow for every step;
      called every `online_every` steps and at the end. May return {}.
    online_every: interval in steps; 0: only at the end.
    views: the augmentations under which F's health is measured, by name,
      `(frozen, images [b, H, W, C] in [0, 1], key) -> images`.
    undivided: the same step with its batch in one part, of which operations are counted:
      XLA counts those of a loop once. None: `step` is that.
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
  views: Mapping[str, Callable[[PyTree, jax.Array, jax.Array], jax.Array]] = (
      dataclasses.field(default_factory=dict))
  undivided: Step | None = None


@dataclasses.dataclass(frozen=True)
class Run:
  """What all stages of a run share.

  Attributes:
    config: the run's config.
    config_values: the config as plain JSON values.
    command: the command that started the run, without the folder's name.
    task: the images.
    folder: the run's folder.
    mesh: the devices.
    writer: writes metrics and figures.
    terminated: set by SIGTERM or Ctrl-C; the run then saves and stops.
    log: prints a line for the user.
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
    """Whether the command selected this stage."""
    return is_chosen(self.config, stage)


def is_chosen(config: Config, stage: str) -> bool:
  """Whether config.stages selects a stage."""
  return not {"all", stage}.isdisjoint(names(config.stages))


class Pretrainer(Protocol):
  """A method that trains F on pairs of views, with labels or, usually, without.

  It is built from the config and the number of devices. `methods/pretrainers` lists
  all pre-trainers; `methods/pretrainers/base.py` has what most of them share.

  Attributes:
    title: name of the pre-trainer in the tables.
    show: names of the metrics on the progress line.
  """
  title: ClassVar[str]
  show: ClassVar[tuple[str, ...]]

  def __init__(self, config: Config, devices: int):
    ...

  @staticmethod
  def problems(config: Config, devices: int) -> Iterator[str]:
    """Conflicts between settings, one line each."""

  @staticmethod
  def data_problems(config: Config, images: Images) -> Iterator[str]:
    """Conflicts between settings and the images of stage 1, one line each."""

  @staticmethod
  def data_warnings(config: Config, images: Images) -> Iterator[str]:
    """What these settings do badly on the images of stage 1, one line each."""

  def optimizer(self, plan: Plan) -> optax.GradientTransformation:
    """The optimiser of all that a stage trains, with its schedules."""

  def init(self, tx: optax.GradientTransformation, key: jax.Array,
           encoder: PyTree | None = None) -> State:
    """A new state.

    Args:
      tx: the optimiser.
      key: of the random initialisation.
      encoder: F's Flax variables, which every copy of F in the state starts from (see
        `heads.initial_variables`); None: F is random.
    """

  def restart(self, state: State, tx: optax.GradientTransformation) -> State:
    """A state for further training: same networks, new optimiser state, step 0."""

  def frozen(self, images: Images) -> dict[str, Any]:
    """What the step reads of the images that it trains on, beside their pixels.

    It goes into `Stage.frozen`; `batch["index"]["x_p"]` has the places of a batch.
    """

  def make_step(self, tx: optax.GradientTransformation, views: Views,
                plan: Plan) -> Step:
    """The training step."""

  def chance_loss(self, batch_size: int) -> float | None:
    """The loss once F has the same features for all images.

    Args:
      batch_size: images in a step.

    Returns:
      The loss in nats, such as log(K + 1) of MoCo with K keys in its queue; None if a
      collapse does not show in the loss.
    """

  def encoder_variables(self, state: State) -> PyTree:
    """F's Flax variables in a state."""

  def project(self, state: State, images: jax.Array) -> jax.Array:
    """H(F(x)) in inference mode: [b, H, W, C] in [0, 1] -> [b, D], of unit length."""


class Method(Protocol):
  """A method of one of the papers: a module with these members (methods/__init__.py).

  Attributes:
    STAGES: names of the stages, as in config.stages, in order.
  """
  STAGES: tuple[str, ...]

  def problems(self, config: Config, devices: int) -> Iterator[str]:
    """Conflicts between settings, one line each."""

  def data_problems(self, config: Config, task: Task) -> Iterator[str]:
    """Conflicts between settings and the loaded images, one line each."""

  def data_warnings(self, config: Config, task: Task) -> Iterator[str]:
    """What these settings do badly on the loaded images, one line each."""

  def trained_sections(self, config: Config) -> tuple[str, ...]:
    """The config sections that describe trained stages."""

  def reads_finetune(self, stage: str, values: Mapping[str, Any]) -> bool:
    """Whether a trained stage depends on X̃_f; `values` are a config's JSON values."""

  def read_only(self, config: Config) -> list[str]:
    """Stages that a command starts from or evaluates, but neither trains nor copies."""

  def run(self, run: Run) -> dict[str, Any] | None:
    """Runs the selected stages, each from where it stopped.

    Returns:
      The contents of results.json, or None if `evaluate` was not selected.

    Raises:
      UserError, Preempted, NonFiniteError: see `loop.train`.
    """
