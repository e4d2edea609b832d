"""MNIST-Omniglot over seeds, against its controls: Table 1 of the paper in small.

    python benchmarks/mnist_omniglot.py --data=FOLDER --out=runs/grid \
        [--parts=main,controls] [--minutes=120]

FOLDER holds mnist.npz and omniglot.npz. Runs what is not finished yet, stops
after `--minutes` (the run under way saves its state), and goes on when started
again. Then prints the table and what has been shown by then; exit status 1 if
something that was measured falls short.

    main       each seed: MoCo v2, G_A with latents of the bank and of the prior,
               as many further epochs without, an untrained G_A, the true dots
    controls   three seeds: G_A without latent recovery, without the cycle,
               without D_p; MoCo v2 on X_p ∪ X̃_f
    others     the same config with other implicit augmentations
    ablations  one setting at a time as the paper has it, or as is common
"""

import argparse
from collections.abc import Iterator
import dataclasses
import json
import pathlib
import signal
import subprocess
import sys
import time

from augment_gen import tables
from augment_gen.evaluate import health
from augment_gen.tables import layout

CONFIG = "configs/omniglot.py:mnist,npz"
OTHERS = ("strokes", "blur", "gradient", "blobs", "erase", "noise")
CONTROLS = {
    "without latent recovery": {"generator.latent_weight": 0.0},
    "without the cycle": {
        "generator.cycle_f_weight": 0.0, "generator.cycle_p_weight": 0.0},
    "without D_p": {"generator.fool_p_weight": 0.0},
}
# λ and the weights of sums are brought to the scale of means.
ABLATIONS = {
    "perceptron G_A": {"generator.augmenter": "perceptron"},
    "perceptron G_E": {"generator.eliminator": "perceptron"},
    "latents as a square": {"generator.latent.layout": "square"},
    "D sees the embedding": {"generator.discriminator.features": "embedding"},
    "D_f judges G_A(x_p)": {"generator.fool_f_content": "x_p"},
    "no average": {"generator.average": 0.0},
    "no R1": {"generator.discriminator.r1_weight": 0.0},
    "no slack": {"generator.latent_slack": 0.0},
    "image output": {"generator.output": "image"},
    "mean L1": {"generator.l1_reduction": "mean", "generator.cycle_weight": 10.0},
    "latents in ±1": {"generator.latent.scale": 2.0},
    "latent weight 1": {"generator.latent_weight": 1.0},
    "no bank term": {"generator.bank_weight": 0.0},
    "no cycle noise": {"generator.cycle_noise": 0.0},
    "cycle_f at full weight": {"generator.cycle_f_weight": 1.0},
    "D_p at full weight": {"generator.fool_p_weight": 1.0},
    "embeddings as they are": {"generator.discriminator.standardise": False},
    "momentum SGD 3e-4": {
        "generator.optimizer.name": "sgd", "generator.optimizer.lr": 3e-4,
        "generator.optimizer.momentum": 0.9},
}
CONTROL_SEEDS = 3
PARTS = ("main", "controls", "others", "ablations")


@dataclasses.dataclass(frozen=True)
class Run:
  """One command, and how its row of G_A is called in the table."""
  part: str
  name: str  # of its folder
  seed: int
  settings: dict
  method: str = ""  # "": all rows, under their own names
  experiment: str = "MNIST-Omniglot"


def runs(parts: list[str], seeds: list[int], out: pathlib.Path) -> Iterator[Run]:
  """All runs of the chosen parts, those first that others start from."""

  def varied(seed):
    return {"pretrain.run": str(out / f"main-{seed}")}

  if "main" in parts:
    for seed in seeds:
      yield Run("main", f"main-{seed}", seed,
                {"retrain.arms": "generator,oracle,control,prior,random"})
  if "controls" in parts:
    for seed in seeds[:CONTROL_SEEDS]:
      for label, settings in CONTROLS.items():
        yield Run("controls", f"{label.replace(' ', '-')}-{seed}", seed,
                  {**varied(seed), "retrain.arms": "generator", **settings},
                  method=f"MoCo v2 + G_A {label}")
      yield Run("controls", f"union-{seed}", seed, {
          "pretrain.with_finetune": True, "retrain.arms": "",
          "stages": "pretrain,evaluate"})
  if "others" in parts:
    for name in OTHERS:
      yield Run("others", f"{name}-{seeds[0]}", seeds[0], {
          **varied(seeds[0]), "data.implicit": name,
          "retrain.arms": "generator,oracle"},
          experiment=f"MNIST-Omniglot, {name}")
  if "ablations" in parts:
    for label, settings in ABLATIONS.items():
      yield Run("ablations", f"ablation-{label.replace(' ', '-')}-{seeds[0]}", seeds[0],
                {**varied(seeds[0]), "retrain.arms": "generator", **settings},
                method=f"MoCo v2 + G_A, {label}")


def command(run: Run, options) -> list[str]:
  settings = {"data.root": options.data, "seed": run.seed,
              "experiment": run.experiment, **run.settings}
  return [sys.executable, "-m", "augment_gen.main", f"--config={options.config}",
          f"--workdir={options.out / run.name}",
          *(f"--config.{name}={value}" for name, value in settings.items())]


def is_finished(run: Run, out: pathlib.Path) -> bool:
  """Whether every encoder of the run has its rows."""
  path = out / run.name / "results.json"
  if not path.exists():
    return False
  found = {row["method"] for row in json.loads(path.read_text())["rows"]}
  arms = [arm for arm in run.settings["retrain.arms"].split(",") if arm]
  return len(found) == 1 + len(arms)


def compute(run: Run, options, deadline: float) -> bool:
  """Runs or continues one command; False if time is up."""
  with open(options.out / f"{run.name}.log", "a") as log:
    process = subprocess.Popen(command(run, options), stdout=log, stderr=log)
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


def read(run: Run, out: pathlib.Path) -> dict:
  """results.json, with the row of G_A under the run's own name."""
  result = json.loads((out / run.name / "results.json").read_text())
  if run.method:
    rows = [row for row in result["rows"] if row["method"] == "MoCo v2 + G_A"]
    result["rows"] = [{**row, "method": run.method} for row in rows]
  return result


class Claims:
  """What is to be shown, each claim with the numbers that decide it."""

  def __init__(self):
    self.failed = False

  def check(self, holds: bool, text: str) -> None:
    print(f"{'  holds' if holds else '  FAILS'}  {text}")
    self.failed |= not holds


def accuracies(results: list[dict], method: str, test: str) -> dict[int, float]:
  """Seed -> accuracy of the first protocol."""
  return {row["seed"]: row["accuracy"] for result in results
          for row in result["rows"] if row["method"] == method
          and row["test"] == test and row["protocol"] == "l2"}


def check_effect(results: list[dict], claims: Claims) -> None:
  """The learned augmentation against baseline and oracle."""
  mean = lambda values: sum(values.values()) / max(len(values), 1)
  for test, times in (("C", 10), ("D", 4)):
    base, bank, prior, oracle = (
        accuracies(results, method, test) for method in (
            "MoCo v2", "MoCo v2 + G_A", "MoCo v2 + G_A (prior)",
            "MoCo v2 + oracle"))
    claims.check(mean(bank) >= times * mean(base),
                 f"D→{test}: G_A {mean(bank):.2f} is {mean(bank) / mean(base):.1f}"
                 f" times MoCo v2's {mean(base):.2f}; at least {times}")
    claims.check(mean(bank) >= 0.95 * mean(oracle),
                 f"D→{test}: G_A is {100 * mean(bank) / mean(oracle):.0f} % of "
                 f"the oracle's {mean(oracle):.2f}; at least 95 %")
    claims.check(max(mean(bank), mean(prior)) >= mean(oracle),
                 f"D→{test}: the better of bank and prior "
                 f"({mean(prior):.2f}) reaches the oracle")


def check_noise(results: list[dict], claims: Claims) -> None:
  """Whether the differences to the baseline are beyond the noise of seeds."""
  for method in ("MoCo v2 + G_A", "MoCo v2 + G_A (prior)"):
    for test in ("C", "D"):
      base, ours = (accuracies(results, name, test)
                    for name in ("MoCo v2", method))
      difference = layout.paired_difference(ours, base)
      claims.check(bool(difference and difference.significant),
                   f"D→{test}: {method} less MoCo v2, paired over seeds: "
                   f"{difference or 'needs two seeds'}")


def check_controls(results: list[dict], controls: list[dict], claims: Claims
                   ) -> None:
  """G_A against every control, over the seeds that both have."""
  methods = {row["method"] for result in results + controls
             for row in result["rows"]} - {
                 "MoCo v2", "MoCo v2 + G_A", "MoCo v2 + G_A (prior)",
                 "MoCo v2 + oracle"}
  for method in sorted(methods):
    for test in ("C", "D"):
      ours = accuracies(results, "MoCo v2 + G_A", test)
      theirs = accuracies(results + controls, method, test)
      seeds = set(ours) & set(theirs)
      if seeds:
        gain = sum(ours[s] - theirs[s] for s in seeds) / len(seeds)
        claims.check(gain > 0, f"D→{test}: G_A is {gain:+.2f} points from "
                     f"{method}, {len(seeds)} seed(s)")


def check_others(results: list[dict], claims: Claims) -> None:
  """Other implicit augmentations, with the same config."""
  improved = []
  for result in results:
    base, ours = (next(iter(accuracies([result], name, "C").values()))
                  for name in ("MoCo v2", "MoCo v2 + G_A"))
    if ours > base:
      improved.append(result["experiment"].split(", ")[-1])
  claims.check(len(improved) >= 4, "clean accuracy rises for other implicit "
               f"augmentations, at least four: {', '.join(improved) or 'none'}")


def check_health(results: list[dict], claims: Claims) -> None:
  for result in results:
    seed = result["rows"][0]["seed"]
    found = health.warnings(result["health"])
    claims.check(not found, f"seed {seed}: the generator is healthy"
                 + "".join(f"\n           {text}" for text in found))


def main() -> int:
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--data", required=True)
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument("--parts", default=",".join(PARTS))
  parser.add_argument("--seeds", default="0,1,2,3,4")
  parser.add_argument("--minutes", type=float, default=float("inf"))
  parser.add_argument("--config", default=CONFIG)
  options = parser.parse_args()
  options.out.mkdir(parents=True, exist_ok=True)
  deadline = time.monotonic() + 60 * options.minutes

  wanted = list(runs(options.parts.split(","),
                     [int(seed) for seed in options.seeds.split(",")],
                     options.out))
  for run in wanted:
    if not is_finished(run, options.out) and not compute(run, options, deadline):
      print(f"time is up in {run.name}; the same command goes on", flush=True)
      break

  finished = [run for run in wanted if is_finished(run, options.out)]
  print(f"\n{len(finished)} of {len(wanted)} runs are finished\n")
  if not finished:
    return 0
  print(tables.format_table([read(run, options.out) for run in finished]))
  claims = Claims()
  part = {name: [read(run, options.out) for run in finished if run.part == name]
          for name in PARTS}
  if part["main"]:
    check_effect(part["main"], claims)
    check_noise(part["main"], claims)
    check_controls(part["main"], part["controls"], claims)
    check_health(part["main"], claims)
  if part["others"]:
    check_others(part["others"], claims)
  return int(claims.failed)


if __name__ == "__main__":
  sys.exit(main())
