"""The metrics of one step of every kind of stage."""

import json
import pathlib

import numpy as np
import pytest
from stepping import stage_of, take

from augment_gen.config.command_line import parse

ROOT = pathlib.Path(__file__).parents[2]
PATH = pathlib.Path(__file__).parent / "steps.json"
# (stage, metric): SimCLR's logits are equal at first up to the last bit, in which machines
# differ, and it decides which is the largest. It may be off by one image of 32.
_TIED = ("pretrain, simclr", "accuracy")
_ONE_IMAGE = 0.04
# The encoder is what takes long to compile.
SHALLOW = "--config.encoder.blocks=(1,)"
# {name of the stage: (config, changes)}.
STAGES = {
    "pretrain, moco_v2": ("quickstart", (SHALLOW,)),
    "pretrain, simclr": ("quickstart", (SHALLOW, "--config.pretrain.method=simclr")),
    # SwAV's small crops need a ResNet.
    **{f"pretrain, {method}": ("quickstart", (
        f"--config.pretrain.method={method}", f"--config.encoder.name={encoder}",
        SHALLOW, "--config.pretrain.recipe=crop",
        "--config.simsiam.dim=16", "--config.swav.queue=32",
        "--config.supervised.classes=62"))
       for method, encoder in (("simsiam", "convnet"), ("byol", "convnet"),
                               ("swav", "resnet18"), ("supervised", "convnet"))},
    "generator": ("quickstart", (SHALLOW,)),
    # Adam's first step divides each slope of P by its own size, also those that are nearly
    # 0 and differ between versions of JAX. SGD's is the slope, here at its own size.
    "tac": ("regional_mnist", ("--config.tac.policy.optimizer.name=sgd",
                               "--config.tac.policy.optimizer.lr=1.0")),
}


def first_step(name: str) -> dict[str, float]:
  """All metrics of a stage's first step, on one device."""
  config_name, changes = STAGES[name]
  config = parse(["main.py", f"--config={ROOT}/configs/{config_name}.py:runlocal",
                  "--workdir=unused", *changes]).config
  _, metrics = take(stage_of(config, name.partition(",")[0]))
  return {metric: float(value) for metric, value in sorted(metrics.items())}


@pytest.mark.parametrize("name", STAGES)
def test_a_step_gives_the_numbers_that_it_gave(name, update_golden):
  golden = json.loads(PATH.read_text()) if PATH.exists() else {}
  found = first_step(name)
  if update_golden:
    golden[name] = {metric: float(f"{value:.7g}") for metric, value in found.items()}
    PATH.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
  assert found.keys() == golden[name].keys()
  wrong = [f"{metric}: {golden[name][metric]:.6g} before, {value:.6g} now"
           for metric, value in found.items()
           if not np.isclose(value, golden[name][metric], rtol=1e-3,
                             atol=_ONE_IMAGE if (name, metric) == _TIED else 1e-6)]
  assert not wrong, (
      f"one step of '{name}' gives other numbers: {'; '.join(wrong)}. A refactoring must "
      "not do that. If the mathematics, a preset or a library has changed and you meant "
      "it, run `pytest tests/golden --update-golden -n 0`, and say why in the commit")
