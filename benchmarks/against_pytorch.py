"""Speed of this project against PyTorch, torchvision, kornia and scikit-learn.

  python benchmarks/against_pytorch.py [--cases=moco,generator] [--rounds=5]
      [--seconds=3] [--out=FILE.json]

The cases, all by default:

  moco       steps of MoCo v2, without and with augmentations
  generator  steps of Algorithm 1
  crl_tac    steps of CRL-TAC, both phases
  probe      fits of the L2 probe
  knn        predictions of the kNN probe
  augment    hand-made augmentations
  start      from the command to its first step, and imports

Each side of a case has a process of its own, all cores, float32, and for PyTorch
channels_last. The sides take turns: one runs a block of steps of about `--seconds`, while
the others wait. The table has medians over `--rounds` rounds, and the smallest and largest
ratio of a round. A ratio below 1 means that we are faster.

A step of ours is the product's own, with its metrics; PyTorch computes none. "First step"
includes compilation, with no cache. "Memory" is the largest resident set of the whole
process, with nothing subtracted; workers of a DataLoader are not in it. Notes stand behind
each row. Needs torch, torchvision, kornia and scikit-learn.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
import contextlib
import dataclasses
import functools
import importlib.metadata
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from pytorch.inputs import UNET
from pytorch.turns import measure, Side, Timing

_ROOT = pathlib.Path(__file__).parents[1]
GROUPS = ("moco", "generator", "crl_tac", "probe", "knn", "augment", "start")
_COMPILED = ("moco", "generator", "crl_tac")  # what torch.compile can do something for
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "torch", "torchvision", "kornia",
             "scikit-learn", "numpy")
_FIRST_STEP_PATIENCE = 900.0  # seconds


@dataclasses.dataclass(frozen=True)
class Case:
  """What the sides of some rows of the table do.

  Attributes:
    group: its name in `--cases`, and of our side in pytorch/ours.py.
    name: what the table calls it.
    arguments: keyword arguments of all sides.
    smoke: what `--smoke` changes in them; for "config", what it adds.
    rivals: targets of the other sides, by the table's name for them.
    images: images in a step if the table has times per image.
  """
  group: str
  name: str
  arguments: Mapping[str, Any]
  smoke: Mapping[str, Any]
  rivals: Mapping[str, str]
  images: int = 0

  def shrunk(self) -> "Case":
    """The same case with tiny shapes."""
    arguments = {**self.arguments, **self.smoke}
    if "config" in self.smoke:
      arguments["config"] = [*self.arguments["config"], *self.smoke["config"]]
    images = arguments["batch"] if self.images else 0
    return dataclasses.replace(self, arguments=arguments, images=images)


@dataclasses.dataclass(frozen=True)
class Row:
  """A row of the table: our side against one other."""
  case: str
  against: str
  ours: Timing
  theirs: Timing | None  # None: there is nothing to compare with
  images: int = 0  # in a step, if times are per image

  @property
  def ratios(self) -> list[float]:
    if self.theirs is None:
      return []
    return [a / b for a, b in zip(self.ours.rounds, self.theirs.rounds)]


def main() -> int:
  options = _options()
  rows: list[Row] = []
  for case in _cases():
    if case.group in options.cases and options.match in case.name:
      rows += _rows(case.shrunk() if options.smoke else case, options)
  if "start" in options.cases:
    rows += _start_rows(options)
  print(_title(options))
  print(_table(rows))
  if options.out:
    _write(rows, options)
  return int(any(row.ours.error or (row.theirs and row.theirs.error) for row in rows))


def _options() -> argparse.Namespace:
  def known_groups(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if wrong := [name for name in names if name not in GROUPS]:
      raise argparse.ArgumentTypeError(
          f"{', '.join(wrong)}: choose from {', '.join(GROUPS)}")
    return names

  def positive(kind: type, text: str) -> Any:
    value = kind(text)
    if not (0 < value < math.inf):
      raise argparse.ArgumentTypeError(f"{text} is not positive")
    return value

  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--cases", type=known_groups, default=list(GROUPS))
  parser.add_argument("--match", default="", help="only cases with this in their names")
  parser.add_argument("--rounds", type=functools.partial(positive, int), default=5)
  parser.add_argument("--seconds", type=functools.partial(positive, float), default=3.0)
  parser.add_argument("--out", type=pathlib.Path, help="also write all times as JSON")
  parser.add_argument("--compile", action="store_true",
                      help="further rows against torch.compile")
  parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
  parser.add_argument(
      "--precision", choices=("float32", "bf16"), default="float32",
      help="bf16: autocast in PyTorch, precision=bf16 in ours")
  parser.add_argument("--smoke", action="store_true",
                      help="tiny shapes, to see that all works; the times mean nothing")
  return parser.parse_args()


# --- cases -------------------------------------------------------------------


def _cases() -> Iterator[Case]:
  yield from _moco_cases()
  yield from _generator_cases()
  yield Case(
      "crl_tac", "CRL-TAC, Regional MNIST",
      {"config": ["--config=configs/regional_mnist.py"]},
      {"config": _flags({
          "data.image_size": 12, "data.canvas": 24, "encoder.width": 4, "tac.crop": 12,
          "tac.scales": (1.0, 1.3), "tac.batch_size": 4, "tac.policy.batch": 2,
          "tac.policy.draws": 4})},
      {"PyTorch": "pytorch.crl_tac:side"})
  yield from _probe_cases()
  yield from _augment_cases()


def _flags(settings: Mapping[str, Any]) -> list[str]:
  return [f"--config.{name}={value}" for name, value in settings.items()]


def _moco_cases() -> Iterator[Case]:
  """MoCo v2 with the official settings, but a queue of 4,096 and one batch-norm group."""
  for config, recipes, encoder, size, channels, batch in (
      ("omniglot", ("moco_v2", "handwriting"), "resnet18", 28, 1, 256),
      ("daiso", ("moco_v2",), "resnet18", 64, 3, 128),
      ("daiso", ("moco_v2",), "resnet18", 224, 3, 16),
      ("daiso", (), "resnet50", 224, 3, 8)):
    for recipe in ("", *recipes):
      settings = {
          "encoder.name": encoder, "data.image_size": size, "moco.queue": 4096,
          "moco.bn_groups": 1, "pretrain.batch_size": batch,
          "pretrain.recipe": recipe or "none"}
      yield Case(
          "moco", f"MoCo v2, {encoder}, {size}×{size}×{channels}, batch {batch}, "
          f"{recipe or 'no'} augmentations",
          {"config": [f"--config=configs/{config}.py", *_flags(settings)],
           "views": "recipe" if recipe else "given"},
          {"config": _flags({
              "data.image_size": 16, "encoder.width": 4, "encoder.blocks": (1, 1),
              "moco.queue": 32, "pretrain.batch_size": 8})},
          {"PyTorch": "pytorch.moco:side"})


def _generator_cases() -> Iterator[Case]:
  """Algorithm 1 with the networks of the configs, and with U-Nets as G_A, batch 64."""
  for name, config, settings in (
      ("perceptrons, 28×28×1", "omniglot", {}),
      ("preset's chain and U-Net, 28×28×1", "quickstart", {}),
      ("preset's chain and U-Net, 64×64×3", "photos", {}),
      ("U-Nets of width 8, depth 3, 28×28×1", "quickstart",
       {**UNET, "generator.networks.unet_width": 8, "generator.networks.unet_depth": 3,
        "generator.networks.unet_patch": 1})):
    yield Case(
        "generator", f"Algorithm 1, {name}, batch 64",
        {"config": [f"--config=configs/{config}.py",
                    *_flags({"generator.batch_size": 64, **settings})]},
        {"config": _flags({
            "data.image_size": 16, "encoder.width": 4, "encoder.blocks": (1, 1),
            "moco.queue": 32, "generator.batch_size": 8,
            "generator.networks.hidden": 16, "generator.discriminator.hidden": 16,
            "generator.networks.unet_width": 4, "generator.networks.unet_depth": 1})},
        {"PyTorch": "pytorch.generator:side"})


def _probe_cases() -> Iterator[Case]:
  """The probes on as many features and classes as Omniglot has."""
  features = {"count": 24_345, "dim": 256, "classes": 1_623}
  tiny = {"count": 200, "dim": 8, "classes": 5}
  yield Case(
      "probe", "L2 probe, 24,345 × 256, 1,623 classes, 30 iterations",
      {**features, "strength": 1e-4, "iterations": 30}, {**tiny, "iterations": 3},
      {"PyTorch": "pytorch.probe:side",
       "scikit-learn": "pytorch.probe:scikit_learn_side"})
  yield Case(
      "knn", "kNN, 8,115 among 24,345 × 256, k = 20",
      {**features, "queries": 8_115, "k": 20, "temperature": 0.07},
      {**tiny, "queries": 50}, {"PyTorch": "pytorch.knn:side",
                                "scikit-learn": "pytorch.knn:scikit_learn_side"})


def _augment_cases() -> Iterator[Case]:
  for recipe, size, channels, batch in (
      ("moco_v2", 28, 1, 256), ("handwriting", 28, 1, 256), ("moco_v2", 64, 3, 128),
      ("moco_v2", 224, 3, 32)):
    yield Case(
        "augment", f"augmentations {recipe}, {size}×{size}×{channels}",
        {"recipe": recipe, "size": size, "channels": channels, "batch": batch},
        {"size": 16, "batch": 8},
        {"torchvision": "pytorch.augment:torchvision_side",
         "kornia": "pytorch.augment:kornia_side"}, images=batch)


def _rows(case: Case, options: argparse.Namespace) -> list[Row]:
  """Measures a case: one row for each other side."""
  common = {"device": options.device, "precision": options.precision}
  environment = {
      "JAX_PLATFORMS": options.device, "JAX_ENABLE_COMPILATION_CACHE": "false",
      # On a GPU, the sides share its memory.
      "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
  sides = [Side("ours", f"pytorch.ours:{case.group}", {**case.arguments, **common},
                environment)]
  sides += [Side(name, target, {**case.arguments, **common})
            for name, target in case.rivals.items()]
  if options.compile and case.group in _COMPILED:
    sides += [Side("PyTorch, compiled", case.rivals["PyTorch"],
                   {**case.arguments, **common, "compiled": True})]
  _log(case.name)
  ours, *others = measure(sides, options.rounds, options.seconds, _log)
  return [Row(case.name, side.name, ours, theirs, case.images)
          for side, theirs in zip(sides[1:], others)]


# --- start -------------------------------------------------------------------


def _start_rows(options: argparse.Namespace) -> Iterator[Row]:
  """From the command to the first line of metrics, and imports."""
  _log("start")
  with tempfile.TemporaryDirectory() as cache:
    for state in ("empty cache", "warm cache"):
      yield Row(f"command to first step, {state}", "—", _start(options, cache), None)
  theirs = "import torch, torchvision"
  for module in ("augment_gen.main", "augment_gen.run.session"):
    ours = f"import {module}"
    for statement in (ours, theirs):
      _seconds_of_python(statement)  # brings the files into memory
    rounds = [[_seconds_of_python(statement) for statement in (ours, theirs)]
              for _ in range(options.rounds)]
    mine, other = (Timing(rounds=list(times)) for times in zip(*rounds))
    _log(f"  {ours}: {mine.median:.2f} s; {theirs}: {other.median:.2f} s")
    if module == "augment_gen.main":
      mine.notes.append("imports no JAX before the command is parsed")
    yield Row(ours, theirs, mine, other)


def _start(options: argparse.Namespace, cache: str) -> Timing:
  """One start of the command, with the compilation cache in the folder `cache`."""
  try:
    elapsed = _first_step(options, cache)
  except RuntimeError as error:
    _log(f"  {error}")
    return Timing(error=str(error))
  _log(f"  command to first step: {elapsed:.2f} s")
  return Timing(rounds=[elapsed])


def _first_step(options: argparse.Namespace, cache: str) -> float:
  """Seconds from the start of a pre-training to its first line of metrics.

  The loop writes a step's metrics once it has started the next step.

  Raises:
    RuntimeError: the command ended before, or took too long.
  """
  variant = ":runlocal" if options.smoke else ""
  with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as output:
    command = [
        sys.executable, "-m", "augment_gen.main",
        f"--config=configs/quickstart.py{variant}", f"--workdir={folder}/run",
        "--config.stages=pretrain", "--config.log.every_steps=1"]
    environment = {**os.environ, "JAX_PLATFORMS": options.device,
                   "JAX_COMPILATION_CACHE_DIR": cache}
    metrics = pathlib.Path(folder, "run", "metrics.jsonl")
    start = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=_ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
      while not (metrics.exists() and metrics.read_text().endswith("\n")):
        elapsed = time.perf_counter() - start
        if process.poll() is not None or elapsed > _FIRST_STEP_PATIENCE:
          output.seek(0)
          last = (output.read().strip().splitlines() or ["no output"])[-1]
          raise RuntimeError(f"no first step after {elapsed:.0f} s: {last}")
        time.sleep(0.01)
      return time.perf_counter() - start
    finally:
      process.kill()
      process.wait()


def _seconds_of_python(statement: str) -> float:
  start = time.perf_counter()
  subprocess.run([sys.executable, "-c", statement], cwd=_ROOT, check=True)
  return time.perf_counter() - start


# --- output ------------------------------------------------------------------


def _table(rows: Sequence[Row]) -> str:
  """All rows as a Markdown table."""
  lines = ["| case | against | ours | theirs | ratio | spread | first step (ours / theirs) "
           "| memory in MiB (ours / theirs) | notes |", "|---" * 9 + "|"]
  for row in rows:
    theirs = row.theirs or Timing()
    notes = [f"{name}: {'; '.join(timing.notes)}"
             for name, timing in (("ours", row.ours), (row.against, theirs))
             if timing.notes]
    cells = [row.case, row.against]
    errors = [f"{name} failed: {timing.error}"
              for name, timing in (("ours", row.ours), (row.against, theirs))
              if timing.error]
    cells += [_time(row.ours, row.images), _time(theirs, row.images)]
    cells += ([f"{row.ours.median / theirs.median:.2f}",
               f"{min(row.ratios):.2f}–{max(row.ratios):.2f}"]
              if row.ratios and not errors else ["—", "—"])
    cells += [_pair(row.ours.first, theirs.first, ".2f", " s"),
              _pair(row.ours.memory, theirs.memory, ".0f", "")]
    cells.append("; ".join([*errors, *notes]))
    lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
  return "\n".join(lines)


def _time(timing: Timing, images: int) -> str:
  """The median of a side, in seconds a step or microseconds an image."""
  if timing.error or not timing.rounds:
    return "—"
  if images:
    return f"{1e6 * timing.median / images:.1f} µs/image"
  return f"{timing.median:.4g} s"


def _pair(ours: float, theirs: float, form: str, unit: str) -> str:
  texts = ["—" if math.isnan(value) else f"{value:{form}}{unit}"
           for value in (ours, theirs)]
  return "" if texts == ["—", "—"] else " / ".join(texts)


def _title(options: argparse.Namespace) -> str:
  lines = [f"{os.cpu_count()} CPUs, {options.device}, {options.precision}, medians of "
           f"{options.rounds} rounds; " + ", ".join(
               f"{name} {version}" for name, version in _versions().items())]
  if options.smoke:
    lines.append("Tiny shapes (--smoke), whatever the names say: the times mean nothing.")
  return "\n".join(lines) + "\n"


def _versions() -> dict[str, str]:
  """Versions of the packages that are installed."""
  versions = {}
  for name in _PACKAGES:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
      versions[name] = importlib.metadata.version(name)
  return versions


def _write(rows: Sequence[Row], options: argparse.Namespace) -> None:
  """Writes everything that was measured as JSON."""
  def plain(timing: Timing | None) -> dict[str, Any] | None:
    if timing is None:
      return None
    values = dataclasses.asdict(timing)
    return {name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in values.items()}

  settings = {name: str(value) if isinstance(value, pathlib.Path) else value
              for name, value in vars(options).items() if name != "out"}
  options.out.write_text(json.dumps({
      "options": settings, "cpus": os.cpu_count(), "versions": _versions(),
      "rows": [{"case": row.case, "against": row.against, "images": row.images,
                "ratio": statistics.median(row.ratios) if row.ratios else None,
                "ours": plain(row.ours), "theirs": plain(row.theirs)} for row in rows],
  }, indent=2, ensure_ascii=False) + "\n")


def _log(text: str) -> None:
  print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
  sys.exit(main())
