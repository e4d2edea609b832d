"""Configs of runs of other versions."""

import json

import pytest

from augment_gen.config import command_line, FinetuneConfig
from augment_gen.config.errors import UserError
from augment_gen.export import runs


@pytest.fixture
def values():
  return command_line.parse(
      ["main.py", "--config=quickstart", "--workdir=/x"]).config_values


def _load(folder, values):
  (folder / "config.json").write_text(json.dumps(values))
  return runs.load_config(folder)


def test_fields_that_change_no_network_may_be_of_another_version(values, tmp_path):
  today = _load(tmp_path, values)
  del values["evaluate"]["finetune"], values["evaluate"]["labels"], values["log"]["sinks"]
  values["log"]["tensorboard"] = values["evaluate"]["of_old"] = True
  values["evaluate"]["knn_k"] = 7
  found = _load(tmp_path, values)
  assert found.log == today.log and found.encoder == today.encoder
  assert found.evaluate.knn_k == 7
  assert found.evaluate.finetune == FinetuneConfig()


def test_fields_without_effect_may_be_missing(values, tmp_path):
  """As in a run of code that did not have them yet."""
  today = _load(tmp_path, values)
  del values["remat"], values["pretrain"]["micro_batch"], values["data"]["max_device_gib"]
  del values["data"]["jpeg_decoder"]  # older runs had Pillow
  assert _load(tmp_path, values) == today


def test_a_config_that_lacks_a_field_of_a_network_is_refused(values, tmp_path):
  del values["encoder"]["width"]
  with pytest.raises(UserError, match="config.encoder.width is missing"):
    _load(tmp_path, values)
