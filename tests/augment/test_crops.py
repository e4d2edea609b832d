"""Crop windows on a grid, compared with array slices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from augment_gen.augment import crops, policy


def test_boxes_are_all_windows_that_fit():
  grid = crops.CropGrid(image_size=11, crop=4, stride=3, scales=(1.0, 2.0))
  expected = [(top, left, 4) for top in (0, 3, 6) for left in (0, 3, 6)]
  expected += [(top, left, 8) for top in (0, 3) for left in (0, 3)]
  assert grid.size == len(expected)
  np.testing.assert_array_equal(grid.boxes(), expected)


def test_cut_is_a_slice():
  rng = np.random.default_rng(0)
  grid = crops.CropGrid(image_size=9, crop=4, stride=2)
  images = rng.random((3, 9, 9, 2), np.float32)
  chosen = rng.integers(grid.size, size=(3, 5))
  cut = grid.cut(images, jnp.asarray(chosen))
  boxes = grid.boxes()
  for i in range(3):
    for j in range(5):
      top, left, side = boxes[chosen[i, j]]
      np.testing.assert_array_equal(
          cut[i, j], images[i, top:top + side, left:left + side])


def test_cut_at_places_off_the_grid():
  image = jnp.arange(81.0).reshape(1, 9, 9, 1)
  grid = crops.CropGrid(image_size=9, crop=3, stride=6)
  cut = grid.cut_at(image, jnp.asarray([[[5, 2, 3]]]))
  np.testing.assert_array_equal(cut[0, 0], image[0, 5:8, 2:5])


def test_windows_of_other_sizes_are_resized():
  """Windows of twice the size are shrunk by a tent filter; others are unchanged."""
  rng = np.random.default_rng(1)
  grid = crops.CropGrid(image_size=8, crop=4, stride=4, scales=(1.0, 2.0))
  images = rng.random((1, 8, 8, 1), np.float32)
  cut = grid.cut(images, jnp.asarray([[3, 4]]))
  np.testing.assert_allclose(cut[0, 0], images[0, 4:, 4:], atol=1e-6)
  flat = grid.cut(jnp.full((1, 8, 8, 1), 0.3), jnp.asarray([[4]]))
  np.testing.assert_allclose(flat, 0.3, atol=1e-6)
  # Columns 0 and 1 become the first column, columns 6 and 7 the last one.
  steps = jnp.broadcast_to(jnp.arange(8.0)[None, None, :, None], (1, 8, 8, 1))
  row = grid.cut(steps, jnp.asarray([[4]]))[0, 0, 0, :, 0]
  np.testing.assert_allclose(row[1:3], [2.5, 4.5], atol=1e-5)
  assert np.all(np.diff(row) > 0)


def test_shares_of_ink():
  rng = np.random.default_rng(2)
  grid = crops.CropGrid(image_size=8, crop=3, stride=2, scales=(1.0, 2.0))
  images = rng.random((3, 8, 8, 1), np.float32)
  images[2] = 0
  shares = np.asarray(grid.shares(jnp.asarray(images)))
  for i, image in enumerate(images[:2]):
    for k, (top, left, side) in enumerate(grid.boxes()):
      expected = image[top:top + side, left:left + side].sum() / image.sum()
      np.testing.assert_allclose(shares[i, k], expected, atol=1e-5)
  np.testing.assert_array_equal(shares[2], 0.0)


def test_mass_on_windows_that_hold_half_of_the_ink():
  grid = crops.CropGrid(image_size=4, crop=2, stride=2)
  image = np.zeros((1, 4, 4, 1), np.float32)
  image[0, 0, 0], image[0, 0, 3], image[0, 3, 3] = 0.5, 0.3, 0.2
  p = np.asarray([[0.1, 0.2, 0.3, 0.4]], np.float32)
  mass = grid.mass_on_content(jnp.asarray(image), jnp.log(p))
  np.testing.assert_allclose(mass, [0.1], rtol=1e-6)


def test_draws_without_replacement_follow_p():
  p = np.array([0.5, 0.3, 0.15, 0.05])
  n = 20_000
  drawn = np.asarray(policy.draw_t(
      jax.random.split(jax.random.key(0), n),
      jnp.broadcast_to(jnp.log(p), (n, 4)), 2))
  assert np.all(drawn[:, 0] != drawn[:, 1])
  for t in range(4):
    first = np.mean(drawn[:, 0] == t)
    assert abs(first - p[t]) < 5 * np.sqrt(p[t] / n)
    # The second draw is from the rest, in proportion to p.
    second = sum(p[s] * p[t] / (1 - p[s]) for s in range(4) if s != t)
    assert abs(np.mean(drawn[:, 1] == t) - second) < 5 * np.sqrt(second / n)


@pytest.mark.parametrize("m", [1, 4])
def test_draws_without_a_preference_are_uniform(m):
  n = 8_000
  drawn = np.asarray(policy.draw_t(
      jax.random.split(jax.random.key(1), n), jnp.zeros((n, 4)), m))
  for j in range(m):
    counts = np.bincount(drawn[:, j], minlength=4)
    assert np.all(np.abs(counts / n - 0.25) < 5 * np.sqrt(0.25 / n))
