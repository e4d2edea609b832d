"""Conflicts between settings of an augmentation-generator run."""

from collections.abc import Iterator
import math

from augment_gen.augment import operators
from augment_gen.config import Config, names
from augment_gen.data.task import Task
from augment_gen.methods import building, encoder_init
from augment_gen.methods.augmentation_generator import stages
from augment_gen.methods.policy_rules import policy_problems
from augment_gen.methods.pretrainers import PRETRAINERS


def problems(config: Config, devices: int) -> Iterator[str]:
  """See `contracts.Method`."""
  yield from PRETRAINERS[config.pretrain.method].problems(config, devices)
  yield from building.micro_batch_problems(config, "generator", devices)
  yield from encoder_init.problems(config)
  if "policy" in names(config.retrain.arms):
    if config.retrain.order == "last":
      yield ("config.retrain.order=last: P(z|x) of the arm 'policy' is trained on "
             "x, but would see t'(x): use order=first, or leave that arm out")
    yield from policy_problems(
        config.retrain.policy, "retrain", config.retrain.batch_size,
        config.retrain.candidates, devices)
  if not config.generator.losses.adversarial_f_weight:
    yield ("config.generator.losses.adversarial_f_weight=0.0: without D_f, G_A learns "
           "nothing of X̃_f; give it a weight")
  yield from _latents(config)


def data_warnings(config: Config, task: Task) -> Iterator[str]:
  """See `contracts.Method`."""
  images = stages.pretrain_images(config, task)
  yield from PRETRAINERS[config.pretrain.method].data_warnings(config, images)
  for name, section, count in (("pretrain", config.pretrain, len(images)),
                               ("generator", config.generator, len(task.pretrain)),
                               ("retrain", config.retrain, len(task.pretrain))):
    per_epoch = count // section.batch_size
    steps = building.total_steps(section.epochs, section.steps, per_epoch)
    warmup = section.optimizer.warmup_epochs
    if 0 < steps <= round(warmup * per_epoch):
      yield (f"config.{name}.optimizer.warmup_epochs={warmup:g} is no shorter than the "
             f"stage, {steps / per_epoch:.3g} epochs: its learning rate only rises")


def data_problems(config: Config, task: Task) -> Iterator[str]:
  """See `contracts.Method`."""
  yield from PRETRAINERS[config.pretrain.method].data_problems(
      config, stages.pretrain_images(config, task))
  x_p, x_f = len(task.pretrain), len(task.finetune)
  for field, size, name in (
      ("pretrain.batch_size", x_p + x_f if config.pretrain.with_finetune else x_p,
       "pretrain"),
      ("generator.batch_size", min(x_p, x_f), "pretrain or data.finetune"),
      ("retrain.batch_size", x_p, "pretrain")):
    yield from building.batch_problems(config, field, size, name)
  arms, candidates = names(config.retrain.arms), config.retrain.candidates
  if "policy" in arms and candidates > x_f:
    yield (f"config.retrain.candidates={candidates} is more than the {x_f} images of "
           "data.finetune, whose latents they are")
  if "oracle" in arms and config.data.implicit == "none":
    yield ("config.retrain.arms=oracle needs the true augmentation, which is not "
           "known for data that come augmented (config.data.implicit=none)")


def _latents(config: Config) -> Iterator[str]:
  networks, latent = config.generator.networks, config.generator.latent
  if networks.augmenter == "operators":
    # Its amounts decide how many latents there are.
    if not operators.chosen(names(networks.operators), config.data.channels):
      yield (f"config.generator.networks.operators={networks.operators!r} leaves no "
             f"operator for images of {config.data.channels} channels: name some that "
             "these have")
    return
  kinds = networks.augmenter, networks.eliminator
  if ("unet" in kinds and latent.layout == "square"
      and math.isqrt(latent.dim) ** 2 != latent.dim):
    yield (f"config.generator.latent.dim={latent.dim} must be a square number for "
           "U-Nets, where z is a map (generator.latent.layout=square): 1, 4, "
           "16, 49, …")
  if networks.augmenter == "unet" and latent.layout == "learned" and latent.dim == 1:
    yield ("config.generator.latent.dim=1 must be at least 2 for a U-Net with "
           "generator.latent.layout=learned: the first latent says how much is "
           "drawn, the others where")
