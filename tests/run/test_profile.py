"""Profiles of training steps."""

import re

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from augment_gen.run import parallel, profile


@pytest.mark.parametrize("text, steps", [
    ("", (0, 0)), ("10,20", (10, 20)), ("3, 3", (3, 3)), ("0,4", None), ("5,4", None),
    ("7", None), ("a,b", None)])
def test_parse(text, steps):
  assert profile.parse(text) == steps


def test_the_report_counts_the_operations_of_the_steps_asked_for(tmp_path):
  side = 1024
  step = jax.jit(lambda x, y: jnp.dot(x, y) / side)
  lines = []
  profiled = profile.StepProfile("2,4", tmp_path, step, lines.append)
  x = y = jnp.ones((side, side))
  for number in range(1, 7):
    profiled.before(number, x)
    x = step(x, y)
    profiled.after(number, (x, y))
  np.testing.assert_allclose(x, 1.0, rtol=1e-5)
  assert list(tmp_path.rglob("*.xplane.pb"))
  # 2 n³ for the product, n² for the division.
  found = re.search(r"steps 2 to 4 .*, ([\d.]+) GFLOP, \d+ GFLOP/s, \d+ % of", lines[0])
  assert float(found[1]) == pytest.approx(2 * side**3 / 1e9, rel=0.05)
  assert any("dot" in line or "fusion" in line for line in lines[1:])


def test_no_profile_writes_nothing(tmp_path):
  profiled = profile.StepProfile("", tmp_path, None, pytest.fail)
  for number in range(1, 4):
    profiled.before(number, None)
    profiled.after(number, ())
  assert not list(tmp_path.iterdir())


def test_a_stage_that_ends_early_ends_its_profile(tmp_path):
  lines = []
  for stage in ("first", "second"):
    profiled = profile.StepProfile("1,20", tmp_path / stage, None, lines.append)
    profiled.before(1, None)
    profiled.close()
    assert list((tmp_path / stage).rglob("*.xplane.pb"))
  assert len(lines) == 2 and "ended before step 20" in lines[0]


def test_the_peak_is_that_of_a_real_machine():
  assert 1e8 < profile.peak_flops() < 1e16


@flax.struct.dataclass
class State:
  step: int


@pytest.mark.parametrize("devices", [1, 2])
def test_operations_of_a_step_are_those_of_all_devices(devices):
  mesh = parallel.make_mesh(jax.devices()[:devices])
  step = parallel.map_step(
      lambda state, frozen, batch, key: (state, {"x": jnp.sum(batch @ frozen)}), mesh,
      lambda resident, batch: batch)
  args = (State(0), jnp.ones((64, 32)), (), jnp.ones((16, 64)), jax.random.key(0))
  found = profile.step_flops(step, args, devices)
  assert found == pytest.approx(2 * 16 * 64 * 32, rel=0.05)
