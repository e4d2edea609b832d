"""Small end-to-end runs of CRL-TAC."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from augment_gen.augment.crops import CropGrid
from augment_gen.data import feed
from augment_gen.evaluate import protocol
from augment_gen.main import main
from augment_gen.methods.crl_tac import method as tac

pytestmark = pytest.mark.usefixtures("one_device")

ROOT = pathlib.Path(__file__).parents[2]
KINDS = ("P", "P, one crop", "top-4", "top-1", "uniform", "uniform, one crop",
         "true place")
OWN_KINDS = ("own uniform", "own uniform, one crop", "true place")


def command(workdir, *args, name="regional_mnist"):
  return ["main.py", f"--config={ROOT}/configs/{name}.py:runlocal",
          f"--workdir={workdir}", "--config.log.sinks=jsonl",
          "--config.encoder.blocks=(1,)", *args]  # compiling takes most of the time


@pytest.fixture(scope="module")
def whole(tmp_path_factory, one_device):
  workdir = tmp_path_factory.mktemp("runs") / "whole"
  assert main(command(workdir, "--config.tac.dim=2")) == 0
  return workdir


def test_rows_of_every_encoder_under_every_kind_of_crops(whole):
  found = json.loads((whole / "results.json").read_text())
  keys = [(row["method"], row["crops"], row["feature"]) for row in found["rows"]]
  assert sorted(keys) == sorted(
      (method, crops, feature)
      for method, kinds in (
          ("CRL-TAC", KINDS), ("SimCLR", KINDS), ("untrained encoder", KINDS),
          ("SimCLR, own windows", OWN_KINDS))
      for crops in kinds for feature in ("f", "head"))
  for row in found["rows"]:
    one = "one crop" in row["crops"] or row["crops"] == "top-1"
    assert row["crops_per_image"] == (
        1 if one else 2 if row["crops"] == "true place" else 4)
    # 16 images with 4 crops each; in phase (b), 8 images with 6 crops each.
    assert (row["images_per_step"], row["images_per_step_forward"]) == {
        "CRL-TAC": (64, 48), "untrained encoder": (0, 0)}.get(
            row["method"], (64, 0))
  assert {row["train"] for row in found["rows"]} == {"train"}
  assert 0 <= found["policy"]["test"]["mass_on_content"] <= 1
  assert found["policy"]["test"]["entropy"] > 0
  assert set(found["provenance"]["stages"]) == {
      "tac", "simclr", "simclr_own", "untrained"}
  assert {path.name for path in (whole / "figures").iterdir()} == {
      "examples.png", "curves.png", "heat_maps.png", "instances.png",
      "circle.png"}
  lines = [json.loads(line)
           for line in (whole / "metrics.jsonl").read_text().splitlines()]
  of_tac = [line for line in lines if line["stage"] == "tac"]
  assert {"encoder/information", "policy/information", "policy/entropy",
          "policy/mass_on_content"} <= set(of_tac[0])
  assert not any(name.startswith("policy/") for line in lines
                 for name in line if line["stage"] == "simclr")


def test_killed_in_each_stage_it_ends_with_the_same_bits(
    whole, tmp_path, monkeypatch):
  args = command(tmp_path / "killed", "--config.tac.dim=2")

  class Crash(Exception):
    pass

  stages = ("simclr", "simclr_own", "tac")
  for number in range(len(stages)):
    with monkeypatch.context() as patch:
      host_batch = feed.ImageFeed.host_batch

      def dying(self, t, number=number, host_batch=host_batch):
        # All stages have equal feeds, so only checkpoints identify the stage.
        folder = tmp_path / "killed" / "checkpoints"
        finished = [(folder / name / "2").exists() for name in stages]
        if t == 1 and sum(finished) == number:
          raise Crash
        return host_batch(self, t)
      patch.setattr(feed.ImageFeed, "host_batch", dying)
      with pytest.raises(Crash):
        main(args)
  with monkeypatch.context() as patch:
    evaluate = protocol.evaluate_features

    def dying_late(*args, method, **kwargs):
      if method == "SimCLR":
        raise Crash
      return evaluate(*args, method=method, **kwargs)
    patch.setattr(protocol, "evaluate_features", dying_late)
    with pytest.raises(Crash):
      main(args)
  assert main(args) == 0
  for name in ("results.json", "metrics.jsonl"):
    assert (tmp_path / "killed" / name).read_bytes() == (
        whole / name).read_bytes()


def test_rows_are_kept_only_for_the_states_they_were_measured_on(
    whole, capsys, monkeypatch):
  monkeypatch.setattr(protocol, "evaluate_features", None)  # must not be called
  before = (whole / "results.json").read_bytes()
  assert main(command(whole, "--config.tac.dim=2")) == 0
  assert capsys.readouterr().out.count("was evaluated before") == 14
  assert (whole / "results.json").read_bytes() == before


@pytest.mark.slow
def test_plain_mnist_has_no_true_place_and_controls_can_be_left_out(tmp_path):
  assert main(command(
      tmp_path / "run", "--config.tac.controls=untrained", name="mnist")) == 0
  found = json.loads((tmp_path / "run" / "results.json").read_text())
  assert {row["crops"] for row in found["rows"]} == set(KINDS) - {"true place"}
  assert {row["method"] for row in found["rows"]} == {
      "CRL-TAC", "untrained encoder"}
  assert not (tmp_path / "run" / "checkpoints" / "simclr").exists()


@pytest.mark.parametrize("stage", ["simclr", "simclr_own", "tac"])
def test_each_training_stage_alone_on_a_fresh_folder(stage, tmp_path):
  workdir = tmp_path / "run"
  assert main(command(workdir, f"--config.stages={stage}")) == 0
  assert [path.name for path in (workdir / "checkpoints").iterdir()] == [stage]
  drawn = {path.name for path in (workdir / "figures").iterdir()}
  assert ("heat_maps.png" in drawn) == (stage == "tac")


def test_rows_of_controls_that_are_no_longer_asked_for_stay(
    whole, tmp_path, monkeypatch):
  workdir = shutil.copytree(whole, tmp_path / "run")
  monkeypatch.setattr(protocol, "evaluate_features", None)
  before = json.loads((workdir / "results.json").read_text())
  assert main(command(
      workdir, "--config.tac.dim=2", "--config.tac.controls=untrained")) == 0
  after = json.loads((workdir / "results.json").read_text())
  assert after["rows"] == before["rows"]
  assert after["provenance"]["stages"] == before["provenance"]["stages"]


def test_windows_about_the_content_lie_within_the_canvas():
  places = np.array([[0, 10], [5, 20], [4, 0]])
  grid = CropGrid(image_size=28, crop=4, stride=4, scales=(1.0, 3.0))
  boxes = tac.true_boxes(places, 8, grid)
  assert boxes.shape == (3, 2, 3) and boxes.dtype == np.int32
  np.testing.assert_array_equal(boxes[:, 0, :2], places + 2)
  np.testing.assert_array_equal(
      boxes[:, 1], [[0, 8, 12], [3, 16, 12], [2, 0, 12]])
