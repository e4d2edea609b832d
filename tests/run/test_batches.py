"""Batches are sent one step ahead, and waiting for them is measured."""

import io
import threading
import time

import jax
import numpy as np
import pytest

from augment_gen.run import parallel
from augment_gen.run.batches import Batches
from augment_gen.run.progress import Progress


class Feed:
  """Batches of one number; each takes `seconds`."""
  batch_size, steps_per_epoch, resident = 1, {"x_p": 4}, {}

  def __init__(self, streamed=("x_p",), seconds=0.0):
    self.streamed, self.seconds, self.asked, self.closed = streamed, seconds, [], False
    self.threads = set()

  def host_batch(self, step):
    self.asked.append(step)
    self.threads.add(threading.current_thread())
    time.sleep(self.seconds)
    return np.array([step])

  def close(self):
    self.closed = True


@pytest.fixture(scope="module")
def mesh():
  return parallel.make_mesh(jax.devices()[:1])


def test_the_next_batch_is_asked_for_while_a_step_runs(mesh):
  feed = Feed()
  batches = Batches(feed, mesh, last=3)
  for step in range(3):
    assert batches.take(step, None if step == 0 else jax.numpy.zeros(())).tolist() == [step]
  time.sleep(0.05)
  batches.close()
  assert feed.asked == [0, 1, 2] and feed.closed  # none beyond the last step
  assert threading.main_thread() not in feed.threads


def test_indices_are_sent_when_they_are_due(mesh):
  feed = Feed(streamed=())
  batches = Batches(feed, mesh, last=3)
  batches.take(0, None)
  assert feed.asked == [0] and feed.threads == {threading.current_thread()}
  batches.close()
  assert feed.closed


def test_only_waiting_while_the_devices_are_idle_counts(mesh):
  class Running:
    """What a step computes for a while."""

    def block_until_ready(self):
      time.sleep(0.2)
      return self

  for running, least, most in ((Running(), 0.0, 0.1), (jax.numpy.zeros(()), 0.15, 10)):
    batches = Batches(Feed(seconds=0.2), mesh, last=3)
    batches.take(0, None)
    assert batches.waited == 0.0  # before the first step there is nothing to keep busy
    batches.take(1, running)
    batches.close()
    assert least <= batches.waited < most


def test_an_error_in_reading_is_raised_by_its_step(mesh):
  class Broken(Feed):
    def host_batch(self, step):
      return np.array([1 // (1 - step)])

  batches = Batches(Broken(), mesh, last=3)
  batches.take(0, None)
  with pytest.raises(ZeroDivisionError):
    batches.take(1, jax.numpy.zeros(()))
  batches.close()


@pytest.mark.parametrize("waited, words", [
    (None, ""), (0.0, "0% of the time: the step limits the speed"),
    (1e9, "100% of the time: reading limits the speed; more config.data.read_threads")])
def test_what_limits_the_speed_is_said(waited, words):
  out = io.StringIO()
  progress = Progress(
      "pretrain", 0, 2, 8, out, waited=None if waited is None else lambda: waited)
  progress.advance(1)
  time.sleep(0.01)
  progress.advance(2)
  progress.show({"loss": 1.0})
  assert words in progress.bottleneck() and bool(words) == bool(progress.bottleneck())
  assert ("data_wait" in out.getvalue()) == (waited is not None)
