"""A profile of some training steps, and what a reader first wants to know from it."""

import collections
import pathlib
import re
import time
from typing import Any

import jax
import jax.numpy as jnp

from augment_gen.run.contracts import PyTree

_MATRIX = {"cpu": 2048}  # side of the matrices that measure the peak
_MOST_KINDS = 8  # kinds of operations that are listed


def parse(steps: str) -> tuple[int, int] | None:
  """"FIRST,LAST" -> two step numbers from 1; None if `steps` is neither that nor empty.

  An empty text gives (0, 0), which no step has.
  """
  if not steps:
    return 0, 0
  found = re.fullmatch(r"(\d+),(\d+)", steps.replace(" ", ""))
  first, last = (int(found[1]), int(found[2])) if found else (0, 0)
  return (first, last) if 1 <= first <= last else None


class StepProfile:
  """Profiles the steps FIRST to LAST of a stage with JAX's profiler.

  The trace goes to `folder`, where TensorBoard's profile plugin and Perfetto find it. The
  log gets the time of a step, its floating-point operations as the compiler counts them,
  the share of the peak that a matrix product reaches here, and the kinds of operations
  that take most of the time.

  Args:
    steps: "FIRST,LAST", from 1, or "" for no profile.
    folder: where the trace is written.
    step: the mapped step, jitted.
    log: prints a line for the user.
  """

  def __init__(self, steps: str, folder: pathlib.Path, step: Any, log):
    self._first, self._last = parse(steps) or (0, 0)
    self._folder, self._step, self._log = folder, step, log
    self._started: float | None = None

  def before(self, number: int, state: PyTree) -> None:
    """Starts the profile if `number`, from 1, is the first step of it."""
    if number == self._first:
      jax.block_until_ready(state)
      jax.profiler.start_trace(str(self._folder))
      self._started = time.monotonic()

  def after(self, number: int, args: tuple) -> None:
    """Ends the profile after its last step; `args` are those of the next step."""
    if number != self._last or self._started is None:
      return
    jax.block_until_ready(args)
    seconds = (time.monotonic() - self._started) / (self._last - self._first + 1)
    jax.profiler.stop_trace()
    self._started = None
    self._report(seconds, args)

  def close(self) -> None:
    """Ends a profile whose last step was not reached."""
    if self._started is not None:
      jax.profiler.stop_trace()
      self._started = None
      self._log(f"profile in {self._folder}: ended before step {self._last}")

  def _report(self, seconds: float, args: tuple) -> None:
    cost = self._step.lower(*args).compile().cost_analysis() or {}
    operations, peak = cost.get("flops", 0.0), peak_flops()
    rate = operations / seconds
    self._log(
        f"profile of steps {self._first} to {self._last} in {self._folder}: "
        f"{seconds:.3f} s a step, {operations / 1e9:.1f} GFLOP, {rate / 1e9:.0f} GFLOP/s, "
        f"{100 * rate / peak:.0f} % of the {peak / 1e9:.0f} GFLOP/s of a matrix product")
    for kind, part in _kinds(self._folder)[:_MOST_KINDS]:
      self._log(f"  {100 * part:4.1f} %  {kind}")


def step_flops(step: Any, args: tuple, devices: int) -> float | None:
  """Floating-point operations of a step as it is written, on all devices.

  They are counted before the compiler changes the step, so that they are the same on all
  kinds of devices, and nothing is compiled for it. A profile counts the compiled step.

  Args:
    step: the mapped step, jitted.
    args: its arguments, which are only looked at.
    devices: number of devices.

  Returns:
    The number, or None where JAX does not count.
  """
  flops = (step.lower(*args).cost_analysis() or {}).get("flops")
  return None if flops is None else devices * float(flops)


def peak_flops() -> float:
  """Floating-point operations per second of a large float32 matrix product."""
  side = _MATRIX.get(jax.default_backend(), 8192)
  x = jnp.ones((side, side), jnp.float32)
  product = jax.jit(lambda x: x @ x)
  jax.block_until_ready(product(x))
  best = float("inf")
  for _ in range(5):
    start = time.monotonic()
    jax.block_until_ready(product(x))
    best = min(best, time.monotonic() - start)
  return 2 * side**3 / best


def _kinds(folder: pathlib.Path) -> list[tuple[str, float]]:
  """Kinds of compiled operations and their part of the time, largest first.

  On CPU, convolutions and products also run outside of the operations that are timed
  here, in a pool of threads; their parts are larger than they look.
  """
  newest = max(folder.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime,
               default=None)
  if newest is None:
    return []
  total: collections.Counter[str] = collections.Counter()
  for plane in jax.profiler.ProfileData.from_file(str(newest)).planes:
    for line in plane.lines:
      for event in line.events:
        name = dict(event.stats).get("hlo_op")
        if name:
          total[re.sub(r"[.\d]+$", "", str(name))] += event.duration_ns
  everything = sum(total.values()) or 1
  return [(kind, spent / everything) for kind, spent in total.most_common()]
