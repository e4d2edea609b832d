"""Stage 1 taken over from another run.

Pre-training is the longest stage, and what comes after it is what one varies.
With config.pretrain.run=FOLDER a run starts from that folder's stage 1, provided
that every setting that decides it is its own. The data are taken to be the same
where their names are.
"""

from collections.abc import Iterator, Mapping
import json
import pathlib
import shutil
from typing import Any

from augment_gen.run_folder import RunFolder, differences

STAGE = "pretrain"
# What decides stage 1. X̃_f is a part of it if it is trained on.
_SECTIONS = ("seed", "encoder", "moco", "pretrain")
_DATA = ("pretrain", "image_size", "canvas", "canvas_seed", "channels", "mean",
         "std", "on_bad_image")
_LEAVES_ALONE = ("pretrain.run", "data.max_resident_gib", "data.tests")


def problems(values: Mapping[str, Any]) -> Iterator[str]:
  """Why stage 1 of config.pretrain.run cannot be this run's; empty if it can.

  Args:
    values: all fields of this run's config, as plain JSON values.
  """
  source = values["pretrain"]["run"]
  if not source:
    return
  try:
    theirs = json.loads((pathlib.Path(source) / "config.json").read_text())
    theirs = _deciding(theirs)
  except (OSError, ValueError, KeyError, TypeError):
    yield (f"config.pretrain.run={source} is no run folder: there is no "
           "readable config.json in it")
    return
  for name, a, b in differences(theirs, _deciding(values)):
    if name not in _LEAVES_ALONE:
      yield (f"config.pretrain.run={source} was pre-trained with config.{name}="
             f"{a!r}, and this run has {b!r}: give the same, or pre-train anew")
  if not _newest(source):
    yield (f"config.pretrain.run={source} has no checkpoint of stage {STAGE}: "
           "start it again to finish that stage")


def take_over(source: str, folder: RunFolder) -> None:
  """Copies the other run's last checkpoint of stage 1, unless there is one.

  From then on this run has no need of the other folder.
  """
  own = folder.checkpoints(STAGE)
  if not source or own.exists():
    return
  newest = _newest(source)
  # Under another name until it is whole.
  partial = own.with_name(own.name + ".partial")
  shutil.rmtree(partial, ignore_errors=True)
  shutil.copytree(newest, partial / newest.name)
  partial.rename(own)


def _deciding(values: Mapping[str, Any]) -> dict[str, Any]:
  kept = {name: values[name] for name in _SECTIONS}
  data = values["data"]
  if not values["pretrain"]["with_finetune"]:
    data = {name: data[name] for name in _DATA}
  return kept | {"data": data}


def _newest(source: str) -> pathlib.Path | None:
  steps = [path for path in pathlib.Path(source).glob(f"checkpoints/{STAGE}/*")
           if path.name.isdigit()]
  return max(steps, key=lambda path: int(path.name), default=None)
