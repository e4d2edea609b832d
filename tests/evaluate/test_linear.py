"""Linear probes, compared with slow references."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special

from augment_gen.evaluate import linear, logistic
from augment_gen.run import random


def _data(num_per_class=12, classes=5, dim=6, spread=0.5, seed=0):
  rng = np.random.default_rng(seed)
  labels = np.repeat(np.arange(classes), num_per_class).astype(np.int32)
  mixing = rng.normal(size=(dim, dim)) * (3.0 ** -np.arange(dim))[:, None]
  features = (rng.normal(size=(classes, dim))[labels]
              + spread * rng.normal(size=(len(labels), dim))) @ mixing + 2.0
  return features.astype(np.float32), labels


def _objective(features, labels, weights, bias, strength):
  logits = features @ weights + bias[None]
  log_p = special.log_softmax(logits, axis=1)
  cross_entropy = -np.mean(log_p[np.arange(len(labels)), labels])
  return cross_entropy + strength / 2 * np.sum(weights ** 2)


def _scipy_optimum(x, labels, classes, strength):
  dim = x.shape[1]

  def value(flat):
    wb = flat.reshape(dim + 1, classes)
    p = special.softmax(x @ wb[:-1] + wb[-1:], axis=1)
    error = (p - np.eye(classes)[labels]) / len(x)
    grad = np.concatenate([x.T @ error + strength * wb[:-1],
                           error.sum(0, keepdims=True)])
    return _objective(x, labels, wb[:-1], wb[-1], strength), grad.ravel()

  result = optimize.minimize(value, np.zeros((dim + 1) * classes), jac=True,
                             method="L-BFGS-B", options={"maxiter": 5000})
  return result.fun


@pytest.mark.parametrize("strength", [1e-3, 1e-1])
def test_l2_finds_the_optimum_that_scipy_finds(strength):
  features, labels = _data()
  probe, info = linear.fit_l2(
      features, labels, 5, strengths=(strength,), holdout=0.25, iterations=300,
      seed=0)
  x = (features - np.asarray(probe.mean)[None]) / np.asarray(probe.std)[None]
  np.testing.assert_allclose(x.std(0), 1.0, rtol=1e-4)
  ours = _objective(x, labels, np.asarray(probe.weights),
                    np.asarray(probe.bias), strength)
  best = _scipy_optimum(x.astype(np.float64), labels, 5, strength)
  assert info["converged"] and info["iterations"] < 300
  assert best - 1e-6 <= ours <= best + 1e-4


def test_l2_chunks_add_up(monkeypatch):
  features, labels = _data()
  fit = lambda: linear.fit_l2(
      features, labels, 5, strengths=(1e-2,), holdout=0.25, iterations=50,
      seed=0)[0]
  whole = fit()
  monkeypatch.setattr(logistic, "CHUNK", 7)  # 60 examples: the last chunk is padded
  np.testing.assert_allclose(fit().weights, whole.weights, atol=2e-3)


def test_cross_entropy_and_its_gradient(monkeypatch):
  monkeypatch.setattr(logistic, "CHUNK", 7)  # 60 examples: the last chunk is padded
  features, labels = _data()
  weights = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)

  def plain(weights):
    log_p = jax.nn.log_softmax(features @ weights + 300.0)
    return -jnp.mean(log_p[jnp.arange(len(labels)), labels])

  value, grad = jax.value_and_grad(logistic._cross_entropy)(
      weights, logistic.to_chunks(features, labels))
  np.testing.assert_allclose(value, plain(weights), rtol=1e-5)
  np.testing.assert_allclose(grad, jax.grad(plain)(weights), atol=1e-5)


def test_the_preconditioner_inverts_the_curvature_of_each_class():
  """The inverse is exact for uncorrelated features, here with two values each."""
  corners = np.stack(np.meshgrid([1, 3], [-2, 2], [5, 6]), -1).reshape(-1, 3)
  x = np.concatenate([corners, np.ones((8, 1))], axis=1).astype(np.float32)
  labels = np.arange(8, dtype=np.int32) % 3
  bias = np.zeros((4, 3), np.float32)
  bias[3] = [0.0, 1.0, -2.0]  # all examples have the same p
  penalty = np.array([0.1, 0.1, 0.1, 0.0], np.float32)[:, None]
  to_weights = logistic._preconditioner(
      jnp.asarray(bias), logistic.to_chunks(x, labels), jnp.asarray(penalty))
  p = special.softmax(bias[3])
  for c in range(3):
    unit = np.zeros((4, 4, 3), np.float32)
    unit[:, :, c] = np.eye(4)
    root = np.stack([to_weights(v)[:, c] for v in unit], axis=1)
    block = p[c] * (1 - p[c]) * x.T @ x / 8 + np.diag(penalty[:, 0])
    # The variance is bounded below by a thousandth of the mean square.
    block[3, 3] += 1e-3 * p[c] * (1 - p[c])
    np.testing.assert_allclose(root.T @ block @ root, np.eye(4), atol=1e-3)


def test_minimise_ends_by_its_tolerance():
  features, labels = _data()
  x = np.concatenate([features, np.ones((60, 1), np.float32)], axis=1)
  start, chunks = jnp.zeros((7, 5)), logistic.to_chunks(x, labels)
  losses, steps = [], []
  for tolerance in (1e-1, 1e-3, 1e-5):
    weights, step, converged = logistic.minimise(
        start, chunks, 1e-3, 300, tolerance)
    assert converged and step > logistic.WINDOW
    weights = np.asarray(weights)
    losses.append(
        _objective(features, labels, weights[:-1], weights[-1], 1e-3))
    steps.append(int(step))
  assert steps[0] < steps[1] < steps[2]
  best = _scipy_optimum(features.astype(np.float64), labels, 5, 1e-3)
  assert np.all(np.array(losses) - best < [1e-1, 1e-3, 1e-5])


def test_l2_takes_the_best_strength_and_of_equals_the_strongest():
  # Any strength separates these tight classes, so the strongest must win.
  features, labels = _data(spread=1e-3)
  _, info = linear.fit_l2(
      features, labels, 5, strengths=(1e-4, 1e-2, 1e-3), holdout=0.25,
      iterations=100, seed=0)
  assert set(info["heldout_accuracy"].values()) == {100.0}
  assert info["l2_strength"] == 1e-2

  # If the penalty suppresses all weights, the accuracy is at chance.
  features, labels = _data(num_per_class=40)
  _, info = linear.fit_l2(
      features, labels, 5, strengths=(1e3, 1e-3), holdout=0.25, iterations=100,
      seed=0)
  accuracy = info["heldout_accuracy"]
  assert accuracy[1e-3] > accuracy[1e3] + 10 and info["l2_strength"] == 1e-3


def test_l2_bears_constant_features_and_absent_classes():
  features, labels = _data(spread=0.1)
  features[:, 5] = 3.0
  present = labels < 4
  features, labels = features[present], labels[present]
  probe, _ = linear.fit_l2(
      features, labels, 5, strengths=(1e-4,), holdout=0.25, iterations=50,
      seed=0)
  assert np.all(np.isfinite(probe.weights))
  assert linear.accuracy(probe, features, labels) > 95


def test_iterations_are_limited():
  features, labels = _data()
  _, info = linear.fit_l2(
      features, labels, 5, strengths=(1e-5,), holdout=0.25, iterations=2,
      seed=0)
  assert info["iterations"] == 2 and not info["converged"]


@pytest.mark.parametrize("batch_size", [7, 15, 100])
def test_moco_is_pytorch_style_sgd(batch_size):
  """NumPy replays the training; batches of 7 leave one example for the last batch."""
  features, labels = _data(num_per_class=3)
  settings = {"lr": 0.1, "batch_size": batch_size, "seed": 3}
  start = linear.fit_moco(features, labels, 5, epochs=0, **settings)
  assert 0.005 < np.std(start.weights) < 0.015 and not np.any(start.bias)
  probe = linear.fit_moco(features, labels, 5, epochs=10, **settings)

  weights = np.array(start.weights, np.float64)
  bias, speed_w, speed_b = np.zeros(5), 0.0, 0.0
  key = random.stream(jax.random.key(3), "probe/order")
  for epoch in range(10):
    lr = 0.1 * (1.0 if epoch < 6 else 0.1 if epoch < 8 else 0.01)
    order = np.asarray(
        jax.random.permutation(jax.random.fold_in(key, epoch), 15))
    for i in range(0, 15, batch_size):
      x, y = (a[order[i:i + batch_size]] for a in (features, labels))
      error = special.softmax(x @ weights + bias[None], axis=1) - np.eye(5)[y]
      speed_w = 0.9 * speed_w + x.T @ error / len(x)
      speed_b = 0.9 * speed_b + error.mean(0)
      weights, bias = weights - lr * speed_w, bias - lr * speed_b
  np.testing.assert_allclose(probe.weights, weights, rtol=1e-3, atol=1e-3)
  np.testing.assert_allclose(probe.bias, bias, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("batch_size", [7, 16, 1000])
def test_moco_learns_with_any_batch(batch_size):
  features, labels = _data(num_per_class=20, spread=0.1)
  features = features - features.mean(0, keepdims=True)
  probe = linear.fit_moco(
      features, labels, 5, epochs=40, batch_size=batch_size, seed=0)
  assert linear.accuracy(probe, features, labels) > 90


def test_accuracy_is_in_percent():
  probe = linear.LinearProbe(
      weights=np.eye(2, dtype=np.float32), bias=np.array([0.0, 1.5]),
      mean=np.array([1.0, 0.0]), std=np.array([1.0, 2.0]))
  features = np.array([[3, 0], [3, 2], [0, 0], [9, 0]], np.float32)
  # The logits are (2, 1.5), (2, 2.5), (-1, 1.5), (8, 1.5).
  np.testing.assert_array_equal(probe.predict(features), [0, 1, 1, 0])
  assert probe.predict(features).dtype == np.int32
  assert linear.accuracy(probe, features, np.array([0, 1, 1, 1])) == 75.0
