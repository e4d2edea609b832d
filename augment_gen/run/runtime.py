"""Settings of the process that must be made before JAX starts."""

import hashlib
import importlib.metadata
import os
import pathlib
import platform
import time
from typing import Any

# In jaxlib 0.10, this fusion halves the speed of ordinary convolutions on CPU. In 0.12 it
# costs 12 % of a narrow network's step (docs/experiments/016). models/conv.py avoids
# another slow case.
_FAST_CPU_FLAG = "--xla_cpu_experimental_ynn_fusion_type="

_SERIES = ("0.10.", "0.11.", "0.12.")

_DAYS_KEPT = 30
_SECONDS_WORTH_KEEPING = 0.3  # what compiles faster is compiled again


def prefer_fast_cpu_code() -> None:
  """Adds the XLA flag that makes convolutions fast on CPU, if XLA knows it.

  A flag that XLA does not know ends the process, so it is only set for the jaxlib series
  that know it. A value given by the user takes precedence.
  """
  flags = os.environ.get("XLA_FLAGS", "")
  name = _FAST_CPU_FLAG.partition("=")[0]
  if name in flags:
    return
  if importlib.metadata.version("jaxlib").startswith(_SERIES):
    os.environ["XLA_FLAGS"] = f"{flags} {_FAST_CPU_FLAG}".strip()


def keep_compiled_code() -> pathlib.Path | None:
  """Turns JAX's persistent compilation cache on, so that only a first run compiles.

  The folder is `$XDG_CACHE_HOME/augment_gen/compiled/MACHINE`, where the home folder is
  often shared between machines. Code for one CPU may not run on another, and JAX's own
  key need not tell them apart: MACHINE does. What was not read for a month is deleted.

  A folder that is set already is left alone (`JAX_COMPILATION_CACHE_DIR`), and
  `JAX_ENABLE_COMPILATION_CACHE=0` turns the cache off.

  Returns:
    The folder; None if this changed nothing or the folder cannot be written.
  """
  import jax  # pylint: disable=g-import-not-at-top  (`--help` must not wait for it)

  settings: Any = jax.config  # which is not typed
  if settings.jax_compilation_cache_dir or not settings.jax_enable_compilation_cache:
    return None
  folder = cache_folder("compiled", machine())
  try:
    folder.mkdir(parents=True, exist_ok=True)
    forget_old(folder)
  except OSError:
    return None
  jax.config.update("jax_compilation_cache_dir", str(folder))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", _SECONDS_WORTH_KEEPING)
  return folder


def cache_folder(*parts: str) -> pathlib.Path:
  """A folder of the user's cache, `$XDG_CACHE_HOME/augment_gen/…`; it need not exist."""
  caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
  return pathlib.Path(caches, "augment_gen", *parts).expanduser()


def machine() -> str:
  """A short name that two machines share only if they run the same compiled code."""
  facts = [platform.machine(), platform.processor(), importlib.metadata.version("jaxlib"),
           *_processor()]
  return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def _processor() -> list[str]:
  """The lines of Linux that name the processor and its instructions."""
  try:
    lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
  except OSError:
    return []
  return sorted({line for line in lines if line.startswith(
      ("model name", "flags", "Features", "CPU part"))})


def forget_old(folder: pathlib.Path) -> None:
  """Deletes the files of a cache folder that were not used for a month."""
  oldest = time.time() - _DAYS_KEPT * 24 * 3600
  for path in folder.iterdir():
    facts = path.stat()
    if max(facts.st_atime, facts.st_mtime) < oldest:
      path.unlink(missing_ok=True)
