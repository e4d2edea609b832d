"""Every config at full size, traced but not computed."""

import pathlib

import jax
import pytest
from tracing import generator_step, task_of, traced_step, zeros

from augment_gen.config import names
from augment_gen.config.command_line import parse
from augment_gen.methods.augmentation_generator import stages as generator
from augment_gen.methods.crl_tac import stages as crl_tac

ROOT = pathlib.Path(__file__).parents[2]


def config_of(name, *changes):
  return parse(["main.py", f"--config={ROOT}/configs/{name}", "--workdir=unused",
                *changes]).config


def check(before, after, metrics):
  assert jax.tree.structure(before) == jax.tree.structure(after)
  jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype) or pytest.fail(
      f"{a} became {b}"), before, after)
  assert all(value.shape == () for value in metrics.values())


@pytest.mark.parametrize("name", [
    "daiso.py", *(pytest.param(name, marks=pytest.mark.slow) for name in (
        "quickstart.py", "omniglot.py", "photos.py"))])
def test_augmentation_generator(name):
  config = config_of(name)
  task = task_of(config)
  pretrained, *after = traced_step(lambda: generator.pretrain(config, task, 1))
  check(pretrained, *after)
  trained, *after = generator_step(config, task, pretrained)
  check(trained, *after)
  check(*traced_step(lambda: generator.retrain(
      config, task, 1, "prior", zeros(pretrained), zeros(trained))))


@pytest.mark.parametrize("name", ["regional_mnist.py", "mnist.py"])
def test_crl_tac(name):
  config = config_of(name)
  task = task_of(config)
  controls = [c for c in names(config.tac.controls) if c != "untrained"]
  for stage in ("tac", *controls):
    check(*traced_step(lambda stage=stage: crl_tac.train(config, task, stage)))


def test_simclr_with_the_settings_of_its_paper():
  config = config_of("omniglot.py:simclr")
  check(*traced_step(lambda: generator.pretrain(config, task_of(config), 1)))
