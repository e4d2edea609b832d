"""Order and content of the batches."""

import jax
import numpy as np
import pytest

from augment_gen import errors, parallel
from augment_gen.data import feed


def _feed(seed=0, stage="generator", **sizes):
  return feed.ResidentFeed(sizes or {"x_p": 23, "x_f": 10}, 4, seed, stage)


def _epoch(batches, name, epoch):
  steps = batches.steps_per_epoch[name]
  return np.concatenate([batches.place(epoch * steps + i)[name]
                         for i in range(steps)])


def test_every_epoch_is_a_permutation_without_its_last_part():
  batches = _feed()
  assert batches.steps_per_epoch == {"x_p": 5, "x_f": 2}
  orders = [_epoch(batches, "x_p", e) for e in range(4)]
  for order in orders:
    assert order.dtype == np.int32 and order.shape == (20,)
    assert len(set(order.tolist())) == 20
    assert 0 <= order.min() and order.max() < 23
  assert len({order.tobytes() for order in orders}) == 4
  # What one epoch drops, others show.
  assert set(np.concatenate(orders).tolist()) == set(range(23))


def test_sets_cycle_through_epochs_of_their_own():
  batches = _feed()
  alone = _feed(x_f=10)
  for step in range(9):
    np.testing.assert_array_equal(
        batches.place(step)["x_f"], alone.place(step)["x_f"])


def test_order_is_a_function_of_the_step():
  straight, resumed = _feed(), _feed()
  wanted = [straight.place(step) for step in range(12)]
  for step in (7, 11, 0, 3):
    for name in ("x_p", "x_f"):
      np.testing.assert_array_equal(
          resumed.place(step)[name], wanted[step][name])


def test_streams_differ():
  def orders(*args, **sizes):
    sizes = sizes or {"a": 40, "b": 40}
    batches = feed.ResidentFeed(sizes, 40, *args)
    return {batches.place(0)[name].tobytes() for name in sizes}
  streams = orders(0, "moco") | orders(1, "moco") | orders(0, "generator")
  assert len(streams) == 6


def test_set_smaller_than_a_batch():
  with pytest.raises(errors.UserError, match="moco: 'x_f' has 3 images"):
    _feed(stage="moco", x_p=20, x_f=3)


def test_fetch_gives_floats_and_the_indices():
  images = np.random.default_rng(0).integers(0, 256, (23, 2, 2, 1), np.uint8)
  frozen = {"images": {"x_p": images, "x_f": images[:10]}}
  place = _feed().place(3)
  batch = jax.jit(feed.fetch)(frozen, place)
  assert set(batch) == {"x_p", "x_f", "index"}
  assert batch["x_p"].dtype == np.float32
  np.testing.assert_allclose(
      batch["x_p"], images[place["x_p"]] / np.float32(255), rtol=1e-6)
  np.testing.assert_array_equal(batch["index"]["x_f"], place["x_f"])


def test_fetch_in_a_mapped_step_sees_its_own_part():
  mesh = parallel.make_mesh(jax.devices()[:2])
  images = np.arange(23, dtype=np.uint8).reshape(23, 1, 1, 1)

  def step(frozen, place):
    return feed.fetch(frozen, place)["x_p"] * 255

  spec = jax.sharding.PartitionSpec
  mapped = jax.jit(jax.shard_map(
      step, mesh=mesh, in_specs=(spec(), spec(parallel.AXIS)),
      out_specs=spec(parallel.AXIS)))
  place = _feed(x_p=23).place(1)
  result = mapped({"images": {"x_p": images}}, parallel.shard(place, mesh))
  np.testing.assert_allclose(result[:, 0, 0, 0], place["x_p"], rtol=1e-5)
