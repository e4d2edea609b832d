"""Two or more sides of a case, each in a process of its own, timed in turn."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import dataclasses
import importlib
import math
import multiprocessing
import os
import resource
import statistics
import time
import traceback
from typing import Any

_PATIENCE = 1800.0  # seconds that any part of a side may take


@dataclasses.dataclass
class Block:
  """A side of a case, ready to run.

  Attributes:
    run: runs a number of steps, and returns once they are done.
    settle: called once after the first step, to choose between ways to run; returns what
      to tell the reader.
    tell: called at the end; returns what else to tell the reader.
    least: smallest number of steps in a timed block.
  """
  run: Callable[[int], None]
  settle: Callable[[], str] = lambda: ""
  tell: Callable[[], str] = lambda: ""
  least: int = 2


@dataclasses.dataclass
class Side:
  """One side of a case.

  Attributes:
    name: what the table calls it.
    target: "module:function" that builds its `Block`.
    arguments: keyword arguments of the function.
    environment: environment variables of its process.
  """
  name: str
  target: str
  arguments: Mapping[str, Any]
  environment: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Timing:
  """What was measured on one side.

  Attributes:
    first: seconds of the first step, with compilation.
    rounds: seconds a step, by round.
    memory: largest resident set of the process, in MiB.
    notes: what to tell the reader.
    error: why there are no numbers; "" if there are.
  """
  first: float = math.nan
  rounds: list[float] = dataclasses.field(default_factory=list)
  memory: float = math.nan
  notes: list[str] = dataclasses.field(default_factory=list)
  error: str = ""

  @property
  def median(self) -> float:
    return statistics.median(self.rounds)


def measure(sides: Sequence[Side], rounds: int, seconds: float,
            log: Callable[[str], None]) -> list[Timing]:
  """Times the sides in turn; while one computes, the others wait.

  A side that fails has an `error` in its timing; the others go on.

  Args:
    sides: the sides, in the order of their turns.
    rounds: number of timed blocks of each side.
    seconds: about how long a block takes.
    log: prints a line of progress.
  """
  timings = [Timing() for _ in sides]
  with contextlib.ExitStack() as stack:
    workers: dict[int, _Worker] = {}

    def ask(index: int, request: Any) -> Any:
      try:
        if index not in workers:
          workers[index] = stack.enter_context(_Worker.start(sides[index]))
        return workers[index].ask(request)
      except _Failed as failure:
        timings[index].error = str(failure)
        log(f"  {sides[index].name}: {failure}")
        return None

    for index, side in enumerate(sides):
      answer = ask(index, ("build", side.target, dict(side.arguments), seconds))
      if answer is not None:
        timings[index].first, note = answer
        timings[index].notes.append(note)
        log(f"  {side.name}: first step {timings[index].first:.2f} s")
    for number in range(rounds):
      for index, timing in enumerate(timings):
        if not timing.error and (answer := ask(index, ("block",))) is not None:
          timing.rounds.append(answer)
      log(f"  round {number + 1} of {rounds}: " + ", ".join(
          f"{side.name} {timing.rounds[-1]:.4g} s"
          for side, timing in zip(sides, timings) if not timing.error))
    for index, timing in enumerate(timings):
      if not timing.error and (answer := ask(index, ("end",))) is not None:
        timing.memory, note = answer
        timing.notes.append(note)
        timing.notes = [text for text in timing.notes if text]
  return timings


class _Failed(Exception):
  """A side failed; says why."""


@dataclasses.dataclass
class _Worker:
  """A side's process, and the pipe to it."""
  process: multiprocessing.process.BaseProcess
  pipe: Any

  @classmethod
  @contextlib.contextmanager
  def start(cls, side: Side) -> Iterator["_Worker"]:
    spawn = multiprocessing.get_context("spawn")
    mine, theirs = spawn.Pipe()
    # Not a daemon: those may not have children, which PyTorch's loader needs.
    process = spawn.Process(target=_work, args=(theirs, dict(side.environment)))
    process.start()
    theirs.close()
    try:
      yield cls(process, mine)
    finally:
      mine.close()  # the worker leaves once its pipe is closed
      process.join(10)
      if process.is_alive():
        process.kill()
        process.join()

  def ask(self, request: Any) -> Any:
    """Sends a request and waits for its answer.

    Raises:
      _Failed: the side raised an exception, ended, or took too long.
    """
    try:
      self.pipe.send(request)
      if not self.pipe.poll(_PATIENCE):
        raise _Failed(f"no answer for {_PATIENCE:.0f} s")
      kind, answer = self.pipe.recv()
    except (EOFError, OSError):
      self.process.join(10)
      raise _Failed(f"its process ended with exit code {self.process.exitcode}"
                    ) from None
    if kind == "error":
      raise _Failed(answer)
    return answer


def _work(pipe, environment: dict[str, str]) -> None:
  """Answers requests until the pipe is closed; runs in a process of its own."""
  os.environ.update(environment)
  block: Block | None = None
  steps = 0
  answer: Any
  while True:
    try:
      request, *arguments = pipe.recv()
    except (EOFError, OSError):
      return
    try:
      if request == "build":
        block, steps, answer = _build(*arguments)
      elif block is None:
        raise ValueError("the first request must be 'build'")
      elif request == "block":
        answer = _seconds(block, steps) / steps
      else:
        # Linux counts in KiB.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        answer = peak, block.tell()
    except Exception as error:
      traceback.print_exc()
      pipe.send(("error", f"{type(error).__name__}: {_first_line(error)}"))
      return
    pipe.send(("answer", answer))


def _build(target: str, arguments: dict[str, Any], seconds: float,
           ) -> tuple[Block, int, tuple[float, str]]:
  """Builds a side and runs its first steps.

  Returns:
    The side, the number of steps in a timed block, and the answer to the parent.
  """
  module, _, function = target.partition(":")
  block = getattr(importlib.import_module(module), function)(**arguments)
  first = _seconds(block, 1)
  note = block.settle()
  each = _seconds(block, block.least) / block.least
  return block, max(block.least, math.ceil(seconds / each)), (first, note)


def _seconds(block: Block, steps: int) -> float:
  start = time.perf_counter()
  block.run(steps)
  return time.perf_counter() - start


def _first_line(error: Exception) -> str:
  return (str(error).strip() or "no message").splitlines()[0][:200]
