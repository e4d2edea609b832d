"""Distances between small samples, in NumPy with float64 sums."""

import numpy as np


def mean_l1(a: np.ndarray, b: np.ndarray) -> float:
  """Mean |a − b| over all entries of two arrays of the same shape."""
  return float(np.mean(np.abs(a - b), dtype=np.float64))


def squared_mean(e: np.ndarray) -> tuple[float, float]:
  """Unbiased estimates of ‖E e‖² and E‖e‖².

  The square of the sample mean alone would be too large by (E‖e‖² − ‖E e‖²) / n. This
  bias is subtracted, so the estimate may be negative.

  Args:
    e: [n, ...], n >= 2 independent examples.
  """
  e = e.reshape(len(e), -1)
  n = len(e)
  biased = np.sum(np.mean(e, axis=0, dtype=np.float64)**2)
  whole = np.mean(np.sum(e**2, axis=1, dtype=np.float64))
  return float((n * biased - whole) / (n - 1)), float(whole)


def paired_frechet(a: np.ndarray, b: np.ndarray) -> float:
  """Squared Fréchet distance between Gaussians with diagonal covariances.

  ‖μ_a − μ_b‖² + ‖σ_a − σ_b‖² (Dowson & Landau 1982). The FID of Heusel et al. 2017 has
  full covariances, which need far more samples than dimensions.

  The samples are paired, so differences between images cancel in μ_a − μ_b and
  σ_a − σ_b. The remaining sampling error is subtracted from the squares (see
  `squared_mean`), but the result is never below 0.

  Args:
    a, b: [n, d], n >= 2. Row i of both comes from the same image.
  """
  return max(0.0, squared_mean(_moments(a) - _moments(b))[0])


def _moments(y: np.ndarray) -> np.ndarray:
  """[n, d] -> [n, 2 d], whose mean is (μ, σ).

  The second half of row i is ((y_i − μ)² / σ + σ) / 2: σ plus the influence function of
  example i.
  """
  std = np.maximum(y.std(axis=0, keepdims=True), 1e-12)
  squares = np.square(y - y.mean(axis=0, keepdims=True))
  return np.concatenate([y, (squares / std + std) / 2], axis=1)


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
  """The Kernel Inception Distance (Bińkowski et al. 2018) of two unpaired samples.

  The unbiased estimate of the squared maximum mean discrepancy with the kernel
  (x·y / d + 1)³. It may be slightly negative.

  Args:
    a: [n, d], n >= 2.
    b: [m, d], m >= 2.
  """
  a, b = a.astype(np.float64), b.astype(np.float64)
  kernel = lambda x, y: (x @ y.T / x.shape[1] + 1)**3

  def within(x):
    k = kernel(x, x)
    return (k.sum() - np.trace(k)) / (len(x) * (len(x) - 1))

  return float(within(a) + within(b) - 2 * np.mean(kernel(a, b)))
