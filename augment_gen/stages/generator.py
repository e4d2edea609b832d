"""The stages of an experiment with G_A, built from the config.

    pretrain           MoCo v2 on X_p
    generator          Algorithm 1 on X_p and X̃_f, with F from `pretrain`
    retrain-ARM        MoCo v2 further, with another second view
"""

from collections.abc import Callable
import dataclasses
import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from augment_gen.augment.implicit import implicit
from augment_gen.augment.learned import match_strength
from augment_gen.augment.recipes import augment_batch, recipe
from augment_gen.config import Config
from augment_gen.data.feed import ResidentFeed, fetch
from augment_gen.data.task import Task
from augment_gen.evaluate import adabn
from augment_gen.evaluate.features import extract
from augment_gen.models.build import (
    build_discriminator, build_encoder, build_generator, generator_functions)
from augment_gen.models.channel import LatentDistribution
from augment_gen.models.heads import ProjectedEncoder, ProjectionHead
from augment_gen.random import example_keys, stream
from augment_gen.stages import common
from augment_gen.steps import channel as channel_step
from augment_gen.steps import frozen_encoder
from augment_gen.steps import generator as generator_step
from augment_gen.steps import latent_channel
from augment_gen.steps import moco as moco_step
from augment_gen.steps import views
from augment_gen.training import Stage

# Arms of stage 3 that need stage 2.
GENERATOR_ARMS = ("generator", "prior", "channel", "random")
ARMS = (*GENERATOR_ARMS, "control", "oracle")
_STRENGTH_IMAGES = 512  # that an untrained G_A is matched on
_STANDARD_IMAGES = 1024  # of each set, for the scale of detail


def moco_net(config: Config, devices: int) -> ProjectedEncoder:
  """H∘F; each device has its share of the batch-norm groups."""
  encoder = build_encoder(
      config.encoder, config.data, bn_groups=config.moco.bn_groups // devices)
  return ProjectedEncoder(encoder, ProjectionHead(config.moco.dim))


def encoder_variables(
    state: moco_step.MocoState | latent_channel.LatentChannelState) -> dict:
  """F's part of a state, as Flax variables."""
  if isinstance(state, latent_channel.LatentChannelState):
    state = state.moco
  variables = {"params": state.query.params["encoder"]}
  if state.query.batch_stats:
    variables["batch_stats"] = state.query.batch_stats["encoder"]
  return variables


@functools.cache
def encode(config: Config):
  """`(variables, images [b, H, W, C] in [0, 1]) -> F(images) [b, D]`.

  Cached, so that what compiles it compiles it once a run.
  """
  encoder = build_encoder(config.encoder, config.data, bn_groups=1)
  return lambda variables, images: encoder.apply(
      variables, images, train=False)[0]


@functools.cache
def batch_statistics(config: Config):
  """See `adabn.make_batch_statistics`; cached as `encode`."""
  return adabn.make_batch_statistics(
      build_encoder(config.encoder, config.data, bn_groups=1))


def pretrain(config: Config, task: Task, devices: int) -> Stage:
  """Stage 1."""
  images = task.pretrain.images
  if config.pretrain.with_finetune:
    images = np.concatenate([images, task.finetune.images])
  net = moco_net(config, devices)
  stage = config.pretrain
  per_epoch = len(images) // stage.batch_size
  steps = common.total_steps(stage.epochs, stage.steps, per_epoch)
  tx = common.optimizer(stage.optimizer, steps, per_epoch)
  key = stream(jax.random.key(config.seed), "pretrain")
  return Stage(
      name="pretrain",
      state=moco_step.init(net, tx, config.moco, common.image_shape(config), key),
      step=moco_step.make_step(
          net, tx, config.moco, views.hand_made(recipe(stage.recipe))),
      frozen={"images": {"x_p": images}},
      feed=ResidentFeed({"x_p": len(images)}, stage.batch_size,
                        seed=config.seed, stage="pretrain"),
      fetch=fetch, total_steps=steps, batch_size=stage.batch_size, key=key,
      show=("loss", "accuracy"))


def generator_networks(config: Config) -> generator_step.Networks:
  augmenter, eliminator = build_generator(config.generator, config.data)
  return generator_step.Networks(
      encoder=build_encoder(config.encoder, config.data, bn_groups=1),
      augmenter=augmenter, eliminator=eliminator,
      discriminator=build_discriminator(config.generator.discriminator))


def generator(config: Config, task: Task,
              pretrained: moco_step.MocoState | None) -> Stage:
  """Stage 2.

  F is frozen and sees X_p and X̃_f as they are, so these are embedded once.

  Args:
    config: of the run.
    task: the images.
    pretrained: the end of stage 1; None if only the shape of the stage's
      state is wanted, to read a finished one.
  """
  stage = config.generator
  nets = generator_networks(config)
  # NOTE(paper): whose passes the epochs of Algorithm 1 count is not said: X_p's.
  per_epoch = len(task.pretrain) // stage.batch_size
  steps = common.total_steps(stage.epochs, stage.steps, per_epoch)
  tx = common.optimizer(stage.optimizer, steps, per_epoch)
  txs = dict.fromkeys(("augmenter", "eliminator", "disc_f", "disc_p"), tx)
  key = stream(jax.random.key(config.seed), "generator")
  images = {"x_p": task.pretrain.images, "x_f": task.finetune.images}
  frozen = {"images": images}
  if pretrained is not None:
    variables = encoder_variables(pretrained)
    see = frozen_encoder.make_see(nets.encoder, stage.discriminator.features)
    y = lambda variables, x: see(variables, x)[0]
    detail = lambda variables, x: see(variables, x)[1]
    batch = config.evaluate.batch_size
    frozen["encoder"] = frozen_encoder.freeze(
        variables,
        {name: jnp.asarray(extract(y, variables, array, batch))
         for name, array in images.items()},
        jnp.asarray(extract(detail, variables, np.concatenate(
            [common.some(array, _STANDARD_IMAGES) for array in images.values()]),
                            batch)),
        stage.discriminator.standardise)
  return Stage(
      name="generator",
      state=generator_step.init(nets, txs, stage, common.image_shape(config), key),
      step=generator_step.make_step(nets, txs, stage),
      frozen=frozen,
      feed=ResidentFeed({n: len(a) for n, a in images.items()},
                        stage.batch_size, seed=config.seed, stage="generator"),
      fetch=fetch, total_steps=steps, batch_size=stage.batch_size, key=key,
      show=("generator/loss", "discriminator/loss_f",
            "generator/latent_error"))


def latent_bank(config: Config, images: np.ndarray,
                trained: generator_step.GeneratorState) -> np.ndarray:
  """Z̃ = {G_L(x̃) : x̃ ∈ X̃_f} of (15): uint8 [M, H, W, C] -> float32 [M, Z]."""
  _, g_el = generator_functions(config.generator, config.data)
  return extract(
      lambda params, x: g_el(params, x)[1], trained.eliminator.smooth, images,
      config.evaluate.batch_size)


def random_augmenter(
    config: Config, task: Task, trained: generator_step.GeneratorState,
) -> tuple[nn.Module, dict]:
  """An untrained G_A whose edits are as large as the trained one's.

  As large on what it is given in re-training: x, or t'(x) where it comes last.
  Its last layer is always read as an edit. Read as an image, an untrained network
  would wipe out what its input shows.

  Returns:
    The module, and its parameters.
  """
  augmenter, _ = build_generator(config.generator, config.data)
  untrained, _ = build_generator(
      dataclasses.replace(config.generator, output="edit"), config.data)
  key = stream(jax.random.key(config.seed), "random_augmenter")
  x = common.some(task.pretrain.images, _STRENGTH_IMAGES)
  x = jnp.asarray(x, jnp.float32) / 255
  if config.retrain.order == "last":
    x = jax.jit(functools.partial(
        augment_batch, recipe(config.retrain.recipe)))(
            example_keys(key, "views", len(x)), x)
  z = jax.random.uniform(
      stream(key, "latents"), (len(x), config.generator.latent.dim))
  x_a = jax.jit(augmenter.apply)({"params": trained.augmenter.smooth}, x, z)
  fresh = jax.jit(untrained.init)(stream(key, "init"), x, z)["params"]
  return untrained, match_strength(
      untrained, fresh, x, z, float(jnp.mean(jnp.abs(x_a - x))))


def second_view(config: Config, task: Task, arm: str,
                trained: generator_step.GeneratorState | None,
                ) -> tuple[Callable | None, dict]:
  """What an arm adds to the second view, and the arrays that it reads."""
  if arm == "control":
    return None, {}
  if arm == "oracle":
    return views.true_second(implicit(config.data.implicit)), {}
  if arm == "random":
    augmenter, params = random_augmenter(config, task, trained)
  else:
    augmenter, _ = build_generator(config.generator, config.data)
    params = trained.augmenter.smooth
  frozen = {"augmenter": {"params": params}}
  if arm == "channel":
    frozen["candidates"] = jnp.asarray(latent_bank(config, common.some(
        task.finetune.images, config.retrain.candidates), trained))
    return views.chosen_second(augmenter, latent_distribution(config)), frozen
  if arm == "generator":
    frozen["bank"] = jnp.asarray(latent_bank(
        config, task.finetune.images, trained))
  return views.learned_second(
      augmenter, config.generator.latent.dim,
      from_bank=arm == "generator"), frozen


def latent_distribution(config: Config) -> LatentDistribution:
  """P(z|x) of the arm "channel"."""
  retrain = config.retrain
  return LatentDistribution(
      retrain.candidates, width=retrain.channel.width, mean=config.data.mean,
      std=config.data.std)


def retrain(config: Config, task: Task, devices: int, arm: str,
            pretrained: moco_step.MocoState,
            trained: generator_step.GeneratorState | None) -> Stage:
  """Stage 3, one arm.

  Args:
    config: of the run.
    task: the images.
    devices: that the batch is cut over.
    arm: what the second view sees beside the hand-made augmentations; see
      `RetrainConfig`.
    pretrained: the end of stage 1, where every arm starts.
    trained: the end of stage 2; needed by the arms with a G_A.
  """
  stage = config.retrain
  images = task.pretrain.images
  second, frozen = second_view(config, task, arm, trained)
  # NOTE(paper): what re-training starts from is not said, only that F is trained
  # with (15): here the encoder, head and queue of stage 1, with a new optimiser
  # and schedule. All arms have the same recipe, so that they differ by `second`
  # alone.
  pair = views.hand_made(recipe(stage.recipe))
  if second is not None:
    pair = views.with_second_view(
        recipe(stage.recipe), second, last=stage.order == "last")

  net = moco_net(config, devices)
  per_epoch = len(images) // stage.batch_size
  steps = common.total_steps(stage.epochs, stage.steps, per_epoch)
  tx = common.optimizer(stage.optimizer, steps, per_epoch)
  # All arms of a seed share this key, and so their images, latents and sides.
  key = stream(jax.random.key(config.seed), "retrain")
  state = moco_step.restart(pretrained, tx)
  step = moco_step.make_step(net, tx, config.moco, pair)
  if arm == "channel":
    state, step = _with_channel(config, state, step, net, steps, per_epoch, key)
  return Stage(
      name=f"retrain-{arm}", state=state, step=step,
      frozen={"images": {"x_p": images}, **frozen},
      feed=ResidentFeed({"x_p": len(images)}, stage.batch_size,
                        seed=config.seed, stage="retrain"),
      fetch=fetch, total_steps=steps, batch_size=stage.batch_size, key=key,
      show=("loss", "accuracy"))


def _with_channel(config: Config, moco: moco_step.MocoState, step: Callable,
                  net: ProjectedEncoder, steps: int, per_epoch: int,
                  key: jax.Array) -> tuple[
                      latent_channel.LatentChannelState, Callable]:
  """State and step of MoCo -> the same with P(z|x) beside it."""
  channel, settings = latent_distribution(config), config.retrain.channel
  tx = common.optimizer(settings.optimizer, steps, per_epoch)
  state = latent_channel.LatentChannelState(
      step=jnp.zeros((), jnp.int32), moco=moco,
      channel=channel_step.init(
          channel, tx, common.image_shape(config), key))
  augmenter, _ = build_generator(config.generator, config.data)
  return state, latent_channel.make_step(
      net, augmenter, step,
      channel_step.make_update(
          channel, tx, settings, channel.size, steps))
