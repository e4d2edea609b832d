"""What a stage has cost, over several starts."""

import types

import pytest

from augment_gen.run import costs

STAGE = types.SimpleNamespace(name="pretrain", total_steps=20, feed=types.SimpleNamespace(
    batch_size=8, steps_per_epoch={"x_p": 5, "x_f": 5}))


def test_time_adds_up_over_starts_and_steps_do_not(tmp_path):
  costs.Meter(tmp_path, STAGE, resumed=False).note(10, 3.0, 100.0)
  costs.Meter(tmp_path, STAGE, resumed=True).note(15, 2.0, 100.0)
  assert costs.read(tmp_path)["pretrain"] == {
      "steps": 15, "of": 20, "images": 15 * 8 * 2, "flops": 1500.0, "seconds": 5.0}


def test_steps_that_are_done_and_those_of_the_stage(tmp_path):
  assert costs.steps_done(tmp_path, "pretrain") is None
  costs.Meter(tmp_path, STAGE, resumed=False).note(10, 3.0, 100.0)
  assert costs.steps_done(tmp_path, "pretrain") == (10, 20)


def test_a_stage_that_starts_anew_does_not_pay_for_what_is_lost(tmp_path):
  costs.Meter(tmp_path, STAGE, resumed=False).note(10, 3.0, 100.0)
  costs.Meter(tmp_path, STAGE, resumed=False).note(5, 2.0, None)
  assert costs.read(tmp_path)["pretrain"] == {
      "steps": 5, "of": 20, "images": 80, "flops": None, "seconds": pytest.approx(2.0)}
