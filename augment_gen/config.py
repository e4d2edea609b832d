"""Every setting of a run, as typed sections.

The dataclasses below are the one list of what can be set, with units and
defaults. A file in configs/ takes `default_config()`, a locked `ConfigDict` of
the same fields, and changes some; `typed(config)` turns the result back into
dataclasses, which is what the rest of the code reads.
"""

from collections.abc import Callable, Iterator, Mapping
import dataclasses
import hashlib
import json
import numbers
import sys
import typing
from typing import Any

import ml_collections

from augment_gen import errors

section = dataclasses.dataclass(frozen=True)


@section
class DataConfig:
  """Which images; see augment_gen/data/sources.py for the spec language."""
  root: str = ""  # replaces {root} in the specs; TFDS keeps its sets there
  image_size: int = 28  # pixels; images become squares of this side
  # Side of a black canvas, in pixels, on which each image is put at a random
  # place (Regional MNIST); 0: none.
  canvas: int = 0
  canvas_seed: int = 0
  channels: int = 1  # 1 (grey) or 3 (RGB)
  # Normalisation at the encoder's input; one number per channel, or one for all.
  mean: tuple[float, ...] = (0.5,)
  std: tuple[float, ...] = (0.5,)
  # X_p (labels, if any, are ignored) and X_f or X̃_f (labelled).
  pretrain: str = "rendered:latin"
  finetune: str = "rendered:scripts"
  # Images of each class of `finetune` that are used for fine-tuning; the rest
  # is the test set. 0: all are for fine-tuning, and `tests` must be given.
  finetune_per_class: int = 15
  # "NAME=SPEC,NAME=SPEC": further labelled test sets, one row each.
  tests: str = ""
  # Implicit augmentation (augment/implicit.py) applied once to X_f and X_t to
  # make X̃_f and the test set of the same name; "none": X̃_f comes augmented.
  implicit: str = "dots"
  implicit_seed: int = 0
  # How the table calls X̃_f and the clean sets.
  finetune_name: str = "D"
  clean_name: str = "C"
  # For tuning: this part of X̃_f, of each class, is held out and tested on, and
  # the test sets are left alone. Reported numbers have 0.
  development: float = 0.0
  on_bad_image: str = "error"  # "error" or "skip" (the skipped are counted)
  # GiB of the host's memory that images (uint8) may fill: all sets together, the
  # clean X_f beside X̃_f, and, where devices share the host's memory (CPU), the copy
  # of X_p and X̃_f that each of them trains on. Other devices need room for one such
  # copy each.
  max_resident_gib: float = 8.0

  @property
  def side(self) -> int:
    """Of what the networks see, in pixels."""
    return self.canvas or self.image_size


@section
class EncoderConfig:
  """F: X -> Y."""
  name: str = "resnet18"  # resnet18, resnet34, resnet50, convnet
  width: int = 64  # channels of the first stage
  # Of each stage (of a convnet: convolutions); empty: as many as `name` has.
  blocks: tuple[int, ...] = ()
  # Of ResNets: "imagenet" (7x7 stride 2, pool) or "small" (3x3).
  stem: str = "imagenet"
  dtype: str = "float32"  # of the convolutions; statistics stay float32


@section
class MocoConfig:
  """MoCo v2 (He et al. 2020, Chen et al. 2020)."""
  dim: int = 128  # of the projected q and k
  queue: int = 65536  # keys; a multiple of the batch
  momentum: float = 0.999  # of the key encoder
  temperature: float = 0.2  # τ
  # Groups of the *global* batch with batch-norm statistics of their own; the
  # keys are shuffled over them. The official runs have 8, one per GPU.
  bn_groups: int = 8
  shuffle: bool = True


@section
class OptimizerConfig:
  name: str = "sgd"  # "sgd" or "adam"
  lr: float = 0.03
  momentum: float = 0.9  # of SGD; β1 of Adam
  weight_decay: float = 1e-4  # L2, added to the gradient, as PyTorch's SGD
  # "cosine" (per step), "cosine_per_epoch" (as official MoCo), "constant"
  schedule: str = "cosine_per_epoch"


@section
class PretrainConfig:
  """Stage 1: MoCo v2 on X_p."""
  epochs: float = 200.0  # passes over X_p; give epochs or steps, not both
  steps: int = 0
  batch_size: int = 256
  recipe: str = "moco_v2"  # hand-made augmentations, augment/recipes.py
  # A run with the same settings of this stage, to take it over from.
  run: str = ""
  # Train on X_p ∪ X̃_f, the reference rows of Table 1, in place of X_p.
  with_finetune: bool = False
  optimizer: OptimizerConfig = OptimizerConfig()


@section
class LatentConfig:
  """Z, the latents of G_A."""
  dim: int = 128
  # z is uniform on [0, 1]^dim; G_A reads `scale * (z - 1/2)`.
  scale: float = 2.0
  # How a U-Net takes z in, as a channel of the size of the image: "square", z
  # itself as a map of side², or "learned": the first says how much is drawn,
  # linear maps of the others say where.
  layout: str = "square"


@section
class MarksConfig:
  """What a U-Net G_A with "learned" latents draws before it is trained.

  models/latent_maps.py says how. It decides much of what is drawn after, too
  (docs/experiments/005). Lengths are standard deviations of a latent.
  """
  fine_gain: float = 0.85  # of the finest two maps: pixels, and squares of 2 × 2
  gain_ratio: float = 0.75  # from one scale to the next coarser: ever fewer
  amount_gain: float = 0.6  # of the first latent, added to all others
  # What lies beyond is drawn: with 49 latents at 28 × 28, 17 % of black ground is
  # at first brighter than 0.5, and 2 % grey (0.1 to 0.5). True dots, of which G_A
  # learns to draw nearly as many (docs/experiments/012), are 1 to 8 %.
  threshold: float = 1.4
  # How steeply it then turns white or black, in logits: greys are no dots (012).
  steepness: float = 40.0
  # Thresholds are learned faster than other parameters by this much.
  threshold_slope: float = 3.0


@section
class DiscriminatorConfig:
  """D_f and D_p: Y -> logit."""
  hidden: int = 512
  layers: int = 3  # dense layers, the last one included
  # What of F they see: "embedding"; "stages", also mean and standard deviation
  # over the image of every channel of every stage of F; "maps", also what F's
  # first convolution makes of each place (of small images: D's first layer
  # grows with their area).
  features: str = "embedding"
  # NOTE(paper): ours. Weight of the R1 penalty (Mescheder et al. 2018) on their
  # slope at real embeddings; the paper has none.
  r1_weight: float = 0.0
  # Bring embeddings to mean 0 and variance 1 (over X_p and X̃_f) first.
  standardise: bool = False


@section
class GeneratorConfig:
  """Stage 2: Algorithm 1."""
  epochs: float = 100.0  # passes over X_p; give epochs or steps, not both
  steps: int = 0
  batch_size: int = 256
  # A run with the same settings of stages 1 and 2, to take both over from.
  run: str = ""
  augmenter: str = "perceptron"  # G_A: "perceptron" or "unet"
  eliminator: str = "perceptron"  # G_E with G_L: "perceptron" or "unet"
  hidden: int = 912  # units of the perceptrons
  layers: int = 4  # dense layers of the perceptrons, the last one included
  unet_width: int = 64  # channels at full resolution
  unet_depth: int = 4  # halvings
  # "image": G_A and G_E put out an image; "edit": a change of their input.
  output: str = "image"
  # Of (11), G_A(x_p, z) against D_f, and of the same with G_E(x̃_f) in place of
  # x_p, which shows what x̃_f shows. D_f is trained on what has a weight, in equal
  # parts.
  fool_f_weight: float = 1.0
  fool_e_weight: float = 0.0
  fool_p_weight: float = 1.0  # of (12), G_E against D_p; 0: as if without D_p
  # NOTE(paper): λ of (10) is not given ("λ = 3e-4" in section 4.1 is the learning
  # rate): 10 as in CycleGAN.
  cycle_weight: float = 10.0
  # Of the three terms of (13), all 1 in the paper.
  cycle_f_weight: float = 1.0  # x̃ → G_E, G_L → G_A
  cycle_p_weight: float = 1.0  # x, z → G_A → G_E
  latent_weight: float = 1.0  # x, z → G_A → G_L
  identity_weight: float = 0.0  # of a fourth term, ‖G_E(x_p) − x_p‖₁
  # Mean error |z − ẑ| of a latent, 0 to 1, that costs nothing in the third term.
  latent_slack: float = 0.0
  l1_reduction: str = "mean"  # "mean" or "sum" over pixels / latents in (13)
  # Decay of an average of G_A's and G_E's parameters over steps, which all that
  # comes after training reads; 0: none is kept, as in the paper.
  average: float = 0.0
  # Of noise on all that G_E, G_L and the second half of a cycle see: its standard
  # deviation is uniform on [0, cycle_noise], drawn for each image.
  cycle_noise: float = 0.0
  # Of a further term of (10), the distance of G_L(x̃) from the prior of z.
  bank_weight: float = 0.0
  latent: LatentConfig = LatentConfig()
  marks: MarksConfig = MarksConfig()
  discriminator: DiscriminatorConfig = DiscriminatorConfig()
  # NOTE(paper): "momentum SGD with a learning rate of 3e-4", no more: momentum 0.9,
  # no weight decay, a constant rate.
  optimizer: OptimizerConfig = OptimizerConfig(
      lr=3e-4, weight_decay=0.0, schedule="constant")


@section
class ChannelConfig:
  """P(T|X), a trainable distribution over augmentations, and its phase (b)."""
  draws: int = 32  # m, uniform draws for each image
  batch: int = 0  # images; 0: all of the stage's batch
  # β of (2), and whether Z is the "mean" of its distribution or "drawn" from it;
  # of `tac` in both phases. (Phase (a) of `retrain.channel` is MoCo's.)
  beta: float = 10.0
  z: str = "mean"
  # (2) itself ("information") or its lower bound by Jensen's inequality
  # ("jensen").
  numerator: str = "information"
  # Weight of H(T|X), of each image up to a target (nats; 0: all of it counts).
  # Over the stage the weight stays ("constant") or falls to 0 ("linear").
  entropy_weight: float = 0.5
  entropy_target: float = 0.0
  entropy_schedule: str = "constant"
  width: int = 32  # channels of P's network
  optimizer: OptimizerConfig = OptimizerConfig(
      name="adam", lr=1e-3, weight_decay=0.0, schedule="constant")


@section
class RetrainConfig:
  """Stage 3: F trained further, with a learned (or another) second view.

  Each arm starts from stage 1 and makes a row of the table: "generator" sees
  G_A(x, z) with z from the bank Z̃ (15), "prior" the same with z from the
  prior; "channel" with z from P(z|x), trained with F (section `channel`; needs
  `order` "first"); "control" has the hand-made views alone; "random" an
  untrained G_A whose edits are as large; "oracle" the true implicit
  augmentation. Empty: stage 1 alone is evaluated. All arms read X_p, and X_p
  alone, with the same hand-made recipe.
  """
  arms: str = "generator"
  epochs: float = 200.0  # passes over X_p; give epochs or steps, not both
  steps: int = 0
  batch_size: int = 256
  # Hand-made augmentations of both views, beside the arm's; "none": (15) as it
  # is printed.
  recipe: str = "moco_v2"
  # Where the arm's augmentation stands among the hand-made ones: "first"
  # t'(G_A(x, z)), "last" G_A(t'(x), z).
  order: str = "first"
  optimizer: OptimizerConfig = OptimizerConfig()
  candidates: int = 64  # latents of Z̃ that P(z|x) of "channel" chooses from
  channel: ChannelConfig = ChannelConfig(draws=8, batch=32, beta=5.0)


@section
class SimclrConfig:
  """SimCLR beside CRL-TAC, with windows and a temperature of its own.

  Windows chosen for CRL-TAC's P, which finds those that show something, may leave
  SimCLR, which draws them uniformly, with next to nothing to see. What is not
  here is as in section `tac`.
  """
  crop: int = 28
  stride: int = 4
  scales: tuple[float, ...] = (1.0,)
  beta: float = 10.0  # 1/τ
  batch_size: int = 128
  draws: int = 4  # crops of an image


@section
class TacConfig:
  """CRL-TAC: an encoder and P(T|X) over crops, trained in turn."""
  epochs: float = 0.0  # passes over X; give epochs or steps, not both
  steps: int = 1000
  batch_size: int = 128
  # The crops T: side in pixels, step of the grid of their places in pixels, and
  # factors of the side.
  crop: int = 28
  stride: int = 4
  scales: tuple[float, ...] = (1.0,)
  # P's mass on the windows of each scale: "learned", or "equal".
  scale_mass: str = "learned"
  dim: int = 50  # D, of h
  # H: "mlp", the two layers of MoCo v2, or "linear", one.
  head: str = "mlp"
  draws: int = 4  # m, crops of an image in phase (a)
  # Of phase (a): (2) itself ("information"), or its lower bound ("jensen").
  numerator: str = "information"
  # n, crops of an image in evaluation, over which its representation is the
  # mean: the most probable ones ("top-n"), or draws.
  top: int = 4
  # Rows beside CRL-TAC's: "simclr" on the same windows, and "simclr_own" on those of
  # section `tac.simclr`, each trained in a stage of its own; "untrained".
  controls: str = "simclr,simclr_own,untrained"
  simclr: SimclrConfig = SimclrConfig()
  optimizer: OptimizerConfig = OptimizerConfig(
      name="adam", lr=1e-3, weight_decay=0.0, schedule="cosine")
  channel: ChannelConfig = ChannelConfig()


@section
class EvaluateConfig:
  """Stage 4: linear evaluation and kNN on frozen features."""
  # Rows that cost no training, of experiments with G_A: "untrained", F as it was
  # initialised; "adabn", every encoder once more with batch-norm statistics
  # estimated on X̃_f.
  controls: str = "untrained,adabn"
  # "l2" (L2-regularised, strength chosen on a held-out part of X̃_f), "moco"
  # (SGD, lr 30, 100 epochs), "knn"; the first one makes the printed table.
  protocols: str = "l2,moco,knn"
  batch_size: int = 256  # of the feature extraction
  l2_strengths: tuple[float, ...] = (1e-5, 1e-4, 1e-3, 1e-2)
  l2_holdout: float = 0.2  # part of X̃_f, by class
  l2_iterations: int = 100  # of L-BFGS
  moco_lr: float = 30.0
  moco_epochs: int = 100
  moco_batch_size: int = 256
  knn_k: int = 20
  knn_temperature: float = 0.07


@section
class LogConfig:
  """What is written and when; changes no result."""
  every_steps: int = 50
  checkpoint_every_steps: int = 500
  keep_checkpoints: int = 2
  online_every_epochs: float = 0.0  # kNN accuracy during training; 0: never
  # Health of the generator (evaluate/health.py) during its training; 0: at its
  # end only.
  health_every_steps: int = 0
  tensorboard: bool = True
  figure_images: int = 8  # columns of the figures


@section
class Config:
  """A run."""
  experiment: str = "Rendered characters"
  # "generator": G_A (Hayase et al.), with the sections pretrain, generator and
  # retrain; "tac": CRL-TAC (Koyama et al.), with the section tac.
  method: str = "generator"
  seed: int = 0
  # Of "generator": pretrain, generator, retrain, evaluate; of "tac": simclr,
  # simclr_own, tac, evaluate. "all": all of these.
  stages: str = "all"
  debug: bool = False  # NaN checks inside the step, compile logs
  data: DataConfig = DataConfig()
  encoder: EncoderConfig = EncoderConfig()
  moco: MocoConfig = MocoConfig()
  pretrain: PretrainConfig = PretrainConfig()
  generator: GeneratorConfig = GeneratorConfig()
  retrain: RetrainConfig = RetrainConfig()
  tac: TacConfig = TacConfig()
  evaluate: EvaluateConfig = EvaluateConfig()
  log: LogConfig = LogConfig()


def default_config() -> ml_collections.ConfigDict:
  """All fields with their defaults, type-safe, locked."""
  return ml_collections.ConfigDict(dataclasses.asdict(Config())).lock()


def apply_variants(
    config: ml_collections.ConfigDict, variant: str,
    known: Mapping[str, Callable[[ml_collections.ConfigDict], None]],
) -> ml_collections.ConfigDict:
  """Applies the comma-separated names of `--config=FILE.py:variant` in order."""
  names = [name for name in variant.split(",") if name]
  errors.raise_if_any(
      f"config variant '{name}' is unknown; this file has: {', '.join(known)}"
      for name in names if name not in known)
  for name in names:
    known[name](config)
  return config


def typed(config: ml_collections.ConfigDict) -> Config:
  """ConfigDict -> dataclasses.

  Raises:
    UserError: names every field that is missing or unknown.
  """
  problems: list[str] = []

  def build(cls, values, path):
    fields = {f.name: f for f in dataclasses.fields(cls)}
    problems.extend(f"config.{path}{n} is unknown"
                    for n in values if n not in fields)
    kwargs = {}
    for name, field in fields.items():
      if name not in values:
        problems.append(f"config.{path}{name} is missing")
      elif dataclasses.is_dataclass(field.type):
        kwargs[name] = build(field.type, values[name], f"{path}{name}.")
      else:
        value = values[name]
        kwargs[name] = tuple(value) if isinstance(value, (list, tuple)) else value
    return cls(**kwargs)

  result = build(Config, config, "")
  errors.raise_if_any(problems)
  return result


def value_problems(config: Config) -> Iterator[str]:
  """One line for each value that is not of the type its field is declared with."""
  def walk(node, path):
    for field in dataclasses.fields(node):
      value, name = getattr(node, field.name), f"config.{path}{field.name}"
      if dataclasses.is_dataclass(field.type):
        yield from walk(value, f"{path}{field.name}.")
      elif typing.get_origin(field.type) is tuple:
        kind = typing.get_args(field.type)[0]
        if not isinstance(value, tuple) or not all(_is(v, kind) for v in value):
          yield (f"{name}={value!r} must be {_KINDS[kind]}s with commas between "
                 f"them, such as --{name}={_EXAMPLES[kind]}")
      elif not _is(value, field.type):
        yield f"{name}={value!r} must be a {_KINDS[field.type]}"
  return walk(config, "")


_KINDS = {int: "whole number", float: "finite number", bool: "truth value",
          str: "text"}
_EXAMPLES = {int: "2,2", float: "0.5,0.5", bool: "True,False", str: "a,b"}


def _is(value: Any, kind: type) -> bool:
  if kind in (bool, str):
    return isinstance(value, kind)
  if isinstance(value, bool):
    return False
  if kind is int:
    return isinstance(value, numbers.Integral)
  return isinstance(value, numbers.Real) and abs(value) <= sys.float_info.max


def names(text: str) -> tuple[str, ...]:
  """"a, b" -> ("a", "b")."""
  return tuple(part.strip() for part in text.split(",") if part.strip())


def plain(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """All fields as JSON values, as config.json holds them."""
  return json.loads(config.to_json())


def identity(values: Mapping[str, Any]) -> dict[str, Any]:
  """The part of a config (from `plain`) that decides results.

  What only chooses how much is computed or written (stages, arms, controls,
  log), or where the same is taken from, is left out: a run may be continued with
  other values of these.
  """
  kept = {name: value for name, value in values.items()
          if name not in ("stages", "log", "debug")}
  for stage, field in (("pretrain", "run"), ("generator", "run"),
                       ("retrain", "arms"), ("tac", "controls"),
                       ("evaluate", "controls")):
    kept[stage] = {name: value for name, value in kept[stage].items()
                   if name != field}
  return kept


def fingerprint(values: Any) -> str:
  """Short, stable hash of JSON values."""
  text = json.dumps(values, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:16]
