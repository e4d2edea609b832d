"""Micro-batches of whole stages, from the config to the step and to what is counted."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stepping import take

from augment_gen.config.command_line import parse
from augment_gen.data.task import load_task
from augment_gen.methods.augmentation_generator import stages
from augment_gen.run import parallel
from augment_gen.run.profile import step_flops
from augment_gen.steps import views

ROOT = pathlib.Path(__file__).parents[2]


def pretrain(micro_batch, devices):
  """Stage 1 with two batch-norm groups of 8 images on each of two devices."""
  config = parse([
      "main.py", f"--config={ROOT}/configs/quickstart.py:runlocal", "--workdir=unused",
      "--config.encoder.blocks=(1,)", "--config.pretrain.batch_size=32",
      "--config.moco.bn_groups=4", f"--config.pretrain.micro_batch={micro_batch}"]).config
  return stages.pretrain(config, load_task(config.data), devices)


@pytest.mark.parametrize("devices, size", [(1, 16), (2, 8)])
def test_stage_1_in_parts_is_stage_1(devices, size):
  whole, metrics = take(pretrain(0, devices), devices=devices)
  divided, found = take(pretrain(size, devices), devices=devices)
  for a, b in zip(jax.tree.leaves((whole, metrics)), jax.tree.leaves((divided, found)),
                  strict=True):
    np.testing.assert_allclose(b, a, rtol=2e-3, atol=2e-4)


def test_operations_are_those_of_all_parts():
  mesh = parallel.make_mesh(jax.devices()[:1])

  def counted(stage, step):
    args = parallel.replicate((stage.state, stage.frozen, stage.feed.resident), mesh)
    batch = parallel.shard(stage.feed.host_batch(0), mesh)
    return step_flops(parallel.map_step(step, mesh, stage.feed.fetch),
                      (*args, batch, stage.key), 1)

  whole, divided = pretrain(0, 1), pretrain(8, 1)
  assert whole.undivided is None
  expected = counted(whole, whole.step)
  assert counted(divided, divided.undivided) == pytest.approx(expected, rel=0.01)
  assert counted(divided, divided.step) < 0.9 * expected  # XLA counts a loop's body once


@pytest.mark.parametrize("images, most", [(8, 2), (7, 7)])
def test_g_a_gets_no_more_images_at_once_in_re_training(images, most):
  seen = []

  class Darker:

    @staticmethod
    def apply(params, x, z):
      seen.append(len(x))
      return x * z[:, :1, None, None]

  x, frozen = jnp.ones((images, 2, 2, 1)), {"augmenter": {}}
  both = [views.learned_second(Darker, 1, False, size)(frozen, x, jax.random.key(0))
          for size in (0, 2)]
  np.testing.assert_array_equal(*both)
  assert seen == [images, most]
