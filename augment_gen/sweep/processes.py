"""The processes of a sweep: one that checks the configs, then one for each run.

A run has a process of its own, so that it has all memory of the devices, and compiled
code is as in a single run.
"""

from collections.abc import Callable, Sequence
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from augment_gen.config.errors import UserError
from augment_gen.run import preemption
from augment_gen.run.progress import duration
from augment_gen.sweep.plan import merged, Run

CHECK = (sys.executable, "-m", "augment_gen.sweep.check")
RUN = (sys.executable, "-m", "augment_gen.main")
_POLL_SECONDS = 0.5
_STOPPED = (75, 130)  # exit status of a run that was stopped, see main.py
_TAIL_BYTES = 4096


def config_problems(runs: Sequence[Run]) -> list[str]:
  """All problems of the runs' configs, one readable line each.

  Raises:
    UserError: the devices cannot be asked.
  """
  done = subprocess.run(
      CHECK, input=json.dumps([run.settings for run in runs]), text=True, check=False,
      capture_output=True)
  if done.returncode:
    raise UserError("the configs could not be checked: "
                    f"{_last_line(done.stderr) or f'status {done.returncode}'}")
  return merged((run.name, problem)
                for run, problems in zip(runs, json.loads(done.stdout))
                for problem in problems)


def run_all(runs: Sequence[Run], stop_at_failure: bool = False,
            say: Callable[[str], None] = print) -> dict[str, str]:
  """Runs what is not done, one after the other.

  Args:
    runs: the runs, in order.
    stop_at_failure: whether no further run starts after one has failed.
    say: prints a line.

  Returns:
    Why runs have failed, by name.

  Raises:
    Preempted: a signal came, or a run was stopped; it has saved what it did.
    KeyboardInterrupt: Ctrl-C came a second time.
  """
  failures: dict[str, str] = {}
  left = [run for run in runs if run.state != "done"]
  with contextlib.ExitStack() as stack:
    stopped = stack.enter_context(preemption.watch(signal.SIGTERM))
    for number in (signal.SIGINT, signal.SIGHUP):
      stack.enter_context(preemption.watch(number, stopped))
    for place, run in enumerate(left, start=1):
      head = f"[{place}/{len(left)}] {run.name}"
      say(f"{head}: log in {log_of(run)}")
      began = time.monotonic()
      status, words = _run(run, stopped, head)
      if status in _STOPPED or (status and stopped.is_set()):
        stopped.set()
      elif status:
        failures[run.name] = words
        say(f"{head}: failed: {words}")
      else:
        say(f"{head}: done in {duration(time.monotonic() - began)}")
      preemption.leave_if(stopped, f"in {run.name}" if status else f"after {run.name}")
      if failures and stop_at_failure:
        break
  return failures


def log_of(run: Run) -> pathlib.Path:
  """The file that gets the run's output, beside its folder."""
  return run.folder.with_name(f"{run.name}.log")


def _run(run: Run, stopped: threading.Event, head: str) -> tuple[int, str]:
  """Runs a process to its end; returns its status and, if it failed, why."""
  run.folder.parent.mkdir(parents=True, exist_ok=True)
  with open(log_of(run), "ab") as log:
    start = log.tell()
    # In a session of its own, so that Ctrl-C reaches it once: through `stopped`.
    process = subprocess.Popen(
        [*RUN, *run.arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        start_new_session=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
  with _ended(process), _Line(head) as line:
    told = False
    while process.poll() is None:
      if stopped.is_set() and not told:
        process.terminate()
        told = True
      line.show(_last_line(_text(run, start)))
      with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_POLL_SECONDS)
  return process.returncode, _reason(process.returncode, _text(run, start))


@contextlib.contextmanager
def _ended(process: subprocess.Popen):
  """Lets no process live on if this one is interrupted."""
  try:
    yield
  finally:
    while process.poll() is None:
      process.terminate()  # again: a run that is saving then ends at once
      with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_POLL_SECONDS)


class _Line:
  """The last line of a run's output, in a terminal; elsewhere nothing."""

  def __init__(self, head: str):
    self._head, self._shown = head, False

  def __enter__(self) -> "_Line":
    return self

  def show(self, text: str) -> None:
    if sys.stdout.isatty():
      width = shutil.get_terminal_size().columns - 1
      print(f"\r{f'{self._head}: {text}'[:width]:<{width}}", end="", flush=True)
      self._shown = True

  def __exit__(self, *_: Any) -> None:
    if self._shown:
      width = shutil.get_terminal_size().columns - 1
      print(f"\r{'':<{width}}\r", end="", flush=True)


def _text(run: Run, start: int) -> str:
  """The end of what a run has printed since byte `start` of its log."""
  with open(log_of(run), "rb") as log:
    size = log.seek(0, os.SEEK_END)
    log.seek(max(start, size - _TAIL_BYTES))
    return log.read().decode("utf-8", errors="replace")


def _last_line(text: str) -> str:
  return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def _reason(status: int, text: str) -> str:
  """Why a process failed: its own errors, or its last line."""
  if status < 0:
    return f"ended by signal {-status} ({signal.strsignal(-status)})"
  errors = [line.removeprefix("error: ") for line in text.splitlines()
            if line.startswith("error: ")]
  return "; ".join(errors) or f"status {status}, {_last_line(text)}"
