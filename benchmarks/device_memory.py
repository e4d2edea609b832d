r"""What a training step takes on TPUs, by XLA's TPU compiler; needs no TPU.

    pip install "jax[tpu]"
    python benchmarks/device_memory.py --config=configs/daiso.py --devices 1 4 8

For each stage and number of devices: whether its step compiles, what lies on each device
before and after it (states, frozen networks, images and embeddings in memory), and what it
needs in between. Nothing is computed and no image is read: the sets are as large as the
config's authors have them (--x-p, --x-f), X_p is streamed. Flags after -- are those of
augment-gen train.
"""

import argparse
from collections.abc import Callable, Iterator
import dataclasses
import os
import time
from typing import Any

# Before JAX is imported: nothing is asked of a TPU.
os.environ |= {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1"}

import jax
from jax.experimental import topologies
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np
from pytorch.inputs import read_config

from augment_gen.check.memory import nbytes, size
from augment_gen.config import Config
from augment_gen.data.base import ImageSet
from augment_gen.data.task import Task
from augment_gen.methods.augmentation_generator import stages
from augment_gen.run import forms, parallel
from augment_gen.run.contracts import Stage
from augment_gen.steps import frozen_encoder

# Slices of TPU v5e, and the chips of a host.
TOPOLOGIES = {1: ("v5e:1x1", (1, 1, 1)), 4: ("v5e:2x2", (2, 2, 1)),
              8: ("v5e:2x4", (2, 2, 1))}
_IMAGENET, _DAISO = 1_281_167, 40_000  # images


@dataclasses.dataclass(frozen=True)
class Streamed:
  """A streamed set of black images."""
  size: int
  shape: tuple[int, int, int]
  name: str = "streamed"
  fingerprint: str = ""
  resident: None = None

  def __len__(self) -> int:
    return self.size

  def read(self, indices: np.ndarray) -> np.ndarray:
    return np.zeros((len(indices), *self.shape), np.uint8)


def made(config: Config, task: Task, devices: int) -> Iterator[tuple[str, Callable]]:
  """The stages by name, as functions whose arrays `jax.eval_shape` can leave out."""
  shape = task.pretrain.shape

  def pretrain() -> Stage:
    return stages.pretrain(config, task, devices)

  def generator() -> Stage:
    stage = stages.generator(config, task, None)
    nets = stages.generator_networks(config)
    variables = stages.encoder_variables(
        config, stages.pretrain(config, task, devices).state)
    see = frozen_encoder.make_see(nets.encoder, config.generator.discriminator.features)
    y, detail = see(variables, jnp.zeros((1, *shape)))
    seen = jnp.zeros(y.shape[1] + detail[0].size)
    embeddings = {name: jnp.zeros((len(images), y.shape[1]))
                  for name, images in (("x_p", task.pretrain), ("x_f", task.finetune))
                  if images.resident is not None}
    return dataclasses.replace(stage, frozen={"encoder": frozen_encoder.FrozenEncoder(
        variables, embeddings, seen, seen)})

  def retrain() -> Stage:
    before = stages.pretrain(config, task, devices).state
    trained = stages.generator(config, task, None).state
    return stages.retrain(config, task, devices, "prior", before, trained)

  yield "pretrain", pretrain
  yield "generator", generator
  yield "retrain", retrain


def compiled(make: Callable[[], Stage], mesh: Mesh) -> tuple[Any, int, int]:
  """The compiled step of a stage, and bytes of its state and of all else that it reads."""
  kept: list[Stage] = []

  def arrays():
    kept.append(make())
    return kept[0].state, kept[0].frozen, kept[0].key

  state, frozen, key = jax.eval_shape(arrays)
  feed = kept[0].feed
  shapes = lambda tree: jax.tree.map(
      lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), tree)
  on = lambda tree, spec: jax.tree.map(lambda a: jax.ShapeDtypeStruct(
      a.shape, a.dtype, sharding=NamedSharding(mesh, spec)), tree)
  resident, batch = shapes(feed.resident), shapes(feed.host_batch(0))
  feed.close()
  step = parallel.map_step(kept[0].step, mesh, feed.fetch)
  with forms.plain():  # not the forms for XLA:CPU
    lowered = step.lower(on(state, P()), on(frozen, P()), on(resident, P()),
                         on(batch, P(parallel.AXIS)), on(key, P()))
  return lowered.compile(), nbytes(state), nbytes((frozen, resident))


def main() -> None:
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--config", required=True)
  parser.add_argument("--devices", type=int, nargs="+", choices=TOPOLOGIES,
                      default=list(TOPOLOGIES))
  parser.add_argument("--stages", default="pretrain,generator,retrain")
  parser.add_argument("--x-p", type=int, default=_IMAGENET, help="images of X_p, streamed")
  parser.add_argument("--x-f", type=int, default=_DAISO, help="images of X̃_f")
  parser.add_argument("flags", nargs="*", help="after --: flags of augment-gen train")
  options = parser.parse_args()
  config = read_config([f"--config={options.config}", *options.flags])
  shape = (config.data.side, config.data.side, config.data.channels)
  black = np.broadcast_to(np.uint8(0), (options.x_f, *shape))  # takes no memory
  task = Task(Streamed(options.x_p, shape), ImageSet(
      "black", black, None, (), fingerprint="black"), None, {}, 100, {})
  print("stage, devices: state + read only + in between = together; time to compile")
  for devices in options.devices:
    slice_name, bounds = TOPOLOGIES[devices]
    topology = topologies.get_topology_desc(
        slice_name, platform="tpu", chips_per_host_bounds=bounds)
    mesh = Mesh(np.asarray(topology.devices), (parallel.AXIS,))
    for name, make in made(config, task, devices):
      if name not in options.stages.split(","):
        continue
      began = time.monotonic()
      try:
        step, state, read = compiled(make, mesh)
      except jax.errors.JaxRuntimeError as error:
        print(f"{name}, {devices}: {str(error).splitlines()[0]}", flush=True)
        continue
      between = step.memory_analysis().temp_size_in_bytes
      print(f"{name}, {devices}: {size(state)} + {size(read)} + {size(between)} = "
            f"{size(state + read + between)}; {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
  main()
