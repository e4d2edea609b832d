"""The stages that a command would train, as shapes: nothing is computed or compiled."""

from collections.abc import Callable, Iterator
import dataclasses
import functools
import pathlib
from typing import Any

import jax

from augment_gen.config import Config, names
from augment_gen.data.task import Task
from augment_gen.methods import building, METHODS
from augment_gen.methods.augmentation_generator import stages as augmentation_generator
from augment_gen.methods.crl_tac import stages as crl_tac
from augment_gen.run.checkpoint import Checkpoints
from augment_gen.run.contracts import Feed, is_chosen, Stage

# (images, states of the stages before, by name) -> the stage. Where states are shapes, so
# is what it is made of.
Make = Callable[[Task, dict[str, Any]], Stage]


@dataclasses.dataclass(frozen=True)
class Outline:
  """A stage before it is built.

  Attributes:
    name: see `contracts.Stage`.
    state: its state as `jax.ShapeDtypeStruct`s.
    feed: its feed.
    steps: number of steps.
    done: steps that the run folder has already.
    source: the folder of the run that it is taken over from; "": none.
    make: builds it, from arrays.
    like: name of the stage whose steps take as long; its own if they are to be measured.
    wanted: whether the command trains it.
  """
  name: str
  state: Any
  feed: Feed
  steps: int
  done: int
  source: str
  make: Make
  like: str
  wanted: bool

  @property
  def left(self) -> int:
    """Steps that are still to be trained."""
    return max(0, self.steps - self.done) if self.wanted and not self.source else 0


def stages(config: Config, task: Task, devices: int, workdir: pathlib.Path | None
           ) -> list[Outline]:
  """The stages that a command trains, in order, and those that they start from.

  Args:
    config: the run's config.
    task: its images.
    devices: number of devices.
    workdir: its folder, which need not exist; None: it is new.
  """
  entries = (_of_augmentation_generator(config, devices)
             if config.method == "augmentation_generator" else _of_crl_tac(config))
  found: list[Outline] = []
  for name, entry in entries.items():
    kept: list[Stage] = []

    def build(states, entry=entry, kept=kept):
      kept.append(entry.shapes(task, states))
      return kept[0].state

    state = jax.eval_shape(build, {outline.name: outline.state for outline in found})
    done = 0
    if workdir is not None:
      there = Checkpoints(workdir / "checkpoints" / name, keep=1).steps()
      done = there[-1] if there else 0
    found.append(Outline(name, state, kept[0].feed, kept[0].total_steps, done,
                         "" if done else entry.source, entry.make, entry.like,
                         is_chosen(config, name.partition("-")[0])))
  return found


@dataclasses.dataclass(frozen=True)
class _Entry:
  """How a stage is made, see `Outline`; `shapes` is `make` for shapes."""
  make: Make
  shapes: Make
  like: str
  source: str = ""


def _of_augmentation_generator(config: Config, devices: int) -> dict[str, _Entry]:
  """The stages by name."""
  arms = names(config.retrain.arms)
  of_generator = config.generator.from_run
  pretrain: Make = lambda task, states: augmentation_generator.pretrain(
      config, task, devices)
  found = {"pretrain": _Entry(pretrain, pretrain, "pretrain",
                              of_generator or config.pretrain.from_run)}
  if is_chosen(config, "generator") or (
      not set(arms).isdisjoint(augmentation_generator.GENERATOR_ARMS)):
    found["generator"] = _Entry(
        lambda task, states: augmentation_generator.generator(
            config, task, states["pretrain"]),
        lambda task, states: augmentation_generator.generator(config, task, None),
        "generator", of_generator)

  def retrain(arm: str) -> Make:
    return lambda task, states: augmentation_generator.retrain(
        config, task, devices, arm, states["pretrain"], states.get("generator"))

  slowest = next((arm for arm in arms if arm in augmentation_generator.GENERATOR_ARMS),
                 arms[0] if arms else "")
  for arm in arms:
    # All arms have the state of "control", but for P(z|x) of "policy", which is small.
    # What they add would have to be computed.
    found[f"retrain-{arm}"] = _Entry(retrain(arm), retrain("control"),
                                     f"retrain-{slowest}")
  return found


def _of_crl_tac(config: Config) -> dict[str, _Entry]:
  """The stages by name."""
  chosen = [name for name in ("simclr", "simclr_own") if name in names(config.tac.controls)]
  found = {}
  for name in [*chosen, "tac"]:
    make = functools.partial(_train_crl_tac, config, name)
    found[name] = _Entry(make, make, name)
  return found


def _train_crl_tac(config: Config, name: str, task: Task, states: dict[str, Any]) -> Stage:
  del states  # every stage starts anew
  return crl_tac.train(config, task, name)


def divisions(config: Config, devices: int) -> Iterator[str]:
  """How batches, batch-norm groups and queues divide; that they do is checked before."""
  sections = METHODS[config.method].trained_sections(config)
  for section in sections:
    batch = building.setting(config, f"{section}.batch_size")
    text = f"{section}.batch_size: {batch} = {devices} devices × {batch // devices} images"
    if section in ("pretrain", "retrain"):
      if config.pretrain.method == "moco_v2":
        groups, queue = config.moco.bn_groups, config.moco.queue
        text += (f"; {groups} batch-norm groups of {batch // groups} images; a queue of "
                 f"{queue // batch} batches")
      elif config.pretrain.method == "swav" and config.swav.queue:
        text += f"; a queue of {config.swav.queue // batch} batches"
    if section in ("pretrain", "generator", "retrain") and (
        part := building.setting(config, f"{section}.micro_batch")):
      text += f"; {batch // devices // part} parts of {part} images one after the other"
    yield text
