"""tools/count_dots.py counts what was drawn."""

import importlib
import pathlib

import numpy as np
import pytest

FOLDER = pathlib.Path(__file__).parents[2] / "tools"


def test_dots_are_counted_in_runs_alone(monkeypatch, tmp_path, capsys):
  monkeypatch.syspath_prepend(FOLDER)
  monkeypatch.setattr("sys.argv", ["count_dots.py", str(tmp_path)])
  assert importlib.import_module("count_dots").main() == 2
  assert "no readable config.json" in capsys.readouterr().err


def test_what_is_drawn_is_counted(monkeypatch):
  monkeypatch.syspath_prepend(FOLDER)
  count = importlib.import_module("count_dots").count
  clean = np.zeros((2, 6, 5, 1), np.float32)
  clean[:, 0] = 1.0  # a stroke above five rows of background
  drawn = clean.copy()
  drawn[0, 2, :3], drawn[0, 0, 0] = 0.9, 0.5  # three dots and a dimmed stroke
  drawn[1, 3, 0], drawn[1, 3, 1] = 0.8, 0.3  # a dot and a grey pixel
  assert count(drawn, clean) == pytest.approx(
      {"dots": 2.0, "std": 1.0, "greys": 2.0, "dimmed": 0.05,
       "1": 0.0, "2": 30.0, "3": 10.0, "4": 0.0})
