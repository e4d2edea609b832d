"""Programs that are compiled quickly rather than well."""

import jax
import jax.numpy as jnp
import numpy as np

from augment_gen.run import forms


def test_what_runs_once_is_not_optimised(monkeypatch):
  options = []

  def jit(function, *, compiler_options=None, **settings):
    options.append(compiler_options)
    return original(function, **settings)

  original = jax.jit
  monkeypatch.setattr(jax, "jit", jit)
  doubled = forms.jit_quickly(lambda x, sign: 2 * x if sign == "+" else -2 * x,
                              static_argnames="sign")
  assert {"xla_backend_optimization_level": 0} in options
  assert doubled(jnp.float32(3), sign="-") == -6
  options.clear()
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  forms.jit_quickly(lambda x: x)
  assert options == [None]  # XLA on other platforms may not know it


def test_it_may_be_a_part_of_another_program():
  key = jax.random.key(0)
  draw = forms.jit_quickly(lambda: jax.random.normal(key, (3,)))
  shape = jax.eval_shape(draw)  # no argument is traced
  assert shape.shape == (3,)
  np.testing.assert_allclose(jax.jit(lambda x: x + draw())(1.0), 1 + draw(), rtol=1e-6)
