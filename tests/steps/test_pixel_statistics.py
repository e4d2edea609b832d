"""What D_f and D_p see of pixels, against loops in NumPy, and that each change shows."""

import jax
import numpy as np
import pytest
from scipy import ndimage

from augment_gen.steps.pixel_statistics import pixel_statistics


def slow(x):
  """[H, W, C] -> [n], for sides that are powers of two."""
  def halved(h):
    return h.reshape(h.shape[0] // 2, 2, h.shape[1] // 2, 2, -1).mean(axis=(1, 3))

  side = x.shape[0] // 4
  found = [x[i * side:(i + 1) * side, j * side:(j + 1) * side, c].mean()
           for i in range(4) for j in range(4) for c in range(x.shape[2])]
  while min(x.shape[:2]) >= 2:
    detail = x - halved(x).repeat(2, axis=0).repeat(2, axis=1)
    mean = lambda values: list(values.mean(axis=(0, 1)))
    found += mean(np.abs(detail)) + list(np.sqrt(mean(detail**2) + np.float32(1e-6)))
    found += mean(np.abs(np.diff(x, axis=0))) + mean(np.abs(np.diff(x, axis=1)))
    x = halved(x)
  return np.array(found)


@pytest.mark.parametrize("shape", [(16, 16, 1), (32, 32, 3), (4, 4, 3)])
def test_pixel_statistics_equal_loops(shape):
  x = np.random.default_rng(0).random((3, *shape), np.float32)
  np.testing.assert_allclose(
      jax.jit(pixel_statistics)(x), np.stack([slow(image) for image in x]), rtol=1e-5,
      atol=1e-6)


@pytest.mark.parametrize("shape", [(9, 30, 3), (3, 2, 1), (28, 28, 1)])
def test_sizes_that_nothing_divides(shape):
  x = np.random.default_rng(0).random((2, *shape), np.float32)
  y = pixel_statistics(x)
  assert y.ndim == 2 and np.all(np.isfinite(y))
  # An even image has no detail, and its slope is finite.
  slope = jax.grad(lambda x: pixel_statistics(x).sum())(np.full_like(x, 0.5))
  assert np.all(np.isfinite(slope))


def test_light_from_one_side_blur_and_lines_show():
  x = np.random.default_rng(0).random((1, 32, 32, 1), np.float32)
  plain = np.asarray(pixel_statistics(x))[0]
  fall = np.asarray(pixel_statistics(x * np.linspace(1, 0, 32)[None, None, :, None]))[0]
  cells = (fall[:16] / plain[:16]).reshape(4, 4)
  assert np.all(np.diff(cells, axis=1) < -0.15)  # darker to the right …
  assert np.all(np.ptp(cells, axis=0) < 0.1)     # … in all rows alike
  blurred = ndimage.gaussian_filter(x, (0, 0, 2, 0))  # along rows of pixels
  mean, _, down, right = np.asarray(pixel_statistics(blurred))[0][16:20] / plain[16:20]
  assert mean < 0.7 and right < 0.2 and down > 2 * right
