"""Reading ahead: what is read, how far, and by how many threads."""

import threading
import time

import numpy as np
import pytest

from augment_gen.config import DataConfig
from augment_gen.data import read_ahead
from augment_gen.data.feed import ImageFeed
from augment_gen.run import parallel


class Numbers:
  """Image i has the value i; notes what is read, and by which threads.

  Attributes:
    open: reading waits until it is set.
  """
  name, shape, resident = "numbers", (1, 1, 1), None

  def __init__(self, size):
    self.size, self.reads, self.threads = size, [], set()
    self.open = threading.Event()
    self.open.set()

  def __len__(self):
    return self.size

  def read(self, indices):
    self.threads.add(threading.get_ident())
    self.reads += indices.tolist()
    assert self.open.wait(10)
    return indices.astype(np.uint8).reshape(-1, 1, 1, 1)


@pytest.fixture
def small_pieces(monkeypatch):
  monkeypatch.setattr(read_ahead, "_PIECE", 2)


def reader(images, rows=5, **options):
  return read_ahead.ReadAhead(
      {"x_p": images}, lambda step: {"x_p": np.arange(rows) + 10 * step}, rows, **options)


def values(batch):
  return batch["x_p"][:, 0, 0, 0].tolist()


def settle(images):
  """Waits until nothing more is read; the number of images that were."""
  before = -1
  while len(images.reads) != before:
    before = len(images.reads)
    time.sleep(0.05)
  return before


def test_a_batch_is_a_function_of_the_step(small_pieces):
  ahead = reader(Numbers(256))
  for step in (0, 1, 2, 7, 3):  # in order, after a gap, and backwards
    assert values(ahead.batch(step)) == [10 * step + i for i in range(5)]
  ahead.close()
  assert values(ahead.batch(4)) == [40, 41, 42, 43, 44]
  ahead.close()


def test_threads_share_the_batch_that_the_step_waits_for(small_pieces):
  images = Numbers(256)
  images.open.clear()
  ahead = reader(images, threads=3)
  waiting = threading.Thread(target=ahead.batch, args=(0,))
  waiting.start()
  assert settle(images) == 5 and len(images.threads) == 3  # pieces of 2, 2 and 1
  images.open.set()
  waiting.join()
  ahead.close()


def test_reading_ahead_is_bounded_in_bytes_and_in_steps(small_pieces):
  for gib, pieces in ((6 / 2**30, 3), (1.0, 8 * 3)):
    images = Numbers(256)
    ahead = reader(images, threads=1, gib=gib)
    ahead.batch(0)
    read = settle(images)
    ahead.close()
    assert read <= 5 + 2 * pieces and read > 5


def test_an_error_reaches_the_step_that_needs_the_image(small_pieces):
  class Broken(Numbers):
    repaired = False

    def read(self, indices):
      if 12 in indices and not self.repaired:
        raise ValueError("image 12")
      return super().read(indices)

  images = Broken(256)
  ahead = reader(images)
  ahead.batch(0)
  with pytest.raises(ValueError, match="image 12"):
    ahead.batch(1)
  images.repaired = True
  assert values(ahead.batch(1)) == [10, 11, 12, 13, 14]
  ahead.close()


def test_processes_together_read_each_image_once(small_pieces, monkeypatch):
  """As on two hosts whose devices take turns in the mesh."""
  whole = ImageFeed({"x_p": Numbers(23)}, 8, 0, "pretrain")
  parts = []
  for rows in ([0, 1, 4, 5], [2, 3, 6, 7]):
    monkeypatch.setattr(parallel, "own_rows", lambda size, rows=rows: np.array(rows))
    parts.append((rows, ImageFeed({"x_p": Numbers(23)}, 8, 0, "pretrain",
                                  DataConfig(read_threads=1))))
  for step in range(4):  # into the second epoch
    batch = whole.host_batch(step)
    for rows, feed in parts:
      part = feed.host_batch(step)
      for kind in ("index", "images"):
        np.testing.assert_array_equal(part[kind]["x_p"], batch[kind]["x_p"][rows])
  for feed in (whole, *(feed for _, feed in parts)):
    feed.close()


def test_no_thread_is_left_behind():
  before = set(threading.enumerate())  # of tests that did not close their feeds
  feed = ImageFeed({"x_p": Numbers(23)}, 8, 0, "pretrain")
  feed.host_batch(0)
  started = [thread for thread in threading.enumerate() if thread not in before]
  assert any(thread.name.startswith("grain") for thread in started)
  feed.close()
  for _ in range(100):
    if not any(thread.is_alive() for thread in started):
      return
    time.sleep(0.02)
  pytest.fail("threads go on")
