"""The supervised step, compared with its equation on one and two devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from toy_networks import Linear
from toy_views import assert_close, batch_of, given, SHAPE, take

from augment_gen.models.heads import Classifier
from augment_gen.steps import supervised

NET = Classifier(Linear(), 3)
# X_p has 20 images; the batch holds some of them, in any order.
LABELS = np.arange(20, dtype=np.int32) % 3
BATCH = {**batch_of(), "index": {"x_p": np.array([19, 3, 4, 11, 0, 7, 8, 2])}}


TX = optax.sgd(0.1)


@functools.cache
def reference():
  """The state, the loss and its gradient of the first step."""
  labels = LABELS[BATCH["index"]["x_p"]]
  state = supervised.init(NET, TX, SHAPE, jax.random.key(0))

  def slow(params):
    total = 0.0
    for view in "qk":
      y, _ = Linear().apply({"params": params["encoder"]}, BATCH[view], train=True)
      logits = (y @ params["classifier"]["kernel"]
                + params["classifier"]["bias"][None])
      p = jnp.exp(logits) / jnp.exp(logits).sum(axis=1)[:, None]
      total -= jnp.mean(jnp.log(p[np.arange(8), labels])) / 2
    return total

  return state, *jax.jit(jax.value_and_grad(slow))(state.net.params)


@pytest.mark.parametrize("devices", [1, 2])
def test_one_step_classifies_both_views(devices):
  state, value, grads = reference()
  new, metrics = take(supervised.make_step(NET, TX, given), state, BATCH,
                      {"labels": LABELS}, devices=devices)
  np.testing.assert_allclose(metrics["loss"], value, rtol=1e-5)
  assert_close(new.net.params, jax.tree.map(
      lambda p, g: p - 0.1 * g, state.net.params, grads))
