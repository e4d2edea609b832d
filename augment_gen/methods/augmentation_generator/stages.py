"""The stages of the augmentation generator, built from the config.

    pretrain           trains F on X_p with the pre-trainer
    generator          runs Algorithm 1 on X_p and X̃_f, with F from `pretrain`
    retrain-ARM        trains F further with the pre-trainer and another second view
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.tree_util import Partial
import numpy as np

from augment_gen.augment.implicit import implicit
from augment_gen.augment.learned import match_strength
from augment_gen.augment.recipes import augment_batch, recipe
from augment_gen.config import Config, PretrainConfig, RetrainConfig
from augment_gen.data.base import Images, Joined, sample
from augment_gen.data.feed import ImageFeed
from augment_gen.data.task import Task
from augment_gen.evaluate import adabn, encoder_health
from augment_gen.evaluate.chunks import at_once, chunked
from augment_gen.evaluate.features import extract
from augment_gen.methods import building, encoder_init
from augment_gen.methods.pretrainers import pretrainer
from augment_gen.models.build import (
  build_augmenter,
  build_discriminator,
  build_eliminator,
  build_encoder,
  dtype_of,
  generator_functions,
  latent_dim,
)
from augment_gen.models.policy import LatentDistribution
from augment_gen.run.contracts import Plan, Pretrainer, Stage, State, Step
from augment_gen.run.forms import jit_quickly
from augment_gen.run.random import example_keys, stream
from augment_gen.steps import frozen_encoder, latent_policy, micro_batches, views
from augment_gen.steps import generator as generator_step
from augment_gen.steps import policy as policy_step

# Arms of stage 3 that need stage 2.
GENERATOR_ARMS = ("generator", "prior", "policy", "random")
ARMS = (*GENERATOR_ARMS, "control", "oracle")
_STRENGTH_IMAGES = 512  # images on which an untrained G_A is matched
_STANDARD_IMAGES = 1024  # images of each set that give the scale of `detail`


def encoder_variables(config: Config, state: State) -> dict:
  """F's variables in a state of stage 1 or 3."""
  if isinstance(state, latent_policy.LatentPolicyState):
    state = state.pretrainer
  return pretrainer(config, 1).encoder_variables(state)


@functools.cache
def encode(config: Config):
  """Returns `(variables, images [b, H, W, C] in [0, 1]) -> F(images) [b, D]`.

  Cached, so that the function is compiled once per run.
  """
  encoder = build_encoder(config, bn_groups=1)
  return lambda variables, images: encoder.apply(
      variables, images, train=False)[0]


@functools.cache
def batch_statistics(config: Config):
  """See `adabn.make_batch_statistics`; cached like `encode`."""
  return adabn.make_batch_statistics(
      build_encoder(config, bn_groups=1))


def pretrain_images(config: Config, task: Task) -> Images:
  """The images of stage 1: X_p, or X_p ∪ X̃_f."""
  if config.pretrain.with_finetune:
    return Joined((task.pretrain, task.finetune))
  return task.pretrain


def pretrain(config: Config, task: Task, devices: int) -> Stage:
  """Stage 1: pre-training of F, from random weights or from config.encoder.init."""
  images = pretrain_images(config, task)
  method, stage = pretrainer(config, devices), config.pretrain
  feed = ImageFeed(
      {"x_p": images}, stage.batch_size, config.seed, "pretrain", config.data)
  plan = _plan(stage, feed, devices)
  tx = method.optimizer(plan)
  key = stream(jax.random.key(config.seed), "pretrain")
  encoder, _ = encoder_init.load(config) or (None, [])
  step, undivided = _steps(method, tx, views.hand_made(recipe(stage.recipe)), plan)
  return Stage(
      name="pretrain", state=method.init(tx, key, encoder),
      step=step, undivided=undivided,
      frozen=method.frozen(images), feed=feed, total_steps=plan.steps, key=key,
      show=method.show,
      views={encoder_health.HAND_MADE: hand_made_view(stage.recipe)})


@functools.cache
def hand_made_view(name: str) -> Callable:
  """One view by a recipe, for `Stage.views`; cached, so that it is compiled once."""
  augment = recipe(name)
  return lambda frozen, x, key: augment_batch(
      augment, example_keys(key, "view", len(x)), x)


def _plan(stage: PretrainConfig | RetrainConfig, feed: ImageFeed, devices: int) -> Plan:
  per_epoch = feed.steps_per_epoch["x_p"]
  return Plan(
      stage.optimizer, building.total_steps(stage.epochs, stage.steps, per_epoch),
      per_epoch, stage.recipe,
      micro_batches.count(stage.batch_size // devices, stage.micro_batch),
      again=isinstance(stage, RetrainConfig))


def _steps(method: Pretrainer, tx: Any, pair: Callable, plan: Plan
           ) -> tuple[Step, Step | None]:
  """`Stage.step` and `Stage.undivided`."""
  whole = dataclasses.replace(plan, parts=1)
  return method.make_step(tx, pair, plan), (
      method.make_step(tx, pair, whole) if plan.parts > 1 else None)


def generator_networks(config: Config) -> generator_step.Networks:
  return generator_step.Networks(
      encoder=build_encoder(config, bn_groups=1),
      augmenter=build_augmenter(config), eliminator=build_eliminator(config),
      discriminator=build_discriminator(config),
      latent_dim=latent_dim(config))


def generator(config: Config, task: Task,
              pretrained: State | None) -> Stage:
  """Stage 2: Algorithm 1.

  F is frozen and sees X_p and X̃_f unchanged, so sets in memory are embedded once.

  Args:
    config: the run's config.
    task: the images.
    pretrained: the final state of stage 1; None if only the shape of this stage's
      state is needed, to read a finished one.
  """
  stage = config.generator
  nets = generator_networks(config)
  sets = {"x_p": task.pretrain, "x_f": task.finetune}
  feed = ImageFeed(sets, stage.batch_size, config.seed, "generator", config.data)
  # NOTE(paper): the paper does not say over which set Algorithm 1 counts epochs.
  # Here it is X_p.
  per_epoch = feed.steps_per_epoch["x_p"]
  steps = building.total_steps(stage.epochs, stage.steps, per_epoch)
  tx = building.optimizer(stage.optimizer, steps, per_epoch)
  txs = dict.fromkeys(("augmenter", "eliminator", "disc_f", "disc_p"), tx)
  if warmup := build_augmenter(config).warmup_steps:
    txs["augmenter"] = building.optimizer(dataclasses.replace(
        stage.optimizer, warmup_epochs=max(
            stage.optimizer.warmup_epochs, min(warmup, steps) / per_epoch)),
        steps, per_epoch)
  key = stream(jax.random.key(config.seed), "generator")
  frozen: dict[str, Any] = {}
  if pretrained is not None:
    frozen["encoder"] = _frozen_encoder(config, nets.encoder, sets, pretrained)
  return Stage(
      name="generator",
      state=generator_step.init(
          nets, txs, stage, building.image_shape(config), key),
      step=generator_step.make_step(nets, txs, stage, steps),
      undivided=generator_step.make_step(
          nets, txs, dataclasses.replace(stage, micro_batch=0), steps)
      if stage.micro_batch else None,
      frozen=frozen, feed=feed, total_steps=steps, key=key,
      show=("generator/loss", "discriminator/loss_f",
            "generator/latent_error"))


def _frozen_encoder(config: Config, encoder: nn.Module, sets: dict[str, Images],
                    pretrained: State) -> frozen_encoder.FrozenEncoder:
  """F, and its embeddings of the sets in memory."""
  settings, batch = config.generator.discriminator, config.evaluate.batch_size
  variables = encoder_variables(config, pretrained)
  see = frozen_encoder.make_see(encoder, settings.features)
  y = lambda variables, x: see(variables, x)[0]
  detail = lambda variables, x: see(variables, x)[1]
  samples = {name: sample(images, _STANDARD_IMAGES) for name, images in sets.items()}
  embed = lambda images: jnp.asarray(extract(y, variables, images, batch))
  return frozen_encoder.freeze(
      variables,
      {name: embed(images) for name, images in sets.items()
       if images.resident is not None},
      jnp.asarray(extract(
          detail, variables, np.concatenate(list(samples.values())), batch)),
      # NOTE(paper): D sees the embedding alone there, at a scale that is not given.
      settings.features != "embedding",
      [(embed(samples[name]), len(images)) for name, images in sets.items()
       if images.resident is None])


def latent_bank(config: Config, images: Images | np.ndarray,
                trained: generator_step.GeneratorState) -> np.ndarray:
  """Z̃ = {G_L(x̃) : x̃ ∈ X̃_f} of (15), float32 [M, Z] for M images.

  Source: Hayase et al., (15).
  """
  _, g_el = generator_functions(config)
  bank = extract(
      lambda params, x: g_el(params, x)[1], trained.eliminator.final_params, images,
      at_once(config.evaluate.batch_size, images.shape[-3:]))
  return build_augmenter(config).bank(bank)


def random_augmenter(
    config: Config, task: Task, trained: generator_step.GeneratorState,
) -> tuple[nn.Module, dict]:
  """An untrained G_A whose edits are as large as those of the trained one.

  The size is matched on the images that G_A gets in re-training: x, or t'(x) if G_A
  comes last. The network's output is always read as an edit: read as an image, the
  output of an untrained network would erase the input.

  Returns:
    The module and its parameters.
  """
  networks = dataclasses.replace(config.generator.networks, output="edit")
  untrained = build_augmenter(dataclasses.replace(
      config, generator=dataclasses.replace(config.generator, networks=networks)))
  key = stream(jax.random.key(config.seed), "random_augmenter")
  x = jnp.asarray(sample(task.pretrain, _STRENGTH_IMAGES), jnp.float32) / 255
  if config.retrain.order == "last":
    x = jax.jit(functools.partial(
        augment_batch, recipe(config.retrain.recipe)))(
            example_keys(key, "views", len(x)), x)
  z = jax.random.uniform(
      stream(key, "latents"), (len(x), latent_dim(config)))
  g_a, _ = generator_functions(config)
  x_a = chunked(Partial(g_a, trained.augmenter.final_params), len(x))(
      np.asarray(x), np.asarray(z))
  fresh = jit_quickly(untrained.init)(stream(key, "init"), x[:2], z[:2])["params"]
  pieces = -(-len(x) // at_once(len(x), x.shape[1:]))
  while len(x) % pieces:
    pieces += 1
  return untrained, match_strength(
      untrained, fresh, x, z, float(jnp.mean(jnp.abs(x_a - x))), pieces)


def second_view(config: Config, task: Task, arm: str,
                trained: generator_step.GeneratorState | None,
                ) -> tuple[Callable | None, dict]:
  """The augmentation that an arm adds to the second view, and the arrays it reads.

  The augmentation is None for the arm "control", which adds nothing. The arrays go
  into `Stage.frozen`.
  """
  if arm == "control":
    return None, {}
  if arm == "oracle":
    return views.true_second(implicit(config.data.implicit)), {}
  assert trained is not None, f"the arm {arm} needs stage 2"
  if arm == "random":
    augmenter, params = random_augmenter(config, task, trained)
  else:
    augmenter = build_augmenter(config)
    params = trained.augmenter.final_params
  frozen: dict[str, Any] = {"augmenter": {"params": params}}
  if arm == "policy":
    frozen["candidates"] = jnp.asarray(latent_bank(config, sample(
        task.finetune, config.retrain.candidates), trained))
    return views.chosen_second(augmenter, latent_distribution(config),
                               config.retrain.micro_batch), frozen
  if arm == "generator":
    frozen["bank"] = jnp.asarray(latent_bank(
        config, task.finetune, trained))
  return views.learned_second(
      augmenter, latent_dim(config), arm == "generator",
      config.retrain.micro_batch), frozen


def latent_distribution(config: Config) -> LatentDistribution:
  """P(z|x) of the arm "policy"."""
  retrain = config.retrain
  return LatentDistribution(
      retrain.candidates, width=retrain.policy.width, mean=config.data.mean,
      std=config.data.std, dtype=dtype_of(config))


def retrain(config: Config, task: Task, devices: int, arm: str,
            pretrained: State, trained: generator_step.GeneratorState | None,
            ) -> Stage:
  """Stage 3, one arm: F is trained further.

  Args:
    config: the run's config.
    task: the images.
    devices: number of devices that share the batch.
    arm: what the second view gets in addition to the hand-made augmentations; see
      `RetrainConfig`.
    pretrained: the final state of stage 1, where every arm starts.
    trained: the final state of stage 2; needed by the arms with a G_A.
  """
  stage, method = config.retrain, pretrainer(config, devices)
  second, frozen = second_view(config, task, arm, trained)
  # NOTE(paper): the paper does not say where re-training starts, only that F is
  # trained with (15). Here it starts from the networks of stage 1 (and MoCo's queue),
  # with a new optimiser and schedule. All arms have the same recipe, so they differ
  # only in `second`.
  pair = views.hand_made(recipe(stage.recipe))
  if second is not None:
    pair = views.with_second_view(
        recipe(stage.recipe), second, last=stage.order == "last")

  # All arms of a seed share this key and this order, and hence the images, the latents
  # and the side on which each image is changed.
  feed = ImageFeed(
      {"x_p": task.pretrain}, stage.batch_size, config.seed, "retrain", config.data)
  key = stream(jax.random.key(config.seed), "retrain")
  plan = _plan(stage, feed, devices)
  tx = method.optimizer(plan)
  state, (step, undivided) = method.restart(pretrained, tx), _steps(method, tx, pair, plan)
  if arm == "policy":
    state, add_policy = _with_policy(config, method, state, plan, key)
    step, undivided = add_policy(step), undivided and add_policy(undivided)
  # The numbers of the classes are those of stage 1, also if that had X̃_f, too.
  return Stage(
      name=f"retrain-{arm}", state=state, step=step, undivided=undivided,
      frozen=method.frozen(task.pretrain) | frozen, feed=feed,
      total_steps=plan.steps, key=key, show=method.show,
      views={encoder_health.HAND_MADE: hand_made_view(stage.recipe),
             **({encoder_health.ADDED: second} if second else {})})


def _with_policy(config: Config, method: Pretrainer, state: State, plan: Plan,
                 key: jax.Array,
                 ) -> tuple[latent_policy.LatentPolicyState, Callable[[Step], Step]]:
  """Adds P(z|x) to a pre-trainer's state; the function adds it to the step."""
  policy, settings = latent_distribution(config), config.retrain.policy
  tx = building.optimizer(settings.optimizer, plan.steps, plan.steps_per_epoch)
  state = latent_policy.LatentPolicyState(
      step=jnp.zeros((), jnp.int32), pretrainer=state,
      policy=policy_step.init(policy, tx, building.image_shape(config), key))
  augmenter = build_augmenter(config)
  update = policy_step.make_update(policy, tx, settings, policy.size, plan.steps)
  return state, lambda step: latent_policy.make_step(
      method.project, augmenter, step, update)
