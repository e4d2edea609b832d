"""A stage's batches on the devices: one is sent ahead, and waiting for it is measured."""

import concurrent.futures
import time
from typing import Any

import jax

from augment_gen.run import parallel
from augment_gen.run.contracts import Feed


class Batches:
  """Takes a feed's batches to the devices.

  Images that a feed reads on the host are read and sent while the step before runs.
  Batches of indices alone are sent when they are due, which takes no time.

  Attributes:
    waited: seconds in which the devices had nothing to do because images were missing.
  """

  def __init__(self, feed: Feed, mesh: jax.sharding.Mesh, last: int):
    """Makes the batches of the steps before `last`; nothing is read yet."""
    self.waited = 0.0
    self._feed, self._mesh, self._last = feed, mesh, last
    self._sender = concurrent.futures.ThreadPoolExecutor(1) if feed.streamed else None
    self._sent: tuple[int, concurrent.futures.Future] | None = None
    self._running: Any = None

  def take(self, step: int, running: Any) -> Any:
    """The batch of a step, on the devices.

    Args:
      step: the step.
      running: something that the step before computes; None before the first step.
    """
    if self._sender is None:
      return parallel.shard(self._feed.host_batch(step), self._mesh)
    if self._sent is None or self._sent[0] != step:
      self._sent = step, self._sender.submit(self._send, step)
    ready = self._sent[1]
    if ready.done():
      # The host must not run ahead: the batch of each unfinished step takes memory.
      jax.block_until_ready(self._running)
    else:
      # Until the step before ends, the devices are busy and do not wait.
      jax.block_until_ready(running)
      then = time.monotonic()
      concurrent.futures.wait([ready])
      self.waited += time.monotonic() - then if running is not None else 0.0
    batch = ready.result()
    self._running = running
    if step + 1 < self._last:
      self._sent = step + 1, self._sender.submit(self._send, step + 1)
    return batch

  def close(self) -> None:
    """Ends reading."""
    if self._sender is not None:
      self._sender.shutdown(wait=True, cancel_futures=True)
    self._feed.close()

  def _send(self, step: int) -> Any:
    return jax.block_until_ready(parallel.shard(self._feed.host_batch(step), self._mesh))
