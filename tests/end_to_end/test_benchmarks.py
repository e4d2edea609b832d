"""The claims that the grids in benchmarks/ check, on made-up results."""

import importlib
import json
import pathlib

import numpy as np
import pytest

from augment_gen.config import command_line
from augment_gen.run import session

FOLDER = pathlib.Path(__file__).parents[2] / "benchmarks"
# Measured by a run with seed 0 (docs/experiments/006_sizes_of_dots.md).
ACCURACIES = {"MoCo v2": (1.52, 3.56), "MoCo v2 + control": (1.71, 3.02),
              "MoCo v2 + random G_A": (14.45, 7.85),
              "MoCo v2 + G_A": (27.60, 16.96),
              "MoCo v2 + G_A (prior)": (28.39, 16.39),
              "MoCo v2 + oracle": (29.32, 19.35)}
GOOD = ACCURACIES | {"MoCo v2 + G_A": (30.0, 20.0)}
# Methods whose `results` vary with the seed, so that differences have a spread.
VARIES = ("MoCo v2", "MoCo v2 + control", "MoCo v2 + random G_A")


@pytest.fixture(name="benchmark")
def mnist_omniglot(monkeypatch):
  monkeypatch.syspath_prepend(FOLDER)
  return importlib.import_module("mnist_omniglot")


@pytest.fixture
def crl_tac(monkeypatch):
  monkeypatch.syspath_prepend(FOLDER)
  return importlib.import_module("crl_tac")


def results(accuracies, seeds=(0, 1, 2), experiment="MNIST-Omniglot"):
  return [{"experiment": experiment, "rows": [
      {"method": method, "test": test, "seed": seed, "protocol": "l2",
       "accuracy": value + 0.1 * (seed + 1) * (method in VARIES)}
      for method, pair in accuracies.items()
      for test, value in zip("CD", pair)]} for seed in seeds]


def holds(benchmark, check, *args):
  """Whether all claims hold."""
  claims = benchmark.Claims()
  check(*args, claims)
  return not claims.failed


def test_the_effect(benchmark, capsys):
  with_priors = GOOD | {"MoCo v2 + G_A (prior)": (30.0, 20.0)}
  assert holds(benchmark, benchmark.check_effect, results(with_priors))
  assert not holds(benchmark, benchmark.check_effect, results(ACCURACIES))
  out = capsys.readouterr().out
  assert "FAILS  D→D: MoCo v2 + G_A has 88 % of the oracle's 19.35" in out
  # One seed cannot decide a claim, so nothing fails.
  assert holds(benchmark, benchmark.check_effect, results(with_priors, seeds=(0,)))
  assert "open   D→C: MoCo v2 + G_A less the best control" in capsys.readouterr().out


@pytest.mark.parametrize("rival", ["MoCo v2", "MoCo v2 + control, AdaBN",
                                   "untrained encoder", "MoCo v2 + random G_A"])
def test_ahead_of_everything_that_learned_nothing(benchmark, rival, capsys):
  found = results(GOOD | {"MoCo v2 + G_A (prior)": (30.0, 20.0),
                          rival: (29.95, 19.9)})
  for result in found:
    for row in result["rows"]:  # the difference varies about 0
      row["accuracy"] += (row["method"] == rival) * 0.3 * (row["seed"] - 1)
  assert not holds(benchmark, benchmark.check_effect, found)
  name = "an untrained G_A" if "random" in rival else f"the best control, {rival}"
  assert f"FAILS  D→C: MoCo v2 + G_A less {name}" in capsys.readouterr().out


def test_controls_are_told_and_judge_nothing(benchmark, capsys):
  ahead = results({"MoCo v2 + G_A without D_p": (31.0, 10.0)})
  ahead[1]["rows"][0]["accuracy"] += 1.0
  assert holds(benchmark, benchmark.tell_controls, results(GOOD), ahead)
  assert ("D→C: MoCo v2 + G_A less MoCo v2 + G_A without D_p: -1.33, 95 % interval "
          "[-2.77, +0.10] (n=3)" in capsys.readouterr().out)


def test_the_others(benchmark, capsys):
  names = [name for name in benchmark.OTHERS if name != "mixed_dots"]
  healthy = {"latent_r2": 0.9}
  found = [{**results(ACCURACIES, (0,),
                      f"MNIST-Omniglot, {name}, development split")[0],
            "health": healthy} for name in names]
  assert holds(benchmark, benchmark.check_others, found)
  assert "holds" in capsys.readouterr().out
  # A gain that the control also has, from longer training, does not count.
  beside = ACCURACIES | {"MoCo v2 + control": (28.0, 3.0)}
  for index in range(len(names) - 3):
    found[index]["rows"] = results(beside, (0,))[0]["rows"]
  found[-1]["health"] = {"latent_r2": 0.1}
  assert not holds(benchmark, benchmark.check_others, found)
  said = capsys.readouterr().out
  assert f"at least four: {', '.join(names[-3:])}" in said
  assert f"{names[-1]}: G_A ignores its latents" in said
  # With only three augmentations measured, the claim stays open.
  assert holds(benchmark, benchmark.check_others, found[-3:])
  assert "open" in capsys.readouterr().out


def test_the_health_of_every_seed(benchmark):
  found = results(GOOD)
  for result in found:
    result["health"] = {"latent_r2": 0.9}
  assert holds(benchmark, benchmark.check_health, found)
  found[1]["health"] = {"latent_r2": 0.1}
  assert not holds(benchmark, benchmark.check_health, found)


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


# --- CRL-TAC -----------------------------------------------------------------


def channel_results(ours, untrained=80.0, mass=0.95):
  """Results of two seeds; `ours` is CRL-TAC's accuracy by feature."""
  kinds = ("P", "P, one crop", "top-4", "top-1", "uniform", "true place")
  return [{"experiment": "Regional MNIST",
           "policy": {"test": {"mass_on_content": mass + 0.01 * seed}},
           "rows": [
               {"method": method, "crops": kind, "feature": feature,
                "seed": seed, "protocol": "l2",
                # Differences must vary with the seed.
                "accuracy": accuracy[feature] + 0.1 * seed * (
                    method == "untrained encoder")}
               for method, accuracy in (
                   ("CRL-TAC", ours), ("SimCLR", {"f": 46.0, "head": 32.0}),
                   ("untrained encoder", dict.fromkeys(("f", "head"), untrained)))
               for kind in kinds for feature in ("f", "head")]}
          for seed in (0, 1)]


@pytest.mark.parametrize("f,head,shown", [
    (97.3, 95.5, True), (96.9, 95.5, False), (97.3, 94.9, False)])
def test_accuracy_of_crl_tac(crl_tac, f, head, shown):
  found = channel_results({"f": f, "head": head})
  assert holds(crl_tac, crl_tac.check_accuracy, "regional", found) == shown


def test_one_crop_is_not_taken_for_the_mean(crl_tac):
  found = channel_results({"f": 97.3, "head": 95.5})
  for result in found:
    for row in result["rows"]:
      row["accuracy"] -= 50 * (row["crops"] in ("P, one crop", "top-1"))
  assert holds(crl_tac, crl_tac.check_accuracy, "regional", found)


def test_ahead_of_simclr_on_its_own_windows(crl_tac):
  found = channel_results({"f": 97.3, "head": 95.5})
  for result in found:
    for feature in ("f", "head"):
      result["rows"].append({
          "method": "SimCLR, own windows", "crops": "own uniform", "seed": 0,
          "feature": feature, "protocol": "l2", "accuracy": 96.0})
  assert not holds(crl_tac, crl_tac.check_accuracy, "regional", found)


def test_top_n_is_no_worse(crl_tac):
  found = channel_results({"f": 97.3, "head": 95.5})
  for row in found[0]["rows"]:
    row["accuracy"] -= row["crops"] == "top-4"
  assert not holds(crl_tac, crl_tac.check_accuracy, "regional", found)


def test_an_untrained_encoder_is_worse(crl_tac):
  ours = {"f": 97.3, "head": 95.5}
  assert holds(crl_tac, crl_tac.check_encoder, "regional", channel_results(ours))
  ahead = channel_results(ours, untrained=96.0)  # ahead on the head only
  assert not holds(crl_tac, crl_tac.check_encoder, "regional", ahead)
  one_seed = channel_results(ours)[:1]
  assert holds(crl_tac, crl_tac.check_encoder, "regional", one_seed)  # the claim stays open


def test_mass_on_the_digit(crl_tac):
  ours = {"f": 97.3, "head": 95.5}
  for mass, shown in ((0.91, True), (0.895, False)):  # of the worst seed
    found = channel_results(ours, mass=mass)
    assert holds(crl_tac, crl_tac.check_channel, "regional", found) == shown


# --- the grid ---


def test_a_misspelt_part_is_refused(crl_tac, capsys):
  parser = crl_tac.grid.parser("", crl_tac.PARTS)
  with pytest.raises(SystemExit):
    parser.parse_args(["--data=x", "--out=y", "--parts=regonal,mnist"])
  assert "regonal: choose from regional, mnist" in capsys.readouterr().err


def test_a_run_under_trial_has_a_row_of_its_own(benchmark, tmp_path):
  """A run on X_p ∪ X̃_f does not count as another seed of MoCo v2."""
  (union,) = [run for run in benchmark.runs(
      ["controls"], [0], benchmark.CONFIG, tmp_path) if run.name == "union-0"]
  (tmp_path / union.name).mkdir()
  (tmp_path / union.name / "results.json").write_text(json.dumps(
      results({"MoCo v2": (2.0, 9.0)}, seeds=(0,))[0]))
  found = benchmark.grid.read(union, tmp_path)
  assert {row["method"] for row in found["rows"]} == {"MoCo v2 on X_p ∪ X̃_f"}


# --- runs --------------------------------------------------------------------


def test_every_run_has_a_sound_config_and_a_folder_of_its_own(
    benchmark, crl_tac, tmp_path, monkeypatch):
  monkeypatch.chdir(FOLDER.parent)
  # Only ablations and other augmentations use the development split.
  for run in benchmark.runs(benchmark.PARTS, [0], benchmark.CONFIG, tmp_path):
    assert ("data.development" in run.settings) == (
        run.part in ("ablations", "others"))
  found = [*benchmark.runs(benchmark.PARTS, [0, 1], benchmark.CONFIG, tmp_path),
           *crl_tac.runs(crl_tac.PARTS, [0, 1])]
  for run in found:
    config = command_line.parse([
        "main.py", f"--config={run.config}", "--workdir=/x",
        *(f"--config.{name}={value}" for name, value in run.settings.items()),
        "--config.data.root=/x", "--config.pretrain.from_run=",
        "--config.generator.from_run="]).config
    found_wrong = [line for line in session.problems(config, devices=1)
                   if "/x" not in line]  # the data may be missing
    assert not found_wrong, run
  folders = [run.name for run in found]
  assert len(set(folders)) == len(folders)


def test_finished_runs_are_not_run_again(crl_tac, tmp_path, monkeypatch,
                                         capsys):
  monkeypatch.chdir(FOLDER.parent)
  grid = importlib.import_module("grid")
  runs = [grid.Run("regional", name, "configs/regional_mnist.py", {}, rows=18)
          for name in ("whole", "part", "none")]
  whole = channel_results({"f": 97.3, "head": 95.5})[0]
  for row in whole["rows"]:
    row["commit"] = "abc"
  part = {**whole, "rows": whole["rows"][:-2]}  # the last kind of crops is missing
  options = grid.parser("", ["regional"]).parse_args(
      ["--data=/x", f"--out={tmp_path}"])
  config = command_line.parse([
      "main.py", "--config=configs/regional_mnist.py", "--workdir=/x",
      "--config.data.root=/x"]).config_values
  for name, result in (("whole", whole), ("part", part)):
    (tmp_path / name).mkdir()
    (tmp_path / name / "results.json").write_text(json.dumps(result))
    (tmp_path / name / "config.json").write_text(json.dumps(config))
  started = []

  def no_time(run, options, deadline):
    started.append(run.name)
    return False
  monkeypatch.setattr(grid, "_run", no_time)
  assert grid.compute(runs, options) == runs[:1]
  assert started == ["part"]  # no time is left for later runs
  assert "1 of 3 runs are finished, at abc" in capsys.readouterr().out


def test_a_run_of_other_settings_is_not_taken_for_finished(crl_tac, tmp_path):
  grid = importlib.import_module("grid")
  options = grid.parser("", ["regional"]).parse_args(
      ["--data=/x", f"--out={tmp_path}"])
  config = str(FOLDER.parent / "configs/regional_mnist.py")
  values = command_line.parse(["main.py", f"--config={config}", "--workdir=/x",
                               "--config.data.root=/x"]).config_values
  (tmp_path / "a").mkdir()
  (tmp_path / "a/config.json").write_text(json.dumps(values))
  run = grid.Run("regional", "a", config, {"tac.draws": 7}, rows=12)
  with pytest.raises(SystemExit, match="config.tac.draws: 4 there, 7 here"):
    grid.compute([run], options)
