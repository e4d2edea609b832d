"""Label-free gauges of an embedding: pure functions of NumPy arrays, in float64."""

import numpy as np

_EPSILON = 1e-7  # of RankMe and LiDAR: keeps log p finite


def _normalise(features: np.ndarray) -> np.ndarray:
  features = np.asarray(features, np.float64)
  norms = np.linalg.norm(features, axis=-1, keepdims=True)
  return features / np.maximum(norms, 1e-12)


def alignment(features: np.ndarray, other: np.ndarray) -> float:
  """Mean squared distance between two views on the unit sphere.

  Wang & Isola 2020, eq. (1) of sec. 4.1 with α = 2; in [0, 4], small is good.

  Args:
    features: [n, d], features of one view.
    other: [n, d], features of another view of the same images.
  """
  difference = _normalise(features) - _normalise(other)
  return float(np.mean(np.sum(np.square(difference), axis=-1)))


def separation(features: np.ndarray) -> float:
  """Mean squared distance between different images on the unit sphere.

  It is what `alignment` would be for views of unrelated images. In [0, 2n / (n − 1)]:
  0 when all features are equal, about 2 when they are spread evenly.

  Args:
    features: [n, d], n >= 2.
  """
  f = _normalise(features)
  # Σ_{i≠j} |f_i − f_j|² = 2n Σ_i |f_i − mean|².
  return float(2 * np.sum(np.square(f - np.mean(f, axis=0)[None])) / (len(f) - 1))


def uniformity(features: np.ndarray) -> float:
  """Log of the mean Gaussian potential over all pairs on the unit sphere.

  Wang & Isola 2020, sec. 4.1 with t = 2: `log mean_{i<j} exp(-2 |f_i - f_j|²)`;
  in [-8, 0], 0 when all features are equal.

  Args:
    features: [n, d], n >= 2.
  """
  f = _normalise(features)
  n = f.shape[0]
  potential = np.exp(-2.0 * np.maximum(2.0 - 2.0 * f @ f.T, 0.0))
  pairs = np.sum(np.triu(potential, k=1))
  return float(np.log(pairs / (n * (n - 1) / 2)))


def feature_std(features: np.ndarray) -> float:
  """Std of the normalised features, relative to that of the uniform distribution.

  The mean over dimensions of the std over examples, times sqrt(d) (Chen & He 2021,
  sec. 4.1): near 1 for features spread over the sphere, 0 for collapsed ones.

  Args:
    features: [n, d].
  """
  std = np.std(_normalise(features), axis=0)
  return float(np.mean(std) * np.sqrt(len(std)))


def effective_rank(features: np.ndarray) -> float:
  """Exponential of the singular values' entropy: RankMe (Garrido et al. 2023).

  Args:
    features: [n, d], not centred; n should be well above d.

  Returns:
    A number in [1, min(n, d)].
  """
  values = np.linalg.svd(np.asarray(features, np.float64), compute_uv=False)
  return _exp_entropy(values)


def lidar(views: np.ndarray, delta: float = 1e-4) -> float:
  """Effective rank of what tells images apart, but not the views of one image.

  LiDAR (Thilak et al. 2024, section 4): each image is a class, and its views are the
  examples. With e the features of a view, μ_x the mean over the views of an image x, and
  μ the mean over all images,

    Σ_b = E_x[(μ_x − μ)(μ_x − μ)ᵀ],  Σ_w = E[(e − μ_x)(e − μ_x)ᵀ] + δ I,

  it is the exponential of the entropy of the eigenvalues of Σ_w^(−1/2) Σ_b Σ_w^(−1/2).
  Unlike RankMe it does not count what varies with the augmentation alone.

  NOTE(paper): the paper has 1,000 images with 50 views each, and δ = 1e-4. Σ_w has
  n (q − 1) degrees of freedom: with fewer than d, what the views happen not to show
  counts as if no augmentation changed it.

  Args:
    views: [n, q, d], features of q views of each of n images; n, q >= 2.
    delta: δ > 0.

  Returns:
    A number in [1, min(n − 1, d)], up to rounding; 1 if all features are equal.
  """
  views = np.asarray(views, np.float64)
  n, q, d = views.shape
  means = views.mean(axis=1)  # [n, d]
  within = (views - means[:, None]).reshape(n * q, d)
  between = (means - means.mean(axis=0)[None]) / np.sqrt(n)  # Σ_b = betweenᵀ between
  # The eigenvalues are the squared singular values of between Σ_w^(−1/2). Rounding makes
  # those of a singular matrix negative, by far more than δ if features are large.
  variances, axes = np.linalg.eigh(within.T @ within / (n * q))
  whitened = between @ axes / np.sqrt(np.maximum(variances, 0.0) + delta)[None]
  return _exp_entropy(np.square(np.linalg.svd(whitened, compute_uv=False)))


def _exp_entropy(values: np.ndarray) -> float:
  """e^H of the distribution p ∝ `values` >= 0."""
  p = values / np.maximum(np.sum(values), 1e-12) + _EPSILON
  return float(np.exp(-np.sum(p * np.log(p))))
