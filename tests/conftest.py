"""Test set-up: eight fake CPU devices, no rank promotion, fast compilation."""

import gc
import importlib.metadata
import os
import signal

# This must be set before JAX starts. Some tests map over several devices.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") +
    " --xla_force_host_platform_device_count=8").strip()
# XLA's emitters of fused code by way of MLIR take twice as long to compile as its older
# ones, which end with jaxlib 0.10. Splitting small programs between threads gains nothing.
# An XLA that does not know a flag ends the process.
os.environ["XLA_FLAGS"] += (
    " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    if importlib.metadata.version("jaxlib").startswith("0.10.") else "")
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import pytest

from augment_gen.run import runtime  # importing the package adds its own XLA flag

jax.config.update("jax_numpy_rank_promotion", "raise")
# The tests spend most of their time compiling, often the same functions.
jax.config.update("jax_disable_most_optimizations", True)
# Tracing makes many objects that live on, which the collector need not visit each time.
gc.set_threshold(100_000, 20, 50)
# The workers, the programs that tests start and the next run of the tests share it.
runtime.keep_compiled_code()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
if jax.config.jax_compilation_cache_dir:
  os.environ["JAX_COMPILATION_CACHE_DIR"] = jax.config.jax_compilation_cache_dir


@pytest.fixture(scope="module")
def one_device():
  """Restricts whole runs to one device; eight devices on two cores are slow.

  Yields the real `make_mesh`, for tests that need all devices.
  """
  from augment_gen.run import parallel  # pylint: disable=g-import-not-at-top
  make_mesh = parallel.make_mesh
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(parallel, "make_mesh", lambda: make_mesh(jax.devices()[:1]))
    yield make_mesh


@pytest.fixture
def foreground():
  """Enables Ctrl-C even if the shell made the tests ignore it (`pytest &`)."""
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  yield
  signal.signal(signal.SIGINT, before)


def pytest_addoption(parser):
  parser.addoption("--update-golden", action="store_true",
                   help="write tests/golden anew in place of comparing with it")
  parser.addoption("--slow", action="store_true",
                   help="also run the tests marked as slow")


def pytest_collection_modifyitems(config, items):
  # A worker runs a file whole. Long files come first, so that the workers end together.
  first = ("end_to_end", "steps", "golden")
  items.sort(key=lambda item: item.path.parent.name not in first)
  if not config.getoption("--slow"):
    for item in items:
      if "slow" in item.keywords:
        item.add_marker(pytest.mark.skip(reason="slow: pytest --slow runs it"))


@pytest.fixture
def update_golden(request):
  return request.config.getoption("--update-golden")
