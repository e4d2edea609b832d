"""A run: the stages in order, and what each hands to the next.

    pretrain ──F, H, queue──▶ generator ──G_A, Z̃──▶ retrain-ARM ──F──▶ evaluate
        └──────────────────────────F, H, queue──────────▲
"""

from collections.abc import Iterator
import dataclasses
import functools
import importlib.metadata
import pathlib
import platform
import subprocess
from typing import Any

from clu import parameter_overview
import jax

from augment_gen import stages, training
from augment_gen.checkpoint import checksum
from augment_gen.config import Config, fingerprint, identity, names
from augment_gen.data.task import Task
from augment_gen.evaluate import checkup, health
from augment_gen.evaluate.protocol import evaluate_encoder, protocol_fingerprint
from augment_gen.figures import report
from augment_gen.metrics import MetricWriter
from augment_gen.pretrained import take_over
from augment_gen.run_folder import RunFolder
from augment_gen.steps.state import named
from augment_gen.tables import format_table

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")

# The arms of stage 3 as rows of Table 1: method, additional augmentation.
ROWS = {
    "pretrain": ("MoCo v2", "-"),
    "generator": ("MoCo v2 + G_A", "G_A"),
    "prior": ("MoCo v2 + G_A (prior)", "G_A, z from its prior"),
    "control": ("MoCo v2 + control", "- (as many further epochs)"),
    "random": ("MoCo v2 + random G_A", "untrained G_A, as strong"),
    "oracle": ("MoCo v2 + oracle", "true augmentation"),
}


@dataclasses.dataclass(frozen=True)
class Run:
  """What all stages share."""
  config: Config
  config_values: dict[str, Any]  # the same, as plain JSON values
  command: str  # without the folder's name
  task: Task
  folder: RunFolder
  mesh: jax.sharding.Mesh
  writer: MetricWriter
  log: Any = print

  @property
  def devices(self) -> int:
    return self.mesh.size

  def wants(self, stage: str) -> bool:
    return stage in names(self.config.stages)

  def trained(self, stage: training.Stage, wanted: bool) -> Any:
    """The end of a stage: trained now, or read if it was trained before."""
    if wanted:
      return training.train(
          stage, folder=self.folder, mesh=self.mesh, writer=self.writer,
          config=self.config.log, log=self.log)
    return training.finished_state(stage, self.folder, self.log)


def run(run: Run) -> dict[str, Any] | None:
  """Runs the chosen stages, from where they were.

  Returns:
    The contents of results.json, or None if `evaluate` was not chosen.

  Raises:
    UserError, Preempted, NonFiniteError: see `training.train`.
  """
  report.examples(run.task, run.folder, run.writer, run.config.log)
  arms = names(run.config.retrain.arms)
  need_retrained = run.wants("retrain") or run.wants("evaluate")
  need_generator = run.wants("generator") or (
      need_retrained and not set(arms).isdisjoint(stages.GENERATOR_ARMS))

  # 1. F, its head and the queue: from scratch, or from another run.
  take_over(run.config.pretrain.run, run.folder)
  stage = stages.pretrain(run.config, run.task, run.devices)
  _overview(run, "F and its head H", stage.state.query.params)
  stage = _with_online_knn(run, stage)
  pretrained = run.trained(stage, run.wants("pretrain"))

  # 2. G_A, G_E, G_L against D_f, D_p: F from 1, frozen.
  generator = None
  if need_generator:
    generator = _train_generator(run, pretrained)

  # 3. Each arm: F, head and queue from 1, G_A from 2, frozen.
  retrained = {}
  if need_retrained:
    for arm in arms:
      stage = stages.retrain(run.config, run.task, run.devices, arm,
                             pretrained, generator)
      stage = _with_online_knn(run, stage)
      retrained[arm] = run.trained(stage, run.wants("retrain"))
  report.curves(run.folder, run.writer)

  # 4. A new linear head on each F: from 1, and from each arm of 3.
  if not run.wants("evaluate"):
    return None
  return _evaluate(run, {"pretrain": pretrained, **retrained}, generator)


def _train_generator(run: Run, pretrained):
  wanted = run.wants("generator")
  stage = stages.generator(run.config, run.task, pretrained if wanted else None)
  for title, player in (("G_A", stage.state.augmenter),
                        ("G_E and G_L", stage.state.eliminator),
                        ("D_f, and D_p alike", stage.state.disc_f)):
    _overview(run, title, player.params)
  variables = stages.encoder_variables(pretrained)
  before = checksum(variables)
  encode = stages.encode(run.config)
  stage = dataclasses.replace(
      stage, online_every=run.config.log.health_every_steps,
      online=lambda state: named("health", checkup.measure(
          run.config, run.task, encode, variables, state)))
  generator = run.trained(stage, wanted)
  for warning in health.warnings(_last_health(run)):
    run.log(f"WARNING: {warning}")
  if checksum(variables) != before:
    raise RuntimeError("F changed while the generator was trained")
  report.generator(run.config, run.task, generator, run.folder, run.writer)
  return generator


def _last_health(run: Run) -> dict[str, float]:
  """What metrics.jsonl says of the generator's health at its end."""
  measured = {}
  for line in run.folder.read_metrics():
    if line["stage"] == "generator":
      found = {name.removeprefix("health/"): value
               for name, value in line.items() if name.startswith("health/")}
      measured = found or measured
  return measured


def _with_online_knn(run: Run, stage: training.Stage) -> training.Stage:
  """Adds kNN accuracy during training, if the config asks for it."""
  epochs = run.config.log.online_every_epochs
  if not epochs:
    return stage
  per_epoch = len(stage.frozen["images"]["x_p"]) // stage.batch_size
  encode = stages.encode(run.config)
  online_config = dataclasses.replace(run.config.evaluate, protocols="knn")

  def online(state) -> dict[str, float]:
    variables = jax.device_get(stages.encoder_variables(state))
    rows = evaluate_encoder(
        encode, variables, run.task, online_config, method="online",
        pretrain_data="X_p", experiment_seed=run.config.seed,
        train_name=run.config.data.finetune_name, mesh=run.mesh,
        log=lambda _: None)
    return {f"online/knn_{row['train']}_to_{row['test']}": row["accuracy"]
            for row in rows}
  return dataclasses.replace(
      stage, online=online, online_every=max(1, round(epochs * per_epoch)))


def _evaluate(run: Run, states: dict[str, Any], generator) -> dict[str, Any]:
  """Rows of results.json; encoders that have theirs already are passed over."""
  ends = {_stage_name(name): checksum(state) for name, state in states.items()}
  if generator is not None:
    ends["generator"] = checksum(generator)
  before = run.folder.read_results() or {"rows": [], "provenance": {}}
  known = before["provenance"].get("stages", {})
  results = {"experiment": run.config.experiment, "rows": [],
             "provenance": _provenance(run, ends)}
  if generator is not None:
    results["health"] = _last_health(run)
  pretrain_data = "X_p ∪ X̃_f" if run.config.pretrain.with_finetune else "X_p"
  for name, state in states.items():
    method, augmentation = ROWS[name]
    rows = [row for row in before["rows"] if row["method"] == method]
    # A row counts only for the very state that it was measured on.
    if rows and known.get(_stage_name(name)) == ends[_stage_name(name)]:
      run.log(f"evaluate: {method} was evaluated before")
    else:
      run.log(f"evaluate: {method}")
      rows = evaluate_encoder(
          stages.encode(run.config), stages.encoder_variables(state), run.task,
          run.config.evaluate, method=method, pretrain_data=pretrain_data,
          experiment_seed=run.config.seed,
          train_name=run.config.data.finetune_name, mesh=run.mesh, log=run.log)
      rows = [{**row, "retraining_set": pretrain_data,
               "augmentation": augmentation} for row in rows]
    results["rows"] += rows
    run.folder.write_results(results)
  return results


def _stage_name(row: str) -> str:
  return row if row == "pretrain" else f"retrain-{row}"


def _provenance(run: Run, ends: dict[str, str]) -> dict[str, Any]:
  """Where the numbers come from; holds no time and no path of this machine."""
  return {
      "command": run.command,
      "config": fingerprint(identity(run.config_values)),
      "data": run.task.fingerprints,
      "protocol": protocol_fingerprint(run.config.evaluate),
      "stages": ends,  # checksums of the states that were evaluated
      "devices": run.devices,
      "platform": run.mesh.devices.flat[0].platform,
      "versions": versions(),
      "commit": commit(),
  }


def versions() -> dict[str, str]:
  """Versions that can change a number."""
  return {"augment_gen": importlib.metadata.version("augment_gen"),
          "python": platform.python_version(),
          **{name: importlib.metadata.version(name) for name in PACKAGES}}


@functools.cache
def commit() -> str | None:
  """The git commit of the code, "+" if changed since; None outside git.

  Cached: what counts is the code as this process started.
  """
  def git(*args):
    return subprocess.run(
        ["git", *args], cwd=pathlib.Path(__file__).parent, check=True,
        capture_output=True, text=True).stdout.strip()
  try:
    changed = git("status", "--porcelain", "--untracked-files=no")
    return git("rev-parse", "HEAD") + ("+" if changed else "")
  except (OSError, subprocess.CalledProcessError):
    return None


def _overview(run: Run, title: str, params: Any) -> None:
  run.log(f"\n{title}:")
  run.log(parameter_overview.get_parameter_overview(
      {"params": params}, include_stats=False))


def summary(run: Run, results: dict[str, Any] | None) -> Iterator[str]:
  """What the command prints at its end."""
  if results is not None:
    yield format_table([results])
  yield "figures:"
  for path in sorted(run.folder.figures.glob("*.png")):
    yield f"  {path}"
  yield f"run folder: {run.folder.path}"
