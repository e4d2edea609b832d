"""SIGTERM, as schedulers send it before they take the machine away, and Ctrl-C."""

from collections.abc import Iterator
import contextlib
import os
import signal
import threading

from augment_gen.config.errors import Preempted


@contextlib.contextmanager
def watch(number: int = signal.SIGTERM, event: threading.Event | None = None
          ) -> Iterator[threading.Event]:
  """An event that a signal sets, for all that can stop and be gone on with.

  A second signal does what the first one otherwise would: it ends the process.

  Args:
    number: SIGTERM, or SIGINT (Ctrl-C).
    event: the one to set; None: a new one.
  """
  event = event or threading.Event()
  if threading.current_thread() is not threading.main_thread():
    yield event  # signals reach the main thread only
    return
  before = signal.getsignal(number)
  if before is signal.SIG_IGN:
    yield event  # as under nohup: whoever started the process wants it so
    return

  def note(*_):
    event.set()
    signal.signal(number, before)
    if number == signal.SIGINT:
      # Not `print`, which may be what was interrupted.
      with contextlib.suppress(OSError):
        os.write(2, b"\nstopping as soon as it is safe; Ctrl-C again stops at once\n")

  signal.signal(number, note)
  try:
    yield event
  finally:
    signal.signal(number, before)


def leave_if(terminated: threading.Event, where: str) -> None:
  """To be called where all that was done is saved.

  Raises:
    Preempted: a signal came; says `where` the run was stopped.
  """
  if terminated.is_set():
    raise Preempted(f"stopped {where}; all that was done is saved")
