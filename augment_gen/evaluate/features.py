"""Features of a set of images under a frozen encoder."""

from collections.abc import Callable
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
import numpy as np

from augment_gen.data.base import Images, reader
from augment_gen.run import parallel

# (variables, images [b, H, W, C] float32 in [0, 1]) -> features [b, d].
Encode = Callable[[Any, jax.Array], jax.Array]


def extract(
    encode: Encode, variables: Any, images: Images | np.ndarray, batch_size: int,
    mesh: Mesh | None = None,
) -> np.ndarray:
  """Encodes all images, in order.

  This is compiled once per `encode` and batch shape: pass the same function object for
  every set.

  Args:
    encode: encodes one batch; must treat images independently of each other.
    variables: the encoder's variables.
    images: a set, or uint8 [N, H, W, C].
    batch_size: images at a time, over all devices.
    mesh: from `parallel.make_mesh`; the batch, rounded up to a multiple of the devices,
      is split over them. None: the default device.

  Returns:
    [N, d] float32, the same on all hosts.
  """
  if mesh is not None:
    batch_size = -(-batch_size // mesh.size) * mesh.size
    variables = parallel.replicate(variables, mesh)
  parts, read = [], reader(images)
  for start in range(0, len(images), batch_size):
    batch = read(np.arange(start, min(start + batch_size, len(images))))
    present = len(batch)
    padding = [(0, batch_size - present)] + [(0, 0)] * (batch.ndim - 1)
    batch = np.pad(batch, padding)
    if mesh is not None:
      batch = parallel.shard(batch, mesh)
    features = _encode_batch(encode, mesh, variables, batch)
    parts.append(np.asarray(features)[:present])
  return np.concatenate(parts)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _encode_batch(encode, mesh, variables, images):
  """uint8 batch -> float32 features, all of them on every device."""

  def per_device(variables, images):
    features = encode(variables, images.astype(jnp.float32) / 255.0)
    return parallel.gather(features.astype(jnp.float32))

  if mesh is None:
    return per_device(variables, images)
  return jax.shard_map(
      per_device, mesh=mesh, in_specs=(P(), P(parallel.AXIS)), out_specs=P(),
      check_vma=False)(variables, images)
