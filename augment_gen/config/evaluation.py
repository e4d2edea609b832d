"""Sections of the evaluation, `evaluate` and those in it."""

import dataclasses
from typing import Annotated

from annotated_types import Ge, Interval, MinLen

from augment_gen.config.bounds import Count, NotNegative, Positive, Recipe, Share
from augment_gen.config.checks import EachOf


@dataclasses.dataclass(frozen=True)
class FinetuneConfig:
  """Protocol "finetune": F and a linear head trained together on X̃_f.

  F starts from the weights of the row, the head anew. Both have SGD with momentum and a
  rate that falls along a cosine; batch norms are in training mode. The rates of the
  papers that fine-tune on few labels (SimCLR, SwAV) are 0.01 to 0.05 for F.
  """
  epochs: Positive = 20.0  # passes over X̃_f
  batch_size: Annotated[int, Ge(2)] = 256  # images in a step, over all devices
  # Learning rate of F at the start. With 0 only the head and the statistics of F's batch
  # norms change.
  encoder_lr: NotNegative = 0.02
  head_lr: Positive = 0.2  # learning rate of the head at the start
  momentum: Share = 0.9
  weight_decay: NotNegative = 0.0  # L2 of F and the head, added to the gradient
  recipe: Recipe = "crop"  # hand-made augmentations of the one view of an image


@dataclasses.dataclass(frozen=True)
class LabelsConfig:
  """Protocol "labels": a linear head on frozen features, with few labels of each class.

  Each number of labels makes rows of its own, "labels:1", "labels:5" and so on. The labels
  of a class are drawn at random by the seed, and the fewer are among the more.
  """
  per_class: Annotated[tuple[Count, ...], MinLen(1)] = (1, 5, 10)  # numbers of labels
  draws: Annotated[int, Ge(2)] = 5  # draws of labels; a row has their mean and spread
  # Strength of the L2 penalty. A single label of each class leaves none to choose it by.
  l2_strength: Positive = 1e-3


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
  """Stage 4: the protocols that measure an encoder."""
  # Rows of a G_A run that cost no training: "untrained", F as it was initialised;
  # "adabn", every encoder once more with batch-norm statistics estimated on X̃_f.
  controls: Annotated[str, EachOf("untrained", "adabn")] = "untrained,adabn"
  # On frozen features: "l2": L2-regularised linear head, strength chosen on a held-out part
  # of X̃_f; "moco": linear head by SGD, lr 30, 100 epochs; "knn"; "labels": linear heads on
  # few labels of each class. "finetune" trains F, too (not with CRL-TAC). The first one
  # makes the printed table. Further ones can be added to a run that is done.
  protocols: Annotated[str, EachOf(
      "l2", "moco", "knn", "finetune", "labels"), MinLen(1)] = "l2,moco,knn"
  batch_size: Count = 256  # of the feature extraction
  # Strengths that "l2" chooses from.
  l2_strengths: Annotated[tuple[Positive, ...], MinLen(1)] = (1e-5, 1e-4, 1e-3, 1e-2)
  l2_holdout: Annotated[float, Interval(gt=0, lt=1)] = 0.2  # share of each class
  l2_iterations: Count = 100  # of L-BFGS, in "l2" and "labels"
  moco_lr: Positive = 30.0  # learning rate of "moco"
  moco_epochs: Count = 100  # passes of "moco" over X̃_f
  moco_batch_size: Count = 256  # features in a step of "moco"
  knn_k: Count = 20  # neighbours that vote
  knn_temperature: Positive = 0.07  # a vote weighs e^(cosine / temperature)
  finetune: FinetuneConfig = FinetuneConfig()
  labels: LabelsConfig = LabelsConfig()
