"""Conflicts between settings, whatever the method."""

from collections.abc import Iterator

from augment_gen.config import Config, names
from augment_gen.config.errors import UserError
from augment_gen.data import splits
from augment_gen.data.task import Task
from augment_gen.methods import building, METHODS
from augment_gen.run import profile


def problems(config: Config, devices: int) -> Iterator[str]:
  """Problems with stages, durations and batch sizes, one line each."""
  method = METHODS[config.method]
  if profile.parse(config.profile_steps) is None:
    yield (f"config.profile_steps='{config.profile_steps}' is not two step numbers from 1, "
           "such as 10,20")
  yield from building.unknown_names("stages", config.stages, ("all", *method.STAGES))
  for section in method.trained_sections(config):
    epochs, steps = (building.setting(config, f"{section}.{name}")
                     for name in ("epochs", "steps"))
    # Stage 1 need not train an F that comes from a file.
    untrained = section == "pretrain" and config.encoder.init and not (epochs or steps)
    if (epochs > 0) == (steps > 0) and not untrained:
      yield (f"config.{section}: give either epochs or steps (the other 0), "
             f"not epochs={epochs} and steps={steps}")
    yield from building.division_problems(config, f"{section}.batch_size", devices)
  if "finetune" in names(config.evaluate.protocols):
    yield from building.division_problems(
        config, "evaluate.finetune.batch_size", devices)


def evaluation_problems(config: Config, task: Task) -> Iterator[str]:
  """Problems that evaluation would otherwise only hit after all training."""
  protocols = names(config.evaluate.protocols)
  assert task.finetune.labels is not None  # `load_task` refuses unlabelled sets
  if "finetune" in protocols:
    yield from building.batch_problems(
        config, "evaluate.finetune.batch_size", len(task.finetune), "finetune")
  if "labels" in protocols:
    count = max(config.evaluate.labels.per_class)
    try:
      splits.few_of_each(task.finetune.labels, count, config.seed, draw=1)
    except UserError as error:
      yield (f"config.evaluate.labels.per_class={config.evaluate.labels.per_class}: "
             f"{error}; ask for fewer, give more labelled images, or leave 'labels' out "
             "of config.evaluate.protocols")
  if "l2" in protocols:
    try:
      splits.holdout(task.finetune.labels, config.evaluate.l2_holdout, config.seed)
    except UserError as error:
      yield (f"config.evaluate.l2_holdout={config.evaluate.l2_holdout:g}: {error}; use "
             "a larger part, give more labelled images, or leave 'l2' out of "
             "config.evaluate.protocols")
  neighbours = config.evaluate.knn_k
  if "knn" in protocols and neighbours > len(task.finetune):
    yield (f"config.evaluate.knn_k={neighbours} is more than the "
           f"{len(task.finetune)} images of data.finetune")
