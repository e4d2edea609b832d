"""What the process needs to know of the machine before JAX starts."""

import importlib.metadata
import os

# The fusion halves the speed of ordinary convolutions on CPU in jaxlib 0.10;
# models/conv.py does the rest.
_FAST_CPU_FLAG = "--xla_cpu_experimental_ynn_fusion_type="


def prefer_fast_cpu_code() -> None:
  """Adds the XLA flag that makes convolutions fast on CPU, if it is known.

  A flag that XLA does not know ends the process, so it is only set for the
  jaxlib series it was measured on. A value given by the user wins.
  """
  flags = os.environ.get("XLA_FLAGS", "")
  name = _FAST_CPU_FLAG.partition("=")[0]
  if name in flags:
    return
  if importlib.metadata.version("jaxlib").startswith("0.10."):
    os.environ["XLA_FLAGS"] = f"{flags} {_FAST_CPU_FLAG}".strip()
