"""Runs a config over seeds and settings, and prints the table.

    augment-gen sweep --config=quickstart --seeds=0-2 --folder=runs/orders \\
      --set retrain.order=first,last [--dry-run] [--config.FIELD=VALUE …]

grid.py reads what varies, plan.py makes the runs and lets them share stages,
processes.py runs them.
"""

import argparse
from collections.abc import Iterator, Sequence
import functools
import os
import pathlib
import shlex
import sys

from augment_gen import tables
from augment_gen.config.errors import raise_if_any, UserError
from augment_gen.run import exits
from augment_gen.run.folder import is_finished, remote_problems
from augment_gen.sweep import grid, plan, processes

_EPILOG = """\
Every other --config.FIELD=VALUE is a setting of all runs. A value that holds commas is
given in a JSON list: --set 'retrain.arms=["generator,prior", "control"]'. In all values
{seed} stands for the run's seed: --config.data.implicit_seed={seed}.

--case gives some settings a name, and is one more choice: with three cases there are
three times as many runs. --case 'base:' is the config as it is.

The same command again goes on where it was stopped, and skips what is done. With
further seeds or values it runs what is new.

Exit status: 0 all runs are done; 1 some failed; 2 a mistake, said in one line each;
75 stopped by SIGTERM or Ctrl-C, and saved; 130 stopped by a second Ctrl-C."""


def main(argv: Sequence[str] | None = None) -> int:
  """`augment-gen sweep`; returns the exit status."""
  argv = sys.argv[1:] if argv is None else argv
  again = f"go on with: {shlex.join(['augment-gen', 'sweep', *argv])}"
  return exits.exit_status(lambda: _main(*_parser().parse_known_args(argv)), again)


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
      prog="augment-gen sweep", epilog=_EPILOG, allow_abbrev=False,
      formatter_class=argparse.RawDescriptionHelpFormatter,
      description="Runs a config over seeds and settings, and prints the table.")
  parser.add_argument("--config", required=True, metavar="CONFIG[:variant,…]",
                      help="a file, or the name of a config of the package")
  parser.add_argument("--folder", required=True, metavar="DIR",
                      help="gets one run folder, and one log, for each run")
  parser.add_argument("--seeds", metavar="0-4",
                      help="seeds, such as 0-4 or 0,2,7; default: the config's own")
  parser.add_argument("--set", action="append", default=[], dest="varied",
                      metavar="FIELD=A,B", help="values of a setting; given several "
                      "times: all combinations")
  parser.add_argument("--case", action="append", default=[], dest="cases",
                      metavar="'NAME: FIELD=A FIELD=B'", help="settings that go together; "
                      "given several times: one after the other")
  parser.add_argument("--dry-run", action="store_true", help="only prints the plan")
  parser.add_argument("--stop", action="store_true",
                      help="stops at the first run that fails; by default the others go on")
  return parser


def _main(flags: argparse.Namespace, overrides: list[str]) -> int:
  runs = planned(flags, overrides)
  if left := [run for run in runs if run.state != "done"]:
    raise_if_any(processes.config_problems(left))
  for line in plan.lines(runs):
    print(line)
  if flags.dry_run:
    return 0
  print(flush=True)
  failures = processes.run_all(
      runs, flags.stop, functools.partial(print, flush=True))
  _print_table(runs)
  for run in runs:
    if run.name in failures:
      print(f"{run.name} failed: {failures[run.name]} (log: {processes.log_of(run)})",
            file=sys.stderr)
  return 1 if failures else 0


def planned(flags: argparse.Namespace, overrides: list[str]) -> list[plan.Run]:
  """The runs that a command asks for.

  Args:
    flags: those of the sweep.
    overrides: all else, `--config.FIELD=VALUE`.

  Raises:
    UserError: see `plan.make`.
  """
  varied = [grid.values(setting) for setting in flags.varied]
  cases = [grid.case(text) for text in flags.cases]
  raise_if_any(_flag_problems(flags, [field for field, _ in varied], cases, overrides))
  seeds = grid.seeds(flags.seeds) if flags.seeds else None
  return plan.make(
      flags.config, overrides,
      lambda own: grid.points(varied, seeds or [own], cases or [("", ())]),
      pathlib.Path(os.path.expanduser(flags.folder)))


def _flag_problems(flags: argparse.Namespace, fields: list[str],
                   cases: Sequence[grid.Case], overrides: list[str]) -> Iterator[str]:
  """Flags that a sweep cannot have, and settings that are given twice."""
  titles = [title for title, _ in cases]
  for title in dict.fromkeys(titles):
    if titles.count(title) > 1:
      yield f"--case '{title}' is given twice: give each case a name of its own"
  for title, settings in cases:
    for field, _ in settings:
      if field in fields:
        yield f"--case '{title}' and --set {field} are both given: choose one"
      if field == "seed":
        yield f"--case '{title}' sets the seed: give --seeds"
  yield from remote_problems("--folder", flags.folder)
  names = [arg.partition("=")[0].lstrip("-") for arg in overrides]
  if "workdir" in names:
    yield "--workdir is chosen by the sweep, for each run: give --folder"
  if "multihost" in names:
    yield "--multihost: a sweep runs on one host"
  for field in dict.fromkeys(fields):
    if fields.count(field) > 1:
      yield f"--set {field} is given twice: give all values at once"
    if f"config.{field}" in names:
      yield f"--set {field} and --config.{field} are both given: choose one"
  if "seed" in fields:
    yield "--set seed: give --seeds"
  if flags.seeds and "config.seed" in names:
    yield "--seeds and --config.seed are both given: choose one"


def _print_table(runs: Sequence[plan.Run]) -> None:
  """Prints the table of the runs that are done, and the command that prints it."""
  folders = [str(run.folder) for run in runs if is_finished(run.folder, run.values)
             and (run.folder / "results.json").exists()]
  if not folders:
    print("\nno run has results yet")
    return
  print()
  try:
    results, mixed = tables.load(folders), []
    try:
      print(tables.format_table(results))
    except tables.MixedError:  # seeds that have images of their own, or images that changed
      mixed = ["--mix"]
      print(tables.format_table(results, mix=True))
    print("this table again: " + shlex.join(["augment-gen", "tables", *folders, *mixed]))
  except UserError as error:  # such as protocols that differ
    print("\n".join(error.problems))
