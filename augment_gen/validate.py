"""All that can be wrong with a config, found before anything is compiled."""

from collections.abc import Iterator
import math

import jax

from augment_gen.augment import recipes
from augment_gen.augment.crops import CropGrid
from augment_gen.config import (
    ChannelConfig, Config, OptimizerConfig, SimclrConfig, TacConfig, names,
    value_problems)
from augment_gen.data import splits
from augment_gen.data.task import Task, check_data
from augment_gen.errors import UserError
from augment_gen.evaluate import protocol
from augment_gen.losses import information
from augment_gen.models import build, heads, outputs, resnet
from augment_gen.models.channel import SCALE_MASSES
from augment_gen.stages.generator import ARMS
from augment_gen.steps import channel
from augment_gen.steps import frozen_encoder

# config.method -> its stages.
STAGES = {"generator": ("pretrain", "generator", "retrain", "evaluate"),
          "tac": ("simclr", "simclr_own", "tac", "evaluate")}
TAC_CONTROLS = ("simclr", "simclr_own", "untrained")


def problems(config: Config, devices: int) -> list[str]:
  """Every problem of a config, one readable line each; empty if it is sound."""
  # What follows compares and counts.
  if wrong := list(value_problems(config)):
    return wrong
  if config.method not in STAGES:
    return [f"config.method={config.method!r} is unknown; choose one of: "
            f"{', '.join(STAGES)}"]
  of_method = {"generator": _generator, "tac": _tac}[config.method]
  return [*_choices(config), *_seeds(config), *_durations(config),
          *_batches(config, devices), *of_method(config, devices),
          *_ranges(config), *_optimizers(config),
          *check_data(config.data, host_copies(devices))]


def host_copies(devices: int) -> int:
  """Copies of resident images that training makes in the host's memory."""
  return devices if jax.default_backend() == "cpu" else 0


def _trained(config: Config) -> tuple[str, ...]:
  """Sections of the stages that train something."""
  return ("tac",) if config.method == "tac" else (
      "pretrain", "generator", "retrain")


def size_problems(config: Config, task: Task) -> list[str]:
  """Problems that show once the data are loaded."""
  found = _evaluation_problems(config, task)
  if config.method == "tac":
    for field in ("tac.batch_size", "tac.simclr.batch_size"):
      batch = _get(config, field)
      needed = (field == "tac.batch_size"
                or "simclr_own" in names(config.tac.controls))
      if needed and batch > len(task.pretrain):
        found.append(
            f"config.{field}={batch} is more than the {len(task.pretrain)} images "
            "of data.pretrain: use a smaller batch or more images")
    return found
  x_p, x_f = len(task.pretrain), len(task.finetune)
  if config.pretrain.with_finetune:
    x_p += x_f
  for field, batch, size, name in (
      ("pretrain.batch_size", config.pretrain.batch_size, x_p, "pretrain"),
      ("generator.batch_size", config.generator.batch_size,
       min(len(task.pretrain), x_f), "pretrain or data.finetune"),
      ("retrain.batch_size", config.retrain.batch_size, len(task.pretrain),
       "pretrain")):
    if batch > size:
      found.append(
          f"config.{field}={batch} is more than the {size} images of "
          f"data.{name}: use a smaller batch or more images")
  arms, candidates = names(config.retrain.arms), config.retrain.candidates
  if "channel" in arms and candidates > len(task.finetune):
    found.append(
        f"config.retrain.candidates={candidates} is more than the "
        f"{len(task.finetune)} images of data.finetune, whose latents they are")
  if "oracle" in arms:
    if config.data.implicit == "none":
      found.append(
          "config.retrain.arms=oracle needs the true augmentation, which is "
          "not known for data that come augmented (config.data.implicit=none)")
  return found


def _evaluation_problems(config: Config, task: Task) -> list[str]:
  """What evaluation would stumble over once all training is done."""
  found, protocols = [], names(config.evaluate.protocols)
  if "l2" in protocols:
    try:
      splits.holdout(task.finetune.labels, config.evaluate.l2_holdout, config.seed)
    except UserError as error:
      found.append(
          f"config.evaluate.l2_holdout={config.evaluate.l2_holdout:g}: {error}; use "
          "a larger part, give more labelled images, or leave 'l2' out of "
          "config.evaluate.protocols")
  neighbours = config.evaluate.knn_k
  if "knn" in protocols and neighbours > len(task.finetune):
    found.append(f"config.evaluate.knn_k={neighbours} is more than the "
                 f"{len(task.finetune)} images of data.finetune")
  return found


def _choices(config: Config) -> Iterator[str]:
  one_of = {
      "encoder.name": tuple(build.ENCODERS),
      "encoder.stem": resnet.STEMS,
      "encoder.dtype": build.DTYPES,
      "generator.augmenter": build.NETWORKS,
      "generator.eliminator": build.NETWORKS,
      "generator.output": outputs.OUTPUTS,
      "generator.latent.layout": outputs.LAYOUTS,
      "generator.l1_reduction": ("sum", "mean"),
      "generator.discriminator.features": frozen_encoder.FEATURES,
      "pretrain.recipe": recipes.NAMES,
      "retrain.recipe": recipes.NAMES,
      "retrain.order": ("first", "last"),
      "tac.head": heads.HIDDEN,
      "tac.scale_mass": SCALE_MASSES,
      "tac.numerator": information.NUMERATORS,
      **{f"{stage}.channel.{field}": choices for stage in ("tac", "retrain")
         for field, choices in (("numerator", information.NUMERATORS),
                                ("z", channel.Z_KINDS),
                                ("entropy_schedule", channel.SCHEDULES))},
  }
  for field, choices in one_of.items():
    value = _get(config, field)
    if value not in choices:
      yield (f"config.{field}={value!r} is unknown; choose one of: "
             f"{', '.join(choices)}")
  for field, choices in (("stages", ("all", *STAGES[config.method])),
                         ("retrain.arms", ARMS),
                         ("tac.controls", TAC_CONTROLS),
                         ("evaluate.controls", ("untrained", "adabn")),
                         ("evaluate.protocols", protocol.PROTOCOLS)):
    chosen = names(_get(config, field))
    for value in chosen:
      if value not in choices:
        yield (f"config.{field} names {value!r}, which is unknown; choose "
               f"from: {', '.join(choices)}")
    if not chosen and field not in (
        "retrain.arms", "tac.controls", "evaluate.controls"):
      yield f"config.{field} is empty; choose from: {', '.join(choices)}"


def _seeds(config: Config) -> Iterator[str]:
  # JAX takes 32 bits of a seed: larger ones would share the draws of small ones.
  # Of the implicit augmentation it is given twice the seed, or one more.
  for field, bits in (("seed", 32), ("data.canvas_seed", 32),
                      ("data.implicit_seed", 31)):
    value = _get(config, field)
    if value < 0 and field != "seed":
      continue  # `check_data` names it
    if not 0 <= value < 2**bits:
      yield f"config.{field}={value} must lie between 0 and {2**bits - 1}"


def _durations(config: Config) -> Iterator[str]:
  for stage in _trained(config):
    epochs, steps = _get(config, f"{stage}.epochs"), _get(config, f"{stage}.steps")
    if (epochs > 0) == (steps > 0):
      yield (f"config.{stage}: give either epochs or steps (the other 0), "
             f"not epochs={epochs} and steps={steps}")


def _batches(config: Config, devices: int) -> Iterator[str]:
  own = (("tac.simclr.batch_size",) if config.method == "tac"
         and "simclr_own" in names(config.tac.controls) else ())
  for field in (*(f"{stage}.batch_size" for stage in _trained(config)), *own,
                "evaluate.batch_size"):
    batch = _get(config, field)
    if batch < 1:
      yield f"config.{field}={batch} must be at least 1"
      continue
    if batch % devices and field != "evaluate.batch_size":  # rounded up there
      yield (f"config.{field}={batch} is not divisible by the {devices} "
             "devices: use a multiple")


def _generator(config: Config, devices: int) -> Iterator[str]:
  """Of the sections that only an experiment with G_A reads."""
  groups, queue = config.moco.bn_groups, config.moco.queue
  for field in ("pretrain.batch_size", "retrain.batch_size"):
    batch = _get(config, field)
    if batch < 1:
      continue  # named already
    if queue % batch or queue < batch:
      yield (f"config.moco.queue={queue} is not a multiple of "
             f"config.{field}={batch}: change one of them")
    if groups >= 1 and (batch % groups or batch // groups < 2):
      yield (f"config.moco.bn_groups={groups} must divide config.{field}="
             f"{batch} into groups of at least 2 images")
  if groups < 1 or groups % devices:
    yield (f"config.moco.bn_groups={groups} must be a multiple of the {devices} "
           "devices: each device normalises whole groups")
  if "channel" in names(config.retrain.arms):
    if config.retrain.order == "last":
      yield ("config.retrain.order=last: P(z|x) of the arm 'channel' is trained on "
             "x, but would see t'(x): use order=first, or leave that arm out")
    yield from _channel(config.retrain.channel, "retrain",
                        config.retrain.batch_size, config.retrain.candidates,
                        devices)
  if not (config.generator.fool_f_weight or config.generator.fool_e_weight):
    yield ("config.generator.fool_f_weight=0.0 and fool_e_weight=0.0 leave D_f "
           "nothing to judge: give one of them a weight")


def _tac(config: Config, devices: int) -> Iterator[str]:
  """Of the section that only CRL-TAC reads."""
  stage, side = config.tac, config.data.side
  if stage.dim < 2:
    yield (f"config.tac.dim={stage.dim} must be at least 2: h lies on a circle "
           "or sphere")
  if stage.top < 1:
    yield f"config.tac.top={stage.top} must be at least 1"
  sections = {"tac": stage}
  if "simclr_own" in names(stage.controls):
    sections["tac.simclr"] = stage.simclr
    if not stage.simclr.beta > 0:
      yield f"config.tac.simclr.beta={stage.simclr.beta} must be more than 0"
  for section, windows in sections.items():
    wrong = list(_windows(windows, f"config.{section}", side))
    yield from wrong
    if wrong:
      continue
    crops = CropGrid(side, windows.crop, windows.stride, windows.scales).size
    for field, value, least in ((f"{section}.draws", windows.draws, 2),
                                ("tac.top", stage.top, 1)):
      if value >= 1 and not least <= value <= crops:
        yield (f"config.{field}={value} must lie between {least} and the "
               f"{crops} crops of the grid of config.{section}")
    if section == "tac":
      yield from _channel(stage.channel, "tac", stage.batch_size, crops, devices)


def _windows(windows: TacConfig | SimclrConfig, field: str, side: int
             ) -> Iterator[str]:
  """Of windows on images of `side` pixels."""
  wrong = False
  for name in ("crop", "stride", "scales"):
    value = getattr(windows, name)
    if not value or (min(value) if name == "scales" else value) <= 0:
      yield f"{field}.{name}={value} must be more than 0"
      wrong = True
  if wrong:
    return
  largest = round(windows.crop * max(windows.scales))
  smallest = round(windows.crop * min(windows.scales))
  if largest > side or smallest < windows.stride:
    yield (f"{field}.crop={windows.crop} with scales={windows.scales} does not "
           f"fit: crops are to be at least {field}.stride={windows.stride} and "
           f"at most {side} pixels wide, as the images are")


def _channel(stage: ChannelConfig, section: str, batch_size: int, size: int,
             devices: int) -> Iterator[str]:
  """Of a trainable channel with `size` augmentations to choose from."""
  field = f"config.{section}.channel"
  if not 2 <= stage.draws <= size:
    yield (f"{field}.draws={stage.draws} must lie between 2 and the {size} "
           "augmentations to choose from")
  if not 0 <= stage.batch <= batch_size or stage.batch % devices:
    yield (f"{field}.batch={stage.batch} must be 0, or a multiple of the "
           f"{devices} devices up to config.{section}.batch_size={batch_size}")
  for name in ("beta", "width"):
    if not getattr(stage, name) > 0:
      yield f"{field}.{name}={getattr(stage, name)} must be more than 0"
  for name in ("entropy_weight", "entropy_target"):
    if getattr(stage, name) < 0:
      yield f"{field}.{name}={getattr(stage, name)} must not be negative"


def _ranges(config: Config) -> Iterator[str]:
  positive = (
      "data.image_size", "encoder.width", "moco.dim", "moco.temperature",
      "generator.hidden", "generator.unet_width", "generator.unet_depth",
      "generator.latent.dim", "generator.latent.scale",
      "generator.marks.fine_gain", "generator.marks.gain_ratio",
      "generator.marks.threshold", "generator.marks.steepness",
      "generator.marks.threshold_slope",
      "generator.discriminator.hidden", "retrain.candidates", "evaluate.knn_k",
      "evaluate.knn_temperature", "evaluate.l2_iterations",
      "evaluate.moco_epochs", "evaluate.moco_batch_size", "evaluate.moco_lr",
      "log.every_steps", "log.checkpoint_every_steps", "log.keep_checkpoints",
      "log.figure_images", "data.max_resident_gib")
  for field in positive:
    if not _get(config, field) > 0:
      yield f"config.{field}={_get(config, field)} must be more than 0"
  for field in ("generator.layers", "generator.discriminator.layers"):
    if _get(config, field) < 2:
      yield f"config.{field}={_get(config, field)} must be at least 2"
  for field in ("generator.cycle_weight", "generator.cycle_f_weight",
                "generator.cycle_p_weight", "generator.latent_weight",
                "generator.identity_weight", "generator.fool_f_weight",
                "generator.fool_e_weight", "generator.fool_p_weight",
                "generator.bank_weight", "generator.marks.amount_gain",
                "generator.cycle_noise", "generator.latent_slack",
                "generator.discriminator.r1_weight", "log.online_every_epochs",
                "log.health_every_steps"):
    if _get(config, field) < 0:
      yield f"config.{field}={_get(config, field)} must not be negative"
  if any(blocks < 1 for blocks in config.encoder.blocks):
    yield (f"config.encoder.blocks={config.encoder.blocks} must be positive "
           "numbers, one a stage")
  if not 0.0 <= config.moco.momentum <= 1.0:
    yield f"config.moco.momentum={config.moco.momentum} must lie in [0, 1]"
  if not 0.0 <= config.generator.average < 1.0:
    yield (f"config.generator.average={config.generator.average} must lie in "
           "[0, 1)")
  if not 0.0 <= config.data.development < 1.0:
    yield (f"config.data.development={config.data.development} must lie in "
           "[0, 1)")
  if not 0.0 < config.evaluate.l2_holdout < 1.0:
    yield (f"config.evaluate.l2_holdout={config.evaluate.l2_holdout} must lie "
           "between 0 and 1")
  if not config.evaluate.l2_strengths or min(config.evaluate.l2_strengths) <= 0:
    yield "config.evaluate.l2_strengths must be one or more positive numbers"
  if config.data.channels not in (1, 3):
    yield f"config.data.channels={config.data.channels} must be 1 or 3"
  for field in ("data.mean", "data.std"):
    if len(_get(config, field)) not in (1, config.data.channels):
      yield (f"config.{field} must hold one number, or one for each of the "
             f"{config.data.channels} channels")
  if min(config.data.std, default=0.0) <= 0:
    yield "config.data.std must be positive"
  dim = config.generator.latent.dim
  networks = config.generator.augmenter, config.generator.eliminator
  if ("unet" in networks and config.generator.latent.layout == "square"
      and math.isqrt(max(dim, 0)) ** 2 != dim):
    yield (f"config.generator.latent.dim={dim} must be a square number for "
           "U-Nets, where z is a map (generator.latent.layout=square): 1, 4, "
           "16, 49, …")
  if (networks[0] == "unet" and config.generator.latent.layout == "learned"
      and dim == 1):
    yield ("config.generator.latent.dim=1 must be at least 2 for a U-Net with "
           "generator.latent.layout=learned: the first latent says how much is "
           "drawn, the others where")


def _optimizers(config: Config) -> Iterator[str]:
  fields = [f"{stage}.optimizer" for stage in _trained(config)]
  fields.append("tac.channel.optimizer" if config.method == "tac"
                else "retrain.channel.optimizer")
  for name in fields:
    optimizer: OptimizerConfig = _get(config, name)
    field = f"config.{name}"
    if optimizer.name not in ("sgd", "adam"):
      yield f"{field}.name={optimizer.name!r} is unknown; choose sgd or adam"
    if optimizer.schedule not in ("cosine", "cosine_per_epoch", "constant"):
      yield (f"{field}.schedule={optimizer.schedule!r} is unknown; choose "
             "cosine, cosine_per_epoch or constant")
    if not optimizer.lr > 0:
      yield f"{field}.lr={optimizer.lr} must be more than 0"
    if not 0.0 <= optimizer.momentum < 1.0:
      yield f"{field}.momentum={optimizer.momentum} must lie in [0, 1)"
    if optimizer.weight_decay < 0:
      yield f"{field}.weight_decay={optimizer.weight_decay} must not be negative"


def _get(config: Config, field: str):
  value = config
  for name in field.split("."):
    value = getattr(value, name)
  return value
