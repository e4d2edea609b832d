"""Linear evaluation: a softmax classifier on frozen features.

There are two protocols. `fit_l2` finds the optimum of an L2-regularised problem, which
does not depend on a learning rate or on the order of the data. `fit_moco` is the SGD
recipe of MoCo's authors, whose numbers the literature reports.
"""

from collections.abc import Sequence
import functools
from typing import Any

import flax
import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import optax

from augment_gen.data import splits
from augment_gen.evaluate import logistic
from augment_gen.evaluate.logistic import matmul
from augment_gen.run import random

# The search for the L2 strength only has to rank the candidates.
SEARCH_TOLERANCE = 200 * logistic.TOLERANCE


@flax.struct.dataclass
class LinearProbe:
  """argmax_c of `((features - mean) / std) @ weights + bias`.

  Attributes:
    weights: [d, c] float32.
    bias: [c] float32.
    mean: [d] float32, subtracted from the features.
    std: [d] float32, positive, divides them.
  """
  weights: jax.Array
  bias: jax.Array
  mean: jax.Array
  std: jax.Array

  def predict(self, features) -> jax.Array:
    """[n, d] float32 -> [n] int32 classes."""
    return _predict(self, jnp.asarray(features, jnp.float32))


@jax.jit
def _predict(probe: LinearProbe, features: jax.Array) -> jax.Array:
  x = (features - probe.mean[None]) / probe.std[None]
  logits = matmul(x, probe.weights) + probe.bias[None]
  return jnp.argmax(logits, axis=-1).astype(jnp.int32)


def accuracy(probe: LinearProbe, features, labels) -> float:
  """Top-1 accuracy in percent; features [n, d], labels [n]."""
  hits = np.asarray(probe.predict(features)) == np.asarray(labels)
  return 100.0 * float(np.mean(hits))


# --- L2-regularised, full batch ----------------------------------------------


def fit_l2(
    features, labels, num_classes: int, *, strengths: Sequence[float],
    holdout: float, iterations: int, seed: int,
) -> tuple[LinearProbe, dict[str, Any]]:
  """Multinomial logistic regression with an L2 strength chosen on held-out data.

  Minimises `mean cross entropy + strength / 2 * ||W||²` over weights W of standardised
  features and an unpenalised bias, like scikit-learn's LogisticRegression with
  `C = 1 / (n * strength)`. The strength with the best accuracy on a held-out part of
  each class wins; among ties, the largest. The probe is then fitted to all features.

  Args:
    features: [n, d] float32, finite.
    labels: [n] integers in [0, num_classes).
    num_classes: c.
    strengths: candidates, positive.
    holdout: part of each class to hold out, in (0, 1).
    iterations: maximum number of L-BFGS iterations of each fit.
    seed: seed of the split.

  Returns:
    The probe, and a record of the fit: "l2_strength", "heldout_accuracy" (strength ->
    percent), "iterations" (of the last fit), "iterations_search" (strength ->
    iterations), "converged" (whether the last fit ended by its tolerance, not by the
    limit).
  """
  labels = np.asarray(labels, np.int32)
  problem = _standardise(np.asarray(features, np.float32), labels)
  train, held = splits.holdout(labels, holdout, seed)
  chunks = logistic.to_chunks(problem.x[train], labels[train])
  x_held, y_held = jnp.asarray(problem.x[held]), labels[held]

  # From strong to weak, because each solution is a good start for the next.
  path: dict[float, jax.Array] = {}
  heldout_accuracy: dict[float, float] = {}
  search_iterations: dict[float, int] = {}
  solution = jnp.zeros((problem.x.shape[1], num_classes))
  for strength in sorted(strengths, reverse=True):
    solution, steps, _ = logistic.minimise(
        solution, chunks, strength, iterations, SEARCH_TOLERANCE)
    path[strength] = solution
    guesses = np.argmax(matmul(x_held, solution), axis=-1)
    heldout_accuracy[strength] = 100.0 * float(np.mean(guesses == y_held))
    search_iterations[strength] = int(steps)

  # Among ties, `max` keeps the first, which is the strongest.
  best = max(heldout_accuracy, key=heldout_accuracy.__getitem__)
  solution, steps, converged = logistic.minimise(
      path[best], logistic.to_chunks(problem.x, labels), best, iterations,
      logistic.TOLERANCE)
  return problem.probe(solution), {
      "l2_strength": best,
      "heldout_accuracy": heldout_accuracy,
      "iterations": int(steps),
      "iterations_search": search_iterations,
      "converged": bool(converged),
  }


def fit_l2_at(
    features, labels, num_classes: int, strength: float, iterations: int,
) -> tuple[LinearProbe, bool]:
  """`fit_l2` with a given strength.

  Returns:
    The probe, and whether the fit ended by its tolerance, not by the limit.
  """
  labels = np.asarray(labels, np.int32)
  problem = _standardise(np.asarray(features, np.float32), labels)
  solution, _, converged = logistic.minimise(
      jnp.zeros((problem.x.shape[1], num_classes)), logistic.to_chunks(problem.x, labels),
      strength, iterations, logistic.TOLERANCE)
  return problem.probe(solution), bool(converged)


@flax.struct.dataclass
class _Standardised:
  """Features in the coordinates in which the problem is solved.

  Attributes:
    x: [n, d + 1], the standardised features along `basis`, and a column of ones whose
      weights are the bias.
    basis: [d, d], orthonormal axes as columns.
    mean: [d], mean of the features.
    std: [d], std of the features; 1 for constant ones.
  """
  x: np.ndarray
  basis: np.ndarray
  mean: np.ndarray
  std: np.ndarray

  def probe(self, solution: jax.Array) -> LinearProbe:
    """[d + 1, c] weights of `x` -> the probe that takes features."""
    return LinearProbe(
        weights=matmul(jnp.asarray(self.basis), solution[:-1]),
        bias=solution[-1], mean=jnp.asarray(self.mean),
        std=jnp.asarray(self.std))


def _standardise(features: np.ndarray, labels: np.ndarray) -> _Standardised:
  """Standardises, then rotates; the rotation does not change the problem.

  Along the principal axes within classes, the features of examples that look like one
  class are nearly uncorrelated, which saves iterations.
  """
  mean64 = np.mean(features, axis=0, dtype=np.float64)
  std64 = np.std(features, axis=0, dtype=np.float64)
  std64 = np.where(std64 > 1e-6 * np.max(std64, initial=1e-30), std64, 1.0)
  mean, std = np.asarray(mean64, np.float32), np.asarray(std64, np.float32)
  x = (features - mean[None]) / std[None]
  sums = np.zeros((np.max(labels) + 1, x.shape[1]), np.float32)
  np.add.at(sums, labels, x)
  within = x - (sums / np.maximum(np.bincount(labels), 1)[:, None])[labels]
  _, basis = np.linalg.eigh((within.T @ within).astype(np.float64) / len(x))
  basis = basis.astype(np.float32)
  x = np.concatenate([x @ basis, np.ones((len(x), 1), np.float32)], axis=1)
  return _Standardised(x, basis, mean, std)


# --- MoCo's protocol ---------------------------------------------------------


def fit_moco(
    features, labels, num_classes: int, *, lr: float = 30.0, epochs: int = 100,
    batch_size: int = 256, seed: int,
) -> LinearProbe:
  """The linear protocol of MoCo (He et al. 2020, sec. 4.1; main_lincls.py).

  SGD with momentum 0.9 and no weight decay on unscaled features. The rate is divided by
  10 after 60 % and after 80 % of the epochs. The last, smaller batch of an epoch is
  used, as in PyTorch's loader.

  NOTE(paper): the official code computes features of randomly cropped and flipped
  training images. Here they are computed once, from the unchanged images.

  Args:
    features: [n, d] float32, finite.
    labels: [n] integers in [0, num_classes).
    num_classes: c.
    lr: learning rate, not scaled by the batch size.
    epochs: passes over the features.
    batch_size: examples per step.
    seed: seed of the initial weights and the order.

  Returns:
    The probe, with mean 0 and std 1.
  """
  features = jnp.asarray(features, jnp.float32)
  labels = jnp.asarray(labels, jnp.int32)
  num, dim = features.shape
  batch_size = min(batch_size, num)
  steps = -(-num // batch_size)
  schedule = optax.piecewise_constant_schedule(
      lr, {steps * (epochs * 6 // 10): 0.1, steps * (epochs * 8 // 10): 0.1})
  optimizer = optax.sgd(schedule, momentum=0.9)

  key = jax.random.key(seed)
  weights = 0.01 * jax.random.normal(
      random.stream(key, "probe/init"), (dim, num_classes))
  params = (weights, jnp.zeros((num_classes,)))
  state = optimizer.init(params)

  def loss_fn(params, x, y, present):
    logits = matmul(x, params[0]) + params[1][None]
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
    return jnp.sum(losses * present) / jnp.sum(present)

  @functools.partial(jax.jit, donate_argnums=(0, 1))
  def train_epoch(params, state, features, labels, key):
    order = jax.random.permutation(key, num)
    padding = steps * batch_size - num
    order = jnp.pad(order, (0, padding)).reshape(steps, batch_size)
    present = jnp.pad(jnp.ones(num), (0, padding)).reshape(steps, batch_size)

    def train_step(carry, batch):
      params, state = carry
      index, present = batch
      grads = jax.grad(loss_fn)(
          params, features[index], labels[index], present)
      updates, state = optimizer.update(grads, state)
      return (optax.apply_updates(params, updates), state), None

    return lax.scan(train_step, (params, state), (order, present))[0]

  order_key = random.stream(key, "probe/order")
  for epoch in range(epochs):
    params, state = train_epoch(
        params, state, features, labels, jax.random.fold_in(order_key, epoch))
  return LinearProbe(*params, mean=jnp.zeros((dim,)), std=jnp.ones((dim,)))
