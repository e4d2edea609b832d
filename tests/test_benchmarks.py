"""What benchmarks/mnist_omniglot.py claims of results, on results made up."""

import importlib.util
import pathlib

import pytest

PATH = pathlib.Path(__file__).parent.parent / "benchmarks/mnist_omniglot.py"
# As a run of seed 0 measured them (docs/experiments/006_sizes_of_dots.md).
ACCURACIES = {"MoCo v2": (1.52, 3.56), "MoCo v2 + control": (1.71, 3.02),
              "MoCo v2 + random G_A": (14.45, 7.85),
              "MoCo v2 + G_A": (27.60, 16.96),
              "MoCo v2 + G_A (prior)": (28.39, 16.39),
              "MoCo v2 + oracle": (29.32, 19.35)}
GOOD = ACCURACIES | {"MoCo v2 + G_A": (30.0, 20.0)}


@pytest.fixture(scope="module")
def benchmark():
  spec = importlib.util.spec_from_file_location("mnist_omniglot", PATH)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def results(accuracies, seeds=(0, 1, 2), experiment="MNIST-Omniglot"):
  return [{"experiment": experiment, "rows": [
      {"method": method, "test": test, "seed": seed, "protocol": "l2",
       "accuracy": value + 0.1 * (seed + 1) * (method == "MoCo v2")}
      for method, pair in accuracies.items()
      for test, value in zip("CD", pair)]} for seed in seeds]


def holds(benchmark, check, *args):
  """Whether all claims hold."""
  claims = benchmark.Claims()
  check(*args, claims)
  return not claims.failed


def test_the_effect(benchmark, capsys):
  assert holds(benchmark, benchmark.check_effect, results(GOOD))
  assert not holds(benchmark, benchmark.check_effect, results(ACCURACIES))
  assert "FAILS  D→D: G_A is 88 % of the oracle's 19.35" in capsys.readouterr().out


def test_the_noise_of_seeds(benchmark):
  assert holds(benchmark, benchmark.check_noise, results(ACCURACIES))
  assert not holds(benchmark, benchmark.check_noise,
                   results(ACCURACIES, seeds=(0,)))  # needs two
  alike = results(ACCURACIES | {"MoCo v2 + G_A": (1.72, 3.76)})
  assert not holds(benchmark, benchmark.check_noise, alike)


def test_the_controls(benchmark):
  assert holds(benchmark, benchmark.check_controls, results(GOOD), [])
  ahead = results({"MoCo v2 + G_A without D_p": (31.0, 10.0)})
  assert not holds(benchmark, benchmark.check_controls, results(GOOD), ahead)


def test_the_others(benchmark, capsys):
  names = ("strokes", "blur", "gradient", "erase")
  found = [results(ACCURACIES, (0,), f"MNIST-Omniglot, {name}")[0]
           for name in names]
  assert holds(benchmark, benchmark.check_others, found)
  assert not holds(benchmark, benchmark.check_others, found[:3])
  assert "strokes, blur, gradient" in capsys.readouterr().out
