"""A map of embeddings: points in the plane, near each other if F embeds them alike."""

from collections.abc import Mapping
import importlib.util

import numpy as np
from scipy import linalg

_PERPLEXITY = 30
_ITERATIONS = 400  # t-SNE of a few hundred points has settled by then
T_SNE, PCA = "t-SNE", "PCA"


def project(embeddings: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], str]:
  """Places embeddings in the plane.

  Args:
    embeddings: float [n, D] by name of the set, in all at least two.

  Returns:
    float32 [n, 2] by the same names, and the method: T_SNE if scikit-learn is installed
    (the extra `report`) and there are enough points, otherwise PCA. Embeddings are
    compared as directions, as the nearest-neighbour probe does.
  """
  y = np.concatenate(list(embeddings.values())).astype(np.float64)
  y /= np.maximum(np.linalg.norm(y, axis=1, keepdims=True), 1e-12)
  # t-SNE has no meaning for fewer points than a few neighbourhoods.
  if importlib.util.find_spec("sklearn") is not None and len(y) > 12:
    points, method = _t_sne(y), T_SNE
  else:
    points, method = _principal(y), PCA
  ends = np.cumsum([len(part) for part in embeddings.values()])[:-1]
  return dict(zip(embeddings, np.split(points.astype(np.float32), ends))), method


def _principal(y: np.ndarray) -> np.ndarray:
  """The first two principal components, [n, 2]."""
  y = y - y.mean(axis=0, keepdims=True)
  # Of the smaller one of both products, and two of its vectors alone: a full SVD takes
  # seconds.
  n, dim = y.shape
  small = y.T @ y if dim < n else y @ y.T
  count = min(2, len(small))
  values, vectors = linalg.eigh(
      small, subset_by_index=(len(small) - count, len(small) - 1))
  values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
  points = y @ vectors if dim < n else vectors * np.sqrt(values)[None]
  # The sign of a component is arbitrary: the point farthest out is to be positive.
  signs = np.sign(points[np.abs(points).argmax(axis=0), np.arange(points.shape[1])])
  points = points * np.where(signs == 0, 1.0, signs)[None]
  return np.pad(points, ((0, 0), (0, 2 - points.shape[1])))


def _t_sne(y: np.ndarray) -> np.ndarray:
  # Imported here, because it takes a second.
  # pylint: disable=g-import-not-at-top
  from sklearn import manifold
  from threadpoolctl import threadpool_limits
  start = _principal(y)
  # As scikit-learn starts from its own PCA: a small standard deviation.
  start = 1e-4 * start / max(float(np.std(start[:, 0])), 1e-12)
  model = manifold.TSNE(
      perplexity=min(_PERPLEXITY, (len(y) - 1) / 3), init=start.astype(np.float32),
      max_iter=_ITERATIONS, random_state=0)
  # For so few points, threads spend most of their time waiting for each other.
  with threadpool_limits(1):
    return model.fit_transform(y.astype(np.float32))
