"""Pairs of views: which augmentation is applied to which view."""

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from augment_gen.steps import views

X = np.random.default_rng(0).random((64, 2, 2, 1)).astype(np.float32)


def halve(key, image):
  """A hand-made recipe whose effect can be recognised."""
  del key
  return image / 2


def add_one(frozen, images, key):
  del frozen, key
  return images + 1


@pytest.mark.parametrize("last, added", [(False, (X + 1) / 2), (True, X / 2 + 1)])
def test_second_view_is_on_one_side_before_or_after_the_recipe(last, added):
  pair = views.with_second_view(halve, add_one, last=last)
  one, other = pair({}, {"x_p": jnp.asarray(X)}, jax.random.key(0))
  swapped = np.isclose(np.asarray(one), added).all(axis=(1, 2, 3))
  assert 0.25 < swapped.mean() < 0.75  # the side is drawn for each image
  expect = lambda mask: np.where(mask[:, None, None, None], added, X / 2)
  np.testing.assert_allclose(one, expect(swapped), rtol=1e-6)
  np.testing.assert_allclose(other, expect(~swapped), rtol=1e-6)


def test_hand_made_views_draw_apart():
  noisy = lambda key, image: image + jax.random.normal(key, image.shape)
  one, other = views.hand_made(noisy)({}, {"x_p": jnp.asarray(X)},
                                      jax.random.key(1))
  assert np.abs(np.asarray(one) - np.asarray(other)).min() > 0
  again, _ = views.hand_made(noisy)({}, {"x_p": jnp.asarray(X)},
                                    jax.random.key(1))
  np.testing.assert_array_equal(one, again)


class ShowsLatents(nn.Module):
  """G_A: a constant image with the mean of its latent."""

  @nn.compact
  def __call__(self, x, z):
    return jnp.zeros_like(x) + z.mean(axis=1)[:, None, None, None]


@pytest.mark.parametrize("from_bank", [True, False])
def test_latents_are_of_the_bank_or_of_the_prior(from_bank):
  # The prior has no latents outside [0, 1].
  bank = jnp.asarray([[5.0, 5.0], [7.0, 7.0], [9.0, 9.0]])
  second = views.learned_second(ShowsLatents(), 2, from_bank)
  seen = np.asarray(second(
      {"bank": bank, "augmenter": {}}, jnp.asarray(X), jax.random.key(0)))[:, 0, 0, 0]
  if from_bank:
    assert set(seen.tolist()) == {5.0, 7.0, 9.0}
  else:
    assert seen.min() >= 0 and seen.max() <= 1 and len(set(seen.tolist())) == len(X)
