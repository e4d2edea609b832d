"""SIGTERM, which schedulers send before they take the machine away, and Ctrl-C."""

from collections.abc import Iterator
import contextlib
import os
import signal
import threading

from augment_gen.config.errors import Preempted


@contextlib.contextmanager
def watch(number: int = signal.SIGTERM, event: threading.Event | None = None
          ) -> Iterator[threading.Event]:
  """Yields an event that a signal sets, for work that can stop and be resumed.

  The first signal restores the previous handler, so a second one ends the process.

  Args:
    number: SIGTERM, or SIGINT (Ctrl-C).
    event: the event to set; None: a new one.
  """
  event = event or threading.Event()
  if threading.current_thread() is not threading.main_thread():
    yield event  # signals only reach the main thread
    return
  before = signal.getsignal(number)
  if before is signal.SIG_IGN:
    yield event  # ignored on purpose, as under nohup
    return

  def note(*_):
    event.set()
    signal.signal(number, before)
    if number == signal.SIGINT:
      # Not `print`: the signal may have interrupted a print.
      with contextlib.suppress(OSError):
        os.write(2, b"\nstopping as soon as it is safe; Ctrl-C again stops at once\n")

  signal.signal(number, note)
  try:
    yield event
  finally:
    signal.signal(number, before)


def leave_if(terminated: threading.Event, where: str) -> None:
  """Stops the run if a signal came; call this where all work is saved.

  Raises:
    Preempted: a signal came; the message says `where` the run was stopped.
  """
  if terminated.is_set():
    raise Preempted(f"stopped {where}; all that was done is saved")
