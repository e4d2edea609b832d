"""SIGTERM, as schedulers send it before they take the machine away."""

from collections.abc import Iterator
import contextlib
import signal
import threading

from augment_gen.errors import Preempted


@contextlib.contextmanager
def watch() -> Iterator[threading.Event]:
  """An event that SIGTERM sets, for all that can stop and be gone on with.

  A second SIGTERM ends the process, as the first one otherwise would.
  """
  event = threading.Event()
  if threading.current_thread() is not threading.main_thread():
    yield event  # signals reach the main thread only
    return
  before = signal.getsignal(signal.SIGTERM)

  def note(*_):
    event.set()
    signal.signal(signal.SIGTERM, before)

  signal.signal(signal.SIGTERM, note)
  try:
    yield event
  finally:
    signal.signal(signal.SIGTERM, before)


def leave_if(terminated: threading.Event, where: str) -> None:
  """To be called where all that was done is saved.

  Raises:
    Preempted: SIGTERM came; says `where` the run was stopped.
  """
  if terminated.is_set():
    raise Preempted(f"stopped {where}; all that was done is saved")
