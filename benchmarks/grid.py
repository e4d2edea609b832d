"""Grids of runs that are computed in pieces, and what they are to show."""

import argparse
from collections.abc import Iterable
import dataclasses
import json
import pathlib
import signal
import subprocess
import sys
import time

from augment_gen.config import command_line, errors
from augment_gen.run import folder as run_folder


@dataclasses.dataclass(frozen=True)
class Run:
  """One command, and how its rows are called in the table.

  Attributes:
    part: of the grid.
    name: of its folder.
    config: file and variants.
    settings: `--config.name=value`, beside `data.root`.
    rows: how many methods, each under one kind of crops if there are kinds, its
      results hold once it is finished.
    method: what the rows of `of` are called in the table, where the others are
      left out; "": all, as they are.
    of: the method under trial, as results.json has it.
  """
  part: str
  name: str
  config: str
  settings: dict
  rows: int
  method: str = ""
  of: str = ""


class Claims:
  """What is to be shown, each claim with the numbers that decide it."""

  def __init__(self):
    self.failed = False

  def check(self, holds: bool | None, text: str) -> None:
    """`holds`: None if what was measured so far cannot decide."""
    verdict = "open" if holds is None else "holds" if holds else "FAILS"
    self.say(text, verdict)
    self.failed |= holds is not None and not holds

  def say(self, text: str, verdict: str = "") -> None:
    """What is worth knowing, and claims nothing."""
    print(f"  {verdict:5}  {text}")


def parser(doc: str, parts: Iterable[str]) -> argparse.ArgumentParser:
  """The options that all grids have."""
  out = argparse.ArgumentParser(
      description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
  out.add_argument("--data", required=True)
  out.add_argument("--out", type=pathlib.Path, required=True)
  def chosen(text: str) -> list[str]:
    unknown = set(text.split(",")) - set(parts)
    if unknown:
      raise argparse.ArgumentTypeError(
          f"{', '.join(sorted(unknown))}: choose from {', '.join(parts)}")
    return text.split(",")

  out.add_argument("--parts", type=chosen, default=list(parts))
  out.add_argument("--seeds", default=[0, 1, 2, 3, 4],
                   type=lambda text: [int(seed) for seed in text.split(",")])
  out.add_argument("--minutes", type=float, default=float("inf"))
  return out


def compute(runs: Iterable[Run], options: argparse.Namespace) -> list[Run]:
  """Runs or continues what is not finished, until the time is up.

  Returns:
    The finished ones.

  Raises:
    SystemExit: a command failed, or a folder holds a run of other settings.
  """
  options.out.mkdir(parents=True, exist_ok=True)
  deadline = time.monotonic() + 60 * options.minutes
  runs = list(runs)
  for run in runs:
    _check_settings(run, options)
  for run in runs:
    if not _is_finished(run, options.out) and not _run(run, options, deadline):
      print(f"time is up in {run.name}; the same command goes on", flush=True)
      break
  finished = [run for run in runs if _is_finished(run, options.out)]
  commits = {row["commit"] or "unknown" for run in finished
             for row in read(run, options.out)["rows"]}
  print(f"\n{len(finished)} of {len(runs)} runs are finished, at "
        f"{' and '.join(sorted(commits)) or 'no commit'}\n")
  return finished


def read(run: Run, out: pathlib.Path) -> dict:
  """results.json; of a run with a method of its own, its rows alone."""
  result = json.loads((out / run.name / "results.json").read_text())
  if run.method:
    rows = [row for row in result["rows"] if row["method"] == run.of]
    result["rows"] = [{**row, "method": run.method} for row in rows]
  return result


def by_seed(results: list[dict], **where) -> dict[int, float]:
  """Seed -> accuracy of the rows whose fields are as in `where`."""
  return {row["seed"]: row["accuracy"] for result in results
          for row in result["rows"]
          if all(row[name] == value for name, value in where.items())}


def mean(values: dict[int, float]) -> float:
  return sum(values.values()) / max(len(values), 1)


def _is_finished(run: Run, out: pathlib.Path) -> bool:
  path = out / run.name / "results.json"
  if not path.exists():
    return False
  rows = json.loads(path.read_text())["rows"]
  return len({(row["method"], row.get("crops")) for row in rows}) == run.rows


def _arguments(run: Run, options) -> list[str]:
  settings = {"data.root": options.data, **run.settings}
  return [f"--config={run.config}", f"--workdir={options.out / run.name}",
          *(f"--config.{name}={value}" for name, value in settings.items())]


def _check_settings(run: Run, options) -> None:
  """A preset changed since must not stand in one table with what it was."""
  try:
    parsed = command_line.parse(["grid", *_arguments(run, options)])
    run_folder.check_owner(parsed.workdir, parsed.config_values)
  except errors.UserError as error:
    raise SystemExit(f"{run.name}: {error}") from None


def _run(run: Run, options, deadline: float) -> bool:
  """Runs or continues one command; False if time is up."""
  command = [sys.executable, "-m", "augment_gen.main", *_arguments(run, options)]
  with open(options.out / f"{run.name}.log", "a") as log:
    process = subprocess.Popen(command, stdout=log, stderr=log)
  start = time.monotonic()
  while process.poll() is None:
    if time.monotonic() > deadline:
      process.send_signal(signal.SIGTERM)
      process.wait()
      return False
    time.sleep(1)
  print(f"{run.name}: {time.monotonic() - start:.0f} s", flush=True)
  if process.returncode:
    raise SystemExit(f"{run.name} ended with status {process.returncode}: see "
                     f"{options.out / run.name}.log")
  return True
