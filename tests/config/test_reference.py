"""The descriptions of the settings in `--help` and docs/settings.md."""

import pathlib

import pytest

from augment_gen.config import reference
from augment_gen.main import main

ROOT = pathlib.Path(__file__).parents[2]


def test_docs_settings_is_up_to_date():
  text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
  assert text == reference.as_markdown(), (
      "schema.py has changed: python -m augment_gen.config.reference > "
      "docs/settings.md")


def test_a_field_has_its_comment_its_bounds_and_its_default():
  fields = {f.name: f for s in reference.sections() for f in s.fields}
  momentum = fields["moco.momentum"]
  assert momentum.words == "of the key encoder"
  assert (momentum.default, momentum.values) == ("0.999", "number ≥ 0 ≤ 1")
  assert fields["data.channels"].values == "1, 3"
  assert fields["evaluate.l2_strengths"].values == (
      "number > 0, with commas between several")
  assert fields["retrain.arms"].values.startswith("some of generator, prior")
  assert fields["data.implicit_seed"].words.startswith("JAX is given twice")
  # Some comments take two lines above the field; some sections override defaults.
  assert fields["moco.bn_groups"].words.endswith("one for each GPU.")
  assert fields["retrain.policy.beta"].default == "5.0"


@pytest.mark.parametrize("args, words, not_there", [
    (["--help=moco"], "--config.moco.queue=65536", "--config.pretrain"),
    (["--help=config.generator"], "--config.generator.losses.cycle_weight", "moco"),
    (["--helpfull"], "--config.log.figure_images=8", "DIR")])
def test_help_lists_settings(args, words, not_there, capsys):
  assert main(["main.py", *args]) == 0
  out = capsys.readouterr().out
  assert words in out and not_there not in out


def test_help_of_no_section(capsys):
  assert main(["main.py", "--help=mocco"]) == 2
  assert "there are: data, encoder, moco" in capsys.readouterr().err
