"""Stages taken over from another run.

Pre-training and the game of the generator are what takes long, and what comes after
them is what one varies. With config.pretrain.run=FOLDER a run starts from that
folder's stage 1, with config.generator.run=FOLDER from its stages 1 and 2, provided
that every setting that decides them is its own, and the data (data_record.py).
"""

from collections.abc import Iterator, Mapping
import pathlib
import shutil
from typing import Any

from augment_gen.errors import UserError
from augment_gen.run_folder import (
    RunFolder, differences, read_config, read_metrics, remote_problems)

# What decides stage 1. X̃_f is a part of it if it is trained on.
_SECTIONS = ("seed", "encoder", "moco", "pretrain")
_DATA = ("pretrain", "image_size", "canvas", "canvas_seed", "channels", "mean",
         "std", "on_bad_image")
_LEAVES_ALONE = ("pretrain.run", "generator.run", "data.max_resident_gib",
                 "data.tests")


def problems(values: Mapping[str, Any]) -> Iterator[str]:
  """Why another run's stages cannot be this run's; empty if they can.

  Args:
    values: all fields of this run's config, as plain JSON values.
  """
  sources = {stage: values[stage]["run"] for stage in ("pretrain", "generator")}
  if all(sources.values()):
    yield ("config.pretrain.run and config.generator.run cannot both be given: "
           "config.generator.run takes stage 1 over, too")
    return
  for last, source in sources.items():
    if source:
      yield from _problems(f"config.{last}.run={source}", source, last, values)


def take_over(source: str, stages: tuple[str, ...], folder: RunFolder) -> None:
  """Copies the last checkpoint and the metrics of stages that are not there yet.

  From then on this run has no need of the other folder.

  Args:
    source: the other run's folder; "": nothing is taken over.
    stages: by name.
    folder: this run's.
  """
  for stage in stages:
    own = folder.checkpoints(stage)
    if not source or own.exists():
      continue
    newest = _newest(source, stage)
    # Under another name until it is whole.
    partial = own.with_name(own.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(newest, partial / newest.name)
    folder.forget_metrics(stage, after_step=-1)
    folder.append_metrics(
        line for line in read_metrics(pathlib.Path(source))
        if line["stage"] == stage and line["step"] <= int(newest.name))
    partial.rename(own)


def _problems(setting: str, source: str, last: str, values: Mapping[str, Any]
              ) -> Iterator[str]:
  if remote := remote_problems(f"config.{last}.run", source):
    yield from remote
    return
  try:
    theirs = _deciding(read_config(source), last)
  except UserError as error:
    yield f"config.{last}.run: {error}"
    return
  except (KeyError, TypeError):
    yield (f"{setting} is a run of other code: its config.json lacks fields of "
           "today's")
    return
  for name, a, b in differences(theirs, _deciding(values, last)):
    if name not in _LEAVES_ALONE:
      yield (f"{setting} was trained with config.{name}={a!r}, and this run has "
             f"{b!r}: give the same, or train anew")
  for stage in ("pretrain", last):
    if not _newest(source, stage):
      yield (f"{setting} has no checkpoint of stage {stage}: start it again to "
             "finish that stage")
      return


def _deciding(values: Mapping[str, Any], last: str) -> dict[str, Any]:
  """The settings that decide the stages up to `last`."""
  kept = {name: values[name] for name in _SECTIONS}
  data = values["data"]
  if last == "generator":
    kept["generator"] = values["generator"]
  elif not values["pretrain"]["with_finetune"]:
    data = {name: data[name] for name in _DATA}
  return kept | {"data": data}


def _newest(source: str, stage: str) -> pathlib.Path | None:
  steps = [path for path in pathlib.Path(source).glob(f"checkpoints/{stage}/*")
           if path.name.isdigit()]
  return max(steps, key=lambda path: int(path.name), default=None)
