"""Every stage gives the same result on one device and on several.

The networks are those of the configs, because toy networks hide differences between
devices, above all in batch norm.
"""

import functools

import jax
import numpy as np
import pytest
from stepping import take

from augment_gen.config import Config
from augment_gen.config.command_line import parse
from augment_gen.data.task import load_task
from augment_gen.methods.augmentation_generator import stages as generator
from augment_gen.methods.crl_tac import stages as tac

SLOW = pytest.mark.slow
# SGD, because Adam's first steps are full-sized even if the gradient is rounding error.
SGD = [f"--config.{section}.{field}" for section in (
    "pretrain.optimizer", "generator.optimizer", "retrain.optimizer",
    "retrain.policy.optimizer", "tac.optimizer", "tac.policy.optimizer")
       for field in ("name=sgd", "lr=0.1")]


@functools.cache
def config_of(name: str, *changes: str) -> Config:
  root = __file__.rpartition("tests")[0]
  return parse(["main.py", f"--config={root}configs/{name}.py:runlocal",
                "--workdir=unused", "--config.log.sinks=jsonl", *SGD,
                *changes]).config


@functools.cache
def task_of(config: Config):
  return load_task(config.data)


def assert_alike(make_stage, devices: int):
  """Asserts that a stage gives the same on several devices as on one."""
  one, metrics_one = take(make_stage(1), steps=2)
  many, metrics_many = take(make_stage(devices), 2, devices)
  assert metrics_one.keys() == metrics_many.keys()
  for name in metrics_one:
    np.testing.assert_allclose(
        metrics_many[name], metrics_one[name], rtol=5e-3, atol=1e-4,
        err_msg=name)
  jax.tree.map_with_path(
      lambda path, a, b: np.testing.assert_allclose(
          b, a, rtol=5e-3, atol=2e-3, err_msg=jax.tree_util.keystr(path)),
      one, many)


@pytest.mark.parametrize("name, devices", [
    pytest.param("tac", 2, marks=SLOW), ("tac", 8),
    pytest.param("simclr", 8, marks=SLOW), pytest.param("simclr_own", 8, marks=SLOW)])
def test_crl_tac(name, devices):
  config = config_of("regional_mnist")
  assert_alike(lambda n: tac.train(config, task_of(config), name), devices)


@pytest.mark.parametrize("changes", [
    (), pytest.param(("--config.pretrain.with_finetune",), marks=SLOW),
    pytest.param(("--config.pretrain.method=simclr",), marks=SLOW)])
def test_pretrain(changes):
  config = config_of("quickstart", *changes)
  assert_alike(lambda n: generator.pretrain(config, task_of(config), n), 8)


@functools.cache
def ends(config: Config):
  """The initial states of stages 1 and 2."""
  task = task_of(config)
  pretrained = jax.device_get(generator.pretrain(config, task, 1).state)
  trained = generator.generator(config, task, pretrained).state
  return pretrained, jax.device_get(trained)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["quickstart", "omniglot"])
def test_generator(name):
  config = config_of(name)
  pretrained, _ = ends(config)
  assert_alike(lambda n: generator.generator(
      config, task_of(config), pretrained), 8)


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["generator", "policy", "oracle"])
def test_retrain(arm):
  """The other arms differ from "generator" by their arrays alone."""
  order = "first" if arm == "policy" else "last"
  config = config_of(
      "quickstart", f"--config.retrain.order={order}",
      "--config.retrain.candidates=8", "--config.retrain.policy.batch=8",
      "--config.retrain.policy.draws=4")
  assert_alike(lambda n: generator.retrain(
      config, task_of(config), n, arm, *ends(config)), 8)
