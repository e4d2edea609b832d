"""The sections of the pre-trainers; pretrain.method says which of them is read.

They are part of schema.py. `presets.simclr` and its like set the augmentations, the
optimiser and the schedule as in the papers.
"""

import dataclasses
from typing import Annotated

from annotated_types import Interval

from augment_gen.config.bounds import Count, CountOrZero, NotNegative, Positive

# The section of each value of pretrain.method.
SECTIONS = {"moco_v2": "moco", "simclr": "simclr", "simsiam": "simsiam", "byol": "byol",
            "swav": "swav", "supervised": "supervised"}


@dataclasses.dataclass(frozen=True)
class MocoConfig:
  """MoCo v2 (He et al. 2020, Chen et al. 2020), where pretrain.method is moco_v2."""
  dim: Count = 128  # size of the projections q and k
  queue: Count = 65536  # keys; a multiple of the batch
  momentum: Annotated[float, Interval(ge=0, le=1)] = 0.999  # of the key encoder
  temperature: Positive = 0.2  # τ
  # Groups of the *global* batch that have batch-norm statistics of their own; the
  # keys are shuffled over them. The official runs have 8, one for each GPU.
  bn_groups: Count = 8
  shuffle: bool = True  # the keys over the groups


@dataclasses.dataclass(frozen=True)
class SimclrConfig:
  """SimCLR (Chen et al. 2020), where pretrain.method is simclr.

  `presets.simclr` sets the augmentations, the schedule and LARS as in its paper.
  """
  dim: Count = 128  # size of the projections
  temperature: Positive = 0.5  # τ


@dataclasses.dataclass(frozen=True)
class SimsiamConfig:
  """SimSiam (Chen & He 2021), where pretrain.method is simsiam."""
  dim: Count = 2048  # size of the projections z and predictions p
  predictor_dim: Count = 512  # hidden units of the predictor
  # False shows the collapse of section 4.1: all embeddings become the same.
  stop_gradient: bool = True


@dataclasses.dataclass(frozen=True)
class ByolConfig:
  """BYOL (Grill et al. 2020), where pretrain.method is byol."""
  dim: Count = 256  # size of the projections z and predictions q(z)
  hidden: Count = 4096  # hidden units of projector and predictor
  # τ of the target network at the first step; it rises to 1 over the stage.
  momentum: Annotated[float, Interval(ge=0, le=1)] = 0.996


@dataclasses.dataclass(frozen=True)
class SwavConfig:
  """SwAV (Caron et al. 2020), where pretrain.method is swav."""
  dim: Count = 128  # size of the projections z
  hidden: Count = 2048  # hidden units of the projection head
  prototypes: Count = 3000  # K
  temperature: Positive = 0.1  # τ
  epsilon: Positive = 0.05  # ε of the Sinkhorn-Knopp algorithm
  iterations: Count = 3  # of the Sinkhorn-Knopp algorithm
  # Projections of earlier batches that help to assign a batch to the prototypes, of
  # each large view; a multiple of the batch. 0: none, as with large batches.
  queue: CountOrZero = 3840
  # Passes of stage 1 before the queue is filled; in stage 3 it is filled at once.
  queue_start_epochs: NotNegative = 15.0
  freeze_epochs: NotNegative = 1.0  # passes of stage 1 in which prototypes stay as they are
  # Small crops of an image, beside its two large views (multi-crop).
  small_crops: CountOrZero = 6
  small_side: Annotated[float, Interval(gt=0, le=1)] = 96 / 224  # share of the image's
  # Least and largest area of a small crop, as a share of the image's.
  small_area_min: Annotated[float, Interval(gt=0, le=1)] = 0.05
  small_area_max: Annotated[float, Interval(gt=0, le=1)] = 0.14


@dataclasses.dataclass(frozen=True)
class SupervisedConfig:
  """Supervised training on the labels of X_p, where pretrain.method is supervised."""
  classes: Count = 1000  # of X_p; with pretrain.with_finetune of X_p and X̃_f
