"""Weighted kNN, compared with a loop."""

import jax.numpy as jnp
import numpy as np
import pytest

from augment_gen.evaluate import knn


def _reference(train, labels, test, classes, k, temperature):
  guesses = []
  for query in test:
    similarity = [query @ x / np.linalg.norm(query) / np.linalg.norm(x)
                  for x in train]
    scores = np.zeros(classes)
    for i in np.argsort(similarity)[::-1][:k]:
      scores[labels[i]] += np.exp(similarity[i] / temperature)
    guesses.append(np.argmax(scores))
  return np.array(guesses)


@pytest.mark.parametrize("k, temperature", [(1, 0.07), (5, 0.07), (9, 1.0),
                                            (500, 0.5)])
def test_matches_a_loop(k, temperature, monkeypatch):
  monkeypatch.setattr(knn, "_SIMILARITIES", 40 * 128)  # queries in chunks of 128
  rng = np.random.default_rng(k)
  labels = rng.integers(0, 4, 40)
  train = rng.normal(size=(40, 6)) * rng.uniform(0.1, 9, (40, 1))
  test = rng.normal(size=(300, 6))  # several chunks, the last one padded
  expected = _reference(train, labels, test, 4, k, temperature)
  guesses = knn.knn_predict(train, labels, test, 4, k, temperature)
  np.testing.assert_array_equal(guesses, expected)
  truth = rng.integers(0, 4, 300)
  assert knn.knn_accuracy(train, labels, test, truth, 4, k, temperature) == (
      pytest.approx(100 * np.mean(expected == truth)))


def test_tiny_temperature_is_nearest_neighbour():
  train = np.array([[1, 0.1], [0, 1], [0.1, 1]])
  guess = knn.knn_predict(train, np.array([1, 0, 0]), np.array([[1.0, 0.0]]),
                          2, 3, 1e-4)
  np.testing.assert_array_equal(guess, [1])


@pytest.mark.parametrize("k, winner", [(3, 2), (5, 1)])
def test_of_equally_similar_neighbours_the_first_count(k, winner):
  train = np.tile([1.0, 0.0], (9, 1))
  train[8] = [0.0, 1.0]
  labels = np.array([2, 2, 1, 1, 1, 0, 0, 0, 0])
  guess = knn.knn_predict(train, labels, np.array([[2.0, 0.0]]), 3, k, 0.1)
  np.testing.assert_array_equal(guess, [winner])


def test_the_neighbours_are_selected_not_sorted():
  """XLA sorts all similarities if it does not recognise the top-k pattern."""
  compiled = knn._vote.lower(
      jnp.ones((600, 4)), jnp.zeros(600, jnp.int32),
      jnp.ones((2, 256, 4)), 0.1, num_classes=3, k=20).compile()
  assert "TopK" in compiled.as_text() and " sort(" not in compiled.as_text()
