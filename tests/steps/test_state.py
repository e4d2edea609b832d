"""Optimisers work on joined leaves, and do what they would do leaf by leaf."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from augment_gen.config import OptimizerConfig
from augment_gen.steps import state as state_lib


def tree(seed, *, small=True, large=True):
  """Leaves below and above the length from which on a leaf stays alone."""
  rng = np.random.default_rng(seed)
  shapes = {}
  if small:
    shapes |= {"bias": (5,), "kernel": (3, 3, 2, 4), "scalar": ()}
  if large:
    shapes |= {"dense": (130, 140), "wide": (2, 20_000)}
  # Sorted by name, small and large ones take turns.
  return {name: jnp.asarray(rng.normal(size=shape), jnp.float32)
          for name, shape in shapes.items()}


@pytest.mark.parametrize("kinds", [{}, {"small": False}, {"large": False}], ids=str)
@pytest.mark.parametrize("name, plain", [
    ("adam", optax.adam(0.1, b1=0.8)), ("sgd", optax.sgd(0.1, momentum=0.8))])
def test_joined_leaves_are_updated_like_single_ones(name, plain, kinds):
  plain = optax.chain(optax.add_decayed_weights(0.3), plain)
  tx = state_lib.make_optimizer(
      OptimizerConfig(name=name, momentum=0.8, weight_decay=0.3),
      optax.constant_schedule(0.1))
  params = expected = tree(0, **kinds)
  net = state_lib.NetState.create({"params": params}, tx)
  opt_state = plain.init(params)
  step = jax.jit(lambda net, grads: state_lib.apply_gradients(net, grads, tx))
  for seed in (1, 2, 3):
    grads = tree(seed, **kinds)
    updates, opt_state = plain.update(grads, opt_state, expected)
    norms = {"grad_norm": optax.tree.norm(grads), "param_norm": optax.tree.norm(expected),
             "update_norm": optax.tree.norm(updates)}
    expected = optax.apply_updates(expected, updates)
    net, found = step(net, grads)
    assert jax.tree.structure(net.params) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
                 net.params, expected)
    for norm, value in norms.items():
      np.testing.assert_allclose(found[norm], value, rtol=1e-5)
