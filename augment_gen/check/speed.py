"""How long the stages of a run take, from a few of their steps."""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import dataclasses
import time
from typing import Any

import jax
import numpy as np

from augment_gen.check.memory import size
from augment_gen.check.outline import Outline
from augment_gen.config import Config
from augment_gen.data.base import ImageSet
from augment_gen.data.task import Task
from augment_gen.run import parallel
from augment_gen.run.contracts import Stage
from augment_gen.run.progress import duration, FASTER_READING
from augment_gen.run.session import Checked

_SECONDS, _STEPS = 3.0, 10  # of a stage that are measured, whichever ends first
_READ_SECONDS, _READ_BATCHES = 5.0, 16


@dataclasses.dataclass(frozen=True)
class Time:
  """What a stage was measured to take, in seconds: compiling, and one step."""
  compiling: float
  step: float


def lines(config: Config, found: Checked, stages: Sequence[Outline],
          times: dict[str, Time]) -> Iterator[str]:
  """Runs a few steps of each kind of stage on some of the images.

  Args:
    config: the run's config.
    found: devices and images.
    stages: those that the command trains.
    times: is filled, by the name of the stage.
  """
  reading = {outline.name: _images_per_second(outline) for outline in stages
             if outline.left and outline.feed.streamed}
  task = _few(config, found.task)
  states: dict[str, Any] = {}
  likes = {outline.like for outline in stages if outline.left}
  for place, outline in enumerate(stages):
    if outline.like != outline.name:
      continue
    if likes.isdisjoint(other.name for other in stages[place:]):
      break
    stage = outline.make(task, states)
    states[outline.name] = jax.device_get(stage.state)  # a step donates its buffers
    if outline.name not in likes:
      continue
    times[outline.name], memory = _measured(stage, found.mesh)
    batch = stage.feed.batch_size
    took = times[outline.name]
    yield (f"{outline.name}: {took.step:.3g} s a step, {batch / took.step:.0f} images/s; "
           f"compiled in {took.compiling:.0f} s{memory}")
    rate = reading.get(outline.name)
    if rate is not None:
      slow = rate < batch / took.step
      yield (f"  reading X_p: {rate:.0f} images/s or more; "
             + (f"WARNING: this limits the speed: {FASTER_READING}"
                if slow else "the step limits the speed, not reading"))
  if not times:
    yield "nothing is left to train"


def plan(stages: Sequence[Outline], times: Mapping[str, Time]) -> Iterator[str]:
  """The stages with their lengths and, if they were measured, the time that they take."""
  total, known = 0.0, True
  for outline in stages:
    if not outline.wanted:
      continue
    feed = outline.feed
    epochs = outline.steps / feed.steps_per_epoch["x_p"]
    words = (f"{outline.name}: {outline.steps} steps of {feed.batch_size} images, "
             f"{epochs:.3g} epochs of X_p")
    took = times.get(outline.like)
    if outline.source:
      words += f"; taken over from {outline.source}"
    elif not outline.left:
      words += "; done"
    else:
      if outline.done:
        words += f"; {outline.left} left"
      if took is None:
        known = False
      else:
        seconds = took.compiling + outline.left * took.step
        total += seconds
        words += f"; about {duration(seconds)}"
        if outline.like != outline.name:
          words += f", if it is as fast as {outline.like}"
    yield words
  if known and total:
    yield (f"together about {duration(total)}, and the time of measurements during "
           "training, of figures and of the evaluation")


def _measured(stage: Stage, mesh: jax.sharding.Mesh) -> tuple[Time, str]:
  """The time of a step on arrays that are there, and the memory that it takes, in words."""
  mapped: Any = parallel.map_step(stage.step, mesh, stage.feed.fetch)
  state, frozen, resident, key = (parallel.replicate(tree, mesh) for tree in (
      stage.state, stage.frozen, stage.feed.resident, stage.key))
  with contextlib.closing(stage.feed):
    batch = parallel.shard(stage.feed.host_batch(0), mesh)
    began = time.monotonic()
    step = mapped.lower(state, frozen, resident, batch, key).compile()
    compiling = time.monotonic() - began
    state, metrics = step(state, frozen, resident, batch, key)
    jax.block_until_ready((state, metrics))
    began, count = time.monotonic(), 0
    while count < _STEPS and (not count or time.monotonic() - began < _SECONDS):
      state, metrics = step(state, frozen, resident, batch, key)
      jax.block_until_ready(metrics)
      count += 1
    jax.block_until_ready(state)
    seconds = (time.monotonic() - began) / count
  found = step.memory_analysis()
  between = getattr(found, "temp_size_in_bytes", 0)
  return Time(compiling, seconds), (
      f"; {size(between)} in between" if between else "")


def _images_per_second(outline: Outline) -> float:
  """How fast images of X_p are read; less than in a training, which has begun to read."""
  feed = outline.feed
  with contextlib.closing(feed):
    began, count = time.monotonic(), 0
    while count < min(_READ_BATCHES, outline.steps) and (
        not count or time.monotonic() - began < _READ_SECONDS):
      feed.host_batch(count)
      count += 1
    return count * feed.batch_size / (time.monotonic() - began)


def _few(config: Config, task: Task) -> Task:
  """A task with as many images as some batches need: stage 2 embeds them all."""
  batch = max(config.pretrain.batch_size, config.generator.batch_size,
              config.retrain.batch_size, config.tac.batch_size,
              config.tac.simclr.batch_size)

  def few(images):
    if not isinstance(images, ImageSet) or len(images) <= 2 * batch:
      return images
    return images.select(np.arange(2 * batch))

  clean = task.finetune_clean
  return dataclasses.replace(
      task, pretrain=few(task.pretrain), finetune=few(task.finetune),
      finetune_clean=clean and few(clean))
