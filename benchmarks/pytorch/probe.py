"""L2-regularised logistic regression in PyTorch and scikit-learn.

All sides minimise the same objective (`inputs.logistic_objective`) from 0 with the same
number of L-BFGS iterations. One step is one fit.
"""

import warnings

import numpy as np
import torch
from torch.nn import functional

from pytorch.inputs import classified, logistic_objective
from pytorch.running import Setting
from pytorch.turns import Block

_MEMORY = 10  # pairs that L-BFGS keeps, as scikit-learn


def side(count: int, dim: int, classes: int, strength: float, iterations: int,
         device: str, precision: str) -> Block:
  """Fits with `torch.optim.LBFGS` and its strong Wolfe line search."""
  del precision
  setting = Setting(device)
  x, labels = classified(count, dim, classes, seed=0)
  x_t, labels_t = (torch.from_numpy(array).to(device) for array in (x, labels))
  labels_t = labels_t.long()
  fitted = [torch.zeros(dim, classes), torch.zeros(classes)]

  def step():
    weights, bias = fitted[:] = [
        torch.zeros(*shape, device=device, requires_grad=True)
        for shape in ((dim, classes), (classes,))]
    tx = torch.optim.LBFGS(
        fitted, lr=1.0, max_iter=iterations, max_eval=100 * iterations,
        tolerance_grad=0.0, tolerance_change=0.0, history_size=_MEMORY,
        line_search_fn="strong_wolfe")

    def closure():
      tx.zero_grad()
      loss = (functional.cross_entropy(x_t @ weights + bias, labels_t)
              + strength / 2 * weights.square().sum())
      loss.backward()
      return loss
    tx.step(closure)

  def tell():
    weights, bias = (tensor.detach().cpu().numpy() for tensor in fitted)
    return f"objective {logistic_objective(x, labels, weights, bias, strength):.5f}"
  return Block(setting.repeat(step), tell=tell, least=1)


def scikit_learn_side(count: int, dim: int, classes: int, strength: float,
                      iterations: int, device: str, precision: str) -> Block:
  """Fits with scikit-learn's LogisticRegression, on the CPU."""
  # pylint: disable=g-import-not-at-top
  from sklearn.exceptions import ConvergenceWarning
  from sklearn.linear_model import LogisticRegression
  del device, precision
  x, labels = classified(count, dim, classes, seed=0)
  model = LogisticRegression(
      C=1 / (count * strength), solver="lbfgs", max_iter=iterations, tol=1e-30)

  def run(steps: int) -> None:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore", ConvergenceWarning)  # the limit is wanted
      for _ in range(steps):
        model.fit(x, labels)

  def tell():
    value = logistic_objective(
        x, labels, np.asarray(model.coef_).T, model.intercept_, strength)
    return f"objective {value:.5f} after {int(model.n_iter_[0])} iterations"
  return Block(run, tell=tell, least=1)
