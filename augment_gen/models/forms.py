"""Which form of an operation a network is traced with.

XLA:CPU is slow at some operations, which have another form for it (docs/architecture.md).
That form is right on every platform, but no faster elsewhere.
"""

from collections.abc import Iterator
import contextlib
import contextvars

import jax

_plain = contextvars.ContextVar("plain", default=False)


def for_cpu() -> bool:
  """Whether what is traced now is meant for XLA:CPU alone."""
  return not _plain.get() and jax.default_backend() == "cpu"


@contextlib.contextmanager
def plain() -> Iterator[None]:
  """Within this context, networks are traced in their plain form, for any platform.

  It acts at trace time. Functions that `jax.jit` has already traced do not change.
  """
  token = _plain.set(True)
  try:
    yield
  finally:
    _plain.reset(token)
