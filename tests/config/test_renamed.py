"""Error messages for old names of fields give the new names."""

import dataclasses

import pytest

from augment_gen.config import Config, renamed
from augment_gen.config.command_line import parse
from augment_gen.config.errors import UserError


def fields(node, path=""):
  """Yields the dotted names of all fields and sections."""
  for field in dataclasses.fields(node):
    yield f"{path}{field.name}"
    value = getattr(node, field.name)
    if dataclasses.is_dataclass(value):
      yield from fields(value, f"{path}{field.name}.")


def test_every_new_name_is_one_and_no_old_one_is():
  known = set(fields(Config()))
  assert set(renamed.RENAMED.values()) <= known
  assert not known & {*renamed.RENAMED, *renamed.GONE}


def test_an_old_command_is_told_the_new_names(tmp_path):
  (tmp_path / "c.py").write_text(
      "from augment_gen.config import default_config as get_config\n")
  with pytest.raises(UserError) as caught:
    parse(["main.py", f"--config={tmp_path}/c.py", "--workdir=/x",
           "--config.generator.average=0.9", "--config.tac.channel.draws=3",
           "--config.generator.latent.scale=3"])
  assert caught.value.problems == (
      "config.generator.average is now config.generator.networks.ema_decay",
      "config.tac.channel.draws is now config.tac.policy.draws",
      "config.generator.latent.scale is gone: it follows from generator.latent.layout")


def test_an_old_config_file_is_told_the_new_name(tmp_path):
  (tmp_path / "c.py").write_text(
      "from augment_gen.config import default_config\n"
      "def get_config():\n"
      "  config = default_config()\n"
      "  config.generator.fool_p_weight = 0.5\n"
      "  return config\n")
  with pytest.raises(UserError) as caught:
    parse(["main.py", f"--config={tmp_path}/c.py", "--workdir=/x"])
  (line,) = caught.value.problems
  assert "is now config.generator.losses.adversarial_p_weight" in line
