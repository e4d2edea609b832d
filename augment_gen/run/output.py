"""stdout and stderr that never make a run fail."""

from collections.abc import Iterator
import contextlib
import os
import sys


@contextlib.contextmanager
def forgiving() -> Iterator[None]:
  """Within this context, printing never fails.

  A character that the terminal's encoding lacks, such as the tilde of X̃_f in ASCII,
  becomes "?". If the output is closed or full (`| head`), the rest of it is discarded
  and the computation continues.
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
  """A text stream whose writes do not raise; otherwise it acts as the wrapped stream."""

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
    """Redirects the stream to os.devnull, with what its buffer still holds at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
      os.dup2(nowhere, self._stream.fileno())
    except OSError:  # the stream has no file descriptor
      self._stream = open(os.devnull, "w", encoding="utf-8")
    finally:
      os.close(nowhere)

  def __getattr__(self, name: str):
    return getattr(self._stream, name)
