"""Grids of runs that are computed in pieces, and the claims that they check."""

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
  """One command, and the names of its rows in the table.

  Attributes:
    part: the part of the grid that it belongs to.
    name: the name of its folder.
    config: config file and variants.
    settings: values of `--config.name=value`, in addition to `data.root`.
    rows: number of methods in the finished results; if there are kinds of crops, number
      of pairs of method and kind.
    method: the name of the rows of `of` in the table, which then leaves out all other
      rows; "": the table has all rows, with their own names.
    of: the method under trial, as results.json names it.
  """
  part: str
  name: str
  config: str
  settings: dict
  rows: int
  method: str = ""
  of: str = ""


class Claims:
  """Prints claims with the numbers that decide them, and notes whether one failed."""

  def __init__(self):
    self.failed = False

  def check(self, holds: bool | None, text: str) -> None:
    """Prints a claim; `holds` is None if the results so far cannot decide it."""
    verdict = "open" if holds is None else "holds" if holds else "FAILS"
    self.say(text, verdict)
    self.failed |= holds is not None and not holds

  def say(self, text: str, verdict: str = "") -> None:
    """Prints a line; without a verdict it claims nothing."""
    print(f"  {verdict:5}  {text}")


def parser(doc: str, parts: Iterable[str]) -> argparse.ArgumentParser:
  """A parser with the options of all grids."""
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
    The finished runs.

  Raises:
    SystemExit: a command failed, or a folder holds a run with other settings.
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
  """Reads results.json; if `run.method` is given, only the rows of `run.of`."""
  result = json.loads((out / run.name / "results.json").read_text())
  if run.method:
    rows = [row for row in result["rows"] if row["method"] == run.of]
    result["rows"] = [{**row, "method": run.method} for row in rows]
  return result


def by_seed(results: list[dict], **where) -> dict[int, float]:
  """Accuracy by seed of the rows whose fields equal those in `where`."""
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
  """Exits if a folder holds other settings: one table must not mix two presets."""
  try:
    parsed = command_line.parse(["grid", *_arguments(run, options)])
    run_folder.check_owner(parsed.workdir, parsed.config_values)
  except errors.UserError as error:
    raise SystemExit(f"{run.name}: {error}") from None


def _run(run: Run, options, deadline: float) -> bool:
  """Runs or continues one command; returns False if the time is up."""
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
