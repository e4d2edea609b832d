"""stdout and stderr that no run can fail on."""

from collections.abc import Iterator
import contextlib
import os
import sys


@contextlib.contextmanager
def forgiving() -> Iterator[None]:
  """Within, whatever is printed can be printed.

  A character that the terminal's encoding lacks, such as the tilde of X̃_f in
  ASCII, becomes "?". Where the output is closed or full (`| head`), the rest goes
  nowhere, and what is being computed goes on.
  """
  before = sys.stdout, sys.stderr
  sys.stdout, sys.stderr = _Stream(before[0]), _Stream(before[1])
  try:
    yield
  finally:
    for stream in (sys.stdout, sys.stderr):
      stream.flush()
    sys.stdout, sys.stderr = before


class _Stream:
  """A text stream whose writes do not raise; in all else, the stream itself."""

  def __init__(self, stream):
    if stream is None:  # as with `>&-`
      stream = open(os.devnull, "w", encoding="utf-8")
    if hasattr(stream, "reconfigure"):  # not in notebooks
      stream.reconfigure(errors="replace")
    self._stream = stream

  def write(self, text: str) -> int:
    try:
      return self._stream.write(text)
    except OSError:
      self._to_nowhere()
      return len(text)

  def flush(self) -> None:
    try:
      self._stream.flush()
    except OSError:
      self._to_nowhere()

  def _to_nowhere(self) -> None:
    """What the buffer holds goes there, too, when the process ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
      os.dup2(nowhere, self._stream.fileno())
    except OSError:  # no file below it
      self._stream = open(os.devnull, "w", encoding="utf-8")
    finally:
      os.close(nowhere)

  def __getattr__(self, name: str):
    return getattr(self._stream, name)
