"""Order and content of the batches."""

import jax
import numpy as np
import pytest

from augment_gen.config import DataConfig, errors
from augment_gen.data import base, feed
from augment_gen.run import parallel


def images_of(size):
  values = np.arange(size, dtype=np.uint8).reshape(-1, 1, 1, 1)
  return base.ImageSet("numbers", np.broadcast_to(values, (size, 2, 2, 1)), None, ())


class Streamed:
  """The images of `images_of`, but not in memory; records what is read."""
  name, shape, resident = "streamed", (2, 2, 1), None

  def __init__(self, size):
    self._images, self.reads = images_of(size), []

  def __len__(self):
    return len(self._images)

  def read(self, indices):
    self.reads.append(indices.tolist())
    return self._images.read(indices)


def _feed(seed=0, stage="generator", **sizes):
  sets = {name: images_of(size)
          for name, size in (sizes or {"x_p": 23, "x_f": 10}).items()}
  return feed.ImageFeed(sets, 4, seed, stage)


def places(batches, step):
  return batches.host_batch(step)["index"]


def _epoch(batches, name, epoch):
  steps = batches.steps_per_epoch[name]
  return np.concatenate([places(batches, epoch * steps + i)[name]
                         for i in range(steps)])


def test_every_epoch_is_a_permutation_without_its_last_part():
  batches = _feed()
  assert batches.steps_per_epoch == {"x_p": 5, "x_f": 2}
  orders = [_epoch(batches, "x_p", e) for e in range(4)]
  for order in orders:
    assert order.dtype == np.int32 and order.shape == (20,)
    assert len(set(order.tolist())) == 20
    assert order.min() >= 0 and order.max() < 23
  assert len({order.tobytes() for order in orders}) == 4
  # Images dropped in one epoch appear in another.
  assert set(np.concatenate(orders).tolist()) == set(range(23))


def test_sets_cycle_through_epochs_of_their_own():
  batches = _feed()
  alone = _feed(x_f=10)
  for step in range(9):
    np.testing.assert_array_equal(
        places(batches, step)["x_f"], places(alone, step)["x_f"])


def test_order_is_a_function_of_the_step():
  straight, resumed = _feed(), _feed()
  wanted = [places(straight, step) for step in range(12)]
  for step in (7, 11, 0, 3):
    for name in ("x_p", "x_f"):
      np.testing.assert_array_equal(
          places(resumed, step)[name], wanted[step][name])


def test_streams_differ():
  def orders(*args, **sizes):
    sizes = sizes or {"a": 40, "b": 40}
    batches = feed.ImageFeed(
        {name: images_of(size) for name, size in sizes.items()}, 40, *args)
    return {places(batches, 0)[name].tobytes() for name in sizes}
  streams = orders(0, "moco") | orders(1, "moco") | orders(0, "generator")
  assert len(streams) == 6


def test_set_smaller_than_a_batch():
  with pytest.raises(errors.UserError, match="moco: 'x_f' has 3 images"):
    _feed(stage="moco", x_p=20, x_f=3)


def test_fetch_gives_floats_and_the_indices():
  batches = _feed()
  host_batch = batches.host_batch(3)
  batch = jax.jit(batches.fetch)(batches.resident, host_batch)
  assert set(batch) == {"x_p", "x_f", "index"}
  assert batch["x_p"].dtype == np.float32
  index = host_batch["index"]
  np.testing.assert_allclose(
      batch["x_p"][:, 1, 1, 0], index["x_p"] / np.float32(255), rtol=1e-6)
  np.testing.assert_array_equal(batch["index"]["x_f"], index["x_f"])


def test_a_set_that_is_not_in_memory_gives_the_same_batches():
  streamed = Streamed(23)
  both = feed.ImageFeed({"x_p": streamed, "x_f": images_of(10)}, 4, 0, "generator")
  plain = _feed()
  assert set(both.resident) == {"x_f"} and set(plain.resident) == {"x_p", "x_f"}
  for step in (0, 1, 2, 9, 4):  # in order, after a gap, and backwards
    there, here = both.host_batch(step), plain.host_batch(step)
    assert set(there["images"]) == {"x_p"} and not here["images"]
    a = both.fetch(both.resident, there)
    b = plain.fetch(plain.resident, here)
    jax.tree.map(np.testing.assert_array_equal, a, b)
  both.close()


def test_a_set_that_is_too_large_for_the_devices_gives_the_same_batches():
  sets = {"x_p": images_of(23), "x_f": images_of(10)}
  limit = sets["x_f"].resident.nbytes / 2**30  # X_p is larger
  apart = feed.ImageFeed(sets, 4, 0, "generator", DataConfig(max_device_gib=limit))
  plain = _feed()
  assert set(apart.resident) == {"x_f"} and apart.streamed == ("x_p",)
  for step in (0, 5):
    jax.tree.map(np.testing.assert_array_equal,
                 apart.fetch(apart.resident, apart.host_batch(step)),
                 plain.fetch(plain.resident, plain.host_batch(step)))
  apart.close()


def test_fetch_in_a_mapped_step_sees_its_own_part():
  mesh = parallel.make_mesh(jax.devices()[:2])
  spec = jax.sharding.PartitionSpec
  for images in (images_of(23), Streamed(23)):
    batches = feed.ImageFeed({"x_p": images}, 4, 0, "generator")

    def step(resident, host_batch, batches=batches):
      return batches.fetch(resident, host_batch)["x_p"] * 255

    mapped = jax.jit(jax.shard_map(
        step, mesh=mesh, in_specs=(spec(), spec(parallel.AXIS)),
        out_specs=spec(parallel.AXIS)))
    host_batch = batches.host_batch(1)
    result = mapped(batches.resident, parallel.shard(host_batch, mesh))
    np.testing.assert_allclose(
        result[:, 0, 0, 0], host_batch["index"]["x_p"], rtol=1e-5)


def test_sets_one_after_the_other():
  joined = base.Joined((images_of(5), images_of(3)))
  assert len(joined) == 8 and joined.shape == (2, 2, 1)
  chosen = np.array([7, 0, 4, 5])
  np.testing.assert_array_equal(joined.read(chosen)[:, 0, 0, 0], [2, 0, 4, 0])
  np.testing.assert_array_equal(joined.resident[chosen], joined.read(chosen))
  assert base.Joined((images_of(5), Streamed(3))).resident is None
