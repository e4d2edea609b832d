"""Settings of the process that must be made before JAX starts."""

import importlib.metadata
import os

# In jaxlib 0.10 this fusion halves the speed of ordinary convolutions on CPU.
# models/conv.py avoids another slow case.
_FAST_CPU_FLAG = "--xla_cpu_experimental_ynn_fusion_type="


def prefer_fast_cpu_code() -> None:
  """Adds the XLA flag that makes convolutions fast on CPU, if XLA knows it.

  A flag that XLA does not know ends the process, so it is only set for the jaxlib series
  on which it was measured. A value given by the user takes precedence.
  """
  flags = os.environ.get("XLA_FLAGS", "")
  name = _FAST_CPU_FLAG.partition("=")[0]
  if name in flags:
    return
  if importlib.metadata.version("jaxlib").startswith("0.10."):
    os.environ["XLA_FLAGS"] = f"{flags} {_FAST_CPU_FLAG}".strip()
