"""Reads the images of coming steps ahead of time, in threads, with grain."""

from collections.abc import Callable, Mapping
import dataclasses
import math
import os
import sys
from typing import Any

import numpy as np

from augment_gen.data.base import Images

# Images that one thread reads at a time. A batch is cut into such pieces, so that all
# threads work on the batch that the step waits for.
_PIECE = 16
_STEPS = 8  # steps that are read ahead at most
_GIB = 2**30


def default_threads() -> int:
  """One thread for each core that this process may use, and never fewer than four."""
  cores = (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity")
           else os.cpu_count() or 1)
  return max(4, cores)


@dataclasses.dataclass(frozen=True)
class _Pieces:
  """The pieces of all batches, one after the other: a source of random access for grain.

  Piece i belongs to step i // `each`, so a run that is resumed at a step starts at that
  step's first piece.
  """
  sets: Mapping[str, Images]
  index: Callable[[int], Mapping[str, np.ndarray]]
  each: int

  def __len__(self) -> int:
    return sys.maxsize

  def __getitem__(self, piece: int) -> dict[str, np.ndarray]:
    step, part = divmod(int(piece), self.each)
    rows = slice(part * _PIECE, (part + 1) * _PIECE)
    index = self.index(step)
    return {name: images.read(index[name][rows]) for name, images in self.sets.items()}


class ReadAhead:
  """The batches of sets that are not in memory, read while earlier steps run.

  `grain.MapDataset` maps a step to its images, in threads that decode; reading ahead is
  bounded in bytes. What `batch` returns is a pure function of the step.
  """

  def __init__(self, sets: Mapping[str, Images],
               index: Callable[[int], Mapping[str, np.ndarray]], rows: int, *,
               threads: int = 0, gib: float = 1.0):
    """Prepares reading; the threads start with the first batch.

    Args:
      sets: the sets, by name; without any, batches are empty and no thread starts.
      index: `step -> {set name: int [rows]}`, which images a step gets; called by many
        threads.
      rows: number of images of each set in a step.
      threads: number of threads; 0: see `default_threads`.
      gib: bound on what is read ahead and waits, in GiB.
    """
    each = math.ceil(rows / _PIECE)
    self._source = _Pieces(sets, index, each)
    piece = min(rows, _PIECE) * sum(math.prod(images.shape) for images in sets.values())
    fitting = int(gib * _GIB / max(piece, 1))
    self._ahead = max(1, min(fitting, _STEPS * each))
    self._threads = min(threads or default_threads(), self._ahead)
    self._iterator: Any = None
    self._next = 0

  def batch(self, step: int) -> dict[str, np.ndarray]:
    """The images of a step, {set name: uint8 [rows, H, W, C]}.

    Steps are best asked for in order; any other step discards what was read ahead.
    """
    if not self._source.sets:
      return {}
    if self._iterator is None or step != self._next:
      self.close()
      self._iterator = self._start(step)
    self._next = -1  # if reading fails, the next batch starts anew
    pieces = [next(self._iterator) for _ in range(self._source.each)]
    self._next = step + 1
    return {name: np.concatenate([piece[name] for piece in pieces])
            for name in self._source.sets}

  def close(self) -> None:
    """Ends the threads; another `batch` starts them again."""
    if self._iterator is not None:
      self._iterator.close()
      self._iterator = None

  def _start(self, step: int):
    import grain  # pylint: disable=g-import-not-at-top  (takes a second)

    pieces = grain.MapDataset.source(self._source).to_iter_dataset(
        grain.ReadOptions(self._threads, self._ahead))
    iterator = iter(pieces)
    iterator.set_state({"next_index": step * self._source.each})
    return iterator
