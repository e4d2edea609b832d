"""Settings of the process that must be made before JAX starts."""

import ctypes
import hashlib
import importlib.metadata
import os
import pathlib
import platform
from typing import Any

from augment_gen.run import cache

# In jaxlib 0.10, this fusion halves the speed of ordinary convolutions on CPU. In 0.12 it
# costs 12 % of a narrow network's step (docs/experiments/016). models/conv.py avoids
# another slow case.
_FAST_CPU_FLAG = "--xla_cpu_experimental_ynn_fusion_type="

_SERIES = ("0.10.", "0.11.", "0.12.")

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>

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


def keep_freed_memory() -> bool:
  """Lets the C library (glibc) keep up to 2 GiB of freed memory for what comes next.

  It would give the arrays of a step back to the system and fetch them again, zeroed and
  page by page, in the next one (docs/experiments/037). Settings in the environment
  (`MALLOC_…`, `GLIBC_TUNABLES`) that say otherwise are left alone.

  Returns:
    Whether it does so now.
  """
  tunables = os.environ.get("GLIBC_TUNABLES", "")
  if platform.system() != "Linux" or any(
      f"MALLOC_{name.upper()}_" in os.environ or f"glibc.malloc.{name}=" in tunables
      for name in ("mmap_threshold", "trim_threshold")):
    return False
  try:
    mallopt = ctypes.CDLL(None).mallopt
  except (OSError, AttributeError):  # another C library
    return False
  return bool(mallopt(_M_MMAP_THRESHOLD, 1 << 30)
              and mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1))


def keep_compiled_code() -> pathlib.Path | None:
  """Turns JAX's persistent compilation cache on, so that only a first run compiles.

  The folder is `$XDG_CACHE_HOME/augment_gen/compiled/MACHINE`, where the home folder is
  often shared between machines. Code for one CPU may not run on another, and JAX's own
  key need not tell them apart: MACHINE does.

  A folder that is set already is left alone (`JAX_COMPILATION_CACHE_DIR`), and
  `JAX_ENABLE_COMPILATION_CACHE=0` turns the cache off.

  Returns:
    The folder; None if this changed nothing or the folder cannot be written.
  """
  import jax  # pylint: disable=g-import-not-at-top  (`--help` must not wait for it)

  settings: Any = jax.config  # which is not typed
  if settings.jax_compilation_cache_dir or not settings.jax_enable_compilation_cache:
    return None
  folder = cache.folder("compiled", machine())
  if folder is None:
    return None
  jax.config.update("jax_compilation_cache_dir", str(folder))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", _SECONDS_WORTH_KEEPING)
  return folder


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
