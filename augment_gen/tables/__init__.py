"""Prints the results of runs as the papers' tables, over seeds.

    augment-gen tables RUN_FOLDER... [--protocol=moco] [--format=latex] [--cost]

Runs that differ only in the seed are averaged. Runs of several experiments become
additional columns (with G_A) or additional tables (CRL-TAC). Runs of one experiment that
differ in anything else are refused.
"""

import argparse
from collections.abc import Sequence
import sys
from typing import Any

from augment_gen.config import errors, names
from augment_gen.run import exits
from augment_gen.tables import augmentation_generator as augmentation
from augment_gen.tables import crl_tac as policy
from augment_gen.tables import health, layout, records
from augment_gen.tables.results import having, load, mixture_problems

FORMATS = (*layout.STYLES, *records.STYLES)


class MixedError(errors.UserError):
  """Runs of one experiment differ in more than the seed."""


def format_table(results: list[dict[str, Any]], protocol: str | None = None,
                 style: str = "text", *, cost: bool = False, mix: bool = False) -> str:
  """Formats the contents of results.json files.

  Args:
    results: parsed files: {"experiment", "rows", "provenance"}, best from `load`.
    protocol: the protocols whose accuracies are shown, with commas between, or "all";
      None: the first of config.evaluate.protocols, or that of the first row. Each gets
      tables of its own. "labels" stands for all its numbers of labels.
    style: "text", "markdown" and "latex" give the papers' layouts; "csv" and "json" give
      one record per number, with the statistics.
    cost: whether columns say what the training of a row has cost; records always do.
    mix: whether runs may share a column that differ in more than the seed; warnings then
      say what it is.

  Returns:
    Several lines, ending in a newline. A cell is the accuracy in percent; for several
    seeds, mean ± sample std. "*" marks a difference from the baseline (for CRL-TAC, from
    an untrained encoder on the same crops) with p < 0.05 in a paired t-test over common
    seeds. The best row of a column is bold ("(best)" in text) if it is better than the
    second best beyond the noise, see `statistics.best`.

  Raises:
    MixedError: runs that may not share a column, if `mix` is False.
    UserError: no rows of this protocol; two results for one seed.
  """
  chosen = protocols(results, protocol)
  parts = [(name, module, some) for name in chosen
           for module, some in _parts(results, name)]
  mixed = list(dict.fromkeys(
      line for name in chosen for line in mixture_problems(results, name)))
  if mixed and not mix:
    raise MixedError(*mixed, "give --mix to print the table all the same, or each of "
                     "these runs a config.experiment of its own")
  if style in records.STYLES:
    return records.as_text([record for name, module, some in parts
                            for record in module.as_records(some, name)], style)
  texts = [module.format_table(some, name, style, cost) for name, module, some in parts]
  if mixed:
    texts.append("\n".join(layout.as_notes(
        [f"WARNING: {line}" for line in mixed], style)) + "\n")
  return "\n".join(texts)


def _parts(results: Sequence[dict[str, Any]], protocol: str) -> list[tuple[Any, list]]:
  """The modules that make tables of a protocol, each with the results that have it.

  Raises:
    UserError: none has.
  """
  found = having(results, protocol)
  if not found:
    known = {row["protocol"] for result in results for row in result["rows"]}
    raise errors.UserError(f"no rows of protocol '{protocol}'; there are: "
                           f"{', '.join(sorted(known))}")
  of_policy, others = by_method(found)
  return [(module, some) for module, some in (
      (augmentation, others), (policy, of_policy)) if some]


def by_method(results: Sequence[dict[str, Any]]
              ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
  """Results of CRL-TAC, and those of the augmentation generator."""
  of_policy = [r for r in results if any("crops" in row for row in r["rows"])]
  return of_policy, [r for r in results if r not in of_policy]


def protocols(results: Sequence[dict[str, Any]], wanted: str | None = None) -> list[str]:
  """The protocols to show, the main one first; see `format_table`.

  Raises:
    UserError: there are no rows.
  """
  known = list(dict.fromkeys(row["protocol"] for r in results for row in r["rows"]))
  if not known:
    raise errors.UserError("the results have no rows yet: let stage 'evaluate' "
                           "of the run finish")
  if wanted == "all":
    return known
  rows_of = lambda part: [k for k in known if k == part or k.startswith(f"{part}:")]
  if not wanted:
    evaluate = (results[0].get("config") or {}).get("evaluate", {})
    wanted = next((part for part in names(evaluate.get("protocols", "")) if rows_of(part)),
                  known[0])
  return [name for part in names(wanted) for name in rows_of(part) or [part]]


def main(argv: Sequence[str] | None = None) -> int:
  """Prints the table; returns the exit status."""
  parser = argparse.ArgumentParser(
      prog="augment-gen tables",
      description="Prints the results of runs as a table, over seeds.")
  parser.add_argument("folders", nargs="+", metavar="DIR",
                      help="run folders (--workdir of a run)")
  parser.add_argument(
      "--protocol", help="l2, moco, knn, finetune, labels:5, several with commas between, "
      "or all; by default the first of the run's config.evaluate.protocols")
  parser.add_argument("--format", choices=FORMATS, default="text")
  parser.add_argument("--cost", action="store_true", help="also images seen, operations "
                      "and wall time of the training behind each row")
  parser.add_argument("--check-health", action="store_true", help="also says what is wrong "
                      "with unhealthy generators; exit status 1 if there are any")
  parser.add_argument("--mix", action="store_true", help="prints runs in one column that "
                      "differ in more than the seed, with a warning")
  return exits.exit_status(
      lambda: _print(parser.parse_args(argv)), "nothing was written")


def _print(flags: argparse.Namespace) -> int:
  results = load(flags.folders)
  print(format_table(results, flags.protocol, flags.format, cost=flags.cost,
                     mix=flags.mix), end="")
  if flags.mix and flags.format in records.STYLES:  # which have no place for warnings
    for name in protocols(results, flags.protocol):
      for text in mixture_problems(results, name):
        print(f"warning: {text}", file=sys.stderr)
  found = health.complaints(results) if flags.check_health else []
  for text in found:
    print(f"not healthy: {text}", file=sys.stderr)
  return int(bool(found))
