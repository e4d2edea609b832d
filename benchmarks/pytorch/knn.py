"""Weighted nearest neighbours in PyTorch and scikit-learn.

Compare augment_gen/evaluate/knn.py. One step is one prediction of the whole test set.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from pytorch.inputs import classified
from pytorch.running import Setting
from pytorch.turns import Block

_CHUNK = 1024  # queries whose similarities to all neighbours exist at once


def predict(train: torch.Tensor, labels: torch.Tensor, test: torch.Tensor, classes: int,
            k: int, temperature: float) -> torch.Tensor:
  """`knn_predict`: float32 [n, d], int64 [n], float32 [m, d] -> int64 [m]."""
  train = functional.normalize(train)
  guesses = []
  for queries in functional.normalize(test).split(_CHUNK):
    nearest, index = (queries @ train.T).topk(k)
    weights = torch.exp((nearest - nearest[:, :1]) / temperature)
    scores = torch.zeros(len(queries), classes, device=train.device)
    guesses.append(scores.scatter_add_(1, labels[index], weights).argmax(1))
  return torch.cat(guesses)


def side(count: int, queries: int, dim: int, classes: int, k: int, temperature: float,
         device: str, precision: str) -> Block:
  """Predicts with PyTorch."""
  del precision
  setting = Setting(device)
  (train, labels), (test, truth) = (
      classified(n, dim, classes, seed=seed) for n, seed in ((count, 0), (queries, 1)))
  x, y, queries_x = (torch.from_numpy(array).to(device)
                     for array in (train, labels.astype(np.int64), test))
  found: list[torch.Tensor] = []

  def step():
    found[:] = [predict(x, y, queries_x, classes, k, temperature)]
  return Block(setting.repeat(step), tell=accuracy(truth, lambda: found[0].cpu().numpy()))


def scikit_learn_side(count: int, queries: int, dim: int, classes: int, k: int,
                      temperature: float, device: str, precision: str) -> Block:
  """Predicts with scikit-learn's KNeighborsClassifier, on the CPU."""
  from sklearn.neighbors import KNeighborsClassifier  # pylint: disable=g-import-not-at-top
  del device, precision
  (train, labels), (test, truth) = (
      classified(n, dim, classes, seed=seed) for n, seed in ((count, 0), (queries, 1)))
  model = KNeighborsClassifier(
      k, metric="cosine", algorithm="brute",
      weights=lambda distance: np.exp((1 - distance) / temperature)).fit(train, labels)
  found = [truth]

  def run(steps: int) -> None:
    for _ in range(steps):
      found[:] = [model.predict(test)]
  return Block(run, tell=accuracy(truth, lambda: found[0]))


def accuracy(truth: np.ndarray, guesses: Callable[[], np.ndarray]) -> Callable[[], str]:
  """What a side tells about its last predictions."""
  return lambda: f"accuracy {100 * np.mean(guesses() == truth):.2f} %"
