"""The mutants in tools/mutate.py match the current code."""

import importlib.util
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def mutate():
  spec = importlib.util.spec_from_file_location("mutate", ROOT / "tools" / "mutate.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_every_mutant_changes_one_line(mutate):
  for mutant in mutate.MUTANTS:
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    assert text.count(mutant.old) == 1, (
        f"tools/mutate.py: {mutant.name}: the line has changed, change the mutant too")
    for path in mutant.tests.split():
      assert (ROOT / path).exists(), mutant.name
