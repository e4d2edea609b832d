"""Stages taken over from another run.

Pre-training and the generator's adversarial training take most of the time, and one
usually varies what comes after them. With config.pretrain.from_run=FOLDER a run starts
from stage 1 of that folder, with config.generator.from_run=FOLDER from its stages 1 and
2. Every setting that determines these stages must be the same in both runs, and so must
the data and F's initial weights (provenance.py).
"""

from collections.abc import Iterator, Mapping
import os
import pathlib
import shutil
from typing import Any

from augment_gen.config import names, unread, WITHOUT_EFFECT
from augment_gen.config.errors import UserError
from augment_gen.run import costs
from augment_gen.run.checkpoint import Checkpoints
from augment_gen.run.folder import (
  differences,
  read_config,
  read_metrics,
  remote_problems,
  RunFolder,
)

_CONTROL = "retrain-control"  # the arm of stage 3
_COPIED = "copied_from.txt"  # beside the checkpoints of a stage
# Settings on which the stages up to the one taken over cannot depend. Any other field
# must be the same, including fields that are added in the future.
_LATER = {"pretrain": ("generator", "retrain"), "generator": ("retrain",),
          _CONTROL: ("generator", "retrain.arms", "retrain.candidates", "retrain.order",
                     "retrain.policy")}
_NEVER = (*WITHOUT_EFFECT, "data.max_resident_gib",
          "data.tests", "data.conditions", "data.clean_name", "data.finetune_name")
# Where files lie. Their contents are compared by fingerprints (provenance.py).
_PLACES = ("data.root", "encoder.init")
# Fields of X̃_f and the test sets. They may differ if only stage 1 is taken over and it
# has not seen X̃_f.
_OF_FINETUNE = ("data.finetune", "data.finetune_per_class", "data.implicit",
                "data.implicit_seed", "data.development")


def problems(values: Mapping[str, Any]) -> Iterator[str]:
  """Reasons why another run's stages cannot be taken over; empty if they can.

  Args:
    values: all fields of this run's config, as plain JSON values.
  """
  sources = {stage: values[stage]["from_run"] for stage in ("pretrain", "generator")}
  if all(sources.values()):
    yield ("config.pretrain.from_run and config.generator.from_run cannot both be given: "
           "config.generator.from_run takes stage 1 over, too")
    return
  for last, source in sources.items():
    if source:
      yield from _problems(f"config.{last}.from_run={source}", source, last, values)


def still_needed(values: Mapping[str, Any], workdir: str | os.PathLike[str]
                 ) -> dict[str, Any]:
  """The config without the names of runs whose stages are in the run's folder already.

  Args:
    values: all fields of this run's config, as plain JSON values.
    workdir: its folder, which need not exist.
  """
  return {**values, **{
      last: {**values[last], "from_run": ""} for last in ("pretrain", "generator")
      if values[last]["from_run"] and all(
          _is_there(stage, values[last]["from_run"], workdir)
          for stage in dict.fromkeys(("pretrain", last)))}}


def _is_there(stage: str, source: str, workdir: str | os.PathLike[str]) -> bool:
  """Whether a run has a stage that it has copied, or trained further than the other run.

  Raises:
    UserError: it has begun to train that stage itself.
  """
  own, theirs = _newest(str(workdir), stage), _newest(source, stage)
  if own is None or theirs is None:
    return own is not None
  if (own.parent / _COPIED).exists():
    return True  # and has gone on since, maybe
  if int(own.name) < int(theirs.name):
    raise UserError(
        f"--workdir={workdir} has trained stage {stage} to step {own.name}, and from_run="
        f"{source} to step {theirs.name}: delete {own.parent} to take it over, or leave "
        "from_run out to go on")
  return True


def take_over(source: str, stages: tuple[str, ...], folder: RunFolder) -> None:
  """Copies the checkpoints and the metrics of stages that are not there yet.

  After that, this run no longer needs the other folder.

  Args:
    source: the other run's folder; "": nothing is taken over.
    stages: names of the stages.
    folder: this run's folder.

  Raises:
    UserError: this run has an F of its own, and the other run's later stages are of
      another F.
  """
  for stage in stages:
    own = folder.checkpoints(stage)
    if not source or _is_there(stage, source, folder.path):
      continue
    if stage != "pretrain" and not _has_the_same_f(source, folder):
      raise UserError(
          f"--workdir={folder.path} has trained its own stage pretrain, and stage {stage} "
          f"of from_run={source} is of another F: delete {folder.checkpoints('pretrain')} "
          "to take both over, or leave from_run out to go on")
    shutil.rmtree(own, ignore_errors=True)  # what an interrupted save has left
    newest = _newest(source, stage)
    assert newest is not None  # see `problems`
    # The copy has another name until it is complete.
    partial = own.with_name(own.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    for path in newest.parent.iterdir():  # if the newest is damaged, the one before helps
      if path.name.isdigit():
        shutil.copytree(path, partial / path.name)
    (partial / _COPIED).write_text(f"{newest}\n", encoding="utf-8")
    folder.forget_metrics(stage, after_step=-1)
    folder.append_metrics(
        line for line in read_metrics(pathlib.Path(source))
        if line["stage"] == stage and line["step"] <= int(newest.name))
    costs.take_over(source, stage, folder.path)
    partial.rename(own)


def _has_the_same_f(source: str, folder: RunFolder) -> bool:
  """Whether stage 1 ended with the same state in both runs."""
  theirs, ours = (Checkpoints(place, keep=1).newest_checksum() for place in (
      pathlib.Path(source, "checkpoints", "pretrain"), folder.checkpoints("pretrain")))
  return theirs == ours != ""


def shared(theirs: Mapping[str, Any], values: Mapping[str, Any]) -> str:
  """The last stage that a run can take over from another one, from their configs alone.

  Neither run has to exist yet, so that this can be asked for planned runs. As no files
  can be compared then, data.root and encoder.init must be the same, too.

  Args:
    theirs: all fields of the other run's config, as plain JSON values.
    values: those of this run's config.

  Returns:
    "generator" (with "pretrain" before it), "pretrain", or "" for none.
  """
  if values["method"] != "augmentation_generator" or values["generator"]["from_run"]:
    return ""
  both = [names(config["stages"]) for config in (theirs, values)]
  for last, stages in (("generator", ("pretrain", "generator")),
                       ("pretrain", ("pretrain",))):
    if not all("all" in chosen or {*stages} <= {*chosen} for chosen in both):
      continue
    # A stage 1 that both take over from elsewhere has nothing left to share.
    if last == "pretrain" and values["pretrain"]["from_run"]:
      continue
    fixed = {"pretrain.from_run", "generator.from_run", *_PLACES}
    if not conflicts(theirs, values, last) and not any(
        name in fixed for name, _, _ in differences(theirs, values)):
      return last
  return ""


def take_over_control(source: str, folder: RunFolder, values: Mapping[str, Any]) -> None:
  """Takes the arm "control" over if the other run has trained it as this run would.

  Args:
    source: a run's folder from which stage 1 is taken over; "": there is none.
    folder: this run's folder.
    values: all fields of this run's config, as plain JSON values.
  """
  if (source and _newest(source, _CONTROL)
      and not _newest(str(folder.path), _CONTROL)  # it may have begun before the other
      and not conflicts(read_config(source), values, _CONTROL)
      and _has_the_same_f(source, folder)):
    take_over(source, (_CONTROL,), folder)


def has_stages(source: str, last: str) -> bool:
  """Whether a run's folder has a checkpoint of each stage up to `last`."""
  return all(_newest(source, stage) for stage in ("pretrain", last))


def conflicts(theirs: Mapping[str, Any], values: Mapping[str, Any], last: str
              ) -> list[tuple[str, Any, Any]]:
  """(field, value there, value here) of differing settings that stages depend on.

  Args:
    theirs: all fields of the other run's config, as plain JSON values.
    values: those of this run's config.
    last: the last stage to be taken over.
  """
  ignored = _ignored(values, last)
  return [(name, a, b) for name, a, b in differences(theirs, values)
          if not any(name == i or name.startswith(f"{i}.") for i in ignored)]


def _problems(setting: str, source: str, last: str, values: Mapping[str, Any]
              ) -> Iterator[str]:
  if remote := remote_problems(f"config.{last}.from_run", source):
    yield from remote
    return
  try:
    found = conflicts(read_config(source), values, last)
  except UserError as error:
    yield f"config.{last}.from_run: {error}"
    return
  if any(a is None or b is None for _, a, b in found):
    yield (f"{setting} is a run of other code: its config.json has other fields than "
           "today's")
    return
  for name, a, b in found:
    yield (f"{setting} was trained with config.{name}={a!r}, and this run has "
           f"{b!r}: give the same, or train anew")
  for stage in ("pretrain", last):
    if not _newest(source, stage):
      yield (f"{setting} has no checkpoint of stage {stage}: start it again to "
             "finish that stage")
      return


def _ignored(values: Mapping[str, Any], last: str) -> tuple[str, ...]:
  """Fields and sections that may differ if the stages up to `last` are taken over."""
  ignored = (*_NEVER, *_PLACES, *_LATER[last], *unread(values))
  if last != "generator" and not values["pretrain"]["with_finetune"]:
    ignored += _OF_FINETUNE
  return ignored


def _newest(source: str, stage: str) -> pathlib.Path | None:
  steps = [path for path in pathlib.Path(source).glob(f"checkpoints/{stage}/*")
           if path.name.isdigit()]
  return max(steps, key=lambda path: int(path.name), default=None)
