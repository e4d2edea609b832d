"""Runs that must not share a table are told apart, and refused."""

import json

import pytest

from augment_gen import tables
from augment_gen.config import command_line, errors
from augment_gen.tables import results as results_lib

DATA = {"pretrain": "p", "finetune": "f", "test/C": "c"}


def _run(seed, *, experiment="E", train="D", settings=(), data=DATA, **provenance):
  config = command_line.parse(["main.py", "--config=quickstart", "--workdir=/x",
                               f"--config.seed={seed}", *settings]).config_values
  row = {"method": "MoCo v2", "pretrain_data": "X_p", "train": train, "test": "C",
         "protocol": "l2", "seed": seed, "accuracy": 50.0 + seed}
  return {"experiment": experiment, "rows": [row], "folder": f"runs/{seed}",
          "config": config,
          "provenance": {"data": data, "protocols": {"l2": "p0"}, **provenance}}


def test_seeds_may_share_a_table():
  runs = [_run(0), _run(1, settings=[
      "--config.log.every_steps=7", "--config.retrain.arms=control",
      "--config.data.root=/elsewhere", "--config.evaluate.batch_size=8"]),
      _run(2, data={"finetune": "f"})]  # no fingerprint is no other one
  assert not results_lib.mixture_problems(runs, "l2")
  assert "(n=3)" in tables.format_table(runs)


@pytest.mark.parametrize("change, words", [
    ({"data": DATA | {"test/C": "other"}},
     "the fingerprint of the images 'test/C' is c in runs/0 and 1 more, other in runs/2"),
    ({"protocols": {"l2": "p1"}}, "evaluation protocol (config.evaluate) is p0 in"),
    ({"encoder_init": "abc"}, "initial weights (config.encoder.init) is none in"),
    ({"settings": ["--config.encoder.width=8"]}, "config.encoder.width is 16 in runs/0"),
    ({"settings": ["--config.pretrain.epochs=0", "--config.pretrain.steps=7"]},
     "config.pretrain.steps is 0 in runs/0 and 1 more, 7 in runs/2")])
def test_what_differs_is_said_and_refused(change, words):
  runs = [_run(0), _run(1), _run(2, **change)]
  with pytest.raises(errors.UserError) as caught:
    tables.format_table(runs)
  assert any(words in line for line in caught.value.problems)
  assert "--mix" in caught.value.problems[-1]
  mixed = tables.format_table(runs, mix=True)
  assert "(n=3)" in mixed and "WARNING: the runs of 'E' are not seeds" in mixed
  # Another experiment, or another X̃_f, has a column of its own.
  for other in ({"experiment": "F"}, {"train": "S"}):
    assert "WARNING" not in tables.format_table([_run(0), _run(1, **{**change, **other})])


def test_another_pretrainer_has_rows_of_its_own_and_may_be_trained_in_another_way():
  byol = ["--config.pretrain.method=byol", "--config.pretrain.optimizer.lr=0.1",
          "--config.retrain.epochs=0", "--config.retrain.steps=7", "--config.byol.dim=16"]
  union = ["--config.pretrain.with_finetune=True", "--config.pretrain.epochs=0",
           "--config.pretrain.steps=7"]
  runs = [_run(0), _run(1), _run(0, settings=byol), _run(0, settings=union)]
  assert not results_lib.mixture_problems(runs, "l2")
  # Its own seeds must agree, and so must what all runs share.
  for other in (_run(1, settings=byol[:1]), _run(1, settings=[
      *byol, "--config.encoder.width=8"]), _run(1, settings=[
          *byol, "--config.generator.steps=7", "--config.generator.epochs=0"])):
    assert results_lib.mixture_problems([*runs, other], "l2")


def test_settings_of_protocols_that_are_not_shown_may_differ():
  runs = [_run(0, protocols={"l2": "p", "labels": "a"}),
          _run(1, protocols={"l2": "p", "labels": "b"})]
  for run in runs:
    run["rows"].append({**run["rows"][0], "protocol": "labels:5"})
  assert not results_lib.mixture_problems(runs, "l2")
  (line,) = results_lib.mixture_problems(runs, "labels:5")
  assert "is a in runs/0, b in runs/1" in line


def test_a_run_without_the_protocol_is_no_other_one():
  runs = [_run(0, protocols={"l2": "p"}), _run(1, protocols={"l2": "p", "knn": "k"})]
  runs[1]["rows"].append({**runs[1]["rows"][0], "protocol": "knn"})
  assert not results_lib.mixture_problems(runs, "knn")
  assert "(n=2)" in tables.format_table(runs, "all")


def test_encoders_that_started_from_other_weights_are_told():
  runs = [_run(0), _run(0, settings=["--config.pretrain.method=byol"])]
  for run, accuracy in zip(runs, (5.0, 5.2)):
    run["rows"] = [{**run["rows"][0], "method": "untrained encoder", "accuracy": accuracy}]
  assert not results_lib.mixture_problems(runs, "l2")  # rounding
  runs[1]["rows"][0]["accuracy"] = 15.0
  (line,) = results_lib.mixture_problems(runs, "l2")
  assert "'untrained encoder' of seed 0, D → C, is 5.00 in runs/0, 15.00 in runs/0" in line


def test_what_older_code_did_not_know_is_no_difference():
  old = _run(1)
  del old["config"]["encoder"]["init"], old["config"]["precision"]
  assert not results_lib.mixture_problems([_run(0), old], "l2")
  old["config"] = {"encoder": 3}
  assert not results_lib.mixture_problems([_run(0), old], "l2")


def test_the_command_refuses_in_lines(tmp_path, capsys):
  folders = []
  for seed, run in enumerate([_run(0), _run(1, settings=["--config.encoder.width=8"])]):
    folders.append(str(tmp_path / str(seed)))
    (tmp_path / str(seed)).mkdir()
    for name, value in (("config", run.pop("config")), ("results", run)):
      (tmp_path / str(seed) / f"{name}.json").write_text(json.dumps(value))
  assert tables.main(folders) == 2
  lines = capsys.readouterr().err.splitlines()
  assert lines[0] == (
      "error: the runs of 'E' are not seeds of one experiment: config.encoder.width is 16 "
      f"in {folders[0]}, 8 in {folders[1]}")
  assert tables.main([*folders, "--mix", "--format=csv"]) == 0
  out, err = capsys.readouterr()
  assert "WARNING" not in out and "warning: the runs of 'E'" in err
