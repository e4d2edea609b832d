"""Label-free gauges, compared with loops and known cases."""

import itertools

import numpy as np
import pytest

from augment_gen.evaluate import gauges


def _unit(x):
  return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_against_loops():
  rng = np.random.default_rng(0)
  x, y = rng.normal(size=(9, 4)), rng.normal(size=(9, 4))
  a, b = _unit(x), _unit(y)
  expected = np.mean([np.sum((p - q) ** 2) for p, q in zip(a, b)])
  assert float(gauges.alignment(x, y)) == pytest.approx(expected, rel=1e-5)
  expected = np.log(np.mean([np.exp(-2 * np.sum((p - q) ** 2))
                             for p, q in itertools.combinations(a, 2)]))
  assert float(gauges.uniformity(x)) == pytest.approx(expected, rel=1e-5)
  expected = np.mean([np.sum((p - q) ** 2) for p, q in itertools.combinations(a, 2)])
  assert float(gauges.separation(x)) == pytest.approx(expected, rel=1e-5)
  expected = np.mean(a.std(0)) * 2.0
  assert float(gauges.feature_std(x)) == pytest.approx(expected, rel=1e-5)


def test_spread_and_collapse():
  rng = np.random.default_rng(0)
  spread = rng.normal(size=(2000, 64))
  collapsed = np.ones((2000, 64)) + 1e-4 * rng.normal(size=(2000, 64))
  assert float(gauges.feature_std(spread)) == pytest.approx(1.0, abs=0.02)
  assert float(gauges.feature_std(collapsed)) < 0.01
  assert float(gauges.uniformity(spread)) < -3.5
  assert float(gauges.uniformity(collapsed)) == pytest.approx(0.0, abs=1e-3)
  assert gauges.separation(spread) == pytest.approx(2.0, abs=0.02)
  assert gauges.separation(collapsed) == pytest.approx(0.0, abs=1e-3)
  assert gauges.effective_rank(spread) > 60
  assert gauges.effective_rank(collapsed) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_effective_rank_counts_equal_directions(rank):
  basis = np.linalg.qr(np.random.default_rng(0).normal(size=(32, 8)))[0]
  features = basis[:, :rank] @ np.eye(8)[:rank]
  assert float(gauges.effective_rank(features)) == pytest.approx(
      rank, rel=1e-3)


def test_effective_rank_weighs_directions():
  p = np.array([0.7, 0.2, 0.1])
  expected = np.exp(-np.sum(p * np.log(p)))
  assert float(gauges.effective_rank(5 * np.diag(p))) == pytest.approx(
      expected, rel=1e-4)


def test_lidar_against_its_equation():
  rng = np.random.default_rng(0)
  views = (rng.normal(size=(6, 1, 4)) * [3, 1, 1, 0.1]
           + rng.normal(size=(6, 3, 4)) * [1, 2, 0.1, 0.1])
  between, within = np.zeros((4, 4)), 0.01 * np.eye(4)
  for image in views:
    apart = image.mean(0) - views.mean((0, 1))
    between += np.outer(apart, apart) / 6
    for view in image:
      within += np.outer(view - image.mean(0), view - image.mean(0)) / 18
  eigenvalues, vectors = np.linalg.eigh(within)
  root = vectors @ np.diag(eigenvalues**-0.5) @ vectors.T
  p = np.linalg.eigvalsh(root @ between @ root)
  p = p / p.sum()
  assert gauges.lidar(views, delta=0.01) == pytest.approx(
      np.exp(-np.sum(p * np.log(p))), rel=1e-4)


def test_lidar_counts_what_tells_images_apart_alone():
  rng = np.random.default_rng(0)
  of_image, of_view = (rng.normal(size=shape) for shape in ((900, 1, 8), (900, 8, 8)))
  only = np.arange(8) < 3
  # Three dimensions show the image; the other five change from view to view. RankMe
  # counts all eight.
  views = np.where(only, of_image + 0.1 * of_view, 10 * of_view)
  assert gauges.lidar(views) == pytest.approx(3, abs=0.1)
  assert gauges.effective_rank(views[:, 0]) > 5
  assert gauges.lidar(np.broadcast_to(of_image, (900, 2, 8))) == pytest.approx(8, abs=0.1)
  # Views that vary in one dimension alone, by very much: rounding counts for more than δ.
  rng = np.random.default_rng(3)
  line = rng.standard_normal((64, 5, 1)) @ rng.standard_normal((1, 128)) * 1e5
  assert 1 <= gauges.lidar(line.astype(np.float32)) <= 63
  assert gauges.lidar(np.ones((9, 3, 8))) == pytest.approx(1.0, abs=1e-4)
