"""The map of embeddings."""

import importlib.util

import numpy as np
import pytest

from augment_gen.evaluate import embedding_map


def _clouds(count=30, dim=6):
  """Two clouds of directions, and one between them."""
  rng = np.random.default_rng(0)
  a, b = np.eye(dim)[0], np.eye(dim)[1]
  return {name: (middle[None] + 0.05 * rng.standard_normal((count, dim))).astype(np.float32)
          for name, middle in (("a", a), ("b", b), ("between", a + b))}


@pytest.mark.parametrize("with_sklearn", [False, True])
def test_what_is_embedded_alike_lies_together(with_sklearn, monkeypatch):
  if with_sklearn:
    pytest.importorskip("sklearn")
  else:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  points, method = embedding_map.project(_clouds())
  assert method == (embedding_map.T_SNE if with_sklearn else embedding_map.PCA)
  assert {name: (part.shape, part.dtype) for name, part in points.items()} == dict.fromkeys(
      ["a", "b", "between"], ((30, 2), np.dtype(np.float32)))
  middles = {name: part.mean(axis=0) for name, part in points.items()}
  distance = lambda one, two: np.linalg.norm(middles[one] - middles[two])
  spread = max(np.linalg.norm(part - middles[name][None], axis=1).mean()
               for name, part in points.items())
  assert distance("a", "b") > distance("a", "between") > 2 * spread


def test_lengths_do_not_matter_and_few_points_are_enough(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  clouds = _clouds(3)
  points, _ = embedding_map.project(clouds)
  longer, _ = embedding_map.project({name: 7 * part for name, part in clouds.items()})
  for name, part in points.items():
    np.testing.assert_allclose(part, longer[name], atol=1e-6)
  points, method = embedding_map.project({"a": np.ones((1, 1)), "b": -np.ones((1, 1))})
  assert method == embedding_map.PCA and points["a"].shape == (1, 2)
  assert abs(points["a"][0, 0] - points["b"][0, 0]) == pytest.approx(2)


def test_few_points_have_no_neighbourhoods_to_keep():
  _, method = embedding_map.project(_clouds(2))
  assert method == embedding_map.PCA
