"""The augmentation generator: its stages, and what each passes on to the next.

    pretrain ──F, H, …──▶ generator ──G_A, Z̃──▶ retrain-ARM ──F──▶ evaluate
        └──────────────────────────F, H, …────────────▲
"""

from collections.abc import Iterator, Mapping
import dataclasses
import itertools
from typing import Any

import jax
from jax.tree_util import Partial
import numpy as np

from augment_gen.config import Config, names
from augment_gen.evaluate import adabn, amounts, checkup, health, protocol
from augment_gen.evaluate.chunks import chunked
from augment_gen.evaluate.finetune import Finetuning
from augment_gen.figures import inspection, of_run
from augment_gen.methods import encoder_init
from augment_gen.methods.augmentation_generator import rules, stages, watch
from augment_gen.methods.pretrainers import pretrainer
from augment_gen.models.build import build_augmenter
from augment_gen.run import costs, loop, preemption, provenance
from augment_gen.run.checkpoint import checksum
from augment_gen.run.contracts import is_chosen, Run
from augment_gen.run.folder import last_measured
from augment_gen.run.metrics import parameter_overview
from augment_gen.run.takeover import take_over, take_over_control
from augment_gen.tables.results import ADABN, LOADED, UNTRAINED

STAGES = ("pretrain", "generator", "retrain", "evaluate")
problems, data_problems = rules.problems, rules.data_problems
data_warnings = rules.data_warnings

# The arms of stage 3 as rows of Table 1: the suffix of the method's name, and the
# additional augmentation.
_ROWS = {
    "generator": ("G_A", "G_A"),
    "prior": ("G_A (prior)", "G_A, z from its prior"),
    "policy": ("G_A (policy)", "G_A, z from P(z|x)"),
    "control": ("control", "- (as many further epochs)"),
    "random": ("random G_A", "untrained G_A, as strong"),
    "oracle": ("oracle", "true augmentation"),
}
# Arms of re-training that use nothing learned from X̃_f.
_WITHOUT_FINETUNE = ("retrain-control", "retrain-oracle")


def rows(config: Config, title: str) -> dict[str, tuple[str, str]]:
  """The rows of Table 1 by encoder: (method, additional augmentation).

  Source: Hayase et al., Table 1.

  Args:
    config: says whether F starts from a file, and whether stage 1 trains it.
    title: the pre-trainer's title.
  """
  before = {"untrained": (LOADED if config.encoder.init else UNTRAINED, "-"),
            "pretrain": (title, "-")}
  if encoder_init.is_all(config):  # one encoder, so one row
    before = {"pretrain": (LOADED, "-")}
  return before | {arm: (f"{title} + {name}", augmentation)
                   for arm, (name, augmentation) in _ROWS.items()}


def trained_sections(config: Config) -> tuple[str, ...]:
  """See `contracts.Method`."""
  del config
  return ("pretrain", "generator", "retrain")


def reads_finetune(stage: str, values: Mapping[str, Any]) -> bool:
  """See `contracts.Method`."""
  if stage == "generator" or (
      stage.startswith("retrain-") and stage not in _WITHOUT_FINETUNE):
    return True
  # The other stages depend on X̃_f only through stage 1.
  return values["pretrain"]["with_finetune"]


def read_only(config: Config) -> list[str]:
  """See `contracts.Method`."""
  copies = config.generator.from_run
  found = []
  if not (is_chosen(config, "pretrain") or copies or config.pretrain.from_run):
    found.append("pretrain")
  if _needs_generator(config) and not (is_chosen(config, "generator") or copies):
    found.append("generator")
  if _needs_arms(config) and not is_chosen(config, "retrain"):
    found += [_stage_name(arm) for arm in names(config.retrain.arms)]
  return found


def _needs_arms(config: Config) -> bool:
  """Whether a command trains or evaluates the arms of stage 3."""
  return is_chosen(config, "retrain") or is_chosen(config, "evaluate")


def _needs_generator(config: Config) -> bool:
  """Whether a command trains G_A, or has arms that use it."""
  return is_chosen(config, "generator") or (
      _needs_arms(config)
      and not set(names(config.retrain.arms)).isdisjoint(stages.GENERATOR_ARMS))


def run(run: Run) -> dict[str, Any] | None:
  """See `contracts.Method`."""
  of_run.examples(run.task, run.folder, run.writer, run.config.log)
  arms = names(run.config.retrain.arms)
  need_retrained, need_generator = _needs_arms(run.config), _needs_generator(run.config)

  # 1. F, its head and the queue are trained from scratch, or F from the weights of a
  # file, or all is taken over from another run, possibly together with stage 2.
  for last, taken in (("pretrain", ("pretrain",)),
                      ("generator", ("pretrain", "generator"))):
    source = getattr(run.config, last).from_run
    take_over(source, taken, run.folder)
    if need_retrained and "control" in arms:
      take_over_control(source, run.folder, run.config_values)
  inspection.take_over_strips(run.config.generator.from_run, run.folder)
  stage = stages.pretrain(run.config, run.task, run.devices)
  for note in (encoder_init.load(run.config) or (None, []))[1]:
    run.log(note)
  parameter_overview(
      "F", stages.encoder_variables(run.config, stage.state)["params"], run.log)
  untrained = jax.device_get(stage.state)  # training donates the buffers
  pretrained = loop.end_of(
      run, watch.with_gauges(run, stage), run.wants("pretrain"))
  watch.report(run, stage.name)

  # 2. G_A, G_E and G_L are trained against D_f and D_p, with F from stage 1 frozen.
  generator = None
  if need_generator:
    generator = _train_generator(run, pretrained)

  # 3. Each arm trains F, head and queue of stage 1 further, with G_A of stage 2
  # frozen.
  retrained = {}
  if need_retrained:
    for arm in arms:
      stage = stages.retrain(run.config, run.task, run.devices, arm,
                             pretrained, generator)
      retrained[arm] = loop.end_of(
          run, watch.with_gauges(run, stage), run.wants("retrain"))
      watch.report(run, stage.name)
  of_run.curves(run.folder, run.writer)

  # 4. Each F, from stage 1 and from every arm of stage 3, gets a new linear head.
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
    parameter_overview(title, player.params, run.log)
  variables = stages.encoder_variables(run.config, pretrained)
  encode = stages.encode(run.config)
  every = run.config.log.health_every_steps

  def online(state) -> dict[str, float]:
    inspection.keep_strip(run.config, run.task, state, run.folder)
    if not every and int(state.step) < stage.total_steps:
      return {}
    measured = checkup.measure(run.config, run.task, encode, variables, state)
    measured |= _accuracy_of_d_f(run, int(state.step))
    return {f"health/{name}": value for name, value in measured.items()}

  stage = dataclasses.replace(
      stage, online=online,
      online_every=every or inspection.strip_interval(stage.total_steps))
  generator = loop.end_of(run, stage, wanted)
  measured = _last_health(run)
  for warning in health.warnings(measured):
    run.log(f"WARNING: {warning}")
  if unknown := health.unmeasured(measured):
    run.log("health: not measured, for want of a clean X_f or of any edit: "
            f"{', '.join(unknown)}")
  encoder = stage.frozen.get("encoder")
  if not run.folder.has_drawn("generator", of_run.generator_files(
      run.folder, encoder is not None)):
    of_run.generator(
        run.config, run.task, generator, run.folder, run.writer,
        chunked(Partial(encode, variables), health.CHUNK), encoder)
  if build_augmenter(run.config).latents:
    _describe(run, variables, generator)
  return generator


def _accuracy_of_d_f(run: Run, step: int) -> dict[str, float]:
  """D_f's accuracy over the last quarter of the steps so far; nothing if not logged."""
  found = [line["discriminator/accuracy_f"] for line in run.folder.read_metrics()
           if line["stage"] == "generator" and 0.75 * step < line["step"] <= step
           and "discriminator/accuracy_f" in line]
  return {"d_f_accuracy": float(np.mean(found))} if found else {}


def _describe(run: Run, variables, generator) -> None:
  """Says in words, numbers and figures what a G_A whose latents have names has learned."""
  before = run.folder.read_learned("generator")
  described = before or checkup.describe(run.config, run.task, variables, generator)
  if before is None or not run.folder.has_drawn(
      "generator", of_run.operators_files(described)):
    of_run.operators(
        run.config, run.task, generator, described, run.folder, run.writer)
    run.folder.write_learned(described)  # last, as it says that all this was done
  run.log("learned (details in learned.json, figures/amounts.png and operators.png):")
  for sentence in amounts.sentences(described) or ["Nothing: no operator is alive."]:
    run.log(f"  {sentence}")


def _last_health(run: Run) -> dict[str, float]:
  """The generator's last health measurement in metrics.jsonl."""
  return last_measured(run.folder.read_metrics(), "generator", "health/")


def _evaluate(run: Run, states: dict[str, Any], generator) -> dict[str, Any]:
  """Evaluates the encoders and writes results.json; keeps rows that are still valid."""
  ends = {_stage_name(name): checksum(state) for name, state in states.items()}
  if generator is not None:
    ends["generator"] = checksum(generator)
  before = run.folder.read_results() or {"rows": [], "provenance": {}}
  known = before["provenance"].get("stages", {})
  before, known = provenance.fresh(before, known, run.task.fingerprints, run.log)
  before = protocol.fresh(before, run.config.evaluate, run.log)
  # Rows of an earlier start stay in the table even if this start does not ask for them.
  results: dict[str, Any] = {
      "experiment": provenance.experiment(run.config), "rows": [],
      "gauges": watch.last_gauges(run),
      "provenance": provenance.of_results(
          run, protocol.fingerprints(run.config.evaluate, before["provenance"]),
          {**known, **ends})}
  if generator is not None:
    results["health"] = _last_health(run)
  elif "health" in before:
    results["health"] = before["health"]
  adapt = "adabn" in names(run.config.evaluate.controls)
  finetune = (Finetuning(run) if "finetune" in names(run.config.evaluate.protocols)
              else None)
  title = pretrainer(run.config, run.devices).title
  lines = [(name, method + ADABN if adapted else method, augmentation, adapted)
           for name, (method, augmentation) in rows(run.config, title).items()
           for adapted in (False, True)]
  found = {}
  for name, label, _, _ in lines:
    stage = _stage_name(name)
    # A row is only valid for the exact state that it was measured on.
    valid = stage not in ends or known.get(stage) == ends[stage]
    found[label] = [row for row in before["rows"] if valid and row["method"] == label]

  def save() -> None:
    # Also the rows of lines that have not had their turn, so that stopping loses nothing.
    results["rows"] = list(itertools.chain(*found.values()))
    run.folder.write_results(results)

  save()
  for name, label, augmentation, adapted in lines:
    state = states.get(name)
    if state is None or (adapted and not adapt):
      continue
    # Fine-tuning has batch norms in training mode, so that nothing is left of AdaBN.
    for new in _rows(run, label, state, adapted, found[label],
                     None if adapted else finetune):
      found[label] = protocol.replaced(found[label], [
          {**row, "augmentation": augmentation, **_trained_on(name, run.config),
           **costs.of_stages(run.folder.path, _trained_stages(name))} for row in new])
      save()
    preemption.leave_if(run.terminated, f"after the evaluation of {label}")
  return results


def _rows(run: Run, title: str, state, adapted: bool, before: list[dict[str, Any]],
          finetune: Finetuning | None) -> Iterator[list[dict[str, Any]]]:
  """Evaluates one encoder under the protocols that lack rows, in portions to be saved.

  Args:
    run: the run.
    title: the rows' method.
    state: holds the encoder.
    adapted: whether it gets batch-norm statistics of X̃_f.
    before: its rows from an earlier start.
    finetune: fine-tunes it; None: there are no rows of this protocol.
  """
  protocols = protocol.missing(
      run.config.evaluate, before, run.task.tests, finetune is not None)
  if not protocols.protocols:
    if before:
      run.log(f"evaluate: {title} was evaluated before")
    return
  run.log(f"evaluate: {title}")
  variables = jax.device_get(stages.encoder_variables(run.config, state))
  if adapted:
    variables = adabn.reestimate(
        stages.batch_statistics(run.config), variables,
        run.task.finetune, run.config.evaluate.batch_size, run.config.seed)
  for portion in protocol.portions(protocols):
    found = protocol.evaluate_encoder(
        stages.encode(run.config), variables, run.task, portion,
        method=title, pretrain_data="", experiment_seed=run.config.seed,
        train_name=run.config.data.finetune_name, mesh=run.mesh, finetune=finetune,
        log=run.log)
    yield [{**row, "batch_norm": protocol.ADAPTED if adapted else "as trained",
            "commit": provenance.commit()} for row in found]


def _trained_on(name: str, config: Config) -> dict[str, str]:
  """The training sets of a row's encoder in stage 1 and, if it had one, in stage 3.

  What the weights of a file were trained on is not known: it is called "encoder.init".
  """
  loaded, is_all = config.encoder.init, encoder_init.is_all(config)
  if name == "untrained" or (name == "pretrain" and is_all):
    return {"pretrain_data": "encoder.init" if loaded else "-", "retraining_set": "-"}
  stage_1 = "X_p ∪ X̃_f" if config.pretrain.with_finetune else "X_p"
  pretrain_data = f"encoder.init, {stage_1}" if loaded else stage_1
  # Without stage 3, the table's re-training set is the training set of stage 1.
  return {"pretrain_data": "encoder.init" if is_all else pretrain_data,
          "retraining_set": stage_1 if name == "pretrain" else "X_p"}


def _trained_stages(name: str) -> tuple[str, ...]:
  """The stages that an encoder needs: also stage 2, if only to know G_A's strength."""
  return {"untrained": (), "pretrain": ("pretrain",)}.get(name, (
      "pretrain", *(("generator",) if name in stages.GENERATOR_ARMS else ()),
      _stage_name(name)))


def _stage_name(row: str) -> str:
  return row if row in ("untrained", "pretrain") else f"retrain-{row}"
