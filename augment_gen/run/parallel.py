"""One mesh with one axis, and the one place where a step is mapped over the devices.

A step is written for one device, with collectives over `AXIS`. `map_step` is the modern
form of `jax.pmap`: `jit` of `shard_map`, with the state donated. Arrays keep their
global shape: the state is replicated, batches are split along their first dimension, and
checkpoints do not depend on the devices.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax import lax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np

AXIS = "batch"

PyTree = Any


def make_mesh(devices=None) -> Mesh:
  """A one-dimensional mesh over all devices (of all hosts)."""
  devices = jax.devices() if devices is None else devices
  return Mesh(np.asarray(devices), (AXIS,))


def host_copies(devices: int) -> int:
  """Number of copies of a replicated array that are in the host's memory."""
  return devices if jax.default_backend() == "cpu" else 0


def axis_index() -> jax.Array:
  """This device's position along `AXIS`; 0 outside a mapped step."""
  try:
    return lax.axis_index(AXIS)
  except NameError:
    return jnp.zeros((), jnp.int32)


def axis_size() -> int:
  """Number of devices along `AXIS`; 1 outside a mapped step."""
  try:
    return lax.axis_size(AXIS)
  except NameError:
    return 1


def mean(tree: PyTree) -> PyTree:
  """Mean over the devices; the identity outside a mapped step."""
  return tree if axis_size() == 1 else lax.pmean(tree, AXIS)


def gather(array: jax.Array) -> jax.Array:
  """[b, ...] on each device -> [devices * b, ...] on all, in global order."""
  if axis_size() == 1:
    return array
  return lax.all_gather(array, AXIS, tiled=True)


def own_part(array: jax.Array) -> jax.Array:
  """The inverse of `gather`: this device's part of a whole array."""
  part = array.shape[0] // axis_size()
  return lax.dynamic_slice_in_dim(array, axis_index() * part, part)


def map_step(step: Callable, mesh: Mesh, fetch: Callable
             ) -> jax.stages.Wrapped:
  """Maps a step over the devices of `mesh`.

  Args:
    step: `(state, frozen, batch, key) -> (state, metrics)`, written for one
      device. The metrics must already be means over the devices.
    mesh: from `make_mesh`.
    fetch: `Feed.fetch`, `(resident, host_batch) -> batch`.

  Returns:
    `(state, frozen, resident, host_batch, key) -> (state, metrics)`, jitted. `state`
    is donated; the arrays of `host_batch` are split along their first dimension; the
    rest is replicated. `key` is the stage's base key, which is folded with `state.step`
    here.
  """

  def per_device(state, frozen, resident, host_batch, key):
    key = jax.random.fold_in(key, state.step)
    return step(state, frozen, fetch(resident, host_batch), key)

  # check_vma would insert a psum into every gradient with respect to the replicated
  # parameters; the steps call `parallel.mean` themselves instead.
  mapped = jax.shard_map(
      per_device, mesh=mesh, in_specs=(P(), P(), P(), P(AXIS), P()),
      out_specs=(P(), P()), check_vma=False)
  return jax.jit(mapped, donate_argnums=(0,))


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
  """Copies whole arrays to all devices of the mesh."""
  sharding = NamedSharding(mesh, P())
  if jax.process_count() == 1:
    return jax.device_put(tree, sharding)

  def put(leaf: Any) -> jax.Array:
    # With several processes, `device_put` takes no typed keys.
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      return jax.random.wrap_key_data(
          jax.device_put(jax.random.key_data(leaf), sharding),
          impl=jax.random.key_impl(leaf))
    return jax.device_put(leaf, sharding)

  return jax.tree.map(put, tree)


def own_rows(size: int) -> np.ndarray:
  """The rows that this process's devices hold of an array that is split, ascending.

  Args:
    size: length of the array's first dimension, over all devices of all processes.
  """
  if jax.process_count() == 1:
    return np.arange(size)
  parts = NamedSharding(make_mesh(), P(AXIS)).addressable_devices_indices_map((size,))
  return np.unique(np.concatenate([np.arange(size)[part] for part in parts.values()]))


def shard(tree: PyTree, mesh: Mesh) -> PyTree:
  """Splits arrays along their first dimension over the devices.

  Every process passes its `own_rows` of each array, in their order.
  """
  sharding = NamedSharding(mesh, P(AXIS))
  processes = jax.process_count()

  def put(local: np.ndarray) -> jax.Array:
    shape = (len(local) * processes, *local.shape[1:])
    rows = own_rows(shape[0])

    def part(index: Any) -> np.ndarray:
      start, stop, _ = index[0].indices(shape[0])
      first = int(np.searchsorted(rows, start))
      return local[first:first + stop - start]

    return jax.make_array_from_callback(shape, sharding, part)

  return jax.tree.map(put, tree)
