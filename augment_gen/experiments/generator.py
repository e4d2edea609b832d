"""An experiment with G_A: the stages, and what each hands to the next.

    pretrain ──F, H, queue──▶ generator ──G_A, Z̃──▶ retrain-ARM ──F──▶ evaluate
        └──────────────────────────F, H, queue──────────▲
"""

import dataclasses
from typing import Any

import jax

from augment_gen import data_record, preemption, training
from augment_gen.checkpoint import checksum
from augment_gen.config import Config, names
from augment_gen.evaluate import adabn, checkup, health
from augment_gen.evaluate.protocol import evaluate_encoder
from augment_gen.experiments import common
from augment_gen.experiments.common import Run
from augment_gen.figures import report
from augment_gen.stages import generator as stages
from augment_gen.steps.state import named
from augment_gen.takeover import take_over

# The arms of stage 3 as rows of Table 1: method, additional augmentation.
ROWS = {
    "untrained": ("untrained encoder", "-"),
    "pretrain": ("MoCo v2", "-"),
    "generator": ("MoCo v2 + G_A", "G_A"),
    "prior": ("MoCo v2 + G_A (prior)", "G_A, z from its prior"),
    "channel": ("MoCo v2 + G_A (channel)", "G_A, z from P(z|x)"),
    "control": ("MoCo v2 + control", "- (as many further epochs)"),
    "random": ("MoCo v2 + random G_A", "untrained G_A, as strong"),
    "oracle": ("MoCo v2 + oracle", "true augmentation"),
}


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

  # 1. F, its head and the queue: from scratch, or from another run (with it,
  # perhaps, the end of 2).
  take_over(run.config.pretrain.run, ("pretrain",), run.folder)
  take_over(run.config.generator.run, ("pretrain", "generator"), run.folder)
  stage = stages.pretrain(run.config, run.task, run.devices)
  run.overview("F and its head H", stage.state.query.params)
  untrained = jax.device_get(stage.state)  # training donates its buffers
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
  controls = {}
  if "untrained" in names(run.config.evaluate.controls):
    controls["untrained"] = untrained
  return _evaluate(
      run, {**controls, "pretrain": pretrained, **retrained}, generator)


def _train_generator(run: Run, pretrained):
  wanted = run.wants("generator")
  stage = stages.generator(run.config, run.task, pretrained if wanted else None)
  for title, player in (("G_A", stage.state.augmenter),
                        ("G_E and G_L", stage.state.eliminator),
                        ("D_f, and D_p alike", stage.state.disc_f)):
    run.overview(title, player.params)
  variables = stages.encoder_variables(pretrained)
  encode = stages.encode(run.config)
  stage = dataclasses.replace(
      stage, online_every=run.config.log.health_every_steps,
      online=lambda state: named("health", checkup.measure(
          run.config, run.task, encode, variables, state)))
  generator = run.trained(stage, wanted)
  measured = _last_health(run)
  for warning in health.warnings(measured):
    run.log(f"WARNING: {warning}")
  if unknown := health.unmeasured(measured):
    run.log("health: not measured, for want of a clean X_f or of any edit: "
            f"{', '.join(unknown)}")
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
  before, known = data_record.fresh(before, known, run.task.fingerprints, run.log)
  # Rows of an earlier start that this one does not ask for stay in the table.
  results = {"experiment": common.experiment(run.config), "rows": [],
             "provenance": common.provenance(run, {**known, **ends})}
  if generator is not None:
    results["health"] = _last_health(run)
  elif "health" in before:
    results["health"] = before["health"]
  adapt = "adabn" in names(run.config.evaluate.controls)
  for name, (method, augmentation) in ROWS.items():
    for adapted in (False, True):
      title = f"{method}, AdaBN" if adapted else method
      rows = [row for row in before["rows"] if row["method"] == title]
      state = states.get(name)
      if state is None or (adapted and not adapt):
        pass
      # A row counts only for the very state that it was measured on.
      elif rows and known.get(_stage_name(name)) == ends[_stage_name(name)]:
        run.log(f"evaluate: {title} was evaluated before")
      else:
        run.log(f"evaluate: {title}")
        rows = [{**row, "augmentation": augmentation,
                 **_trained_on(name, run.config)}
                for row in _rows(run, title, state, adapted)]
      results["rows"] += rows
      run.folder.write_results(results)
      preemption.leave_if(run.terminated, f"after the evaluation of {title}")
  return results


def _rows(run: Run, title: str, state, adapted: bool) -> list[dict[str, Any]]:
  """The rows of one encoder, perhaps with batch-norm statistics of X̃_f."""
  variables = jax.device_get(stages.encoder_variables(state))
  if adapted:
    variables = adabn.reestimate(
        stages.batch_statistics(run.config), variables,
        run.task.finetune.images, run.config.evaluate.batch_size,
        run.config.seed)
  rows = evaluate_encoder(
      stages.encode(run.config), variables, run.task, run.config.evaluate,
      method=title, pretrain_data="", experiment_seed=run.config.seed,
      train_name=run.config.data.finetune_name, mesh=run.mesh, log=run.log)
  return [{**row, "batch_norm": "X̃_f" if adapted else "as trained",
           "commit": common.commit()} for row in rows]


def _trained_on(name: str, config: Config) -> dict[str, str]:
  """What the encoder of a row has seen in stage 1 and, if it had it, stage 3."""
  if name == "untrained":
    return {"pretrain_data": "-", "retraining_set": "-"}
  pretrain_data = "X_p ∪ X̃_f" if config.pretrain.with_finetune else "X_p"
  # Where no stage 3 follows, the table calls the set of stage 1 so.
  return {"pretrain_data": pretrain_data,
          "retraining_set": pretrain_data if name == "pretrain" else "X_p"}


def _stage_name(row: str) -> str:
  return row if row in ("untrained", "pretrain") else f"retrain-{row}"
