"""Conflicts between settings of a CRL-TAC run."""

from collections.abc import Iterator

from augment_gen.augment.crops import CropGrid
from augment_gen.config import Config, names, SimclrWindowsConfig, TacConfig
from augment_gen.data.task import Task
from augment_gen.methods import building
from augment_gen.methods.policy_rules import policy_problems


def problems(config: Config, devices: int) -> Iterator[str]:
  """See `contracts.Method`."""
  if config.encoder.init:
    yield (f"config.encoder.init={config.encoder.init}: the encoders of CRL-TAC start "
           "from random weights; leave it out")
  if "finetune" in names(config.evaluate.protocols):
    yield ("config.evaluate.protocols names 'finetune', which CRL-TAC does not have: its "
           "features are means over crops, and what would be trained is not clear")
  stage, side = config.tac, config.data.side
  sections: dict[str, TacConfig | SimclrWindowsConfig] = {"tac": stage}
  if "simclr_own" in names(stage.controls):
    sections["tac.simclr"] = stage.simclr
    yield from building.division_problems(config, "tac.simclr.batch_size", devices)
  for section, windows in sections.items():
    wrong = list(_windows(windows, f"config.{section}", side))
    yield from wrong
    if wrong:
      continue
    crops = CropGrid(side, windows.crop, windows.stride, windows.scales).size
    for field, value in ((f"{section}.draws", windows.draws), ("tac.top", stage.top)):
      if value > crops:
        yield (f"config.{field}={value} is more than the {crops} crops of the grid of "
               f"config.{section}")
    if section == "tac":
      yield from policy_problems(
          stage.policy, "tac", stage.batch_size, crops, devices)


def data_warnings(config: Config, task: Task) -> Iterator[str]:
  """See `contracts.Method`."""
  del config, task
  yield from ()


def data_problems(config: Config, task: Task) -> Iterator[str]:
  """See `contracts.Method`."""
  fields = ["tac.batch_size"]
  if "simclr_own" in names(config.tac.controls):
    fields.append("tac.simclr.batch_size")
  for field in fields:
    yield from building.batch_problems(
        config, field, len(task.pretrain), "pretrain")


def _windows(windows: TacConfig | SimclrWindowsConfig, field: str, side: int
             ) -> Iterator[str]:
  """Problems with windows on images of `side` pixels."""
  largest = round(windows.crop * max(windows.scales))
  smallest = round(windows.crop * min(windows.scales))
  if largest > side or smallest < windows.stride:
    yield (f"{field}.crop={windows.crop} with scales={windows.scales} does not "
           f"fit: crops must be at least {field}.stride={windows.stride} and "
           f"at most {side} pixels wide, as the images are")
