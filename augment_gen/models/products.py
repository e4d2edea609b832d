"""Products of matrices that avoid a slow case of XLA's CPU backend.

The gradient of x·W with respect to x is a product with the transposed W. XLA:CPU
(jaxlib 0.10) folds the transposition into the product and then reads W against its
order, which takes up to five times as long where W has many rows: 43 instead of 11 ms for
6528 x 512 and a batch of 32 (docs/experiments/037). Here it transposes W first.
"""

import functools

from flax import linen as nn
import jax
from jax import lax
import jax.numpy as jnp

from augment_gen.run import forms


def dot(x: jax.Array, w: jax.Array, precision=None) -> jax.Array:
  """x·w, [N, I] and [I, O] -> [N, O], with a quick gradient on CPU."""
  if not forms.for_cpu():
    return jnp.dot(x, w, precision=precision)
  return _dot(x, w, precision)


def dot_general(x: jax.Array, w: jax.Array, dimension_numbers, precision=None,
                preferred_element_type=None, **others) -> jax.Array:
  """Replaces `lax.dot_general` in `nn.Dense(dot_general=...)`.

  It takes the arguments that `nn.Dense` passes, with the same meaning: [..., I] and
  [I, O] give [..., O].
  """
  usual = dimension_numbers == (((x.ndim - 1,), (0,)), ((), ()))
  if not usual or w.ndim != 2 or preferred_element_type is not None or others:
    return lax.dot_general(x, w, dimension_numbers, precision=precision,
                           preferred_element_type=preferred_element_type, **others)
  return dot(x.reshape(-1, x.shape[-1]), w, precision).reshape(
      *x.shape[:-1], w.shape[-1])


# The `nn.Dense` for layers of many units.
Dense = functools.partial(nn.Dense, dot_general=dot_general)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _dot(x, w, precision):
  return jnp.dot(x, w, precision=precision)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _dot_transposed(y, w, precision):
  """y·wᵀ; has a rule of its own, since the R1 penalty is the gradient of a gradient."""
  return jnp.dot(y, lax.optimization_barrier(w.T), precision=precision)


def _keep(function):
  return lambda a, w, precision: (function(a, w, precision), (a, w))


def _dot_backward(precision, kept, slope):
  x, w = kept
  return (_dot_transposed(slope, w, precision),
          jnp.dot(x.T, slope, precision=precision))


def _dot_transposed_backward(precision, kept, slope):
  y, w = kept
  return _dot(slope, w, precision), jnp.dot(slope.T, y, precision=precision)


_dot.defvjp(_keep(_dot), _dot_backward)
_dot_transposed.defvjp(_keep(_dot_transposed), _dot_transposed_backward)
