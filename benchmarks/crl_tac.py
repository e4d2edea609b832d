"""CRL-TAC over seeds, against its controls: the poster's two tables.

    python benchmarks/crl_tac.py --data=FOLDER --out=runs/crl-tac \
        [--parts=regional,mnist,ablations] [--minutes=120]

FOLDER holds mnist.npz. The command runs what is not finished yet. It stops after
`--minutes`, once the current run has saved its state; the same command continues. Then
it prints the tables and the verdicts on the claims. The exit status is 1 if a measured
claim fails.

    regional   for each seed: Regional MNIST, with an untrained encoder, and SimCLR on the
               same and on its own windows
    mnist      for each seed: MNIST, with an untrained encoder, and SimCLR
    ablations  one seed of Regional MNIST: without the entropy term; with other m; with P
               trained on the lower bound instead of (2); with P free to choose a scale
"""

from collections.abc import Iterator
import sys

import grid
from grid import Claims, mean, Run

from augment_gen import tables
from augment_gen.tables import layout

OURS = "CRL-TAC"
PARTS = ("regional", "mnist", "ablations")
CONFIGS = {"regional": "configs/regional_mnist.py:npz",
           "mnist": "configs/mnist.py:npz"}
# Number of kinds of crops per encoder; SimCLR on its own windows has OWN_KINDS.
KINDS = {"regional": 7, "mnist": 6}
OWN_KINDS = {"regional": 3, "mnist": 0}
# Least accuracy in percent under crops of P, on f and on the head.
LEAST = {"regional": {"f": 97.0, "head": 95.0},
         "mnist": {"f": 98.0, "head": 96.4}}
ABLATIONS = {
    "no entropy term": {"tac.policy.entropy_weight": 0.0},
    # A step has the same number of crops as with the preset's m = 4.
    "m = 2": {"tac.draws": 2, "tac.batch_size": 256},
    "m = 8": {"tac.draws": 8, "tac.batch_size": 64},
    "m = 16": {"tac.draws": 16, "tac.batch_size": 32},
    "mass of scales learned": {"tac.scale_mass": "learned"},
    "P by the lower bound": {"tac.policy.numerator": "jensen"},
}


def runs(parts: list[str], seeds: list[int]) -> Iterator[Run]:
  """All runs of the chosen parts."""
  for part, config in CONFIGS.items():
    if part in parts:
      for seed in seeds:
        yield Run(part, f"{part}-{seed}", config, {"seed": seed},
                  rows=3 * KINDS[part] + OWN_KINDS[part])
  if "ablations" in parts:
    for label, settings in ABLATIONS.items():
      name = f"ablation-{label.replace(' ', '-')}-{seeds[0]}"
      yield Run("ablations", name, CONFIGS["regional"],
                {"seed": seeds[0], "tac.controls": "", "data.development": 0.2,
                 **settings},
                rows=KINDS["regional"], method=f"{OURS}, {label}", of=OURS)


def accuracies(results: list[dict], method: str, crops: str, feature: str
               ) -> dict[int, float]:
  """Accuracy by seed; `crops` may be "top-n", which stands for any n but 1."""
  kinds = {row["crops"] for result in results for row in result["rows"]}
  kinds = {kind for kind in kinds if kind == crops or (
      crops == "top-n" and kind.startswith("top-") and kind != "top-1")}
  return {seed: value for kind in kinds for seed, value in grid.by_seed(
      results, method=method, crops=kind, feature=feature, protocol="l2").items()}


def check_accuracy(part: str, results: list[dict], claims: Claims) -> None:
  """Checks CRL-TAC against the poster, top-n against P, and CRL-TAC against SimCLR."""
  for feature, least in LEAST[part].items():
    ours, top, simclr = (
        mean(accuracies(results, method, crops, feature))
        for method, crops in (
            (OURS, "P"), (OURS, "top-n"), ("SimCLR", "uniform")))
    claims.check(ours >= least, f"{part}, {feature}: CRL-TAC {ours:.2f}, at "
                 f"least {least} (SimCLR {simclr:.2f})")
    claims.check(top >= ours,
                 f"{part}, {feature}: top-n {top:.2f} is no worse")
    fair = accuracies(results, "SimCLR, own windows", "own uniform", feature)
    if fair:
      claims.check(ours > mean(fair), f"{part}, {feature}: ahead of SimCLR on its "
                   f"own windows, {mean(fair):.2f}")


def check_encoder(part: str, results: list[dict], claims: Claims) -> None:
  """Checks that the trained encoder beats an untrained one under the same crops."""
  kinds = dict.fromkeys(row["crops"] for result in results
                        for row in result["rows"])
  for feature in LEAST[part]:
    for kind in kinds:
      ours, untrained = (accuracies(results, method, kind, feature)
                         for method in (OURS, "untrained encoder"))
      if not untrained:  # SimCLR's own windows
        continue
      difference = layout.paired_difference(ours, untrained)
      claims.check(
          difference and (difference.significant
                          and mean(ours) > mean(untrained)),
          f"{part}, {feature}, {kind}: CRL-TAC's encoder less an untrained one, "
          f"paired over seeds: {difference or 'needs two seeds'}")


def check_channel(part: str, results: list[dict], claims: Claims) -> None:
  """Checks that the mass of P lies on crops that show the digit."""
  masses = [policy["mass_on_content"] for result in results
            for policy in result["policy"].values()]
  claims.check(min(masses) >= 0.9, f"{part}: {100 * min(masses):.1f} % of P's "
               "mass, of the worst seed, lies on crops that show the digit; at "
               "least 90 %")


def main() -> int:
  options = grid.parser(__doc__, PARTS).parse_args()
  finished = grid.compute(runs(options.parts, options.seeds), options)
  if not finished:
    return 0
  print(tables.format_table([grid.read(run, options.out) for run in finished]))
  claims = Claims()
  for part in CONFIGS:
    results = [grid.read(run, options.out) for run in finished
               if run.part == part]
    if results:
      check_accuracy(part, results, claims)
      check_encoder(part, results, claims)
      check_channel(part, results, claims)
  return int(claims.failed)


if __name__ == "__main__":
  sys.exit(main())
