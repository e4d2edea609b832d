"""What is said of results and of the generator's health."""

import pathlib

import pytest

from augment_gen.evaluate import health
from augment_gen.report import record, verdict


def row(method, accuracy, seed=0, test="C", images=1000, **further):
  return {"method": method, "pretrain_data": "X_p", "train": "D", "test": test,
          "feature": "f", "protocol": "l2", "seed": seed, "accuracy": accuracy,
          "retraining_set": "X_p", "augmentation": "-", "test_images": images, **further}


def run(rows=None, method="augmentation_generator", metrics=(), **results):
  found = None if rows is None else {
      "experiment": "E", "rows": rows, "provenance": {}, **results}
  return record.Record(
      path=pathlib.Path("run"), config={"method": method}, results=found,
      metrics=list(metrics), learned=None, scores=None, points=None, starts=[],
      fingerprints={})


def judged(ours, control, images=1000, tests=("C",)):
  return verdict.of_results([run(
      [row("MoCo v2", 1.0, test=test, images=images) for test in tests]
      + [row("MoCo v2 + control", control[i], test=test, images=images)
         for i, test in enumerate(tests)]
      + [row("MoCo v2 + G_A", ours[i], test=test, images=images)
         for i, test in enumerate(tests)])])


@pytest.mark.parametrize("ours, control, images, tone, words", [
    (60.0, 50.0, 1000, "good", "The learned augmentation helped: +10.0 points on D"),
    (50.0, 60.0, 1000, "bad", "The learned augmentation cost accuracy: -10.0 points"),
    # Two standard errors of 1000 images are 4.5 points, and of 100 images 14.
    (53.0, 50.0, 1000, "open", "made no clear difference: +3.0 points"),
    (60.0, 50.0, 100, "open", "made no clear difference: +10.0 points")])
def test_one_seed_is_judged_by_its_number_of_test_images(
    ours, control, images, tone, words):
  found = judged([ours], [control], images)
  assert found.tone == tone and words in found.headline
  assert "against the best control" in found.headline
  (line,) = found.said
  assert "MoCo v2 + control" in line and f"with {images} test images" in line
  error = 200 * ((ours * (100 - ours) + control * (100 - control)) / 1e4 / images) ** 0.5
  assert f"two standard errors are {error:.1f} points" in line


def test_each_experiment_is_judged_by_its_own_number_of_test_images():
  made = [run([row("MoCo v2 + control", 50.0, images=images),
               row("MoCo v2 + G_A", 60.0, images=images)], experiment=name)
          for name, images in (("big", 10_000), ("small", 20))]
  found = verdict.of_results(made)
  assert found.tone == "open" and "helped on some test sets only" in found.headline
  big, small = found.said
  assert "with 10000 test images" in big and "with 20 test images" in small


def test_each_pretrainer_is_judged_by_itself():
  found = verdict.of_results([
      run([row(name, 1.0), row(f"{name} + control", 50.0), row(f"{name} + G_A", ours)])
      for name, ours in (("MoCo v2", 60.0), ("BYOL", 30.0))])
  assert found.tone == "open"
  assert "With MoCo v2, the learned augmentation helped: +10.0 points" in found.headline
  assert "With BYOL, the learned augmentation cost accuracy: -20.0" in found.headline
  assert "some test sets" not in found.headline


def test_a_gain_on_one_of_two_test_sets_is_said():
  found = judged([60.0, 50.0], [50.0, 51.0], tests=("C", "D"))
  assert found.tone == "open" and "helped on some test sets only" in found.headline
  found = judged([40.0, 50.0], [50.0, 51.0], tests=("C", "D"))
  assert "helped on no test set" in found.headline


@pytest.mark.parametrize("gains, tone", [
    ([9.0, 10.0, 11.0], "good"), ([-1.0, 10.0, 1.0], "open"), ([-9.0, -10.0, -9.5], "bad")])
def test_several_seeds_are_judged_by_the_interval(gains, tone):
  runs = [run([row("MoCo v2", 50.0, seed), row("MoCo v2 + G_A", 50.0 + gain, seed)])
          for seed, gain in enumerate(gains)]
  found = verdict.of_results(runs)
  assert found.tone == tone and "95 % interval over 3 seeds" in found.said[0]


def test_other_rivals_are_said_with_their_meaning():
  found = verdict.of_results([run([
      row("MoCo v2", 50.0), row("MoCo v2 + G_A", 70.0), row("MoCo v2 + G_A (prior)", 90.0),
      row("MoCo v2 + random G_A", 60.0), row("MoCo v2 + random G_A, AdaBN", 66.0),
      row("MoCo v2 + oracle", 75.0)])])
  # The row with latents of the bank leads, as in the paper.
  assert "+20.0 points" in found.headline
  # The best of them, and which one it is.
  assert "as strong (MoCo v2 + random G_A, AdaBN), has 66.0 %" in found.said[1]
  assert "training G_A is worth +4.0 points" in found.said[1]
  assert "true augmentation (MoCo v2 + oracle) has 75.0 %, +5.0 points" in found.said[2]


@pytest.mark.parametrize("best, said", [
    ("untrained encoder", True), ("untrained encoder, AdaBN", True),
    ("MoCo v2 + control", False)])
def test_pre_training_that_is_worse_than_none_is_said(best, said):
  found = verdict.of_results([run([
      row("MoCo v2", 40.0), row("MoCo v2 + G_A", 50.0), row(best, 60.0)])])
  assert ("not trained at all" in " ".join(found.said)) == said


@pytest.mark.parametrize("runs, words", [
    ([run()], "Nothing has been evaluated yet"), ([run([])], "Nothing has been evaluated"),
    ([run([row("MoCo v2", 50.0)])], "no row with G_A beside a control")])
def test_what_cannot_be_said_is_said(runs, words):
  found = verdict.of_results(runs)
  assert found.tone == "open" and words in found.headline


def crops(method, kind, f, head):
  return [row(method, accuracy, crops=kind, feature=feature) | {"train": "train",
                                                               "test": "test"}
          for feature, accuracy in (("f", f), ("head", head))]


def test_crl_tac_is_compared_with_the_better_simclr():
  rows = [line for part in (
      crops("CRL-TAC", "P", 90.0, 80.0), crops("SimCLR", "uniform", 30.0, 20.0),
      crops("SimCLR, own windows", "own uniform", 60.0, 50.0),
      crops("untrained encoder", "P", 85.0, 60.0)) for line in part]
  found = verdict.of_results([run(rows, "crl_tac", policy={
      "test": {"entropy": 1.25, "mass_on_content": 0.9}})])
  assert found.tone == "good"
  assert found.headline == (
      "CRL-TAC is better than SimCLR on windows of its own: +30.0 points.")
  assert "+60.0 points on f (90.0 against 30.0 %" in found.said[0]
  assert "+60.0 points on the projection head" in found.said[0]
  assert "untrained encoder on the same crops: +5.0 points" in found.said[2]
  assert "entropy 1.25 nats; 90 % of its mass" in found.said[3]


HEALTHY = dict.fromkeys(health.BOUNDS, 0.3) | {
    "edit_ratio": 1.0, "bank_edit_ratio": 1.0, "probe_gain": 5.0, "two_sample_gap": 0.1,
    "bank_embedding_distance": 0.1}


def test_health_is_said_in_words():
  found = verdict.of_health(run([], health=HEALTHY))
  assert found.tone == "good" and found.said == []
  judged = len(health.BOUNDS) - 1  # "edit" says nothing beside "edit_ratio"
  assert f"all {judged} numbers" in found.headline
  found = verdict.of_health(run([], health=HEALTHY | {"latent_r2": 0.0}))
  assert found.tone == "bad" and f"1 of {judged} numbers" in found.headline
  assert found.said[0].startswith("G_A ignores its latents (latent_r2 0,".replace(",", ""))
  few = {name: HEALTHY[name] for name in ("edit", "cycle_error")}
  found = verdict.of_health(run([], health=few))
  assert "all 2 numbers" in found.headline and "Not measured" in found.said[0]
  assert "edit_ratio" in found.said[0]


def test_health_of_a_run_without_results_is_that_of_its_metrics():
  lines = [{"step": step, "stage": "generator", "health/edit": value}
           for step, value in ((1, 0.0), (2, 0.3))] + [
               {"step": 2, "stage": "generator", "generator/loss": 1.0}]
  assert run(metrics=lines).health == {"edit": 0.3}
  assert "not measured" in verdict.of_health(run()).headline


def test_encoders_that_collapsed_are_named():
  found = verdict.of_encoders(run([], gauges={
      "pretrain": {"feature_std": 0.5}, "retrain-control": {"feature_std": 0.001}}))
  (line,) = found
  assert line.startswith("retrain-control: the encoder has collapsed")


def test_a_run_without_the_protocol_of_the_others_does_no_harm():
  other = run([row("MoCo v2 + G_A", 60.0, protocol="knn")])
  both = [run([row("MoCo v2 + control", 50.0), row("MoCo v2 + G_A", 60.0)]), other]
  assert "helped: +10.0 points" in verdict.of_results(both).headline
