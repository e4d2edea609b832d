"""F watched while it is trained, in stages 1 and 3: gauges of collapse, and kNN."""

import dataclasses
import functools

import jax
from jax.tree_util import Partial

from augment_gen.data.base import sample
from augment_gen.evaluate import encoder_health
from augment_gen.evaluate.chunks import chunked
from augment_gen.evaluate.health import CHUNK
from augment_gen.evaluate.protocol import evaluate_encoder
from augment_gen.methods.augmentation_generator import stages
from augment_gen.methods.pretrainers import pretrainer
from augment_gen.run.contracts import Run, Stage
from augment_gen.run.random import stream
from augment_gen.steps.latent_policy import LatentPolicyState

_PREFIX = "gauges/"


def with_gauges(run: Run, stage: Stage) -> Stage:
  """Adds what is measured of F at the end of a stage, and while it is trained.

  "gauges/…" are those of `encoder_health.measure`. If config.log.online_every_epochs is
  set, they are measured as often, and "online/knn_…", the accuracy of nearest
  neighbours, with them.
  """
  epochs = run.config.log.online_every_epochs
  images = functools.cache(lambda: sample(
      run.task.pretrain, min(len(run.task.pretrain), encoder_health.IMAGES)))
  key = stream(jax.random.key(run.config.seed), "gauges")

  def online(state) -> dict[str, float]:
    variables = jax.device_get(stages.encoder_variables(run.config, state))
    frozen = stage.frozen
    if isinstance(state, LatentPolicyState):  # P(z|x) chooses the latents
      frozen = {**frozen, "policy": {"params": jax.device_get(state.policy.params)}}
    measured = encoder_health.measure(
        chunked(Partial(stages.encode(run.config), variables), CHUNK), images(),
        stage.views, frozen, key)
    return {f"{_PREFIX}{name}": value for name, value in measured.items()} | (
        _knn(run, variables) if epochs else {})

  every = max(1, round(epochs * stage.feed.steps_per_epoch["x_p"])) if epochs else 0
  return dataclasses.replace(stage, online=online, online_every=every)


def report(run: Run, name: str) -> None:
  """Says in words whether F is healthy at the end of a stage; see `last_gauges`."""
  measured = last_gauges(run).get(name)
  if measured:  # a stage of no steps has none
    run.log(f"{name}: {encoder_health.sentence(measured)}")
    for warning in encoder_health.warnings(measured):
      run.log(f"WARNING: {name}: {warning}")


def last_gauges(run: Run) -> dict[str, dict[str, float]]:
  """The last gauges of each stage in metrics.jsonl, with those of its loss."""
  measured: dict[str, dict[str, float]] = {}
  losses: dict[str, list[float]] = {}
  for line in run.folder.read_metrics():
    found = {name.removeprefix(_PREFIX): value for name, value in line.items()
             if name.startswith(_PREFIX)}
    if found:
      measured[line["stage"]] = found
    if "loss" in line:
      losses.setdefault(line["stage"], []).append(line["loss"])
  method = pretrainer(run.config, run.devices)
  for name, found in measured.items():
    section = run.config.pretrain if name == "pretrain" else run.config.retrain
    found |= encoder_health.chance_ratio(
        losses.get(name, []), method.chance_loss(section.batch_size))
  return measured


def _knn(run: Run, variables) -> dict[str, float]:
  """The accuracy of nearest neighbours, by test set."""
  config = dataclasses.replace(run.config.evaluate, protocols="knn")
  rows = evaluate_encoder(
      stages.encode(run.config), variables, run.task, config, method="online",
      pretrain_data="X_p", experiment_seed=run.config.seed,
      train_name=run.config.data.finetune_name, mesh=run.mesh, log=lambda _: None)
  return {f"online/knn_{row['train']}_to_{row['test']}": row["accuracy"]
          for row in rows}
