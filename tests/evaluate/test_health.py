"""Health of the generator: hand-made failures, and numbers compared with loops."""

import math
import re

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
import numpy as np
import pytest

from augment_gen.augment.learned import draw_latents
from augment_gen.config import Config
from augment_gen.data.base import ImageSet
from augment_gen.evaluate import chunks, distances, health
from augment_gen.losses.latent import random_directions, sliced_wasserstein
from augment_gen.models import outputs
from augment_gen.run.random import example_keys, stream

Z = 4
GREY = 128 / 255
KEY = jax.random.key(3)

# Toy data: 12x12 images. The upper four rows, the band, are grey; the other rows are
# content. The implicit augmentation makes the four blocks of the band brighter or
# darker, with one latent per block.


def _images(seed, n=96):
  rng = np.random.default_rng(seed)
  content = rng.integers(0, 151, (n, 4, 6, 1)).repeat(2, axis=1).repeat(2, 2)
  band = np.full((n, 4, 12, 1), 128)
  return np.concatenate([band, content], axis=1).astype(np.uint8)


def _add(x, z, strength=0.8):
  blocks = strength * (jnp.repeat(z, 3, axis=1) - 0.5)
  return x.at[:, :4].add(blocks[:, None, :, None])


def _read(x, strength=0.8):
  return jnp.clip((x[:, 2, 1::3, 0] - GREY) / strength + 0.5, 0, 1)


def _remove(x):
  return x.at[:, :4].set(GREY), _read(x)


def _encode(x):
  return x.reshape(-1, 3, 4, 4, 3).mean(axis=(2, 4)).reshape(-1, 12)


def _augmented(images, seed=1, g_a=_add):
  z = jax.random.uniform(jax.random.key(seed), (len(images), Z))
  out = g_a(jnp.asarray(images, jnp.float32) / 255, z)
  return np.asarray(jnp.round(255 * out)).astype(np.uint8)


def _predict(features):
  # The content determines the class, but changes of the band disturb it.
  score = features[:, 4:].mean(axis=1) + (features[:, :4] - GREY).sum(axis=1)
  return (score > 0.29).astype(int)


def _probe():
  clean = _images(20)
  labels = _predict(np.asarray(_encode(clean.astype(np.float32) / 255)))
  return health.Probe(_predict, labels, clean, _augmented(clean, 21))


def _measure(g_a=_add, g_el=_remove, x_f=None, clean=None, probe=None):
  """Measures health; X̃_f has the true augmentation unless `x_f` is given."""
  if x_f is None:
    clean = _images(11)
    x_f, probe = _augmented(clean), _probe()
  return health.measure(g_a, g_el, _encode, _images(10), x_f, key=KEY,
                        latent_dim=Z, x_f_clean=clean, probe=probe)


def _warned(numbers):
  """Names of the numbers that cause warnings."""
  return {re.search(r"\((\w+) [^ ]+, healthy", sentence).group(1)
          for sentence in health.warnings(numbers)}


def test_the_true_augmentation_is_healthy():
  numbers = _measure()
  assert health.warnings(numbers) == []
  # All bounds were checked but one, which is of the training.
  assert health.unmeasured(numbers) == ["d_f_accuracy"]
  assert numbers["edit"] == pytest.approx(0.8 / 4 / 3, rel=0.1)
  assert numbers["edit_ratio"] == pytest.approx(1.0, abs=0.1)
  assert numbers["latent_effect"] == pytest.approx(4 / 3, rel=0.1)
  assert numbers["latent_r2"] == pytest.approx(1.0, abs=1e-4)
  assert abs(numbers["pattern_share"]) < 0.05
  assert numbers["elimination_error"] < 0.01
  assert numbers["embedding_gap"] < 0.01
  assert numbers["bank_follows"] > 0.9
  assert numbers["probe_clean"] == numbers["probe_eliminated"] == 100
  assert numbers["probe_augmented"] < 75
  # An exact G_E is not penalised for passing on what rounding changed.
  assert numbers["cycle_error"] < 1e-5
  assert numbers["cycle_requantised"] <= 1 + 1e-4


def test_identity():
  numbers = _measure(g_a=lambda x, z: x)
  assert numbers["edit"] == numbers["edit_ratio"] == 0
  assert _warned(numbers) == {"edit_ratio", "embedding_gap", "latent_r2",
                               "two_sample_gap"}
  assert numbers["embedding_gap"] == pytest.approx(1)
  assert "cycle_error" not in numbers  # its denominator is 0


def test_an_edit_of_zero_logits_is_the_identity():
  black = np.zeros((20, *_images(1).shape[1:]), np.uint8)
  numbers = health.measure(
      lambda x, z: outputs.to_image(jnp.zeros(x.shape), x, "edit"), _remove,
      _encode, black, black, key=KEY, latent_dim=Z)
  assert numbers["edit"] > 0
  assert "edit" in _warned(numbers)


def test_identity_without_clean_images():
  numbers = _measure(g_a=lambda x, z: x, x_f=_augmented(_images(11)))
  assert _warned(numbers) == {"edit", "latent_r2", "two_sample_gap"}
  assert not {"true_edit", "true_pattern_share", "probe_clean"} & set(numbers)
  assert {"edit_ratio", "embedding_gap", "bank_follows", "elimination_error", "probe_gain"
          } < set(health.unmeasured(numbers))


def test_other_content_of_x_p_is_not_held_against_g_a():
  x_p = _images(10)
  x_p[:, 4:] //= 3
  judge = lambda g_a: health.measure(
      g_a, _remove, _encode, x_p, _augmented(_images(11)), key=KEY, latent_dim=Z)
  numbers = judge(_add)
  assert numbers["unpaired_gap"] > 0.5 and abs(numbers["round_trip_gap"]) < 0.02
  assert _warned(numbers) == set()
  numbers = judge(lambda x, z: _add(x, z, 2.0))
  assert "two_sample_gap" in _warned(numbers)


def _striped(x, z):
  """Draws stripes on the content of every image; the latents have little effect."""
  stripes = 0.2 * (jnp.arange(12) % 2)
  return _add(x, z, 0.3).at[:, 4:].add(
      jnp.broadcast_to(stripes[None, None, :, None], x[:, 4:].shape))


def _unstripe(x):
  content = x[:, 4:] - (_striped(x, jnp.full((len(x), Z), 0.5)) - x)[:, 4:]
  return x.at[:, :4].set(GREY).at[:, 4:].set(content), _read(x, 0.3)


def test_fixed_pattern():
  x_f = _augmented(_images(11), g_a=_striped)
  numbers = _measure(_striped, _unstripe, x_f)
  assert _warned(numbers) == {"pattern_share"}
  # There is no warning if the implicit augmentation is such a pattern itself.
  numbers = _measure(_striped, _unstripe, x_f, clean=_images(11))
  assert numbers["pattern_share"] > 0.8
  assert health.warnings(numbers) == []


def test_latents_ignored():
  def g_a(x, z):
    brightness = jnp.mean(x, axis=(1, 2))  # [b, 1], used instead of z
    return _add(x, jnp.modf(brightness * jnp.arange(300, 304)[None])[0])
  assert _warned(_measure(g_a)) == {"latent_effect", "two_sample_gap"}


def test_latents_need_no_effect_if_the_change_has_no_randomness():
  measured = {"latent_effect": 0.02, "latent_r2": 0.0}
  (warning,) = health.warnings(measured)  # nor can they be read: said once
  assert "right if every x̃ was changed in the same way" in warning
  assert _warned(measured | {"true_latent_effect": 0.7}) == {"latent_effect"}
  assert _warned(measured | {"true_latent_effect": 0.01}) == set()
  assert _warned(measured | {"latent_effect": 0.5, "true_latent_effect": 0.01}) == {
      "latent_r2"}


def test_latents_hidden_where_none_sees_them():
  def g_a(x, z):
    brightness = jnp.mean(x, axis=(1, 2))
    seen = _add(x, jnp.modf(brightness * jnp.arange(300, 304)[None])[0])
    return seen.at[:, 0, :Z, 0].set(GREY + 0.01 * z)
  def g_el(x):
    corner = (x[:, 0, :Z, 0] - GREY) / 0.01
    is_own = jnp.all((corner > -0.1) & (corner < 1.1), axis=1, keepdims=True)
    return _remove(x)[0], jnp.where(is_own, corner, _read(x))
  numbers = _measure(g_a, g_el)
  assert numbers["latent_r2"] > 0.9
  assert _warned(numbers) == {"latent_effect", "two_sample_gap"}


def test_collapsed_bank():
  # G_L finds no augmentation in this X̃_f.
  numbers = _measure(x_f=_images(11))
  assert _warned(numbers) == {
      "bank_distance", "bank_edit_ratio", "bank_embedding_distance"}
  assert numbers["bank_distance"] == pytest.approx(1.0, abs=0.02)
  assert numbers["bank_edit_ratio"] < 0.01
  assert numbers["bank_embedding_distance"] == pytest.approx(1.0, abs=0.02)


def test_bank_in_a_corner_is_further_than_a_point_in_the_middle():
  numbers = _measure(x_f=_augmented(
      _images(11), g_a=lambda x, z: _add(x, jnp.ones_like(z))))
  assert numbers["bank_distance"] > 1.5
  assert _warned(numbers) >= {"bank_distance", "bank_embedding_distance"}


def test_steganography():
  contrast = 0.02
  def g_a(x, z):
    return _add(x.at[:, 4:].set(0.3 + contrast * (x[:, 4:] - 0.3)), z)
  def g_el(x):
    content = jnp.clip(0.3 + (x[:, 4:] - 0.3) / contrast, 0, 1)
    return x.at[:, :4].set(GREY).at[:, 4:].set(content), _read(x)
  numbers = _measure(g_a, g_el, x_f=_augmented(_images(11), g_a=g_a))
  assert numbers["cycle_error"] < 1e-4
  assert _warned(numbers) == {"cycle_requantised", "cycle_blurred"}


def test_eliminator_that_does_nothing():
  numbers = _measure(g_el=lambda x: (x, _read(x)))
  assert _warned(numbers) == {"cycle_error", "elimination_error", "probe_gain"}
  assert numbers["cycle_error"] == pytest.approx(1.0)
  assert numbers["elimination_error"] == pytest.approx(1.0)
  assert numbers["probe_gain"] == 0


@pytest.mark.parametrize("name", health.BOUNDS)
def test_each_bound_warns_on_its_far_side_only(name):
  low, high, words = health.BOUNDS[name]
  inside = low + 0.01 if math.isfinite(low) else high - 0.01
  assert health.warnings({name: inside}) == []
  if math.isfinite(low):
    assert _warned({name: low - 0.01}) == {name}
  if math.isfinite(high):
    assert _warned({name: high + 0.01}) == {name}
  assert _warned({name: math.nan}) == {name}
  for field in re.findall(r"config\.([a-z_.]+[a-z])", words):
    value = Config()
    for part in field.split("."):
      value = getattr(value, part)


def test_warning_in_words():
  (warning,) = health.warnings({"latent_r2": 0.0213, "edit": 0.1})
  assert warning.startswith(
      "G_A ignores its latents (latent_r2 0.0213, healthy above 0.2): ")
  assert "config.generator.losses.latent_weight" in warning
  assert "healthy 0.5 to 2)" in health.warnings({"bank_edit_ratio": 0.2})[0]
  assert "healthy below 0.5" in health.warnings({"bank_distance": 0.7})[0]
  assert health.warnings({"edit": 0.001, "edit_ratio": 1.0}) == []
  assert health.warnings({}) == []


def test_a_diverged_generator_is_warned_of():
  numbers = _measure(g_a=lambda x, z: x * jnp.nan)
  assert _warned(numbers) >= {
      "edit_ratio", "latent_effect", "pattern_share", "cycle_error",
      "cycle_requantised"}


def _rough_world():
  """Imperfect toy networks that run both in NumPy and in JAX."""
  rng = np.random.default_rng(0)
  to_image = rng.normal(size=(Z, 6 * 5 * 3)).astype(np.float32)
  to_z = rng.normal(size=(6 * 5 * 3, Z)).astype(np.float32)
  to_y = rng.normal(size=(6 * 5 * 3, 7)).astype(np.float32)
  flat = lambda x: x.reshape(len(x), -1)
  g_a = lambda x, z: 0.8 * x + 0.04 * ((z - 0.3) @ to_image).reshape(x.shape)
  g_el = lambda x: (x**2, (flat(x) @ to_z)**2 / 10)
  encode = lambda x: flat(x) @ to_y
  images = lambda n: rng.integers(0, 256, (n, 6, 5, 3)).astype(np.uint8)
  return g_a, g_el, encode, images


def _blur_by_loops(x):
  side = math.exp(-0.5 / 0.5**2)
  tap = np.array([side, 1.0, side]) / (1 + 2 * side)
  out = np.zeros_like(x)
  _, height, width, _ = x.shape
  for i in range(height):
    for j in range(width):
      for di in (-1, 0, 1):
        for dj in (-1, 0, 1):
          row = min(max(i + di, 0), height - 1)
          column = min(max(j + dj, 0), width - 1)
          out[:, i, j] += tap[di + 1] * tap[dj + 1] * x[:, row, column]
  return out


def _mean_product(e):
  """The mean product over pairs of different examples, unbiased for ‖E e‖²."""
  e = e.reshape(len(e), -1).astype(float)
  return np.mean([e[i] @ e[j] for i in range(len(e)) for j in range(len(e))
                  if i != j])


def _share(e):
  return _mean_product(e) / np.mean([np.sum(row**2) for row in e])


def _frechet(a, b):
  def part_in_std(y, i, k):
    std = y[:, k].std()
    return (y[i, k] - y[:, k].mean())**2 / (2 * std) + std / 2
  stds = np.array([[part_in_std(a, i, k) - part_in_std(b, i, k)
                    for k in range(a.shape[1])] for i in range(len(a))])
  return max(0.0, _mean_product(a - b) + _mean_product(stds))


def test_numbers_against_loops(monkeypatch):
  monkeypatch.setattr(health, "CHUNK", 4)
  g_a, g_el, encode, images = _rough_world()
  x_p, x_f, clean, again = images(9), images(6), images(6), images(6)
  labels = np.array([0, 1, 2, 3, 4])
  probe = health.Probe(lambda y: np.argmax(y, axis=1), labels, images(5),
                       images(5))
  numbers = health.measure(g_a, g_el, encode, x_p, x_f, key=KEY, latent_dim=Z,
                           x_f_clean=clean, x_f_again=again, probe=probe)

  x, x_f, clean, again, probe_clean, probe_augmented = (
      a.astype(np.float32) / 255
      for a in (x_p, x_f, clean, again, probe.clean, probe.augmented))
  bank = g_el(x_f)[1]
  draw = lambda name, of, n=9: np.asarray(
      draw_latents(example_keys(KEY, name, n), of, Z))
  z, other = draw("latent", None), draw("other", None)
  z_bank = draw("bank", bank)
  l1 = lambda a, b: sum(abs(p - q) for p, q in zip(a.flat, b.flat)) / a.size
  percent = lambda a: 100 * np.mean(
      [np.argmax(y) == label for y, label in zip(encode(a), labels)])
  x_a, x_bank = g_a(x, z), g_a(x, z_bank)
  edit, cycle, true = l1(x_a, x), l1(g_el(x_a)[0], x), l1(x_f, clean)
  rounded, blurred = np.round(x_a * 15) / 15, _blur_by_loops(x_a)
  gone = percent(g_el(probe_augmented)[0])
  expected = {
      "edit": edit, "true_edit": true, "edit_ratio": edit / true,
      "embedding_gap": (
          _frechet(encode(g_a(clean, draw("latent_f", None, 6))), encode(x_f)) /
          _frechet(encode(clean), encode(x_f))),
      "latent_effect": l1(x_a, g_a(x, other)) / edit,
      "latent_r2": 1 - ((g_el(x_a)[1] - z)**2).sum() / ((z - 0.5)**2).sum(),
      "pattern_share": _share(x_a - x),
      "true_pattern_share": _share(x_f - clean),
      "true_latent_effect": l1(again, x_f) / true,
      "bank_edit_ratio": l1(x_bank, x) / edit,
      "bank_embedding_distance": (_frechet(encode(x_bank), encode(x_a)) /
                                  _frechet(encode(x), encode(x_a))),
      "cycle_error": cycle / edit,
      "elimination_error": l1(g_el(x_f)[0], clean) / true,
      "bank_follows": np.corrcoef(
          [l1(a, b) for a, b in zip(x_f, clean)],
          [l1(g_a(x[:1], z[None])[0], x[0]) for z in bank])[0, 1],
      "cycle_requantised":
          l1(g_el(rounded)[0], x) / (cycle + l1(rounded, x_a)),
      "cycle_blurred": l1(g_el(blurred)[0], x) / (cycle + l1(blurred, x_a)),
      "probe_clean": percent(probe_clean),
      "probe_augmented": percent(probe_augmented),
      "probe_eliminated": gone,
      "probe_gain": gone - percent(probe_augmented)}
  real = np.concatenate([encode(x), encode(x_f)])
  see = lambda images: (encode(images) - real.mean(0)) / real.std(0)
  whole = distances.kernel_distance(see(x), see(x_f))
  x_round = g_a(g_el(x_f)[0], draw("round_trip", None, 6))
  for name, images in (("unpaired_gap", x_a), ("round_trip_gap", x_round)):
    expected[name] = distances.kernel_distance(see(images), see(x_f)) / whole
  expected["two_sample_gap"] = np.sqrt(
      max(expected["unpaired_gap"], 0) * max(expected["round_trip_gap"], 0))
  distance = numbers.pop("bank_distance")
  prior = np.asarray(jax.random.uniform(stream(KEY, "prior"), bank.shape))
  lines = random_directions(stream(KEY, "directions"), Z)
  wasserstein = lambda a: float(sliced_wasserstein(a, prior, lines))
  assert distance == pytest.approx(
      wasserstein(bank) / wasserstein(np.full((6, Z), 0.5, np.float32)))
  assert numbers == pytest.approx(expected, rel=2e-4)
  assert all(type(value) is float for value in numbers.values())


def test_latents_count_as_they_show():
  """A latent that nobody can see spoils neither R² nor the distance of the bank."""
  blind = np.float32([1, 0.5, 0, 0])
  shown = lambda z: np.ones_like(z) * blind[None]
  rng = np.random.default_rng(0)
  x_p, x_f = (rng.integers(0, 256, (40, 4, 4, 1), dtype=np.uint8) for _ in range(2))
  g_a = lambda x, z: 0.5 * x + 0.5 * z.mean(axis=1)[:, None, None, None]
  def g_el(x):
    z = jnp.stack([0.5 * x[:, 0, 0, 0], x[:, 1, 1, 0], 0 * x[:, 0, 0, 0],
                   0 * x[:, 0, 0, 0]], axis=1)
    return x, z
  measure = lambda shown: health.measure(
      g_a, g_el, lambda x: x.reshape(len(x), -1), x_p, x_f, key=KEY, latent_dim=4,
      shown=shown)
  z = np.asarray(draw_latents(example_keys(KEY, "latent", 40), None, 4))
  x_a = np.asarray(g_a(x_p / np.float32(255), z))
  found, bank = np.asarray(g_el(x_a)[1]), np.asarray(g_el(x_f / np.float32(255))[1])
  weigh = lambda square: np.sum(square * blind[None])
  prior = np.asarray(jax.random.uniform(stream(KEY, "prior"), bank.shape))
  lines = random_directions(stream(KEY, "directions"), 4)
  distance = lambda a: float(sliced_wasserstein(
      blind[None] * a, blind[None] * prior, lines))
  numbers = measure(shown)
  assert numbers["latent_r2"] == pytest.approx(
      1 - weigh((found - z)**2) / weigh((z - 0.5)**2), rel=1e-4)
  assert numbers["bank_distance"] == pytest.approx(
      distance(bank) / distance(np.full_like(bank, 0.5)), rel=1e-4)
  assert numbers["latent_r2"] > measure(None)["latent_r2"]
  assert "latent_r2" not in measure(lambda z: 0 * z)


def test_kernel_distance_of_unpaired_samples():
  rng = np.random.default_rng(0)
  a, b = rng.normal(size=(7, 3)), rng.normal(0.5, 2, size=(5, 3))
  kernel = lambda x, y: (sum(p * q for p, q in zip(x, y)) / 3 + 1)**3
  pairs = lambda x: np.mean([kernel(x[i], x[j]) for i in range(len(x))
                             for j in range(len(x)) if i != j])
  expected = pairs(a) + pairs(b) - 2 * np.mean([[kernel(x, y) for y in b] for x in a])
  assert distances.kernel_distance(a, b) == pytest.approx(expected)
  # Unbiased: the mean over many draws of the same distribution is 0.
  same = [distances.kernel_distance(*rng.normal(size=(2, 20, 3))) for _ in range(400)]
  assert abs(np.mean(same)) < 3 * np.std(same) / 20


def test_draws_of_the_prior_are_as_near_as_documented():
  lines = random_directions(KEY, 8)
  for m in (100, 400):
    pairs = [np.asarray(jax.random.uniform(jax.random.key(i), (2, m, 8)))
             for i in range(10)]
    found = np.mean([sliced_wasserstein(a, b, lines) /
                     sliced_wasserstein(a, np.full_like(a, 0.5), lines)
                     for a, b in pairs])
    assert found == pytest.approx(2 / np.sqrt(m), rel=0.15)


def test_frechet_distance_of_few_images():
  # Few images, many dimensions, and latents with a small effect on F.
  rng = np.random.default_rng(0)
  y = rng.normal(size=(50, 200))
  a, b = (y + 0.3 * rng.normal(size=y.shape) for _ in range(2))
  biased = np.sum((a.mean(0) - b.mean(0))**2 + (a.std(0) - b.std(0))**2)
  assert biased > 1
  assert distances.paired_frechet(a, b) < 0.1
  assert distances.paired_frechet(a, b + 0.2) == pytest.approx(8.0, rel=0.1)
  expected = 0.25 * np.sum(b.var(axis=0)) + 0.25 * np.sum(b.mean(axis=0)**2)
  assert distances.paired_frechet(b, 1.5 * b) == pytest.approx(
      expected, rel=0.1)
  assert distances.paired_frechet(0 * a, 0 * a) == 0  # dead units
  same = [y + 0.3 * rng.normal(size=y.shape) for _ in range(5)]
  assert min(distances.paired_frechet(a, b) for b in same) == 0


def test_chunks_change_nothing_and_are_compiled_once():
  traces = []
  def function(variables, x, z):
    traces.append(x.shape)
    return variables * x + z[:, None], {"z": z + 1}
  x = np.arange(22, dtype=np.uint8).reshape(11, 2)
  z = np.arange(11, dtype=np.float32)
  for scale in (2.0, 3.0):
    apply = chunks.chunked(Partial(function, jnp.float32(scale)), 4)
    for n in (11, 8, 3):
      y, rest = apply(x[:n], z[:n])
      np.testing.assert_allclose(
          y, scale * x[:n] / 255.0 + z[:n, None], rtol=1e-6)
      np.testing.assert_array_equal(rest["z"], z[:n] + 1)
  assert traces == [(4, 2)]  # one trace for both scales
  apply = chunks.chunked(lambda x, z: function(1.0, x, z), 4)
  apply(x, z)
  apply(x[:5], z[:5])
  assert len(traces) == 2


def test_large_images_come_in_smaller_chunks():
  """A network keeps many maps of the size of each image of a chunk."""
  traces = []
  def function(x, z):
    traces.append((x.shape, z.shape))
    return x[:, 0, 0, 0] + z
  images = ImageSet("x", np.zeros((5, 1024, 512, 1), np.uint8), None, ())
  for x in (images, images.images):
    np.testing.assert_array_equal(
        chunks.chunked(function, 4)(x, np.arange(5.0, dtype=np.float32)), np.arange(5))
  assert traces == [((2, 1024, 512, 1), (2,))]
  assert chunks.at_once(256, (28, 28, 1)) == chunks.at_once(256, (64, 64, 3)) == 256
  assert chunks.at_once(256, (224, 224, 3)) == 20
  assert chunks.at_once(256, (4096, 4096, 3)) == 1
  assert chunks.at_once(256, (128,)) == 256


def test_shapes_that_do_not_fit_are_refused():
  with pytest.raises(ValueError, match="two"):
    _measure(x_f=_images(11, n=1))
  with pytest.raises(ValueError, match="x_f_clean"):
    _measure(x_f=_images(11), clean=_images(11, n=1))
