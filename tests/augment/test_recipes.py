"""Recipes, implicit augmentations and latents."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from augment_gen.augment import geometric, implicit, learned, recipes
from augment_gen.config import errors
from augment_gen.models.perceptron import PerceptronAugmenter
from augment_gen.models.unet import UNetAugmenter
from augment_gen.run.random import stream

SIZE = 14


def batch_of(count=6, channels=1, size=SIZE) -> np.ndarray:
  """uint8 [N, H, W, C]: a bright square on black; noise if C is 3."""
  rng = np.random.Generator(np.random.Philox(0))
  images = np.zeros((count, size, size, channels), np.uint8)
  images[:, 3:-3, 4:-4] = 200
  if channels == 3:
    images = rng.integers(0, 256, images.shape, np.uint8)
  return images


def keys_of(count: int, seed: int = 0) -> jax.Array:
  return jax.random.split(jax.random.key(seed), count)


def floats(images: np.ndarray) -> np.ndarray:
  return images.astype(np.float32) / 255


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", recipes.NAMES)
def test_recipe_keeps_shape_and_range_and_follows_the_key(name, channels):
  images = floats(batch_of(channels=channels))
  augment = jax.jit(lambda keys, x: recipes.augment_batch(
      recipes.recipe(name), keys, x))
  one, again, other = (
      np.asarray(augment(keys_of(6, seed), images)) for seed in (0, 0, 1))
  assert one.shape == images.shape and one.dtype == np.float32
  assert one.min() >= 0 and one.max() <= 1
  np.testing.assert_array_equal(one, again)
  assert np.array_equal(one, other) == (name == "none")
  assert np.array_equal(one, images) == (name == "none")


def test_moco_v2_crops_like_crop_alone():
  """Random streams are named, so the crops are equal and only later ops differ."""
  ramp = np.linspace(0, 1, SIZE, dtype=np.float32)
  ramp = np.tile(ramp[None, :, None], (SIZE, 1, 1))
  key = jax.random.key(4)
  crop = jax.jit(lambda key, x: geometric.random_resized_crop(
      stream(key, "crop"), x, scale=(0.2, 1.0)))(key, ramp)
  np.testing.assert_allclose(
      jax.jit(recipes.recipe("crop"))(key, ramp), crop, atol=1e-6)
  moco = jax.jit(recipes.recipe("moco_v2"))(key, ramp)
  # Jitter and blur keep the order of the columns; a flip reverses it.
  steps = np.diff(np.asarray(moco)[5, :, 0])
  assert np.all(steps >= -1e-5) or np.all(steps <= 1e-5)


def test_a_small_crop_replaces_the_crop_of_a_recipe():
  """Part of a ramp, at another size; "none" does nothing else to it."""
  ramp = np.linspace(0, 1, SIZE, dtype=np.float32)
  images = np.tile(ramp[None, None, :, None], (200, SIZE, 1, 1))
  crop = recipes.Crop((0.05, 0.14), side=6)
  small = np.asarray(jax.jit(lambda keys, x: recipes.augment_batch(
      recipes.recipe("none", crop), keys, x))(keys_of(200), images))
  assert small.shape == (200, 6, 6, 1)
  # Shares of the side, from the difference of the outermost pixels.
  width = (small[:, 0, -1, 0] - small[:, 0, 0, 0]) * 6 / 5 * (SIZE - 1) / SIZE
  assert width.min() > 0.14 and width.max() < 0.5


def test_moco_v2_probabilities():
  """20 % of the views are grey and 50 % are mirrored, whatever the other ops do."""
  image = np.zeros((8, 8, 3), np.float32)
  image[..., 0], image[:, 4:, 1] = 0.8, 0.5  # red, with an orange right half
  count = 1500
  out = np.asarray(jax.jit(lambda keys, x: recipes.augment_batch(
      recipes.recipe("moco_v2"), keys, x))(
          keys_of(count), np.broadcast_to(image, (count, 8, 8, 3))))
  grey = np.ptp(out, axis=-1).max(axis=(1, 2)) < 1e-4
  assert abs(grey.mean() - 0.2) < 0.045
  difference = out[:, :, 4:].mean((1, 2, 3)) - out[:, :, :4].mean((1, 2, 3))
  told = np.abs(difference) > 1e-4  # crops within one half show no direction
  assert told.mean() > 0.5
  assert abs((difference[told] < 0).mean() - 0.5) < 0.07


def test_handwriting_is_never_mirrored():
  """An L keeps its foot on the right side of its stem."""
  image = np.zeros((28, 28, 1), np.float32)
  image[6:22, 8:11] = image[19:22, 8:20] = 1
  mirrored = image[:, ::-1]
  count = 60
  out = np.asarray(jax.jit(lambda keys, x: recipes.augment_batch(
      recipes.recipe("handwriting"), keys, x))(
          keys_of(count), np.broadcast_to(image, (count, 28, 28, 1))))

  def best_overlap(template):
    """Largest correlation over all shifts."""
    spectrum = np.conj(np.fft.rfft2(template[..., 0], (56, 56)))
    return np.stack([np.fft.irfft2(np.fft.rfft2(o[..., 0], (56, 56)) * spectrum)
                     .max() for o in out])

  wins = best_overlap(image) > best_overlap(mirrored)
  assert wins.mean() > 0.85


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", implicit.NAMES)
def test_implicit_changes_and_stays_in_range(name, channels):
  images = floats(batch_of(8, channels))
  op = jax.jit(jax.vmap(implicit.implicit(name)))
  keys = keys_of(8)
  batch = np.asarray(op(keys, images))
  assert batch.shape == images.shape and batch.dtype == np.float32
  assert batch.min() >= 0 and batch.max() <= 1
  assert np.mean(np.any(np.abs(batch - images) > 0.05, axis=(1, 2, 3))) > 0.6
  # One image under several keys.
  same = np.broadcast_to(images[:1], images.shape)
  varies = np.asarray(op(keys, same)).std(axis=0).max() > 0.01
  assert varies == (name != "inversion")


@pytest.mark.parametrize("name, large", [("dots", 0.0), ("mixed_dots", 0.25)])
def test_dots_are_full_ink_in_the_stated_number_and_sizes(name, large):
  count = 400
  images = np.zeros((count, 28, 28, 1), np.float32)
  out = np.asarray(jax.jit(jax.vmap(implicit.implicit(name)))(
      keys_of(count), images))[..., 0]
  assert set(np.unique(out)) == {0.0, 1.0}
  assert out.sum(axis=0).min() > 0, "a place that is never reached"
  # There are n dots of this mean area, n uniform on 10..60. Overlaps and the border
  # reduce the covered area slightly.
  area = 1 + 3 * large
  covered = out.sum(axis=(1, 2))
  assert 9 <= covered.min() < 25
  assert 45 * area < covered.max() <= (60 if not large else 240)
  assert 0.88 * 35 * area < covered.mean() < 35 * area
  # Isolated dots are single pixels or whole 2 x 2 squares.
  sizes = []
  for picture in out[covered < 30]:
    labels = scipy.ndimage.label(picture, np.ones((3, 3)))[0]
    for box in scipy.ndimage.find_objects(labels):
      if labels[box].shape in {(1, 1), (2, 2)} and np.all(labels[box]):
        sizes.append(labels[box].size)
  share = np.mean(np.array(sizes) == 4)
  assert share < 0.02 if not large else 0.15 < share < 0.35


def test_dots_scale_with_the_area_and_keep_the_rest():
  images = floats(batch_of(4, 3, size=56))
  dots = jax.jit(jax.vmap(implicit.implicit("dots")))
  out = np.asarray(dots(keys_of(4), images))
  for image, dotted in zip(images, out):
    changed = np.any(image != dotted, axis=-1)
    assert 35 < changed.sum() <= 4 * 60
    colours = np.unique(dotted[changed], axis=0)
    assert colours.shape == (1, 3) and colours.max() == 1.0


def test_gradient_is_visible_on_black_and_linear():
  black = np.zeros((16, 16, 1), np.float32)
  light = np.asarray(jax.jit(implicit.implicit("gradient"))(jax.random.key(1), black))
  assert 0.4 <= light.max() <= 0.9 and light.min() < 1e-6
  for axis in (0, 1):
    np.testing.assert_allclose(np.diff(light[..., 0], n=2, axis=axis), 0,
                               atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_lamp_is_brightest_at_one_side_and_red(channels):
  grey = np.full((16, 16, channels), 0.8, np.float32)
  lit = np.asarray(jax.jit(implicit.implicit("lamp"))(jax.random.key(1), grey))
  red = lit[..., 0] / 0.8
  assert red.max() == pytest.approx(1.0, abs=1e-5) and 0.1 <= red.min() <= 0.5
  for axis in (0, 1):
    np.testing.assert_allclose(np.diff(red, n=2, axis=axis), 0, atol=1e-5)
  if channels == 3:
    stops = np.log2(lit[..., 0] / lit[..., 2])
    assert 0.7 <= stops.min() <= stops.max() <= 2 and np.ptp(stops) < 1e-4
    np.testing.assert_allclose(lit[..., 1]**2, lit[..., 0] * lit[..., 2], rtol=1e-4)


def test_a_vignette_darkens_the_corners():
  grey = np.full((64, 20, 14, 1), 0.8, np.float32)
  light = np.asarray(jax.jit(jax.vmap(implicit.implicit("vignette")))(
      keys_of(64), grey))[..., 0] / 0.8
  y, x = np.mgrid[-1:1:20j, -1:1:14j]
  fall = 1 - light[:, :1, :1]
  np.testing.assert_allclose(1 - light, fall * ((x**2 + y**2) / 2)[None], atol=1e-5)
  assert 0.4 <= fall.min() < 0.45 and 0.85 < fall.max() <= 0.9


def test_underexposure_darkens_and_adds_noise():
  grey = np.full((64, 64, 64, 1), 0.9, np.float32)
  dark = np.asarray(jax.jit(jax.vmap(implicit.implicit("underexposure")))(
      keys_of(64), grey))
  stops = -np.log2(dark.mean(axis=(1, 2, 3)) / 0.9)
  assert 0.95 < stops.min() < 1.3 and 2.2 < stops.max() < 2.55
  std = dark.std(axis=(1, 2, 3))
  assert 0.018 < std.min() < 0.027 and 0.053 < std.max() < 0.063


@pytest.mark.parametrize("channels", [1, 3])
def test_apply_once_depends_on_name_seed_and_index_alone(channels, monkeypatch):
  monkeypatch.setattr(implicit, "_CHUNK", 4)
  images = batch_of(10, channels)
  images[7] = images[2]
  out = implicit.apply_once("dots", images, seed=3)
  assert out.shape == images.shape and out.dtype == np.uint8
  np.testing.assert_array_equal(
      out, implicit.apply_once("dots", images, seed=3))
  np.testing.assert_array_equal(
      out[:3], implicit.apply_once("dots", images[:3], seed=3))
  assert not np.array_equal(
      out, implicit.apply_once("dots", images, seed=4))
  assert not np.array_equal(out[7], out[2]), "places share their key"
  # Image 9 lies in the last, padded chunk.
  key = jax.random.fold_in(stream(jax.random.key(3), "dots"), 9)
  expected = jax.jit(implicit.implicit("dots"))(key, floats(images[9]))
  np.testing.assert_array_equal(out[9], np.round(np.asarray(expected) * 255))


def test_apply_once_rounds_and_leaves_its_input():
  images = batch_of(3)
  before = images.copy()
  np.testing.assert_array_equal(
      implicit.apply_once("inversion", images, seed=0), 255 - images)
  np.testing.assert_array_equal(images, before)


def test_apply_once_compiles_once(monkeypatch):
  monkeypatch.setattr(implicit, "_CHUNK", 4)
  implicit._apply_chunk.clear_cache()
  implicit.apply_once("inversion", batch_of(11), seed=0)
  assert implicit._apply_chunk._cache_size() == 1


def test_apply_once_of_nothing():
  out = implicit.apply_once("dots", batch_of(0), seed=0)
  assert out.shape == (0, SIZE, SIZE, 1) and out.dtype == np.uint8


@pytest.mark.parametrize("call, names", [
    (lambda: recipes.recipe("autoaugment"), recipes.NAMES),
    (lambda: implicit.implicit("rain"), implicit.NAMES),
    (lambda: implicit.apply_once("rain", batch_of(0), 0), implicit.NAMES)])
def test_unknown_names_list_the_known(call, names):
  with pytest.raises(errors.UserError) as caught:
    call()
  assert len(caught.value.problems) == 1
  assert all(name in str(caught.value) for name in names)


def test_latents_from_the_prior_and_the_bank():
  draw = jax.jit(lambda keys, bank: learned.draw_latents(keys, bank, 4))
  prior = np.asarray(draw(keys_of(500), None))
  assert prior.shape == (500, 4) and prior.dtype == np.float32
  assert prior.min() >= 0 and prior.max() < 1
  np.testing.assert_allclose(prior.mean(axis=0), 0.5, atol=0.06)
  assert np.abs(np.corrcoef(prior.T) - np.eye(4)).max() < 0.2

  bank = jnp.asarray(np.arange(20, dtype=np.float32).reshape(5, 4))
  drawn = np.asarray(draw(keys_of(500), bank))
  rows, counts = np.unique(drawn, axis=0, return_counts=True)
  np.testing.assert_array_equal(rows, bank)
  assert counts.min() > 65 and counts.max() < 140
  # A latent depends on its key, not on its position in the batch.
  np.testing.assert_array_equal(
      draw(keys_of(500)[7:9], bank), drawn[7:9])
  with pytest.raises(ValueError, match="dimensions"):
    learned.draw_latents(keys_of(2), bank, 3)


@functools.cache
def untrained(kind):
  network = {
      "perceptron": PerceptronAugmenter(
          (6, 6, 1), hidden=8, layers=3, output="edit"),
      "unet": UNetAugmenter(
          4, 1, layout="learned", latent_scale=8.0, output="edit")}[kind]
  rng = np.random.default_rng(0)
  x, z = rng.random((16, 6, 6, 1), np.float32), rng.random((16, 3), np.float32)
  params = jax.device_get(jax.jit(network.init)(jax.random.key(2), x, z))["params"]
  return network, jax.jit(network.apply), params, x, z


@pytest.mark.parametrize("strength", [0.02, 0.1])
@pytest.mark.parametrize("kind", ["perceptron", "unet"])
def test_match_strength_scales_what_makes_the_logits(kind, strength):
  network, apply, params, x, z = untrained(kind)
  scaled = learned.match_strength(network, params, x, z, strength)
  in_parts = learned.match_strength(network, params, x, z, strength, pieces=2)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3), in_parts, scaled)
  x_a = apply({"params": scaled}, x, z)
  assert np.mean(np.abs(x_a - x)) == pytest.approx(strength, rel=1e-3)
  ratio = scaled["image"]["kernel"] / params["image"]["kernel"]
  np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-4)
  for name in params:
    if name not in ("image", "marks"):
      jax.tree.map(np.testing.assert_array_equal, scaled[name], params[name])
