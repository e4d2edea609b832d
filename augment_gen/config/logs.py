"""The section that says what a run writes."""

import dataclasses
from typing import Annotated

from augment_gen.config.bounds import Count, CountOrZero, NotNegative
from augment_gen.config.checks import EachOf


@dataclasses.dataclass(frozen=True)
class LogConfig:
  """What is written and when; changes no result."""
  every_steps: Count = 50  # metrics are written
  checkpoint_every_steps: Count = 500  # a checkpoint is saved
  keep_checkpoints: Count = 2  # of each stage, the newest ones
  # Gauges of F (evaluate/encoder_health.py) and kNN accuracy during training; 0: only the
  # gauges, at the end of a stage.
  online_every_epochs: NotNegative = 0.0
  # Health of the generator (evaluate/health.py) during its training; 0: at its end only.
  health_every_steps: CountOrZero = 0
  # Where metrics and figures go. "jsonl" is metrics.jsonl, which is always written, because
  # resuming and figures read it; "tensorboard" event files in the run folder; "wandb" and
  # "mlflow" need the extras of these names.
  sinks: Annotated[str, EachOf(
      "jsonl", "tensorboard", "wandb", "mlflow")] = "jsonl,tensorboard"
  figure_images: Count = 8  # columns of the figures
