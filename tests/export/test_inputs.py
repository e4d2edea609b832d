"""Images and latents for a run's functions: converted, or refused in one line."""

import numpy as np
import pytest

from augment_gen.config.errors import UserError
from augment_gen.export import inputs

SHAPE = (4, 5, 1)
X = np.arange(40, dtype=np.uint8).reshape(2, *SHAPE) * 6


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
def test_whole_numbers_are_grey_levels(dtype):
  found = inputs.as_floats(X.astype(dtype), SHAPE)
  assert found.dtype == np.float32
  np.testing.assert_array_equal(found, X.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_in_0_to_1(dtype):
  found = inputs.as_floats((X / 255).astype(dtype), SHAPE)
  assert found.dtype == np.float32
  np.testing.assert_allclose(found, X / 255, atol=1e-3)


def test_a_single_image_may_be_nearly_black():
  dark = (X[:1] > 99).astype(np.uint8)
  np.testing.assert_allclose(inputs.as_floats(dark, SHAPE), dark / 255, rtol=1e-6)


def test_bools_are_black_and_white():
  np.testing.assert_array_equal(inputs.as_floats(X > 99, SHAPE), X > 99)


@pytest.mark.parametrize("images, words", [
    (X.astype(np.float64), "reach from 0 to 234, outside 0..1"),
    (X.astype(np.int32) - 1, "reach from -1 to 233, outside 0..255"),
    (X.astype(np.uint16) * 10, "outside 0..255"),
    (np.where(X, X / 255, np.nan), "reach from nan"),
    ((X > 99).astype(np.int64), "0 and 1 alone"),
    ((X > 99).astype(np.uint8), "0 and 1 alone"),
    (X.astype(complex), "complex128 are not understood"),
    (X.astype(str), "are not understood"),
    (X[0], r"\(4, 5, 1\) are not \[n, 4, 5, 1\]"),
    (X[..., 0], r"\(2, 4, 5\) are not"),
    (np.repeat(X, 3, axis=-1), r"\(2, 4, 5, 3\) are not"),
    (np.pad(X, ((0, 0), (1, 1), (0, 0), (0, 0))), r"\(2, 6, 5, 1\) are not"),
    (X[:0], "n of at least 1"),
])
def test_other_images_are_refused(images, words):
  with pytest.raises(UserError, match=words):
    inputs.as_floats(images, SHAPE)


@pytest.mark.parametrize("latents, words", [
    (np.zeros((3, 2)), r"\(3, 2\) are not \[5, 2\]"),
    (np.zeros((5, 3)), r"\(5, 3\) are not \[5, 2\]"),
    (np.zeros((5, 2), int), "int64 are not floats"),
    (np.full((5, 2), 1.5), "outside 0..1"),
    (np.full((5, 2), np.nan), "outside 0..1"),
])
def test_other_latents_are_refused(latents, words):
  with pytest.raises(UserError, match=words):
    inputs.as_latents(latents, 5, 2)


def test_latents_that_fit():
  found = inputs.as_latents(np.linspace(0, 1, 10).reshape(5, 2), 5, 2)
  assert found.shape == (5, 2) and found.dtype == np.float32
