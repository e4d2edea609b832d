"""Pairs of views for the tests of pre-trainers: tiny images, fixed or noisy."""

import jax
import numpy as np

from augment_gen.run import parallel
from augment_gen.run.random import example_keys

SHAPE = (4, 4, 1)


def given(frozen, batch, key):
  """Fixed views, so that a reference can use them."""
  del frozen, key
  return batch["q"], batch["k"]


def noisy(frozen, batch, key):
  """Views that differ from step to step, the same on any number of devices."""
  del frozen
  keys = example_keys(key, "noise", len(batch["q"]))
  noise = jax.vmap(lambda k: 0.1 * jax.random.normal(k, SHAPE))(keys)
  return batch["q"] + noise, batch["k"] - noise


def batch_of(n=8):
  """{"q": …, "k": …}, float32 [n, 4, 4, 1] each."""
  rng = np.random.default_rng(0)
  return {name: rng.random((n, *SHAPE)).astype(np.float32) for name in "qk"}


def take(step, state, batch=None, frozen=None, steps=1, devices=1):
  """The state and the metrics after some steps, on the host."""
  mesh = parallel.make_mesh(jax.devices()[:devices])
  mapped = parallel.map_step(step, mesh, lambda resident, b: b)
  # A copy, because the step donates its state.
  state, frozen = parallel.replicate((jax.device_get(state), frozen or {}), mesh)
  batch = parallel.shard(batch or batch_of(), mesh)
  for _ in range(steps):
    state, metrics = mapped(state, frozen, {}, batch, jax.random.key(1))
  return jax.device_get((state, metrics))


def assert_close(tree, expected, rtol=1e-4, atol=1e-6):
  """Asserts that two trees have the same structure and nearly the same numbers."""
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol),
               tree, expected)


def steps_of(step, state, count):
  """The metrics of `count` steps on one batch, by name, [count] each."""
  def body(state, t):
    return step(state, {}, batch_of(16), jax.random.fold_in(jax.random.key(5), t))
  return jax.device_get(jax.jit(
      lambda state: jax.lax.scan(body, state, jax.numpy.arange(count))[1])(state))
