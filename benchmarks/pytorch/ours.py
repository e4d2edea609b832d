"""This project's sides: its own steps, jitted and mapped over one device."""

from collections.abc import Sequence
import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from augment_gen.augment.recipes import augment_batch
from augment_gen.augment.recipes import recipe as find_recipe
from augment_gen.data.base import ImageSet
from augment_gen.data.task import Task
from augment_gen.evaluate import logistic
from augment_gen.evaluate.knn import knn_predict
from augment_gen.methods import building
from augment_gen.methods.augmentation_generator import stages
from augment_gen.methods.crl_tac import stages as crl_tac_stages
from augment_gen.methods.pretrainers import pretrainer
from augment_gen.run import parallel
from augment_gen.run.contracts import Plan, Stage
from augment_gen.run.random import example_keys
from pytorch.inputs import classified, logistic_objective, on_canvas, pictures, read_config
from pytorch.turns import Block

Precision = Literal["float32", "bf16"]


def moco(config: Sequence[str], views: str, device: str, precision: Precision) -> Block:
  """Steps of MoCo.

  Args:
    config: arguments of the command line.
    views: "given" for two fixed batches, or "recipe" for the config's recipe on images
      that the feed picks.
    device: "cpu" or "cuda".
    precision: see `config.precision`.
  """
  del device  # is set in the environment
  settings = dataclasses.replace(read_config(config), precision=precision)
  stage, data = settings.pretrain, settings.data
  size, batch = data.side, stage.batch_size
  built = stages.pretrain(
      settings, _task(pictures(4 * batch, size, data.channels, seed=0)), devices=1)
  if views == "given":
    method = pretrainer(settings, 1)
    plan = Plan(stage.optimizer, built.total_steps, built.feed.steps_per_epoch["x_p"],
                stage.recipe)
    given = lambda frozen, batch, key: (frozen["view_q"], frozen["view_k"])
    pair = [jnp.asarray(pictures(batch, size, data.channels, seed=seed), jnp.float32) / 255
            for seed in (1, 2)]
    built = dataclasses.replace(
        built, step=method.make_step(method.optimizer(plan), given, plan),
        frozen=dict(zip(("view_q", "view_k"), pair)))
  return Block(_steps(built))


def generator(config: Sequence[str], device: str, precision: Precision) -> Block:
  """Steps of Algorithm 1; F is random. Arguments as for `moco`."""
  del device
  settings = dataclasses.replace(read_config(config), precision=precision)
  data, method = settings.data, pretrainer(settings, 1)
  shape = (4 * settings.generator.batch_size, data.side, data.channels)
  tx = building.optimizer(settings.pretrain.optimizer, 1, 1)
  pretrained = method.init(tx, jax.random.key(0))
  return Block(_steps(stages.generator(
      settings, _task(pictures(*shape, seed=1), pictures(*shape, seed=2)), pretrained)))


def crl_tac(config: Sequence[str], device: str, precision: Precision) -> Block:
  """Steps of CRL-TAC, both phases. Arguments as for `moco`."""
  del device
  settings = dataclasses.replace(read_config(config), precision=precision)
  images = on_canvas(4 * settings.tac.batch_size, settings.data.side,
                     settings.data.image_size, seed=0)
  return Block(_steps(crl_tac_stages.train(settings, _task(images), "tac")))


def probe(count: int, dim: int, classes: int, strength: float, iterations: int,
          device: str, precision: Precision) -> Block:
  """Fits of the L2 probe, with a fixed number of iterations."""
  del device, precision
  x, labels = classified(count, dim, classes, seed=0)
  chunks = logistic.to_chunks(
      np.concatenate([x, np.ones((count, 1), np.float32)], axis=1), labels)
  fitted: list[Any] = []

  def run(steps: int) -> None:
    for _ in range(steps):
      # No progress is below this tolerance, so all iterations are done.
      fitted[:] = logistic.minimise(
          jnp.zeros((dim + 1, classes)), chunks, strength, iterations, -1.0)
      jax.block_until_ready(fitted)

  def tell():
    weights = np.asarray(fitted[0])
    value = logistic_objective(x, labels, weights[:-1], weights[-1], strength)
    return f"objective {value:.5f} after {int(fitted[1])} iterations"
  return Block(run, tell=tell, least=1)


def knn(count: int, queries: int, dim: int, classes: int, k: int, temperature: float,
        device: str, precision: Precision) -> Block:
  """Predictions by nearest neighbours."""
  del device, precision
  (train, labels), (test, truth) = (
      classified(n, dim, classes, seed=seed) for n, seed in ((count, 0), (queries, 1)))
  found = [truth]

  def run(steps: int) -> None:
    for _ in range(steps):
      found[:] = [knn_predict(train, labels, test, classes, k, temperature)]
  return Block(run, tell=lambda: f"accuracy {100 * np.mean(found[0] == truth):.2f} %")


def augment(recipe: str, size: int, channels: int, batch: int, device: str,
            precision: Precision) -> Block:
  """A recipe on batches of uint8 images."""
  del device, precision
  images = jnp.asarray(pictures(batch, size, channels, seed=0))
  key = jax.random.key(0)

  @jax.jit
  def augmented(key, step, images):
    x = images.astype(jnp.float32) / 255
    keys = example_keys(jax.random.fold_in(key, step), "view", len(x))
    return augment_batch(find_recipe(recipe), keys, x)

  def run(steps: int) -> None:
    for step in range(steps):
      jax.block_until_ready(augmented(key, step, images))
  return Block(run)


def _task(pretrain: np.ndarray, finetune: np.ndarray | None = None) -> Task:
  """A task of unlabelled images, uint8 [N, H, W, C]; X_p stands in for a missing X̃_f."""
  x_p, x_f = (ImageSet("random", images, None, ())
              for images in (pretrain, pretrain if finetune is None else finetune))
  return Task(x_p, x_f, finetune_clean=None, tests={}, num_classes=0, fingerprints={})


def _steps(stage: Stage):
  """Builds the function that runs some of a stage's steps, as the loop does."""
  mesh = parallel.make_mesh(jax.devices()[:1])
  mapped = parallel.map_step(stage.step, mesh, stage.feed.fetch)
  state, frozen, resident, key = (
      parallel.replicate(tree, mesh)
      for tree in (stage.state, stage.frozen, stage.feed.resident, stage.key))
  done = 0

  def run(steps: int) -> None:
    nonlocal state, done
    metrics = None
    for _ in range(steps):
      host_batch = parallel.shard(stage.feed.host_batch(done), mesh)
      state, metrics = mapped(state, frozen, resident, host_batch, key)
      done += 1
    jax.block_until_ready((state, metrics))
  return run
