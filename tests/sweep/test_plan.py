"""The runs of a sweep, what they share, and what cannot be run."""

import dataclasses
import io
import json
import sys

import pytest
from sweep_runs import leave, planned, write

from augment_gen.config import command_line
from augment_gen.config.errors import UserError
from augment_gen.run import takeover
from augment_gen.sweep import check, plan


def shared(runs):
  return {run.name: (run.last, run.source) for run in runs}


def parsed(run):
  return command_line.parse(["augment-gen", *run.arguments]).config_values


def test_runs_have_their_settings_and_the_table_can_tell_them_apart(tmp_path):
  runs = planned(tmp_path, "retrain.order=first,last", 'data.mean=[0.5,"0.25"]',
                 seeds=(0, 3), overrides=["--config.retrain.arms=generator,prior"])
  assert len(runs) == 8
  values = runs[-1].values
  assert (values["retrain"]["order"], values["data"]["mean"], values["seed"]) == (
      "last", [0.25], 3)
  assert values["retrain"]["arms"] == "generator,prior"
  base = planned(tmp_path)[0].values["experiment"]
  assert values["experiment"] == f"{base}, order=last, mean=0.25"
  experiments = [run.values["experiment"] for run in runs]
  assert len(set(experiments)) == 4 and experiments[:4] == experiments[4:]
  assert {run.folder for run in runs} == {tmp_path / run.name for run in runs}


@pytest.mark.parametrize("cases, titled", [
    # The rows of the table tell these apart.
    (["X_p: pretrain.with_finetune=False",
      "both: pretrain.with_finetune=True stages=pretrain,evaluate retrain.arms="], False),
    (["base:", "byol: pretrain.method=byol pretrain.optimizer.lr=0.1 retrain.epochs=1"],
     False),
    # These have the same rows, however they are written.
    (["slow: pretrain.method=moco_v2 pretrain.optimizer.lr=1e-4",
      "fast: pretrain.with_finetune=False pretrain.optimizer.lr=1e-3"], True),
    (["a: pretrain.method=byol byol.dim=16", "b: pretrain.method=byol byol.dim=32"], True),
    (["base:", "c: pretrain.method=byol generator.losses.cycle_weight=7"], True),
    (["no cycle: generator.losses.cycle_weight=0"], True),
    (["order: retrain.order=first"], True)])
def test_cases_have_titles_unless_the_rows_tell_them_apart(tmp_path, cases, titled):
  runs = planned(tmp_path, cases=cases, seeds=(0, 1))
  base = planned(tmp_path)[0].values["experiment"]
  names = [case.partition(":")[0] for case in cases]
  assert [run.values["experiment"] for run in runs] == [
      f"{base}, {name}" if titled else base for name in names] * 2
  for run in runs:
    values = command_line.parse(["augment-gen", *run.settings]).config_values
    assert values["experiment"] == run.values["experiment"]


def test_another_name_of_the_experiment_is_not_done(tmp_path):
  case = "slow: pretrain.method=byol pretrain.optimizer.lr=1e-4"
  (run,) = planned(tmp_path, cases=[case])
  leave(run)
  assert planned(tmp_path, cases=[case])[0].state == "done"
  again = planned(tmp_path, cases=[case, "fast: pretrain.method=byol"])
  assert [run.state for run in again] == ["started", "new"]


def test_seeds_alone_are_one_experiment_and_the_configs_seed_is_the_default(tmp_path):
  assert len({run.values["experiment"] for run in planned(tmp_path, seeds=(0, 1))}) == 1
  (run,) = planned(tmp_path, seeds=(), overrides=["--config.seed=4"])
  assert (run.name, run.values["seed"]) == ("seed=4", 4)


def test_a_setting_can_follow_the_seed(tmp_path):
  runs = planned(tmp_path, 'retrain.arms=["control","oracle"]', seeds=(0, 7),
                 overrides=["--config.data.implicit_seed={seed}"])
  assert [run.values["data"]["implicit_seed"] for run in runs] == [0, 0, 7, 7]
  assert "--config.data.implicit_seed=7" in runs[2].settings


def test_stages_are_shared_as_far_as_the_settings_agree(tmp_path):
  runs = planned(tmp_path, "retrain.order=first,last",
                 "generator.losses.cycle_weight=1,10", seeds=(0, 1))
  assert shared(runs[:4]) == {
      "order=first,cycle_weight=1,seed=0": ("", ""),
      "order=first,cycle_weight=10,seed=0": (
          "pretrain", "order=first,cycle_weight=1,seed=0"),
      "order=last,cycle_weight=1,seed=0": (
          "generator", "order=first,cycle_weight=1,seed=0"),
      "order=last,cycle_weight=10,seed=0": (
          "generator", "order=first,cycle_weight=10,seed=0")}
  assert all(source.endswith("seed=1") for _, source in shared(runs[5:]).values())
  assert shared(runs)["order=first,cycle_weight=1,seed=1"] == ("", "")


def test_what_is_shared_is_what_a_run_accepts(tmp_path):
  runs = planned(tmp_path, "generator.losses.cycle_weight=1,10",
                 "retrain.order=first,last", "evaluate.knn_k=5,20")
  assert [run.last for run in runs] == ["", "generator", "generator", "generator",
                                        "pretrain", "generator", "generator", "generator"]
  leave(runs[0])
  leave(runs[4])
  for run in runs:
    assert not list(takeover.problems(parsed(run)))
  more = dataclasses.replace(
      runs[4], sharing=(f"--config.generator.from_run={runs[0].folder}",))
  assert "cycle_weight" in next(takeover.problems(parsed(more)))


@pytest.mark.parametrize("setting", [
    "pretrain.steps=5,6", "data.image_size=28,14", "encoder.width=8,16", "moco.dim=8,16",
    "precision=float32,bf16", "data.root=a,b", "encoder.init=,f.npz",
    "stages=retrain,evaluate"])
def test_runs_that_must_not_share(tmp_path, setting):
  assert {run.last for run in planned(tmp_path, setting)} == {""}


def test_crl_tac_has_no_stages_that_could_be_shared(tmp_path):
  runs = planned(tmp_path, "tac.policy.beta=1,10", config="mnist:rendered")
  assert {run.last for run in runs} == {""}


def test_only_what_the_other_run_trains_is_shared(tmp_path):
  runs = planned(tmp_path, 'stages=["pretrain","pretrain,generator","all"]')
  assert [(run.last, run.source) for run in runs] == [
      ("", ""), ("pretrain", runs[0].name), ("generator", runs[1].name)]


def test_a_stage_1_from_elsewhere_is_not_shared_but_stage_2_is(tmp_path):
  elsewhere = planned(tmp_path / "elsewhere")[0]
  leave(elsewhere)
  given = f"--config.pretrain.from_run={elsewhere.folder}"
  runs = planned(tmp_path, "generator.losses.cycle_weight=1,10",
                 "retrain.order=first,last", overrides=[given])
  assert [run.last for run in runs] == ["", "generator", "", "generator"]
  values = parsed(runs[1])
  assert values["pretrain"]["from_run"] == ""
  assert values["generator"]["from_run"] == str(runs[0].folder)
  runs = planned(tmp_path, "retrain.order=first,last",
                 overrides=[given.replace("pretrain", "generator")])
  assert [run.last for run in runs] == ["", ""]


def test_what_is_done_is_seen_and_comes_first_as_a_source(tmp_path):
  done = planned(tmp_path, "retrain.order=last")[0]
  leave(done)
  runs = planned(tmp_path, "retrain.order=first,last", seeds=(0, 1))
  assert [run.state for run in runs] == ["new", "done", "new", "new"]
  assert shared(runs)["order=first,seed=0"] == ("generator", done.name)
  assert shared(runs)["order=last,seed=1"] == ("generator", "order=first,seed=1")
  # If its checkpoints were deleted, nothing can be taken over.
  (done.folder / "checkpoints" / "generator" / "2").rmdir()
  runs = planned(tmp_path, "retrain.order=first,last")
  assert shared(runs)["order=first,seed=0"] == ("pretrain", done.name)


def test_a_run_that_has_begun_goes_on_as_it_began(tmp_path):
  begun = planned(tmp_path, "retrain.order=last")[0]
  leave(begun, finished=False)
  runs = planned(tmp_path, "retrain.order=first,last")
  assert [(run.state, run.last) for run in runs] == [("new", ""), ("started", "")]
  # What it has taken over before, it names again.
  values = begun.values | {"generator": begun.values["generator"] | {
      "from_run": str(runs[0].folder)}}
  write(begun.folder / "config.json", values)
  second = planned(tmp_path, "retrain.order=first,last")[1]
  assert (second.last, second.source) == ("generator", runs[0].name)
  # Without any checkpoint, it has begun nothing.
  for stage in ("pretrain", "generator"):
    (begun.folder / "checkpoints" / stage / "2").rmdir()
  write(begun.folder / "config.json", begun.values)
  assert planned(tmp_path, "retrain.order=first,last")[1].last == "generator"


@pytest.mark.parametrize("change", ["unfinished", "results", "arms"])
def test_what_is_not_done_is_only_started(tmp_path, change):
  run = planned(tmp_path)[0]
  leave(run, finished=change != "unfinished")
  if change == "results":
    (run.folder / "results.json").unlink()
  overrides = ["--config.retrain.arms=prior"] if change == "arms" else []
  assert planned(tmp_path, overrides=overrides)[0].state == "started"


def test_the_plan_says_what_is_known_of_the_time(tmp_path):
  def told():
    return list(plan.lines(planned(tmp_path, "retrain.order=first,last", seeds=(0, 1))))
  assert told()[-1] == f"4 runs in {tmp_path}, 0 done; estimated time: unknown"
  runs = planned(tmp_path, "retrain.order=first,last", seeds=(0, 1))
  leave(runs[0], seconds=600)
  assert told()[-1].endswith("1 done; estimated time: 10 min for 1 of them, "
                             "unknown for 2")
  leave(runs[1], seconds=65 * 60)
  assert told()[-1].endswith("2 done; estimated time: 1 h 15 min")
  assert [line.split() for line in told()[1:5]] == [
      ["order=first,seed=0", "done", "-", "-", "-"],
      ["order=last,seed=0", "done", "-", "-", "-"],
      ["order=first,seed=1", "new", "-", "-", "10", "min"],
      ["order=last,seed=1", "new", "pretrain,", "generator", "order=first,seed=1", "1",
       "h", "5", "min"]]


@pytest.mark.parametrize("settings, words", [
    (("retrain.ordr=first,last",), ["config.retrain.ordr is no field of the config; did "
                                    "you mean config.retrain.order?"]),
    (("retrain.steps=1,x",), ["steps=x,seed=0: "]),
    (("pretrain.from_run=/no/run",), ["config.pretrain.from_run: /no/run is no run"]),
    (("retrain.optimizer.lr=0.1,0.10",), ["are the same run: "]),
    (("byol.momentum=0.9,0.99",), ["are the same run: "]),  # MoCo does not read it
    (("experiment=a,b",), ["are the same run: "])])
def test_mistakes_are_found_before_anything_runs(tmp_path, settings, words):
  with pytest.raises(UserError) as error:
    planned(tmp_path / "sweep", *settings)
  assert len(error.value.problems) == len(words)
  assert all(word in problem for word, problem in zip(words, error.value.problems))
  assert not (tmp_path / "sweep").exists()


def test_a_folder_of_another_run_is_refused(tmp_path):
  leave(planned(tmp_path, seeds=(0,))[0])
  with pytest.raises(UserError, match="belongs to a run of another config"):
    planned(tmp_path, seeds=(0, 1), overrides=["--config.retrain.steps=3"])


def test_the_check_is_that_of_a_run(tmp_path, monkeypatch, capsys, one_device):
  runs = planned(tmp_path, "generator.losses.cycle_weight=1,-1")
  monkeypatch.setattr(sys, "stdin", io.StringIO(
      json.dumps([run.settings for run in runs])))
  check.main()
  good, bad = json.loads(capsys.readouterr().out)
  assert good == [] and "cycle_weight=-1" in bad[0]
  assert "must not be negative" in bad[0]


def test_a_problem_of_all_runs_is_said_once():
  assert plan.merged([("a", "x"), ("b", "x"), ("b", "y")]) == ["x", "b: y"]


def test_environment_of_earlier_code_has_no_times(tmp_path):
  run = planned(tmp_path)[0]
  leave(run)
  write(run.folder / "environment.json", [{"command": "…"}])
  assert planned(tmp_path)[0].state == "started"
