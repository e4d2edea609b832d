"""The stages of CRL-TAC, built from the config.

    tac          trains an encoder and P(T|X) in turn
    simclr       trains an encoder alone, with P uniform; same steps, crops and images
    simclr_own   the same with its own windows, batch size and temperature
"""

import dataclasses
import functools

import jax

from augment_gen.augment.crops import CropGrid
from augment_gen.config import Config, TacConfig
from augment_gen.data.feed import ImageFeed
from augment_gen.data.task import Task
from augment_gen.methods import building
from augment_gen.models import norm
from augment_gen.models.build import build_encoder, dtype_of
from augment_gen.models.heads import HIDDEN, ProjectedEncoder, ProjectionHead
from augment_gen.models.policy import CropDistribution
from augment_gen.run.loop import Stage
from augment_gen.run.random import stream
from augment_gen.steps import crl_tac as crl_tac_step


def settings(config: Config, name: str) -> TacConfig:
  """The training settings of a stage.

  Args:
    config: the run's config.
    name: "tac", "simclr" or "simclr_own". With the settings of the last two, phase
      (a) is SimCLR with τ = 1/β.
  """
  tac = config.tac
  if name == "tac":
    return tac
  policy = dataclasses.replace(tac.policy, z="mean")
  simclr = dataclasses.replace(tac, numerator="jensen", policy=policy)
  if name == "simclr":
    return simclr
  own = tac.simclr
  return dataclasses.replace(
      simclr, crop=own.crop, stride=own.stride, scales=own.scales,
      batch_size=own.batch_size, draws=own.draws,
      policy=dataclasses.replace(policy, beta=own.beta))


def crop_grid(config: Config, name: str = "tac") -> CropGrid:
  """The windows of a stage."""
  tac = settings(config, name)
  return CropGrid(config.data.side, tac.crop, tac.stride, tac.scales)


@functools.cache
def networks(config: Config, name: str = "tac") -> crl_tac_step.Networks:
  """h and P; cached, so that they are compiled once per run."""
  grid = crop_grid(config, name)
  return crl_tac_step.Networks(
      encoder=ProjectedEncoder(
          # An image's crops are positives and lie on one device: with statistics per
          # device, batch norm would tell them apart from negatives.
          build_encoder(config, norm.ALL_DEVICES),
          ProjectionHead(config.tac.dim, HIDDEN[config.tac.head], dtype_of(config))),
      policy=CropDistribution(
          grid, width=config.tac.policy.width,
          scale_mass=config.tac.scale_mass, mean=config.data.mean,
          std=config.data.std, dtype=dtype_of(config)),
      grid=grid)


def encoder_variables(state: crl_tac_step.TacState) -> dict:
  """The Flax variables of h in a state."""
  return {"params": state.encoder.params,
          "batch_stats": state.encoder.batch_stats}


def images_per_step(config: Config, name: str) -> tuple[int, int]:
  """Crops that a step encodes with a gradient, and without one (in phase (b))."""
  if name == "untrained":
    return 0, 0
  stage = settings(config, name)
  judged = (stage.policy.batch or stage.batch_size) * stage.policy.draws
  return stage.batch_size * stage.draws, judged if name == "tac" else 0


def train(config: Config, task: Task, name: str) -> Stage:
  """The stage that trains h with P(T|X), or SimCLR.

  SimCLR is the same step with P uniform and the lower bound of (2) (see
  `losses.information`). "simclr" has the same encoder, initial weights, images and
  number of crops; "simclr_own" differs where `settings` says so.

  Args:
    config: the run's config.
    task: the images; X is `pretrain`.
    name: the stage's name: "tac", "simclr" or "simclr_own".
  """
  stage, learned = settings(config, name), name == "tac"
  nets = networks(config, name)
  feed = ImageFeed(
      {"x_p": task.pretrain}, stage.batch_size, config.seed, "tac", config.data)
  per_epoch = feed.steps_per_epoch["x_p"]
  steps = building.total_steps(stage.epochs, stage.steps, per_epoch)
  txs = {"encoder": building.optimizer(stage.optimizer, steps, per_epoch),
         "policy": building.optimizer(stage.policy.optimizer, steps, per_epoch)}
  key = stream(jax.random.key(config.seed), "tac")
  return Stage(
      name=name,
      state=crl_tac_step.init(nets, txs, building.image_shape(config), key),
      step=crl_tac_step.make_step(nets, txs, stage, learned, steps),
      frozen={}, feed=feed, total_steps=steps, key=key,
      show=("encoder/information", *(
          ("policy/information", "policy/entropy", "policy/mass_on_content")
          if learned else ())))
