"""`augment-gen check` on tiny runs and folders."""

import numpy as np
from PIL import Image
import pytest

from augment_gen import __main__ as commands
from augment_gen.check import images, memory
from augment_gen.steps.state import NetState

TINY = ("check", "--config=quickstart:runlocal", "--config.encoder.blocks=(1,)",
        "--config.encoder.width=4")


@pytest.fixture(scope="module", autouse=True)
def one(one_device):
  """Whole commands, on one device."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """40 oblong pictures, six of them of class b, and a text."""
  root = tmp_path_factory.mktemp("pictures")
  for number in range(40):
    file = root / "ab"[number >= 34] / f"{number}.png"
    file.parent.mkdir(exist_ok=True)
    grey = np.random.default_rng(number).integers(0, 256, (20, 40), np.uint8)
    Image.fromarray(grey).save(file)
  (root / "readme.txt").write_text("no image")
  return root


def run(capsys, *args):
  """The status, the sections and the errors."""
  status = commands.main(args)
  out, err = capsys.readouterr()
  parts = [part.strip().splitlines() for part in out.split("\n\n")]
  return status, {part[0]: [line.strip() for line in part[1:]] for part in parts}, err


def test_what_a_run_would_do_without_compiling(folder, tmp_path, capsys):
  sheet = tmp_path / "sheet.png"
  status, found, err = run(
      capsys, *TINY, "--quick", f"--sheet={sheet}", f"--workdir={tmp_path}/run",
      f"--config.data.pretrain=folder:{folder}?labels=none", "--config.data.stream=on",
      f"--config.data.finetune=folder:{folder}", "--config.data.finetune_per_class=5",
      "--config.generator.batch_size=8", "--config.evaluate.knn_k=5")
  assert (status, err) == (0, "")
  assert not (tmp_path / "run").exists()
  assert np.asarray(Image.open(sheet)).std() > 1
  lines = "\n".join(found["images"])
  assert "X_p: 40 images (28, 28, 1), read as they are needed" in lines
  assert "1 other files passed over" in lines
  assert "X̃_f: 5 images in each of 2 classes" in lines
  assert "WARNING: 1 to 29 images in each of 2 classes, which is uneven; fewest: b" in lines
  assert "40 × 20 pixels in 40 of 40 files, scaled to 28 × 28" in lines
  assert "40 are smaller than that" in lines and "which loses 50 % of the pixels" in lines
  assert found["sizes that divide"][0].startswith(
      "pretrain.batch_size: 16 = 1 devices × 16 images; 8 batch-norm groups of 2")
  assert "WARNING" not in "".join(found["sizes that divide"])
  names = "\n".join(found["memory"])
  assert all(f"{name}: " in names for name in (
      "F alone", "F with its head", "queue", "G_A", "G_E and G_L", "D_f", "D_p"))
  assert "X_p: read as it is needed" in found["memory"]
  assert found["speed"] == ["not measured (--quick)"]
  assert found["stages"][0] == "pretrain: 2 steps of 16 images, 1 epochs of X_p"
  assert [line.partition(":")[0] for line in found["stages"]] == [
      "pretrain", "generator", "retrain-generator", "retrain-control"]
  assert "are free at" in found["disk"][0]


def test_settings_that_can_hardly_be_good_are_warned_of(capsys):
  status, found, _ = run(capsys, *TINY, "--quick", "--config.moco.queue=64")
  assert status == 0
  assert found["sizes that divide"][-1].startswith(
      "WARNING: config.moco.queue=64 is more than the 62 images")


@pytest.mark.parametrize("stages, has_generator", [
    ("all", True), ("pretrain,retrain", False)])
def test_stage_2_is_trained_even_if_no_arm_uses_it(stages, has_generator, capsys):
  status, found, err = run(capsys, *TINY, "--quick", "--config.retrain.arms=control",
                           f"--config.stages={stages}")
  assert (status, err) == (0, "")
  assert any(line.startswith("generator") for line in found["stages"]) == has_generator


def test_sets_too_large_for_the_devices_and_parts_of_batches_are_said(capsys):
  status, found, err = run(
      capsys, *TINY, "--quick", "--config.data.max_device_gib=1e-9",
      "--config.generator.micro_batch=4", "--config.pretrain.micro_batch=8")
  assert (status, err) == (0, "")
  (line,) = (line for line in found["memory"] if line.startswith("X̃_f: "))
  assert line.endswith(" of the host's memory, sent as it is needed")
  divided = "\n".join(line for lines in found.values() for line in lines)
  assert "4 parts of 4 images one after the other" in divided
  assert "2 parts of 8 images one after the other" in divided


def test_steps_and_reading_are_measured(folder, capsys, tmp_path):
  status, found, err = run(
      capsys, *TINY, "--config.stages=pretrain", "--config.pretrain.method=simclr",
      "--config.encoder.name=convnet", "--config.data.image_size=8",
      f"--config.data.pretrain=folder:{folder}?labels=none", "--config.data.stream=on",
      f"--sheet={tmp_path}/sheet.png")
  assert (status, err) == (0, "")
  step, reading = found["speed"]
  assert step.startswith("pretrain: ") and "s a step" in step and "in between" in step
  assert reading.startswith("reading X_p: ") and "images/s or more" in reading
  (planned, together) = found["stages"]
  assert "; about " in planned and together.startswith("together about ")


def test_stages_of_crl_tac(capsys, tmp_path):
  status, found, _ = run(
      capsys, "check", "--config=regional_mnist:rendered,runlocal", "--quick",
      f"--sheet={tmp_path}/sheet.png")
  assert status == 0
  assert [line.partition(":")[0] for line in found["stages"]] == [
      "simclr", "simclr_own", "tac"]
  assert any(line.startswith("P(T|X): ") for line in found["memory"])


@pytest.mark.parametrize("args, words", [
    (["--config.pretrain.batch_size=3"], ["config.moco.queue="]),
    (["--config.seeed=1"], ["config.seeed is no field of the config"]),
    (["--config.stages=generator"], ["stage 'pretrain' is not finished in --workdir"]),
    (["--config.stages=pretrain,evaluate"], [
        "stage 'generator' is not finished", "add 'retrain' to --config.stages, or leave "
        "'control' out of --config.retrain.arms"]),
    (["--sheet=/no/folder/x.png"], ["--sheet=/no/folder/x.png cannot be written"])])
def test_what_training_would_refuse_ends_in_status_2(args, words, capsys):
  status = commands.main([*TINY, "--quick", *args])
  err = capsys.readouterr().err
  assert status == 2 and all(word in err for word in words)
  assert all(line.startswith("error: ") for line in err.splitlines())


def test_stages_of_crl_tac_that_evaluate_needs(capsys):
  status = commands.main(["check", "--config=regional_mnist:rendered,runlocal", "--quick",
                          "--config.stages=evaluate", "--config.tac.controls=simclr"])
  lines = capsys.readouterr().err.splitlines()
  assert status == 2 and [line.partition(" is not finished")[0] for line in lines] == [
      "error: stage 'simclr'", "error: stage 'tac'"]


def test_a_drive_that_is_too_small_is_a_mistake(capsys, monkeypatch, tmp_path):
  monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 5}))
  status = commands.main([*TINY, "--quick", f"--sheet={tmp_path}/sheet.png"])
  assert status == 2 and "5 B are free" in capsys.readouterr().err


def test_words():
  assert memory.size(0) == "0 B" and memory.size(45.25 * 2**20) == "45.2 MiB"
  net = NetState(params={"w": np.zeros((1000, 3), np.float32)}, opt_state=())
  assert memory._player(net) == "3 k parameters; weights 11.7 KiB"
  assert images.balance(np.array([0, 0, 1, 1]), ("a", "b")) == (
      "2 images in each of 2 classes")
  assert images.balance(np.array([0, 0, 1]), ("a", "b")) == (
      "1 to 2 images in each of 2 classes")
  assert images.sizes(["/no/file"], 28, "crop") == "sizes are not known"


def test_a_picture_that_pillow_finds_too_large_does_no_harm(tmp_path, monkeypatch):
  Image.new("L", (8, 8)).save(tmp_path / "large.png")
  monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)  # of twice as many it takes none
  assert images.sizes([str(tmp_path / "large.png")], 28, "crop") == "sizes are not known"
