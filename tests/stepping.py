"""Steps of real stages, as the loop takes them."""

import jax

from augment_gen.data.task import load_task
from augment_gen.methods.augmentation_generator import stages as generator
from augment_gen.methods.crl_tac import stages as crl_tac
from augment_gen.run import parallel


def stage_of(config, kind):
  """The stage "pretrain", "generator" (with F as it is before training) or "tac"."""
  task = load_task(config.data)
  if kind == "tac":
    return crl_tac.train(config, task, kind)
  stage = generator.pretrain(config, task, 1)
  if kind == "pretrain":
    return stage
  return generator.generator(config, task, jax.device_get(stage.state))


def take(stage, steps=1, devices=1):
  """The state and the metrics after some steps, on the host."""
  mesh = parallel.make_mesh(jax.devices()[:devices])
  step = parallel.map_step(stage.step, mesh, stage.feed.fetch)
  state, frozen, resident, key = parallel.replicate(
      (stage.state, stage.frozen, stage.feed.resident, stage.key), mesh)
  for t in range(steps):
    host_batch = parallel.shard(stage.feed.host_batch(t), mesh)
    state, metrics = step(state, frozen, resident, host_batch, key)
  return jax.device_get((state, metrics))
