"""The stages of CRL-TAC, built from the config.

    tac       an encoder and P(T|X), trained in turn
    simclr    an encoder alone, with as many steps, crops and images, P uniform
"""

import dataclasses
import functools

import jax

from augment_gen.augment.crops import CropGrid
from augment_gen.config import Config, TacConfig
from augment_gen.data.feed import ResidentFeed, fetch
from augment_gen.data.task import Task
from augment_gen.models import norm
from augment_gen.models.build import build_encoder
from augment_gen.models.channel import CropDistribution
from augment_gen.models.heads import (
    HIDDEN, ProjectedEncoder, ProjectionHead)
from augment_gen.random import stream
from augment_gen.stages import common
from augment_gen.steps import tac as tac_step
from augment_gen.training import Stage


def crop_grid(config: Config) -> CropGrid:
  tac = config.tac
  return CropGrid(config.data.side, tac.crop, tac.stride, tac.scales)


@functools.cache
def networks(config: Config) -> tac_step.Networks:
  """h and P; cached, so that what compiles them compiles them once a run."""
  grid = crop_grid(config)
  return tac_step.Networks(
      encoder=ProjectedEncoder(
          # An image's crops, its positives, lie on one device.
          build_encoder(config.encoder, config.data, norm.ALL_DEVICES),
          ProjectionHead(config.tac.dim, HIDDEN[config.tac.head])),
      channel=CropDistribution(
          grid, width=config.tac.channel.width,
          scale_mass=config.tac.scale_mass, mean=config.data.mean,
          std=config.data.std),
      grid=grid)


def encoder_variables(state: tac_step.TacState) -> dict:
  """h of a state, as Flax variables."""
  return {"params": state.encoder.params,
          "batch_stats": state.encoder.batch_stats}


def simclr(stage: TacConfig) -> TacConfig:
  """The settings with which phase (a) is SimCLR; its τ is 1/β."""
  channel = dataclasses.replace(stage.channel, z="mean")
  return dataclasses.replace(stage, numerator="jensen", channel=channel)


def train(config: Config, task: Task, learned: bool) -> Stage:
  """Trains h with P(T|X), or SimCLR.

  SimCLR is the same step with P uniform and the lower bound of (2) (see
  `losses.information`): same encoder, initial weights, images, number of crops.

  Args:
    config: of the run.
    task: the images; X is `pretrain`.
    learned: P, or leave it uniform.
  """
  stage = config.tac
  name = "tac" if learned else "simclr"
  nets = networks(config)
  images = task.pretrain.images
  per_epoch = len(images) // stage.batch_size
  steps = common.total_steps(stage.epochs, stage.steps, per_epoch)
  txs = {"encoder": common.optimizer(stage.optimizer, steps, per_epoch),
         "channel": common.optimizer(
             stage.channel.optimizer, steps, per_epoch)}
  key = stream(jax.random.key(config.seed), "tac")
  return Stage(
      name=name,
      state=tac_step.init(nets, txs, stage, common.image_shape(config), key),
      step=tac_step.make_step(nets, txs, stage if learned else simclr(stage),
                              learned, steps),
      frozen={"images": {"x_p": images}},
      feed=ResidentFeed({"x_p": len(images)}, stage.batch_size,
                        seed=config.seed, stage="tac"),
      fetch=fetch, total_steps=steps, batch_size=stage.batch_size, key=key,
      show=("encoder/information", *(
          ("channel/information", "channel/entropy", "channel/mass_on_content")
          if learned else ())))
