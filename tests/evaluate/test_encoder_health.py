"""Health of the encoder: hand-made encoders, the words, and what the loss says."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from augment_gen.evaluate import encoder_health, gauges

KEY = jax.random.key(0)
IMAGES = np.random.default_rng(0).integers(0, 256, (300, 4, 4, 1)).astype(np.uint8)


def _pixels(images):
  """A healthy F: 16 features, spread around the origin."""
  images = images / 255 if images.dtype == np.uint8 else images
  return np.asarray(images, np.float64).reshape(len(images), 16) - 0.5


def _noisy(strength, x, key):
  return x + strength * jax.random.normal(key, x.shape)


def _other(strength, x, key):
  del strength
  return 0.5 + jax.random.normal(key, x.shape)


def _measure(encode, images=IMAGES, strength=0.1, **views):
  return encoder_health.measure(
      encode, images, {"hand_made": _noisy, **views}, jnp.asarray(strength), KEY)


def test_a_healthy_encoder():
  measured = _measure(_pixels, added=_noisy)
  y = _pixels(IMAGES)
  assert measured["effective_rank"] == gauges.effective_rank(y) > 15
  assert measured["feature_std"] == gauges.feature_std(y)
  assert measured["uniformity"] == gauges.uniformity(y)
  assert measured["dimensions"] == 16
  assert measured["rank_share"] == measured["effective_rank"] / 16
  # Two hand-made views are noisy both, but an image is not.
  assert 1.7 < measured["alignment"] / measured["added_alignment"] < 2.1
  assert measured["alignment_ratio"] == pytest.approx(
      measured["alignment"] / gauges.separation(y))
  assert measured["lidar"] > 15 and 15 < measured["added_lidar"] <= 16
  assert encoder_health.warnings(measured) == []
  assert encoder_health.sentence(measured) == (
      "features: effective rank 16 of 16, spread 1.00 of even; healthy")


def test_views_are_drawn_anew_for_each_image_view_and_name_and_repeat():
  seen = []

  def encode(images):
    seen.append(images)
    return _pixels(images)
  first, second = (_measure(encode, added=_noisy) for _ in range(2))
  assert first == second
  views = [images - IMAGES / np.float32(255) for images in seen[1:9]]  # 2 names, 4 views
  noise = np.round(np.concatenate(views), 4).reshape(8 * len(IMAGES), -1)
  assert len(np.unique(noise, axis=0)) == len(noise)


def test_more_views_are_taken_if_features_have_many_dimensions():
  calls = []

  def encode(images):
    calls.append(len(images))
    return np.random.default_rng(len(calls)).normal(size=(len(images), 40))
  _measure(encode, IMAGES[:16])
  assert len(calls) == 1 + 6  # 5 * 16 degrees of freedom for 40 dimensions


@pytest.mark.parametrize("encode, named", [
    (lambda x: np.ones((len(x), 16)), {"feature_std", "rank_share"}),
    (lambda x: _pixels(x) + 20, {"feature_std", "rank_share"}),
    # 40 features, all of which say the same.
    (lambda x: _pixels(x)[:, :1] * np.ones((1, 40)), {"rank_share"}),
], ids=["constant", "nearly constant", "one dimension"])
def test_collapse_is_named(encode, named):
  measured = _measure(encode)
  said = encoder_health.warnings(measured)
  assert {name for name in encoder_health.BOUNDS
          if any(f"({name} " in words for words in said)} == named
  assert all("the encoder has collapsed" in words for words in said)
  assert not encoder_health.sentence(measured).endswith("healthy")


def test_an_encoder_that_knows_no_view_of_an_image_again():
  measured = _measure(_pixels, strength=2.0, added=_other)
  assert measured["added_alignment_ratio"] == pytest.approx(1.0, abs=0.05)
  assert [words.partition("(")[2].partition(" ")[0]
          for words in encoder_health.warnings(measured)] == [
              "alignment_ratio", "added_alignment_ratio"]


def test_features_that_are_no_numbers_do_not_stop_the_measurement():
  measured = _measure(lambda x: np.full((len(x), 16), np.nan))
  assert "diverged" in encoder_health.warnings(measured)[0]
  assert "nan" in encoder_health.sentence(measured)


def test_a_loss_that_is_stuck_at_that_of_equal_features():
  chance = math.log(33)
  stuck = encoder_health.chance_ratio([9.0] * 18 + [chance, chance], chance)
  assert stuck == {"chance_ratio": pytest.approx(1.0)}
  assert "the loss is that of an encoder" in encoder_health.warnings(stuck)[0]
  learned = encoder_health.chance_ratio([chance, 2.0], chance)
  assert learned["chance_ratio"] == pytest.approx(2.0 / chance)
  assert encoder_health.warnings(learned) == []
  assert encoder_health.chance_ratio([1.0], None) == {}
  assert encoder_health.chance_ratio([], chance) == {}
