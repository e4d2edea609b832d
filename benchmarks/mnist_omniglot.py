"""MNIST-Omniglot over seeds, against its controls: the paper's Table 1 at a small size.

    python benchmarks/mnist_omniglot.py --data=FOLDER --out=runs/grid \
        [--parts=main,controls] [--minutes=120]

FOLDER holds mnist.npz and omniglot.npz. The command runs what is not finished yet. It
stops after `--minutes`, once the current run has saved its state; the same command
continues. Then it prints the table and the verdicts on the claims. The exit status is 1
if a measured claim fails.

    main       for each seed: MoCo v2; G_A with latents of the bank and of the prior; the
               same number of further epochs without G_A; an untrained G_A; the true
               dots; an untrained encoder; each also with batch-norm statistics of X̃_f
    fresh      the same on seeds that no setting was chosen on, each with its own split
               and dots
    controls   three seeds: G_A without latent recovery, without the cycle, without D_p;
               MoCo v2 on X_p ∪ X̃_f
    others     the same config with other implicit augmentations; an untrained G_A shows
               what any noise gains, and further epochs without G_A what these gain
    ablations  one setting at a time, as in the paper or as is common
    long       one seed, with five times the epochs of MoCo and eight times those of
               re-training, for absolute numbers

Settings are chosen by the parts others and ablations. These are measured on a
development split, and leave the test sets alone.
"""

from collections.abc import Iterator
import pathlib
import sys

import grid
from grid import Claims, mean, Run

from augment_gen import tables
from augment_gen.evaluate import health
from augment_gen.tables import layout

CONFIG = "configs/omniglot.py:mnist,npz"
OTHERS = ("mixed_dots", "strokes", "blur", "gradient", "blobs", "erase", "noise",
          "inversion", "motion_blur", "haze", "raster")
CONTROLS = {
    "without latent recovery": {"generator.losses.latent_weight": 0.0},
    "without the cycle": {"generator.losses.cycle_p_weight": 0.0},
    "without D_p": {"generator.losses.adversarial_p_weight": 0.0},
}
ABLATIONS = {
    "perceptron G_E": {"generator.networks.eliminator": "perceptron"},
    "D sees the embedding": {"generator.discriminator.features": "embedding"},
    "D sees statistics of stages": {"generator.discriminator.features": "stages"},
    "D_f judges G_A(G_E(x̃)), too": {"generator.losses.adversarial_e_weight": 0.5},
    "the cycle trains G_A": {"generator.losses.cycle_trains_augmenter": True},
    "strengths are free": {"generator.losses.cost_weight": 0.0},
    "amounts see the image": {"generator.networks.amounts_see_image": True},
    "a residual U-Net": {"generator.networks.residual_width": 8},
    "no average": {"generator.networks.ema_decay": 0.0},
    "no R1": {"generator.discriminator.r1_weight": 0.0},
    "no bank term": {"generator.losses.bank_weight": 0.0},
    "no cycle noise": {"generator.losses.cycle_noise": 0.0},
    "cycle_f": {"generator.losses.cycle_f_weight": 1.0},
    "D_p at full weight": {"generator.losses.adversarial_p_weight": 1.0},
    "G_A before the crops": {"retrain.order": "first"},
    "no hand-made augmentations in re-training": {"retrain.recipe": "none"},
}
LONG = {"pretrain.epochs": 40, "retrain.epochs": 32}
CONTROL_SEEDS = 3
FRESH_SEEDS = (7, 8, 9)  # 5 and 6 were looked at before
DEVELOPMENT = {"data.development": 0.2}
ALL_ARMS = "generator,oracle,control,prior,random"
BASE, OURS = "MoCo v2", "MoCo v2 + G_A"
CONTROL_METHODS = tuple(
    f"{method}{statistics}"
    for method in (BASE, f"{BASE} + control", "untrained encoder")
    for statistics in ("", ", AdaBN"))
PARTS = ("main", "fresh", "controls", "others", "ablations", "long")


def runs(parts: list[str], seeds: list[int], config: str, out: pathlib.Path
         ) -> Iterator[Run]:
  """All runs of the chosen parts; runs that others start from come first."""

  def run(part, name, seed, *, arms, method="", of=OURS,
          experiment="MNIST-Omniglot", take_over="pretrain", source="main",
          **settings):
    settings = {"seed": seed, "experiment": experiment, "retrain.arms": arms,
                **settings}
    rows = 1 + len([arm for arm in arms.split(",") if arm])
    if method:  # only one row is read
      settings["evaluate.controls"] = ""
    else:  # plus an untrained encoder; each row also with AdaBN
      rows = 2 * (rows + 1)
    if take_over:
      settings[f"{take_over}.from_run"] = str(out / f"{source}-{seed}")
    return Run(part, f"{name.replace(' ', '-')}-{seed}", config, settings,
               rows=rows, method=method, of=of)

  if "main" in parts:
    for seed in seeds:
      yield run("main", "main", seed, take_over="", arms=ALL_ARMS)
  if "fresh" in parts:
    for seed in FRESH_SEEDS:
      yield run("fresh", "fresh", seed, take_over="", arms=ALL_ARMS,
                **{"data.implicit_seed": seed})
  if "controls" in parts:
    for seed in seeds[:CONTROL_SEEDS]:
      for label, settings in CONTROLS.items():
        yield run("controls", label, seed, arms="generator",
                  method=f"{OURS} {label}", **settings)
      yield run("controls", "union", seed, take_over="", arms="",
                method=f"{BASE} on X_p ∪ X̃_f", of=BASE,
                stages="pretrain,evaluate", **{"pretrain.with_finetune": True})
  if "others" in parts:
    for name in OTHERS:
      yield run("others", name, seeds[0], arms="generator,oracle,random,control",
                experiment=f"MNIST-Omniglot, {name}",
                **{"data.implicit": name}, **DEVELOPMENT)
  if "ablations" in parts:
    yield run("ablations", "development", seeds[0], arms=ALL_ARMS, **DEVELOPMENT)
    for label, settings in ABLATIONS.items():
      same_generator = all(name.startswith("retrain.") for name in settings)
      yield run("ablations", f"ablation {label}", seeds[0], arms="generator",
                take_over="generator" if same_generator else "pretrain",
                source="development", method=f"{OURS}, {label}", **settings,
                **DEVELOPMENT)
  if "long" in parts:
    yield run("long", "long", seeds[0], take_over="",
              arms="generator,oracle,control",
              experiment="MNIST-Omniglot, many epochs", **LONG)


def accuracies(results: list[dict], method: str, test: str) -> dict[int, float]:
  """Accuracy by seed under the protocol `l2`."""
  return grid.by_seed(results, method=method, test=test, protocol="l2")


def best_control(results: list[dict], test: str) -> tuple[str, dict[int, float]]:
  """The best method without an additional augmentation; its accuracies by seed."""
  found = {method: accuracies(results, method, test) for method in CONTROL_METHODS}
  name = max((name for name in found if found[name]), key=lambda n: mean(found[n]))
  return name, found[name]


def check_effect(results: list[dict], claims: Claims) -> None:
  """Checks what the learned augmentation adds, and how near it is to the true one."""
  for ours in (OURS, f"{OURS} (prior)"):
    for test in ("C", "D"):
      mine = accuracies(results, ours, test)
      control, theirs = best_control(results, test)
      random_g_a = accuracies(results, f"{BASE} + random G_A", test)
      oracle = accuracies(results, f"{BASE} + oracle", test)
      _check_gain(f"D→{test}: {ours} less the best control, {control}", mine,
                  theirs, claims)
      _check_gain(f"D→{test}: {ours} less an untrained G_A", mine, random_g_a,
                  claims)
      claims.check(mean(mine) >= 0.95 * mean(oracle),
                   f"D→{test}: {ours} has {100 * mean(mine) / mean(oracle):.0f} % "
                   f"of the oracle's {mean(oracle):.2f}; at least 95 %")
      claims.say(f"D→{test}: {ours} less the oracle: "
                 f"{layout.paired_difference(mine, oracle) or 'needs two seeds'}")


def _check_gain(text: str, ours: dict[int, float], other: dict[int, float],
                claims: Claims) -> None:
  """Checks that ours is ahead: the 95 % interval of the difference lies above 0."""
  difference = layout.paired_difference(ours, other)
  claims.check(difference and difference.interval[0] > 0,
               f"{text}: {difference or 'needs two seeds'}")


def tell_controls(results: list[dict], controls: list[dict], claims: Claims
                  ) -> None:
  """Reports what G_A gains over versions of it without one of its parts."""
  for method in sorted({row["method"] for result in controls
                        for row in result["rows"]}):
    for test in ("C", "D"):
      difference = layout.paired_difference(
          accuracies(results, OURS, test), accuracies(controls, method, test))
      claims.say(f"D→{test}: {OURS} less {method}: "
                 f"{difference or 'needs two seeds'}")


def check_others(results: list[dict], claims: Claims) -> None:
  """Checks the same config on other implicit augmentations."""
  improved, measured = [], 0
  for result in results:
    without = [accuracies([result], name, "C") for name in (
        *CONTROL_METHODS, f"{BASE} + random G_A")]
    without = [value for found in without for value in found.values()]
    (ours,) = accuracies([result], OURS, "C").values()
    name = result["experiment"].removesuffix(
        ", development split").split(", ")[-1]
    if name == "mixed_dots":  # dots again
      continue
    measured += 1
    if ours > max(without):
      improved.append(name)
    _tell_health(name, result, claims)
  to_come = len(OTHERS) - 1 - measured
  claims.check(
      len(improved) >= 4 or (None if len(improved) + to_come >= 4 else False),
      "clean accuracy rises for other implicit augmentations, over every control's "
      f"and an untrained G_A's, at least four: {', '.join(improved) or 'none'}")


def check_health(results: list[dict], claims: Claims) -> None:
  """Checks that all health numbers of the generator lie within their bounds."""
  for result in results:
    claims.check(not health.warnings(result["health"]),
                 f"seed {result['rows'][0]['seed']}: the generator is healthy")
    _tell_health("", result, claims)


def _tell_health(name: str, result: dict, claims: Claims) -> None:
  for text in health.warnings(result["health"]):
    claims.say(f"  {name + ': ' if name else ''}{text}")


def main() -> int:
  parser = grid.parser(__doc__, PARTS)
  parser.add_argument("--config", default=CONFIG)
  options = parser.parse_args()
  finished = grid.compute(
      runs(options.parts, options.seeds, options.config, options.out), options)
  if not finished:
    return 0
  read = lambda run: grid.read(run, options.out)
  print(tables.format_table([read(run) for run in finished]))
  claims = Claims()
  part = {name: [read(run) for run in finished if run.part == name]
          for name in PARTS}
  for name in ("main", "fresh"):
    if part[name]:
      print(f"{name}:")
      check_effect(part[name], claims)
      check_health(part[name], claims)
  if part["main"]:
    tell_controls(part["main"], part["controls"], claims)
  if part["others"]:
    check_others(part["others"], claims)
  return int(claims.failed)


if __name__ == "__main__":
  sys.exit(main())
