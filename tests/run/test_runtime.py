"""Settings of the process: the compilation cache, and the memory that is kept."""

import os
import pathlib
import platform
import subprocess
import sys

import pytest

from augment_gen.run import runtime

PROGRAM = """
import augment_gen, jax
from augment_gen.run import runtime
print(runtime.keep_compiled_code())
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.jit(lambda x: x + 1)(1.0)
"""


def run(tmp_path, **env):
  clean = {name: value for name, value in os.environ.items()
           if not name.startswith(("JAX_COMPILATION", "JAX_ENABLE"))}
  done = subprocess.run(
      [sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True,
      env=clean | {"XDG_CACHE_HOME": str(tmp_path)} | env)
  return done.stdout.strip()


def test_compiled_code_is_kept_in_a_folder_of_this_machine(tmp_path):
  folder = pathlib.Path(run(tmp_path))
  assert folder == tmp_path / "augment_gen" / "compiled" / runtime.machine()
  kept = {path.name for path in folder.iterdir()}
  assert kept
  run(tmp_path)
  assert {path.name for path in folder.iterdir()} == kept


def test_what_was_not_read_for_a_month_is_deleted(tmp_path):
  folder = tmp_path / "augment_gen" / "compiled" / runtime.machine()
  folder.mkdir(parents=True)
  for name in ("old", "new"):
    (folder / name).write_bytes(b"")
  os.utime(folder / "old", (0, 0))
  (folder / "of_xla").mkdir()  # JAX makes such folders on GPUs
  os.utime(folder / "of_xla", (0, 0))
  assert run(tmp_path) == str(folder)
  assert not (folder / "old").exists() and (folder / "new").exists()


@pytest.mark.parametrize("variable, value", [
    ("JAX_COMPILATION_CACHE_DIR", "elsewhere"), ("JAX_ENABLE_COMPILATION_CACHE", "0")])
def test_jaxs_own_settings_take_precedence(variable, value, tmp_path):
  value = str(tmp_path / value) if value == "elsewhere" else value
  assert run(tmp_path, **{variable: value}) == "None"
  assert not (tmp_path / "augment_gen").exists()


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path):
  (tmp_path / "file").write_bytes(b"")
  assert run(tmp_path, XDG_CACHE_HOME=str(tmp_path / "file")) == "None"


def test_another_processor_is_another_machine(monkeypatch):
  here = runtime.machine()
  monkeypatch.setattr(runtime, "_processor", lambda: ["flags : sse9"])
  assert runtime.machine() != here


FAULTS = """
import resource
import numpy as np
from augment_gen.run import runtime
kept = runtime.keep_freed_memory()
def faults():
  before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  np.empty(64 << 20, np.uint8)[::4096] = 1
  return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(kept, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
@pytest.mark.parametrize("env, kept", [
    ({}, True), ({"MALLOC_TRIM_THRESHOLD_": "131072"}, False),
    ({"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072"}, False),
    ({"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072"}, False),
    ({"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}, True)])
def test_freed_memory_is_kept_unless_the_user_says_otherwise(env, kept):
  clean = {name: value for name, value in os.environ.items()
           if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
  done = subprocess.run([sys.executable, "-c", FAULTS], check=True, capture_output=True,
                        text=True, env=clean | env)
  said, faults = done.stdout.split()
  assert said == str(kept)
  assert (int(faults) < 16) == kept
