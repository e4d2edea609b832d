"""Planned sweeps, and folders as runs leave them."""

import json
import pathlib

from augment_gen.sweep import grid, plan


def planned(folder, *settings, seeds=(0,), overrides=(), config="quickstart", cases=()):
  """The runs of `--set` for each of the settings, and of `--case` for each of the cases."""
  varied = [grid.values(setting) for setting in settings]
  named = [grid.case(text) for text in cases] or [("", ())]
  return plan.make(config, overrides,
                   lambda own: grid.points(varied, seeds or [own], named), folder)


def leave(run: plan.Run, *, seconds: float = 60.0, finished: bool = True,
          stages: tuple[str, ...] = ("pretrain", "generator")) -> None:
  """Makes a run's folder as it is after a start."""
  for stage in stages:
    (run.folder / "checkpoints" / stage / "2").mkdir(parents=True)
  values = json.loads(json.dumps(run.values))
  if run.last:
    values[run.last]["from_run"] = "elsewhere"
  write(run.folder / "config.json", values)
  write(run.folder / "environment.json", [{"seconds": seconds, "finished": finished}])
  write(run.folder / "results.json", results(run))


def results(run: plan.Run) -> dict:
  return {"experiment": run.values["experiment"], "provenance": {}, "rows": [{
      "method": "MoCo v2", "pretrain_data": "X_p", "train": "D", "test": "C",
      "protocol": "l2", "seed": run.values["seed"], "accuracy": 50.0}]}


def write(path: pathlib.Path, value) -> None:
  path.write_text(json.dumps(value))
