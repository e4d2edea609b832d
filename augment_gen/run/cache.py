"""Folders for what can be made again: compiled code, rendered pictures."""

import contextlib
import os
import pathlib
import time

_DAYS_KEPT = 30


def folder(*names: str) -> pathlib.Path | None:
  """Makes the folder `$XDG_CACHE_HOME/augment_gen/NAMES`, or the same in `~/.cache`.

  Files in it that were not read for a month are deleted.

  Returns:
    The folder; None if it cannot be written.
  """
  caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
  try:
    path = pathlib.Path(caches, "augment_gen", *names).expanduser()
    path.mkdir(parents=True, exist_ok=True)
    _forget_old(path)
  except (OSError, RuntimeError):  # a RuntimeError: there is no home
    return None
  return path


def _forget_old(path: pathlib.Path) -> None:
  oldest = time.time() - _DAYS_KEPT * 24 * 3600
  for file in path.iterdir():
    with contextlib.suppress(OSError):  # another process may have been here first
      facts = file.stat()
      if file.is_file() and max(facts.st_atime, facts.st_mtime) < oldest:
        file.unlink()
