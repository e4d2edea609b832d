"""Which form of an operation is traced, and how well it is compiled.

XLA:CPU is slow at some operations of networks and augmentations, which have another form
for it (docs/architecture.md). That form is right on every platform, but no faster
elsewhere.
"""

from collections.abc import Callable, Iterator
import contextlib
import contextvars
import functools
from typing import Any

import jax
import jax.numpy as jnp

_plain = contextvars.ContextVar("plain", default=False)


def for_cpu() -> bool:
  """Whether what is traced now is meant for XLA:CPU alone."""
  return not _plain.get() and jax.default_backend() == "cpu"


@contextlib.contextmanager
def plain() -> Iterator[None]:
  """Within this context, all is traced in its plain form, for any platform.

  It acts at trace time. Functions that `jax.jit` has already traced do not change.
  """
  token = _plain.set(True)
  try:
    yield
  finally:
    _plain.reset(token)


def jit_quickly(function: Callable, **settings: Any) -> Callable:
  """`jax.jit` for what runs once or a few times: on a CPU, it does not optimise.

  Drawing the initial values of the quickstart's F and G_E takes 8 and 22 s to compile if
  optimised, and 2 s each like this (docs/experiments/021).

  Args:
    function: to be compiled.
    **settings: of `jax.jit`.

  Returns:
    The compiled function. While another function is traced, it is traced as a part of it.
  """
  compiled = jax.jit(function, **settings)
  if jax.default_backend() != "cpu":
    return compiled
  quickly = jax.jit(
      function, compiler_options={"xla_backend_optimization_level": 0}, **settings)

  @functools.wraps(function)
  def call(*args, **kwargs):
    # Options are for whole programs, and no part of one may have its own.
    is_part = isinstance(jnp.zeros(()), jax.core.Tracer)
    return (compiled if is_part else quickly)(*args, **kwargs)
  return call


def traced_once(function: Callable, static_argnums: tuple[int, ...]) -> Callable:
  """`function`, which Python runs once for all calls of the same shapes and form.

  What it traced is put in line where it is called, so that the compiled program is the
  same. A ResNet-50 calls batch norm 53 times with 12 different shapes.

  Args:
    function: of arrays and static arguments; may ask `for_cpu`.
    static_argnums: positions of the static arguments.
  """
  @functools.partial(jax.jit, static_argnums=(0, *(n + 1 for n in static_argnums)),
                     inline=True)
  def traced(form: bool, *args):
    del form  # part of the key under which the trace is kept
    return function(*args)
  return lambda *args: traced(for_cpu(), *args)
