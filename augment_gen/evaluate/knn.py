"""Weighted nearest neighbours (Wu et al. 2018, sec. 3.4)."""

import functools

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

# Similarities that exist at once: 128 MiB. Products of more queries are faster.
_SIMILARITIES = 2**25
_MOST_QUERIES = 1024


def knn_predict(
    train_features, train_labels, test_features, num_classes: int, k: int,
    temperature: float,
) -> np.ndarray:
  """Predicts classes by a vote of the k most similar training examples.

  A neighbour with cosine similarity s votes with weight exp(s / temperature). Among
  equally similar neighbours the first ones count; among classes with equal votes the
  smallest label wins.

  Args:
    train_features: [n, d] float32.
    train_labels: [n] integers in [0, num_classes).
    test_features: [m, d] float32.
    num_classes: c.
    k: number of neighbours; values above n count as n.
    temperature: positive; the smaller it is, the more the nearest neighbours weigh.

  Returns:
    [m] int32.
  """
  train = _normalise(jnp.asarray(train_features, jnp.float32))
  test = _normalise(jnp.asarray(test_features, jnp.float32))
  num = test.shape[0]
  chunk = max(min(_SIMILARITIES // train.shape[0], _MOST_QUERIES, num), 1)
  test = jnp.pad(test, ((0, -num % chunk), (0, 0)))
  chunks = test.reshape(-1, chunk, test.shape[1])
  classes = _vote(
      train, jnp.asarray(train_labels, jnp.int32), chunks, temperature,
      num_classes=num_classes, k=min(k, train.shape[0]))
  return np.asarray(classes).reshape(-1)[:num]


def knn_accuracy(
    train_features, train_labels, test_features, test_labels, num_classes: int,
    k: int, temperature: float,
) -> float:
  """Accuracy of `knn_predict` in percent; test_labels is [m]."""
  guesses = knn_predict(
      train_features, train_labels, test_features, num_classes, k, temperature)
  return 100.0 * float(np.mean(guesses == np.asarray(test_labels)))


def _normalise(features: jax.Array) -> jax.Array:
  norms = jnp.linalg.norm(features, axis=-1, keepdims=True)
  return features / jnp.maximum(norms, 1e-12)


@functools.partial(jax.jit, static_argnames=("num_classes", "k"))
def _vote(train, labels, chunks, temperature, *, num_classes, k):
  """[chunks, b, d] unit queries -> [chunks, b] classes."""

  def vote(queries):
    similarity = jnp.matmul(queries, train.T, precision=lax.Precision.HIGHEST)
    nearest, index = lax.top_k(similarity, k)
    # Similarities relative to the nearest give the same vote, and exp cannot overflow.
    # Not `nearest[:, :1]`: XLA would merge the slice into the top-k and, on
    # CPU, sort all n similarities instead, which takes 15 times as long.
    best = jnp.max(nearest, axis=-1, keepdims=True)
    weights = jnp.exp((nearest - best) / temperature)
    rows = jnp.broadcast_to(jnp.arange(len(queries))[:, None], index.shape)
    scores = jnp.zeros((len(queries), num_classes))
    scores = scores.at[rows, labels[index]].add(weights)
    return jnp.argmax(scores, axis=-1).astype(jnp.int32)

  return lax.map(vote, chunks)
