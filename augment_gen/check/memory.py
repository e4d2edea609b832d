"""What the stages of a run need, from the shapes of their states."""

from collections.abc import Iterator, Sequence
import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from augment_gen.check.outline import Outline
from augment_gen.config import Config
from augment_gen.data.feed import on_devices
from augment_gen.data.task import Task
from augment_gen.methods import building
from augment_gen.models.build import build_encoder
from augment_gen.run import parallel
from augment_gen.steps import frozen_encoder
from augment_gen.steps.state import NetState

# Fields of states -> what the papers call them.
_NAMES = {
    "net": "F with its head", "query": "F with its head", "key_params": "F of the keys",
    "key_batch_stats": "statistics of the keys",
    "target_params": "target network", "queue": "queue", "augmenter": "G_A",
    "eliminator": "G_E and G_L", "disc_f": "D_f", "disc_p": "D_p",
    "encoder": "h", "policy": "P(T|X)"}
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def lines(config: Config, task: Task, found: Sequence[Outline]) -> Iterator[str]:
  """Parameters and memory of all players, and of what lies on each device beside them."""
  image = jax.ShapeDtypeStruct((1, *building.image_shape(config)), jnp.float32)
  variables = jax.eval_shape(
      lambda x: build_encoder(config).init(jax.random.key(0), x, train=False), image)
  yield f"F alone: {_parameters(variables['params'])} parameters"
  seen: set[str] = set()
  for outline in found:
    kind = outline.name.partition("-")[0]
    if kind in seen or not outline.wanted:
      continue
    seen.add(kind)
    yield f"{kind}{'-…' if '-' in outline.name else ''}: a state of " \
          f"{size(nbytes(outline.state))}"
    for field in dataclasses.fields(outline.state):
      if words := _player(getattr(outline.state, field.name)):
        yield f"  {_NAMES.get(field.name, field.name)}: {words}"
  sets = {"X_p": task.pretrain, "X̃_f": task.finetune}
  resident = {name: values.nbytes for name, values in on_devices(sets, config.data).items()}
  for name, images in sets.items():
    yield f"{name}: " + (
        f"{size(resident[name])} on each device" if name in resident
        else "read as it is needed" if images.resident is None
        else f"{size(images.resident.nbytes)} of the host's memory, sent as it is needed")
  wanted = [outline for outline in found if outline.wanted]
  total = max((nbytes(outline.state) for outline in wanted), default=0) + sum(
      resident.values())
  if any(outline.name == "generator" for outline in wanted):
    see = frozen_encoder.make_see(
        build_encoder(config), config.generator.discriminator.features)
    features = jax.eval_shape(see, variables, image)[0]  # [1, D]
    embedded = sum(nbytes(features) * len(images) for images in sets.values()
                   if images.resident is not None)
    total += embedded
    yield f"embeddings of the sets in memory, in stage 2: {size(embedded)}"
  copies = parallel.host_copies(jax.device_count())
  yield (f"together up to {size(total)} on each device"
         + (f", that is, {size(copies * total)} of this machine's memory" if copies else "")
         + ", and what a step computes in between")


def checkpoint_bytes(config: Config, found: Sequence[Outline]) -> int:
  """Bytes of the checkpoints that are still to be written, one unfinished among them."""
  states = [nbytes(outline.state) for outline in found if outline.left]
  return config.log.keep_checkpoints * sum(states) + max(states, default=0)


def nbytes(shapes: Any) -> int:
  """Bytes of a tree of arrays or shapes."""
  return sum(math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize
             for leaf in jax.tree.leaves(shapes))


def size(count: float) -> str:
  """Bytes in words, such as "45.2 MiB"."""
  unit = 0
  while count >= 1024 and unit < len(_UNITS) - 1:
    count, unit = count / 1024, unit + 1
  return f"{count:.0f} B" if unit == 0 else f"{count:.3g} {_UNITS[unit]}"


def _player(value: Any) -> str:
  """A field of a state in words; "" for counters."""
  if isinstance(value, NetState):
    parts = {"weights": value.params, "optimiser": value.opt_state,
             "statistics": value.batch_stats, "EMA": value.ema}
    return f"{_parameters(value.params)} parameters; " + ", ".join(
        f"{name} {size(nbytes(tree))}" for name, tree in parts.items() if nbytes(tree))
  return size(nbytes(value)) if nbytes(value) > 4 else ""


def _parameters(tree: Any) -> str:
  count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
  for limit, unit in ((1e6, "M"), (1e3, "k")):
    if count >= limit:
      return f"{count / limit:.3g} {unit}"
  return str(count)
