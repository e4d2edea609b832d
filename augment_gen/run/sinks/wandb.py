"""A run of Weights & Biases behind clu's `MetricWriter`."""

from collections.abc import Mapping
import os
import pathlib
import re
from typing import Any

import numpy as np
import wandb

from augment_gen.run.sinks.base import Sink


class WandbRun(Sink):
  """Writes scalars and images.

  wandb's own settings hold, such as WANDB_MODE, WANDB_PROJECT and WANDB_ENTITY.

  Args:
    experiment: the project, unless WANDB_PROJECT names one.
    folder: the run's folder, whose name is the run's; wandb's files go there.
    run_id: the id; a run of this id is gone on with.
    values: the config.
  """

  def __init__(self, experiment: str, folder: pathlib.Path, run_id: str,
               values: Mapping[str, Any]):
    self._run = wandb.init(
        # wandb allows no other characters in the name of a project.
        project=os.environ.get("WANDB_PROJECT") or re.sub(r"[/\\#?%:]", "-", experiment),
        name=folder.absolute().name, id=run_id, resume="allow", dir=str(folder),
        config=dict(values), settings=wandb.Settings(console="off"))
    self._stages: set[str] = set()

  def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
    """Writes numbers named STAGE/METRIC. Each stage has its own axis, STAGE/step."""
    values = dict(scalars)
    for stage in {name.partition("/")[0] for name in scalars}:
      # wandb's own step never falls, and every stage begins at 1.
      if stage not in self._stages:
        self._run.define_metric(f"{stage}/step", hidden=True)
        self._run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
        self._stages.add(stage)
      values[f"{stage}/step"] = step
    self._run.log(values)

  def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
    """Writes images, uint8 [N, H, W, C]."""
    del step  # figures are drawn at the end of a stage
    self._run.log({name: [wandb.Image(image) for image in np.asarray(batch)]
                   for name, batch in images.items()})

  def flush(self) -> None:
    """wandb sends what it gets by itself."""

  def close(self, failed: bool = False) -> None:
    self._run.finish(exit_code=int(failed))
