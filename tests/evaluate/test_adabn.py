"""Batch-norm statistics re-estimated on other images, compared with NumPy."""

from flax import linen as nn
import jax
import numpy as np

from augment_gen.evaluate import adabn
from augment_gen.models.norm import BatchNorm


class Encoder(nn.Module):
  """F: a 1 x 1 convolution, batch norm, and the mean over all pixels."""

  @nn.compact
  def __call__(self, x, *, train):
    x = nn.Conv(2, (1, 1), name="conv")(x)
    return BatchNorm(name="norm")(x, train=train).mean(axis=(1, 2)), {}


def images(n, shift=0, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 100, (n, 3, 3, 1), dtype=np.uint8) + np.uint8(shift)


def test_statistics_are_those_of_all_images_together():
  encoder, x = Encoder(), images(24)
  x[:7] += np.uint8(120)  # the means of batches differ
  variables = encoder.init(jax.random.key(0), x[:2] / np.float32(255),
                           train=False)
  found = adabn.reestimate(
      adabn.make_batch_statistics(encoder), variables, x, batch_size=8, seed=0)
  conv = variables["params"]["conv"]
  h = (x / 255) * np.asarray(conv["kernel"])[0, 0] + np.asarray(conv["bias"])
  np.testing.assert_allclose(
      found["batch_stats"]["norm"]["mean"], h.mean((0, 1, 2)), rtol=1e-4)
  np.testing.assert_allclose(
      found["batch_stats"]["norm"]["var"], h.var((0, 1, 2)), rtol=1e-3)
  jax.tree.map(np.testing.assert_array_equal, found["params"],
               variables["params"])
  # With these statistics, the embeddings of the images have mean 0.
  y, _ = encoder.apply(found, x / np.float32(255), train=False)
  np.testing.assert_allclose(np.mean(y, axis=0), 0, atol=1e-4)


def test_sorted_images_are_drawn_at_random():
  """Each batch is a random sample of the set, even if the set is sorted."""
  encoder = Encoder()
  x = np.concatenate([images(16), images(16, shift=120)])
  variables = encoder.init(jax.random.key(0), x[:2] / np.float32(255),
                           train=False)
  seen = []

  def spy(variables, part):
    seen.append(int(np.sum(part.mean(axis=(1, 2, 3)) > 100)))
    return variables["batch_stats"]

  adabn.reestimate(spy, variables, x, batch_size=8, seed=1)
  assert len(seen) == 4 and sum(seen) == 16
  assert all(0 < count < 8 for count in seen)


def test_fewer_images_than_a_batch():
  encoder, x = Encoder(), images(5)
  variables = encoder.init(jax.random.key(0), x / np.float32(255), train=False)
  found = adabn.reestimate(
      adabn.make_batch_statistics(encoder), variables, x, batch_size=8, seed=0)
  assert not np.allclose(found["batch_stats"]["norm"]["mean"], 0)
