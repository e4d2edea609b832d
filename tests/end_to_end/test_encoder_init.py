"""An encoder from a file, used as it is, and written again."""

import json
import pathlib
import shutil

import jax
import numpy as np
import pytest

from augment_gen import export
from augment_gen.config.command_line import parse
from augment_gen.config.errors import UserError
from augment_gen.main import main
from augment_gen.models import torchvision_names
from augment_gen.models.build import build_encoder
from augment_gen.run import weight_files

pytestmark = pytest.mark.usefixtures("one_device")

ROOT = pathlib.Path(__file__).parents[2]


def command(workdir, *changes):
  return ["main.py", f"--config={ROOT}/configs/quickstart.py:runlocal",
          f"--workdir={workdir}", *(f"--config.{change}" for change in (
              "log.sinks=jsonl", "encoder.blocks=(1,1)", "retrain.arms=",
              "evaluate.protocols=knn", "evaluate.controls=untrained",
              "stages=pretrain,evaluate", *changes))]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
  """Random weights of the network that `command` names."""
  config = parse(command("unused")).config
  random = np.random.default_rng(0)
  like = jax.eval_shape(lambda: build_encoder(config).init(
      jax.random.key(0), np.zeros((1, 28, 28, 1), np.float32), train=False))
  path = tmp_path_factory.mktemp("weights") / "f.safetensors"
  weight_files.write(path, {
      name: random.uniform(0.1, 0.5, a.shape).astype(np.float32)
      for name, a in torchvision_names.to_torchvision(
          jax.tree.map(lambda a: np.zeros(a.shape), like)).items()}, {})
  return path


@pytest.fixture(scope="module")
def loaded(file, one_device):
  """A run that uses this file as it is."""
  run = file.parent / "loaded"
  assert main(command(run, f"encoder.init={file}", "pretrain.steps=0")) == 0
  return run


@pytest.fixture(scope="module")
def written(loaded):
  """F of that run, written again."""
  path = loaded.parent / "g.safetensors"
  export.save_encoder(loaded, path, "pretrain")
  return path


def test_f_stays_as_it_is_without_steps(file, written):
  before, after = (weight_files.read(str(path), "FILE").arrays for path in (file, written))
  assert before.keys() == after.keys()
  for name, array in before.items():
    np.testing.assert_array_equal(after[name], array)


def test_the_file_says_what_f_is_and_where_it_comes_from(loaded, written):
  found = weight_files.read(str(written), "FILE")
  described = json.loads(found.metadata["augment_gen"])
  run = described.pop("run")
  assert described == {
      "name": "resnet18", "width": 4, "blocks": [1, 1], "stem": "imagenet",
      "image_size": 28, "channels": 1, "mean": [0.17], "std": [0.33],
      "stage": "pretrain"}
  assert run["seed"] == 0 and run["experiment"] == "Rendered characters, two steps"
  assert run["data"] == json.loads((loaded / "data.json").read_text())
  environment = json.loads((loaded / "environment.json").read_text())
  assert run["commit"] == environment[-1]["commit"]


def test_rows_and_provenance_say_that_it_was_loaded(file, loaded, capsys):
  results = (loaded / "results.json").read_bytes()
  found = json.loads(results)
  assert [(row["method"], row["test"], row["pretrain_data"], row["retraining_set"])
          for row in found["rows"]] == [
              ("encoder as loaded", test, "encoder.init", "-") for test in "CD"]
  assert found["provenance"]["encoder_init"] == weight_files.fingerprint(str(file))
  args = command(loaded, f"encoder.init={file}", "pretrain.steps=0")
  assert main(args) == 0
  assert "pretrain: finished before (0 steps)" in capsys.readouterr().out
  assert (loaded / "results.json").read_bytes() == results


@pytest.mark.slow
def test_a_loaded_f_can_be_trained_further(file, tmp_path):
  assert main(command(tmp_path / "run", f"encoder.init={file}")) == 0
  rows = json.loads((tmp_path / "run" / "results.json").read_text())["rows"]
  assert {(row["method"], row["pretrain_data"], row["retraining_set"])
          for row in rows} == {("encoder as loaded", "encoder.init", "-"),
                               ("MoCo v2", "encoder.init, X_p", "X_p")}


def test_another_file_is_another_run(file, loaded, tmp_path, capsys):
  """The name may change for a takeover, the content may not."""
  moved, other = tmp_path / "moved.safetensors", tmp_path / "other.safetensors"
  shutil.copy(file, moved)
  arrays = weight_files.read(str(file), "FILE").arrays
  weight_files.write(other, {name: 2 * a for name, a in arrays.items()}, {})

  def take(name, *changes):
    status = main(command(tmp_path / name, "stages=pretrain",
                          f"pretrain.from_run={loaded}", *changes))
    return status, "".join(capsys.readouterr())
  status, text = take("moved", f"encoder.init={moved}", "pretrain.steps=0")
  assert status == 0 and "pretrain: finished before (0 steps)" in text
  status, text = take("other", f"encoder.init={other}", "pretrain.steps=0")
  assert status == 2 and "was trained on another file of initial weights" in text

  # The same path with other content, in the run's own folder.
  shutil.copytree(loaded, tmp_path / "own")
  content = file.read_bytes()
  try:
    shutil.copy(other, file)
    assert main(command(
        tmp_path / "own", f"encoder.init={file}", "pretrain.steps=0")) == 2
  finally:
    file.write_bytes(content)
  text = capsys.readouterr().err
  assert "file of initial weights (config.encoder.init) has changed" in text
  assert "Bring the old file back" in text


def test_what_cannot_be_written_is_said(loaded, tmp_path):
  with pytest.raises(UserError, match="does not end in .safetensors"):
    export.save_encoder(loaded, tmp_path / "f.pth", "pretrain")
  with pytest.raises(UserError, match="no checkpoint of a stage 'retrain-generator'"):
    export.save_encoder(loaded, tmp_path / "f.safetensors")
  values = json.loads((loaded / "config.json").read_text())
  for change, words in (({"encoder": {**values["encoder"], "name": "convnet"}}, "convnet"),
                        ({"method": "crl_tac"}, "has no G_A")):
    run = tmp_path / words.split()[0]
    run.mkdir()
    (run / "config.json").write_text(json.dumps(values | change))
    with pytest.raises(UserError, match=words):
      export.save_encoder(run, tmp_path / "f.safetensors", "pretrain")
  assert not (tmp_path / "f.safetensors").exists()
