"""Each pre-trainer as F of the generator and in re-training, end to end in small."""

import json
import pathlib

import numpy as np
import pytest

from augment_gen import export
from augment_gen.data.task import load_task
from augment_gen.main import main

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_device")]

ROOT = pathlib.Path(__file__).parents[2]


METHODS = {"SimCLR": "simclr", "SimSiam": "simsiam", "BYOL": "byol", "SwAV": "swav",
           "supervised": "supervised"}


@pytest.mark.parametrize("title", METHODS)
def test_every_stage_runs_and_its_encoder_can_be_exported(title, tmp_path):
  assert main([
      "main.py", f"--config={ROOT}/configs/quickstart.py:runlocal",
      f"--workdir={tmp_path}/run", "--config.log.sinks=jsonl",
      "--config.evaluate.protocols=knn", "--config.evaluate.controls=",
      "--config.encoder.blocks=(1,1)", "--config.retrain.arms=generator",
      "--config.pretrain.optimizer.name=lars", "--config.swav.queue=32",
      "--config.supervised.classes=62", f"--config.pretrain.method={METHODS[title]}"]) == 0
  found = json.loads((tmp_path / "run" / "results.json").read_text())
  assert {row["method"] for row in found["rows"]} == {
      title, f"{title} + G_A"}
  learned = export.load(tmp_path / "run")
  images = load_task(learned.config.data).finetune.images
  features = learned.encode(images)
  assert features.shape[0] == len(images) and np.isfinite(features).all()
