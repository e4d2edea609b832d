"""What a stage has cost, over several starts."""

import types

import pytest

from augment_gen.run import costs

STAGE = types.SimpleNamespace(name="pretrain", feed=types.SimpleNamespace(
    batch_size=8, steps_per_epoch={"x_p": 5, "x_f": 5}))


def test_time_adds_up_over_starts_and_steps_do_not(tmp_path):
  costs.Meter(tmp_path, STAGE, resumed=False).note(10, 3.0, 100.0)
  costs.Meter(tmp_path, STAGE, resumed=True).note(15, 2.0, 100.0)
  assert costs.read(tmp_path)["pretrain"] == {
      "steps": 15, "images": 15 * 8 * 2, "flops": 1500.0, "seconds": 5.0}


def test_a_stage_that_starts_anew_does_not_pay_for_what_is_lost(tmp_path):
  costs.Meter(tmp_path, STAGE, resumed=False).note(10, 3.0, 100.0)
  costs.Meter(tmp_path, STAGE, resumed=False).note(5, 2.0, None)
  assert costs.read(tmp_path)["pretrain"] == {
      "steps": 5, "images": 80, "flops": None, "seconds": pytest.approx(2.0)}
