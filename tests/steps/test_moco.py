"""MoCo's step, compared with a slow NumPy reference, on one or more devices."""

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from augment_gen.config import MocoConfig, OptimizerConfig
from augment_gen.models.heads import ProjectedEncoder
from augment_gen.models.norm import BatchNorm
from augment_gen.run import parallel
from augment_gen.run.random import example_keys, stream
from augment_gen.steps import moco
from augment_gen.steps.state import make_optimizer, make_schedule

SHAPE = (2, 3, 1)
CONFIG = MocoConfig(dim=3, queue=12, momentum=0.9, temperature=0.5,
                    bn_groups=2, shuffle=True)


class Linear(nn.Module):
  """F: one dense layer, small enough for finite differences."""

  @nn.compact
  def __call__(self, x, *, train):
    return nn.Dense(4, name="w")(x.reshape(len(x), -1)), {}


class UnitHead(nn.Module):

  @nn.compact
  def __call__(self, y):
    u = nn.Dense(3, name="w")(y)
    return u / jnp.linalg.norm(u, axis=-1, keepdims=True)


class Normed(nn.Module):
  """F with batch norm, whose groups make the order of the keys matter."""
  groups: int

  @nn.compact
  def __call__(self, x, *, train):
    y = nn.Dense(5)(x.reshape(len(x), -1))
    return nn.relu(BatchNorm(groups=self.groups)(y, train=train)), {}


def two_images(frozen, batch, key):
  """Fixed views, so that a reference can use them."""
  del frozen, key
  return batch["q"], batch["k"]


def noisy(frozen, batch, key):
  """Views with random noise for each example."""
  del frozen
  keys = example_keys(key, "noise", len(batch["q"]))
  draw = lambda k: 0.1 * jax.random.normal(k, SHAPE)
  noise = jax.vmap(draw)(keys)
  return batch["q"] + noise, batch["k"] - noise


def batch_of(seed, n=6):
  rng = np.random.default_rng(seed)
  return {name: rng.random((n, *SHAPE)).astype(np.float32) for name in "qk"}


# --- the reference -----------------------------------------------------------


def slow_forward(p, x):
  y = x.reshape(len(x), -1) @ p["encoder/w/kernel"] + p["encoder/w/bias"]
  u = y @ p["head/w/kernel"] + p["head/w/bias"]
  return u / np.sqrt((u * u).sum(1, keepdims=True))


def slow_loss(p, batch, keys, queue, tau):
  q = slow_forward(p, batch["q"])
  losses = []
  for i in range(len(q)):
    logits = [q[i] @ keys[i] / tau] + [q[i] @ k / tau for k in queue]
    losses.append(np.log(np.sum(np.exp(logits))) - logits[0])
  return np.mean(losses)


def numeric_gradient(f, p, eps=1e-6):
  grads = {}
  for name, value in p.items():
    grad = np.zeros_like(value)
    for i in np.ndindex(value.shape):
      up, down = dict(p), dict(p)
      up[name], down[name] = value.copy(), value.copy()
      up[name][i] += eps
      down[name][i] -= eps
      grad[i] = (f(up) - f(down)) / (2 * eps)
    grads[name] = grad
  return grads


def flat(tree):
  return {"/".join(k.key for k in path): np.asarray(v, np.float64)
          for path, v in jax.tree_util.tree_flatten_with_path(tree)[0]}


def make(config=CONFIG, net=None, views=two_images, optimizer=None):
  optimizer = optimizer or OptimizerConfig(
      lr=0.1, momentum=0.9, weight_decay=0.01, schedule="constant")
  tx = make_optimizer(optimizer, make_schedule(optimizer, 10, 5))
  net = net or ProjectedEncoder(Linear(), UnitHead())
  state = moco.init(net, tx, config, SHAPE, jax.random.key(0))
  step = parallel.map_step(
      moco.make_step(net, tx, config, views),
      parallel.make_mesh(jax.devices()[:1]), lambda resident, batch: batch)
  return state, step


def test_whole_steps_equal_the_slow_reference():
  state, step = make()
  query, key_net = flat(state.query.params), flat(state.key_params)
  queue = np.asarray(state.queue, np.float64)
  velocity = {n: np.zeros_like(v) for n, v in query.items()}
  pointer = 0
  for t in range(3):
    batch = batch_of(t)
    # The order: momentum update, keys, loss with the old queue, SGD, enqueue.
    key_net = {n: 0.9 * key_net[n] + 0.1 * query[n] for n in query}
    keys = slow_forward(key_net, batch["k"].astype(np.float64))
    f = lambda p: slow_loss(p, batch, keys, queue, CONFIG.temperature)
    loss, grads = f(query), numeric_gradient(f, query)
    for n in query:
      velocity[n] = 0.9 * velocity[n] + grads[n] + 0.01 * query[n]
      query[n] = query[n] - 0.1 * velocity[n]
    queue = queue.copy()
    for k in keys:
      queue[pointer] = k
      pointer = (pointer + 1) % len(queue)

    state, metrics = step(state, {}, {}, batch, jax.random.key(1))
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    for n, value in flat(state.query.params).items():
      np.testing.assert_allclose(value, query[n], rtol=2e-5, atol=2e-6)
    for n, value in flat(state.key_params).items():
      np.testing.assert_allclose(value, key_net[n], rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(state.queue, queue, rtol=2e-5, atol=2e-6)
    assert int(state.queue_pointer) == pointer
  assert int(state.step) == 3


def test_queue_keeps_the_order_over_the_wrap_around():
  queue, pointer = jnp.zeros((6, 1)), jnp.zeros((), jnp.int32)
  for first in (1, 3, 5, 7):  # the fourth pair overwrites the first
    keys = jnp.asarray([[first], [first + 1]], jnp.float32)
    queue, pointer = moco.enqueue(queue, pointer, keys)
  np.testing.assert_array_equal(queue[:, 0], [7, 8, 3, 4, 5, 6])
  assert int(pointer) == 2


def test_momentum_update():
  new = moco.momentum_update({"w": jnp.asarray([1.0])},
                             {"w": jnp.asarray([3.0])}, 0.75)
  np.testing.assert_allclose(new["w"], [1.5])


def test_logits_do_not_contain_this_steps_keys():
  """If the queue already held the keys, the loss would be at least log 2."""
  state, step = make(views=lambda f, b, k: (b["q"], b["q"]))
  poisoned = state.replace(
      queue=-jnp.ones_like(state.queue) * jnp.sqrt(1 / 3))
  _, metrics = step(poisoned, {}, {}, batch_of(0), jax.random.key(0))
  q = slow_forward(flat(make()[0].query.params), batch_of(0)["q"])
  expected = np.mean(np.log1p(12 * np.exp(
      (-q.sum(1) / np.sqrt(3) - 1) / CONFIG.temperature)))
  np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-4)


def test_no_gradient_reaches_the_key_encoder():
  """With momentum 1, the key encoder must not change."""
  config = MocoConfig(dim=3, queue=12, momentum=1.0, bn_groups=2)
  state, step = make(config)
  before = flat(state.key_params)
  for t in range(2):
    state, _ = step(state, {}, {}, batch_of(t), jax.random.key(1))
  for n, value in flat(state.key_params).items():
    np.testing.assert_array_equal(value, before[n])


@pytest.mark.parametrize("shuffle", [True, False])
def test_shuffling_changes_statistics_but_not_the_pairing(shuffle):
  """Keys return in the order of the batch, but are normalised in other groups."""
  config = MocoConfig(dim=3, queue=12, momentum=1.0, bn_groups=2,
                      shuffle=shuffle)
  net = ProjectedEncoder(Normed(2), UnitHead())
  state, step = make(config, net)
  variables = {"params": jax.device_get(state.key_params),
               "batch_stats": jax.device_get(state.key_batch_stats)}
  batch, key = batch_of(0), jax.random.key(3)
  encode = lambda images: np.asarray(net.apply(
      variables, images, train=True, mutable=["batch_stats"])[0])
  order = np.arange(6)
  if shuffle:
    order = np.asarray(jax.random.permutation(
        stream(jax.random.fold_in(key, 0), "shuffle"), 6))
  expected = np.zeros((6, 3), np.float32)
  expected[order] = encode(batch["k"][order])
  new, _ = step(state, {}, {}, batch, key)
  np.testing.assert_allclose(new.queue[:6], expected, atol=1e-5)
  assert np.allclose(expected, encode(batch["k"]), atol=1e-3) != shuffle


def after_three_steps(devices, parts=1):
  """State and metrics, with eight batch-norm groups and Normed networks."""
  config = MocoConfig(dim=3, queue=32, momentum=0.9, bn_groups=8)
  optimizer = OptimizerConfig(lr=0.1, schedule="constant")
  tx = make_optimizer(optimizer, make_schedule(optimizer, 10, 5))
  net = ProjectedEncoder(Normed(8 // devices // parts), UnitHead())
  mesh = parallel.make_mesh(jax.devices()[:devices])
  state = moco.init(net, tx, config, SHAPE, jax.random.key(0))
  step = parallel.map_step(moco.make_step(net, tx, config, noisy, parts), mesh,
                           lambda resident, batch: batch)
  for t in range(3):
    batch = parallel.shard(batch_of(t, 16), mesh)
    state, metrics = step(parallel.replicate(state, mesh), {}, {}, batch,
                          jax.random.key(1))
  return jax.device_get((state, metrics))


@pytest.mark.parametrize("devices", [2, 8])
def test_devices_agree_with_one(devices):
  """Groups, keys, draws and order do not depend on how the batch is split."""
  for a, b in zip(*map(jax.tree.leaves, (
      after_three_steps(1), after_three_steps(devices))), strict=True):
    np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("devices, parts", [(1, 4), (1, 2), (2, 2)])
def test_parts_agree_with_the_whole(devices, parts):
  """A part has whole batch-norm groups, so its statistics are those of the whole."""
  for a, b in zip(*map(jax.tree.leaves, (
      after_three_steps(devices), after_three_steps(devices, parts))), strict=True):
    np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def test_restart_keeps_networks_and_keys_and_forgets_the_optimiser():
  state, step = make()
  for t in range(3):
    state, _ = step(state, {}, {}, batch_of(t), jax.random.key(1))
  state = jax.device_get(state)
  tx = optax.sgd(0.1, momentum=0.9)
  again = moco.restart(state, tx)
  assert int(again.step) == 0
  oldest = int(state.queue_pointer)
  assert oldest > 0 and int(again.queue_pointer) == 0
  np.testing.assert_array_equal(
      again.queue, [*state.queue[oldest:], *state.queue[:oldest]])
  jax.tree.map(np.testing.assert_array_equal, again.query.params,
               state.query.params)
  assert all(np.all(np.asarray(leaf) == 0)
             for leaf in jax.tree.leaves(again.query.opt_state))


def test_cosine_per_epoch_is_the_official_schedule():
  config = OptimizerConfig(lr=0.03, schedule="cosine_per_epoch")
  schedule = make_schedule(config, total_steps=40, steps_per_epoch=10)
  for step in range(40):
    epoch = step // 10
    np.testing.assert_allclose(
        schedule(step), 0.03 * 0.5 * (1 + np.cos(np.pi * epoch / 4)),
        rtol=1e-6)
