"""Every setting of a run, as typed sections.

These dataclasses are the one list of what can be set. A field says all there is to say
of it: its type or choices, its bounds, its default, its unit, and in the comment above
it or beside it what it means. `checks.py` reads types and bounds, `reference.py` makes
`--help=SECTION` and docs/settings.md of it.

The sections of the pre-trainers are in pretrainers.py, those of the evaluation in
evaluation.py, section `log` is in logs.py. What concerns several fields at once is checked
by the method that reads them (methods/*/rules.py).
"""

import dataclasses
from typing import Annotated, Literal

from annotated_types import Ge, Interval, MinLen

from augment_gen.config.bounds import (
  Count,
  CountOrZero,
  NotNegative,
  Positive,
  Recipe,
  Seed,
  Share,
)
from augment_gen.config.checks import EachOf
from augment_gen.config.evaluation import EvaluateConfig
from augment_gen.config.logs import LogConfig
from augment_gen.config.pretrainers import (
  ByolConfig,
  MocoConfig,
  SimclrConfig,
  SimsiamConfig,
  SupervisedConfig,
  SwavConfig,
)


@dataclasses.dataclass(frozen=True)
class DataConfig:
  """The images; data/sources.py describes the spec language."""
  root: str = ""  # replaces {root} in specs; TFDS keeps its data sets there
  image_size: Count = 28  # side of the square images, in pixels
  # Side of a black canvas, in pixels, on which each image is put at a random place
  # (Regional MNIST); 0: no canvas.
  canvas: CountOrZero = 0
  canvas_seed: Seed = 0  # of the places on the canvas
  channels: Literal[1, 3] = 1  # 1: grey, 3: RGB
  # Subtracted at the encoder's input: one number for each channel, or one for all.
  mean: Annotated[tuple[float, ...], MinLen(1)] = (0.5,)
  # What is divided by then, likewise.
  std: Annotated[tuple[Positive, ...], MinLen(1)] = (0.5,)
  # X_p; labels, if it has any, are ignored, except by pretrain.method=supervised.
  pretrain: str = "rendered:latin"
  finetune: str = "rendered:scripts"  # X_f or X̃_f, labelled
  # Whether X_p is read as it is needed ("on") or held in memory ("off"); "auto": it is
  # read as it is needed if the sets would fill more than `max_resident_gib`.
  stream: Literal["auto", "on", "off"] = "auto"
  # Threads that decode a streamed X_p; 0: as many as there are cores, at least 4.
  read_threads: CountOrZero = 0
  # GiB of decoded images (uint8) that may lie ready for coming steps.
  read_ahead_gib: Positive = 1.0
  # Images of each class of `finetune` that are used for fine-tuning; the rest
  # is the test set. 0: all are for fine-tuning, and `tests` must be given.
  finetune_per_class: CountOrZero = 15
  tests: str = ""  # further labelled test sets, "NAME=SPEC,NAME=SPEC"; one row each
  # Column of the specs' tables, such as light: test sets are measured for each of its
  # values, too, and `tests` may have bare specs (data/conditions.py).
  conditions: str = ""
  # The implicit augmentation (augment/implicit.py), applied once to X_f and to the test
  # set to make X̃_f and its test set; "none": X̃_f comes augmented.
  implicit: str = "dots"
  # JAX is given twice this seed, or one more.
  implicit_seed: Annotated[int, Interval(ge=0, lt=2**31)] = 0
  finetune_name: str = "D"  # what the table calls X̃_f and its test set
  clean_name: str = "C"  # what the table calls the clean test set
  # For tuning: this share of X̃_f, of each class, is held out as the only test set.
  # Reported numbers have 0.
  development: Share = 0.0
  on_bad_image: Literal["error", "skip"] = "error"  # skipped images are counted
  # What decodes JPEG files. "simplejpeg" is about twice as fast, with values that differ
  # by 2.5 levels on average (data/jpeg.py); it needs pip install 'augment_gen[jpeg]'.
  jpeg_decoder: Literal["pillow", "simplejpeg"] = "pillow"
  # GiB of the host's memory that images (uint8) may fill: all sets together, the
  # clean X_f beside X̃_f, and, where devices share the host's memory (CPU), each
  # device's copy of X_p and X̃_f.
  max_resident_gib: Positive = 8.0
  # GiB that X_p or X̃_f may fill on each device, if it lies in memory. A larger set stays
  # in the host's memory, and each step sends its images.
  max_device_gib: Positive = 2.0

  @property
  def side(self) -> int:
    """Side of what the networks see, in pixels."""
    return self.canvas or self.image_size


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
  """The encoder F: X -> Y."""
  name: Literal["resnet18", "resnet34", "resnet50", "convnet"] = "resnet18"  # form
  width: Count = 64  # channels of the first stage
  # Blocks of each stage (convolutions of a convnet); empty: as many as `name` has.
  blocks: tuple[Count, ...] = ()
  # First layer of a ResNet: "imagenet" (7 × 7, stride 2, pooling) or "small" (3 × 3).
  stem: Literal["imagenet", "small"] = "imagenet"
  # File of weights that stage 1 starts from, for ResNets: .safetensors, .npz or PyTorch's,
  # with the names of torchvision, timm or MoCo; "": random weights. With pretrain.epochs
  # and pretrain.steps both 0, F stays as it is in the file.
  init: str = ""


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  """An optimiser and its schedule."""
  name: Literal["sgd", "adam", "lars"] = "sgd"  # sgd has momentum
  lr: Positive = 0.03  # learning rate, at its highest
  momentum: Share = 0.9  # β1 of Adam
  # SGD and Adam: L2, added to the gradient, as in PyTorch's SGD. LARS: of weights only,
  # not of biases and batch norms.
  weight_decay: NotNegative = 1e-4
  # "cosine" falls in every step, "cosine_per_epoch" once an epoch, as official MoCo.
  schedule: Literal["cosine", "cosine_per_epoch", "constant"] = "cosine_per_epoch"
  warmup_epochs: NotNegative = 0.0  # of a linear rise from 0, before the schedule


@dataclasses.dataclass(frozen=True)
class PretrainConfig:
  """Stage 1: pre-training of F on X_p, without its labels unless `method` says so."""
  # Sections moco, simclr, simsiam, byol, swav, supervised.
  method: Literal[
      "moco_v2", "simclr", "simsiam", "byol", "swav", "supervised"] = "moco_v2"
  epochs: NotNegative = 200.0  # passes over X_p; give epochs or steps, not both
  steps: CountOrZero = 0  # of training, where epochs is 0
  batch_size: Count = 256  # images in a step, over all devices
  # Gradient accumulation, for MoCo v2: images of a device that pass through F at once, a
  # multiple of a batch-norm group. The gradient is that of the whole batch. 0: all of them.
  # For GPUs and TPUs: XLA is slow at loops on a CPU.
  micro_batch: CountOrZero = 0
  recipe: Recipe = "moco_v2"  # hand-made augmentations, augment/recipes.py
  # Folder of a run with the same settings, to take this stage over from.
  from_run: str = ""
  # Train on X_p ∪ X̃_f, as the reference rows of Table 1, in place of X_p.
  with_finetune: bool = False
  optimizer: OptimizerConfig = OptimizerConfig()


@dataclasses.dataclass(frozen=True)
class LatentConfig:
  """Z, the latents of G_A: z is uniform on [0, 1]^dim."""
  dim: Count = 128  # number of latents
  # How a U-Net takes z in, as a channel of the size of the image. "square": z itself as
  # a map of side²; "learned": the first latent says how much is drawn, linear maps of
  # the others say where.
  layout: Literal["square", "learned"] = "square"


@dataclasses.dataclass(frozen=True)
class DiscriminatorConfig:
  """The discriminators D_f and D_p: Y -> logit."""
  hidden: Count = 512  # units of each layer but the last
  layers: Annotated[int, Ge(2)] = 3  # dense layers, the last one included
  # What they see of F: "embedding"; "stages" adds mean and standard deviation over
  # the image of every channel of every stage, "cells" over each quarter of it; "pixels"
  # adds to "stages" where the image itself is light, and its detail at each scale; "maps"
  # adds to the embedding what the first convolution makes of each place (for small images:
  # D's first layer grows with their area). What is added is brought to mean 0 and variance
  # 1, and the embedding with it.
  features: Literal["embedding", "stages", "cells", "pixels", "maps"] = "embedding"
  # NOTE(paper): ours. Weight of the R1 penalty (Mescheder et al. 2018) on their
  # slope at real embeddings; the paper has none.
  r1_weight: NotNegative = 0.0
  # NOTE(paper): ours. Share of the images judged by D_f, at the end of training, that are
  # G_A(G_E(x̃_f), z), which shows what x̃_f shows, in place of G_A(x_p, z).
  same_content: Annotated[float, Interval(ge=0, le=1)] = 0.0
  # Share of the steps in which D_f judges G_A(x_p, z) alone. Over half of the other steps,
  # the share of G_A(G_E(x̃_f), z) then grows to `same_content`.
  same_content_from: Share = 0.0


@dataclasses.dataclass(frozen=True)
class NetworksConfig:
  """The networks G_A and G_E with G_L."""
  # G_A. "operators": a chain of imaging operators with learned amounts.
  augmenter: Literal["perceptron", "unet", "operators"] = "perceptron"
  # The operators of the chain; they act in the order of augment/operators. "geometry"
  # is left out, as it changes what a character is.
  operators: Annotated[str, EachOf(
      "occluders", "scratches", "specks", "spots", "shading", "glare", "geometry", "blur",
      "tone", "colour", "noise", "sharpening", "raster", "compression")] = (
          "occluders,scratches,specks,spots,shading,glare,blur,tone,colour,noise,"
          "sharpening,raster,compression")
  # Whether the amounts of operators also depend on the image, not on z alone.
  amounts_see_image: bool = False
  # Channels of a U-Net that adds what no operator can say; 0: there is none.
  residual_width: CountOrZero = 0
  eliminator: Literal["perceptron", "unet"] = "perceptron"  # G_E with G_L
  hidden: Count = 912  # units of the perceptrons
  layers: Annotated[int, Ge(2)] = 4  # dense layers, the last one included
  unet_width: Count = 64  # channels of the first level
  unet_depth: Count = 4  # halvings of the resolution
  # Side of the squares of pixels that a U-Net takes as the channels of one place (pixel
  # unshuffle). At 2, it has a quarter of the operations.
  unet_patch: Count = 1
  # G_A and G_E put out an "image", or a change of their input: an "edit" of its logits, or
  # a "residual", which is added.
  output: Literal["image", "edit", "residual"] = "image"
  # Decay of the EMA of G_A's and G_E's parameters, which all that comes after
  # training reads; 0: none is kept, as in the paper.
  ema_decay: Share = 0.0


@dataclasses.dataclass(frozen=True)
class LossesConfig:
  """The terms of (10), which G_A, G_E and G_L minimise."""
  # D_f on G_A's images, as in (11).
  adversarial_f_weight: NotNegative = 1.0
  # D_p on G_E(x̃_f), as in (12); 0: D_p plays no part.
  adversarial_p_weight: NotNegative = 1.0
  # NOTE(paper): λ of (10) is not given ("λ = 3e-4" in section 4.1 is the learning
  # rate): 10 as in CycleGAN.
  cycle_weight: NotNegative = 10.0
  # The three terms of (13), all with weight 1 in the paper.
  cycle_f_weight: NotNegative = 1.0  # x̃ → G_E, G_L → G_A
  cycle_p_weight: NotNegative = 1.0  # x, z → G_A → G_E
  latent_weight: NotNegative = 1.0  # x, z → G_A → G_L
  # Mean error |z − ẑ| of a latent, 0 to 1, that costs nothing in the third term.
  latent_slack: NotNegative = 0.0
  # ‖·‖₁ of (13): the mean or the sum over pixels or latents.
  l1_reduction: Literal["mean", "sum"] = "mean"
  # A further term of (10): the strengths of G_A's operators, as shares of their ranges,
  # and what the residual changes. It lets those vanish that explain nothing.
  cost_weight: NotNegative = 0.0
  # By how many times itself cost_weight has grown at the end of training. It grows evenly
  # from discriminator.same_content_from on.
  cost_rise: NotNegative = 0.0
  # What a strength that acts to both sides of 0, such as exposure, costs in it, where
  # others cost 1: its range is long for what it does. A stop of exposure is an eighth of
  # the range, and dims as much as a black cover of half the opacity.
  cost_of_two_sided: NotNegative = 1.0
  # Whether (13) trains G_A, too, as in the paper, or G_E and G_L alone.
  cycle_trains_augmenter: bool = True
  # Noise on all that G_E, G_L and the second half of a cycle see: its standard
  # deviation is uniform on [0, cycle_noise], drawn for each image.
  cycle_noise: NotNegative = 0.0
  # A further term of (10), the distance of G_L(x̃) from the prior of z.
  bank_weight: NotNegative = 0.0


@dataclasses.dataclass(frozen=True)
class GeneratorConfig:
  """Stage 2: Algorithm 1."""
  epochs: NotNegative = 100.0  # passes over X_p; give epochs or steps, not both
  steps: CountOrZero = 0  # of training, where epochs is 0
  batch_size: Count = 256  # images in a step, over all devices
  # Gradient accumulation: images of a device that pass through a network at once. The
  # gradient is that of the whole batch. 0: all of them. For GPUs and TPUs, as above.
  micro_batch: CountOrZero = 0
  # Folder of a run with the same settings, to take stages 1 and 2 over from.
  from_run: str = ""
  networks: NetworksConfig = NetworksConfig()
  latent: LatentConfig = LatentConfig()
  discriminator: DiscriminatorConfig = DiscriminatorConfig()
  losses: LossesConfig = LossesConfig()
  # NOTE(paper): "momentum SGD with a learning rate of 3e-4", no more: momentum 0.9,
  # no weight decay, a constant rate.
  optimizer: OptimizerConfig = OptimizerConfig(
      lr=3e-4, weight_decay=0.0, schedule="constant")


@dataclasses.dataclass(frozen=True)
class PolicyConfig:
  """P(T|X), a trainable distribution over augmentations, and its phase (b)."""
  draws: Annotated[int, Ge(2)] = 32  # m, uniform draws for each image
  batch: CountOrZero = 0  # images; 0: all of the stage's batch
  # β of (2). Section `tac` has it and `z` in both phases; phase (a) of `retrain.policy`
  # is the pre-trainer's.
  beta: Positive = 10.0
  z: Literal["mean", "drawn"] = "mean"  # Z: the mean of its distribution, or drawn from it
  # (2) itself ("information"), or its lower bound by Jensen's inequality ("jensen").
  numerator: Literal["information", "jensen"] = "information"
  entropy_weight: NotNegative = 0.5  # of H(T|X)
  # The entropy of an image counts up to this target, in nats; 0: all of it counts.
  entropy_target: NotNegative = 0.0
  # Over the stage the weight of the entropy stays, or falls to 0.
  entropy_schedule: Literal["constant", "linear"] = "constant"
  width: Count = 32  # channels of P's network
  optimizer: OptimizerConfig = OptimizerConfig(
      name="adam", lr=1e-3, weight_decay=0.0, schedule="constant")


@dataclasses.dataclass(frozen=True)
class RetrainConfig:
  """Stage 3: F trained further, with a learned (or another) second view.

  Each arm starts from stage 1 and makes a row of the table. "generator" sees G_A(x, z)
  with z from the bank Z̃, as in (15), "prior" the same with z from the prior, "policy"
  with z from P(z|x), which is trained with F (section `policy`; needs `order` first).
  "control" has the hand-made views alone, "random" an untrained G_A whose edits are as
  large, "oracle" the true implicit augmentation. All arms read X_p alone, with the same
  hand-made recipe. Without arms, stage 1 alone is evaluated.
  """
  # Rows of the table, as the section says.
  arms: Annotated[str, EachOf(
      "generator", "prior", "policy", "control", "random", "oracle")] = "generator"
  epochs: NotNegative = 200.0  # passes over X_p; give epochs or steps, not both
  steps: CountOrZero = 0  # of training, where epochs is 0
  batch_size: Count = 256  # images in a step, over all devices
  # As in section `pretrain`, for F and G_A; not for what trains P(z|x) of the arm "policy".
  micro_batch: CountOrZero = 0
  # Hand-made augmentations of both views, beside the arm's; "none": (15) as printed.
  recipe: Recipe = "moco_v2"
  # Where the arm's augmentation stands: "first" is t'(G_A(x, z)), "last" G_A(t'(x), z).
  order: Literal["first", "last"] = "first"
  optimizer: OptimizerConfig = OptimizerConfig()
  candidates: Count = 64  # latents of Z̃ that P(z|x) of the arm "policy" chooses from
  policy: PolicyConfig = PolicyConfig(draws=8, batch=32, beta=5.0)


@dataclasses.dataclass(frozen=True)
class SimclrWindowsConfig:
  """The control "simclr_own" of CRL-TAC: windows and temperature of its own.

  Windows chosen for CRL-TAC's P, which finds those that show something, may leave
  SimCLR, which draws them uniformly, with next to nothing to see. All other settings
  are those of section `tac`.
  """
  crop: Count = 28  # side, in pixels
  stride: Count = 4  # of the grid of places, in pixels
  scales: Annotated[tuple[Positive, ...], MinLen(1)] = (1.0,)  # factors of the side
  beta: Positive = 10.0  # 1/τ
  batch_size: Count = 128  # images in a step, over all devices
  draws: Annotated[int, Ge(2)] = 4  # crops of an image


@dataclasses.dataclass(frozen=True)
class TacConfig:
  """CRL-TAC: an encoder and P(T|X) over crops, trained in turn."""
  epochs: NotNegative = 0.0  # passes over X; give epochs or steps, not both
  steps: CountOrZero = 1000  # of training, where epochs is 0
  batch_size: Count = 128  # images in a step, over all devices
  crop: Count = 28  # side of the crops T, in pixels
  stride: Count = 4  # of the grid of their places, in pixels
  scales: Annotated[tuple[Positive, ...], MinLen(1)] = (1.0,)  # factors of the side
  scale_mass: Literal["learned", "equal"] = "learned"  # P's mass on windows of each scale
  dim: Annotated[int, Ge(2)] = 50  # D, size of h, which lies on a sphere
  head: Literal["mlp", "linear"] = "mlp"  # H: the two layers of MoCo v2, or one
  draws: Annotated[int, Ge(2)] = 4  # m, crops of an image in phase (a)
  # Objective of phase (a): (2) itself, or its lower bound.
  numerator: Literal["information", "jensen"] = "information"
  # n, crops of an image in evaluation; its representation is their mean. "top-n" takes
  # the most probable ones, all else draws them.
  top: Count = 4
  # Rows beside CRL-TAC's: "simclr" on the same windows and "simclr_own" on those of
  # section `tac.simclr`, each trained in a stage of its own; "untrained".
  controls: Annotated[str, EachOf(
      "simclr", "simclr_own", "untrained")] = "simclr,simclr_own,untrained"
  simclr: SimclrWindowsConfig = SimclrWindowsConfig()
  optimizer: OptimizerConfig = OptimizerConfig(
      name="adam", lr=1e-3, weight_decay=0.0, schedule="cosine")
  policy: PolicyConfig = PolicyConfig()


@dataclasses.dataclass(frozen=True)
class Config:
  """A run."""
  experiment: str = "Rendered characters"  # title of the table
  # "augmentation_generator" (Hayase et al.) reads the sections pretrain, generator and
  # retrain, "crl_tac" (Koyama et al.) the section tac.
  method: Literal["augmentation_generator", "crl_tac"] = "augmentation_generator"
  seed: Seed = 0  # of everything that is drawn, but for the data's own seeds
  # Stages to run, or "all": pretrain, generator, retrain, evaluate; of CRL-TAC simclr,
  # simclr_own, tac, evaluate.
  stages: Annotated[str, MinLen(1)] = "all"
  # Type of the products and maps of all networks, for GPU and TPU. Parameters, statistics,
  # last layers, logits and losses are float32 in any case.
  precision: Literal["float32", "bf16"] = "float32"
  # Whether the blocks of ResNets and U-Nets are computed again for their gradients, in
  # place of keeping what they computed: less memory, for about a third more operations. On
  # a CPU it does nothing, because XLA merges the two computations.
  remat: bool = False
  debug: bool = False  # NaN checks inside the step, compile logs
  # "FIRST,LAST": a profile of these steps of every stage that is trained, in the run
  # folder, with the operations per second in the log.
  profile_steps: str = ""
  data: DataConfig = DataConfig()
  encoder: EncoderConfig = EncoderConfig()
  moco: MocoConfig = MocoConfig()
  simclr: SimclrConfig = SimclrConfig()
  simsiam: SimsiamConfig = SimsiamConfig()
  byol: ByolConfig = ByolConfig()
  swav: SwavConfig = SwavConfig()
  supervised: SupervisedConfig = SupervisedConfig()
  pretrain: PretrainConfig = PretrainConfig()
  generator: GeneratorConfig = GeneratorConfig()
  retrain: RetrainConfig = RetrainConfig()
  tac: TacConfig = TacConfig()
  evaluate: EvaluateConfig = EvaluateConfig()
  log: LogConfig = LogConfig()
