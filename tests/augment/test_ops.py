"""Augmentation ops, compared with slow references in NumPy, SciPy and Pillow."""

import colorsys
import contextlib
import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest
import scipy.ndimage

from augment_gen.augment import geometric, photometric, sampling
from augment_gen.run import forms

# Every random op by name, at a strength with a visible effect.
OPS = {
    "random_resized_crop": functools.partial(
        geometric.random_resized_crop, scale=(0.2, 1.0)),
    "horizontal_flip": geometric.horizontal_flip,
    "random_affine": functools.partial(
        geometric.random_affine, degrees=30.0, translate=0.1,
        scale=(0.7, 1.2), shear=10.0),
    "elastic": functools.partial(geometric.elastic, alpha=10.0, sigma=2.0),
    "color_jitter": functools.partial(
        photometric.color_jitter, brightness=0.8, contrast=0.8,
        saturation=0.8, hue=0.2),
    "random_grayscale": functools.partial(
        photometric.random_grayscale, p=0.5),
    "gaussian_blur": functools.partial(
        photometric.gaussian_blur, sigma=(0.5, 2.0)),
}
# The same ops with settings that must change nothing.
IDENTITIES = {
    "random_resized_crop": functools.partial(
        geometric.random_resized_crop, scale=(1.0, 1.0), ratio=(1.0, 1.0)),
    "horizontal_flip": functools.partial(geometric.horizontal_flip, p=0.0),
    "random_affine": geometric.random_affine,
    "elastic": functools.partial(geometric.elastic, alpha=0.0, sigma=2.0),
    "color_jitter": photometric.color_jitter,
    "color_jitter, p": functools.partial(
        photometric.color_jitter, brightness=0.8, hue=0.5, p=0.0),
    "random_grayscale": functools.partial(
        photometric.random_grayscale, p=0.0),
    "gaussian_blur": functools.partial(
        photometric.gaussian_blur, sigma=(1e-3, 1e-3)),
    "gaussian_blur, p": functools.partial(
        photometric.gaussian_blur, sigma=(0.5, 2.0), p=0.0),
}

# As XLA:CPU is fast at it, and as it is written for other platforms.
FORMS = {"cpu": contextlib.nullcontext, "plain": forms.plain}


def image_of(shape, seed=0) -> np.ndarray:
  rng = np.random.Generator(np.random.Philox(seed))
  return rng.uniform(size=shape).astype(np.float32)


def keys_of(count: int, seed: int = 0) -> jax.Array:
  return jax.random.split(jax.random.key(seed), count)


def planes_of(image: np.ndarray) -> jax.Array:
  return jnp.moveaxis(jnp.asarray(image), -1, 0)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", OPS)
def test_batch_is_loop_in_range_and_random(name, channels):
  keys = keys_of(8)
  images = image_of((8, 10, 12, channels))
  one, many = jax.jit(OPS[name]), jax.jit(jax.vmap(OPS[name]))
  batch = np.asarray(many(keys, images))
  assert batch.shape == images.shape and batch.dtype == np.float32
  assert batch.min() >= 0 and batch.max() <= 1
  for key, image, out in zip(keys, images, batch):
    np.testing.assert_allclose(one(key, image), out, atol=2e-5)
  same = np.broadcast_to(images[:1], images.shape)
  drawn = np.asarray(many(keys, same))
  if name == "random_grayscale" and channels == 1:
    np.testing.assert_array_equal(drawn, same)
  else:
    assert drawn.std(axis=0).max() > 0.01, "the key does not matter"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", IDENTITIES)
def test_identity_at_zero_strength(name, channels):
  image = image_of((9, 9, channels))
  op = jax.jit(IDENTITIES[name])
  for key in keys_of(3):
    np.testing.assert_allclose(op(key, image), image, atol=1e-5)


@pytest.mark.parametrize("op", [
    functools.partial(geometric.horizontal_flip, p=0.3),
    functools.partial(photometric.random_grayscale, p=0.3),
    functools.partial(photometric.gaussian_blur, sigma=(1.0, 2.0), p=0.3),
    functools.partial(photometric.color_jitter, brightness=0.5, hue=0.5,
                      p=0.3)], ids=lambda op: op.func.__name__)
def test_probability(op):
  image = image_of((4, 4, 3))
  count = 2000
  out = jax.jit(jax.vmap(op, (0, None)))(keys_of(count), image)
  changed = np.any(np.asarray(out) != image[None], axis=(1, 2, 3)).mean()
  assert abs(changed - 0.3) < 4 * math.sqrt(0.3 * 0.7 / count)


@pytest.mark.parametrize("form", FORMS)
def test_flip_mirrors_columns(form):
  image = image_of((3, 4, 1))
  with FORMS[form]():
    for p, expected in ((1.0, image[:, ::-1]), (0.0, image)):
      np.testing.assert_array_equal(
          geometric.horizontal_flip(jax.random.key(0), image, p=p), expected)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("side", [None, 14, 6])
@pytest.mark.parametrize("box", [
    (0, 0, 12, 10), (3, 2, 5, 7), (11, 0, 1, 1), (1, 4, 10, 6)])
def test_resized_crop_is_pillows(box, side, form):
  image = image_of((12, 10, 1))
  top, left, height, width = box
  pillow = Image.fromarray(image[..., 0])
  expected = pillow.crop((left, top, left + width, top + height)).resize(
      (side or 10, side or 12), Image.Resampling.BILINEAR)
  with FORMS[form]():
    crop = jax.make_jaxpr(
        lambda x, *box: sampling.resized_crop(x, *box, side))(image, *box)
  found, = jax.core.eval_jaxpr(crop.jaxpr, crop.consts, image, *box)
  np.testing.assert_allclose(found[..., 0], np.asarray(expected), atol=1e-5)
  # Pixels are only looked up where no crop is made smaller.
  assert ("dot_general" in str(crop)) == (form == "plain" or side == 6)


def test_crop_box_distribution_is_torchvisions():
  shape, scale, ratio = (24, 32), (0.2, 1.0), (3 / 4, 4 / 3)
  count = 4000
  draw = jax.jit(jax.vmap(functools.partial(
      geometric.draw_crop_box, shape=shape, scale=scale, ratio=ratio)))
  boxes = np.stack(draw(keys_of(count)), axis=1)
  top, left, height, width = boxes.T
  assert np.all(boxes == np.round(boxes))
  assert np.all((top >= 0) & (top + height <= 24) & (height > 0))
  assert np.all((left >= 0) & (left + width <= 32) & (width > 0))

  rng = np.random.Generator(np.random.Philox(1))

  def reference():
    for _ in range(10):
      area = 24 * 32 * rng.uniform(*scale)
      aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
      w = round(math.sqrt(area * aspect))
      h = round(math.sqrt(area / aspect))
      if 0 < w <= 32 and 0 < h <= 24:
        return rng.integers(0, 24 - h + 1), rng.integers(0, 32 - w + 1), h, w
    return 0, 0, 24, 32

  expected = np.array([reference() for _ in range(count)], np.float64)
  error = expected.std(axis=0) * math.sqrt(2 / count)
  for statistic in (np.mean, np.std):
    difference = statistic(boxes, axis=0) - statistic(expected, axis=0)
    assert np.all(np.abs(difference) < 4.5 * error), difference


def test_crop_box_reaches_every_place():
  part = 20 * 20 / (24 * 32)
  draw = jax.jit(jax.vmap(functools.partial(
      geometric.draw_crop_box, shape=(24, 32), scale=(part, part),
      ratio=(1.0, 1.0))))
  top, left, height, width = (np.asarray(b) for b in draw(keys_of(1000)))
  assert set(height) == set(width) == {20.0}
  for place, number in ((top, 5), (left, 13)):
    values, counts = np.unique(place, return_counts=True)
    np.testing.assert_array_equal(values, np.arange(number))
    assert np.all(np.abs(counts - 1000 / number) < 5 * math.sqrt(1000 / number))


@pytest.mark.parametrize("shape, expected", [
    ((10, 40), (0, 13, 10, 13)), ((40, 10), (13, 0, 13, 10)),
    ((10, 10), (0, 0, 10, 10))])
def test_crop_box_falls_back_to_the_centre(shape, expected):
  box = jax.jit(functools.partial(
      geometric.draw_crop_box, shape=shape, scale=(5.0, 6.0), ratio=(3 / 4, 4 / 3)))(
          jax.random.key(0))
  assert tuple(int(b) for b in box) == expected


@pytest.mark.parametrize("channels", [1, 3])
def test_warp_against_scipy(channels):
  image = image_of((7, 9, channels))
  rng = np.random.Generator(np.random.Philox(2))
  rows = rng.uniform(-3, 9, (5, 6)).astype(np.float32)
  cols = rng.uniform(-3, 11, (5, 6)).astype(np.float32)
  rows[0, :4], cols[0, :4] = (0, 6, -1, 7), (0, 8, 3, 9)  # exactly on the borders
  expected = np.stack([
      scipy.ndimage.map_coordinates(image[..., c], (rows, cols), order=1,
                                    mode="grid-constant")
      for c in range(channels)], axis=-1)
  np.testing.assert_allclose(
      jax.jit(sampling.warp)(image, rows, cols), expected, atol=1e-5)


def test_affine_against_scipy():
  image = image_of((11, 13, 1))
  angle, shift, scale, shear = 0.4, np.array([1.5, -2.0]), 1.3, 0.2
  # Coordinates are (y, x). Shear comes first, then rotation and scaling.
  turn = np.array([[math.cos(angle), math.sin(angle)],
                   [-math.sin(angle), math.cos(angle)]])
  forward = scale * turn @ np.array([[1, 0], [math.tan(shear), 1]])
  inverse = np.linalg.inv(forward)
  centre = np.array([5.0, 6.0])
  expected = scipy.ndimage.affine_transform(
      image[..., 0], inverse, offset=centre - inverse @ (centre + shift),
      order=1, mode="grid-constant")
  out = jax.jit(geometric.affine)(image, angle, *shift, scale, shear)
  np.testing.assert_allclose(out[..., 0], expected, atol=1e-4)


def test_affine_turns_right_to_down():
  image = np.zeros((5, 5, 1), np.float32)
  image[2, 4] = 1
  out = jax.jit(geometric.affine)(image, math.pi / 2, 0.0, 0.0, 1.0, 0.0)
  np.testing.assert_allclose(out[4, 2, 0], 1, atol=1e-5)


def test_elastic_displaces_by_smoothed_noise():
  image = image_of((16, 16, 1))
  key = jax.random.key(3)
  noise = np.asarray(jax.random.uniform(key, (16, 16, 2), minval=-6.0,
                                        maxval=6.0))
  shift = [scipy.ndimage.gaussian_filter(noise[..., i], 2.0, mode="mirror",
                                         truncate=8.0) for i in range(2)]
  grid = np.meshgrid(np.arange(16), np.arange(16), indexing="ij")
  expected = scipy.ndimage.map_coordinates(
      image[..., 0], [g + s for g, s in zip(grid, shift)], order=1,
      mode="grid-constant")
  out = jax.jit(functools.partial(geometric.elastic, alpha=6.0, sigma=2.0))(
      key, image)
  np.testing.assert_allclose(out[..., 0], expected, atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.0])
def test_blur_against_scipy(sigma, form):
  """2.0 is too wide for shifted sums, which would reach beyond the image."""
  image = image_of((40, 44, 3))
  expected = scipy.ndimage.gaussian_filter(
      image, (sigma, sigma, 0), mode="mirror", truncate=10.0)
  with FORMS[form]():
    blur = jax.make_jaxpr(lambda x: sampling.gaussian_blur(x, sigma, sigma))(image)
  out, = jax.core.eval_jaxpr(blur.jaxpr, blur.consts, image)
  np.testing.assert_allclose(out, expected, atol=1e-5)
  assert ("dot_general" in str(blur)) == (form == "plain" or sigma == 2.0)


@pytest.mark.parametrize("form", FORMS)
def test_blur_may_be_wider_than_the_image(form):
  image = image_of((4, 4, 1))
  with FORMS[form]():
    out = sampling.gaussian_blur(image, 0.5, 50.0)
  np.testing.assert_allclose(out, scipy.ndimage.gaussian_filter(
      image, (0.5, 0.5, 0), mode="mirror", truncate=10.0), atol=1e-5)


def test_hue_against_colorsys():
  image = image_of((6, 6, 3))
  image[0, :3] = [[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5]]  # greys have no hue
  image[1, :3] = [[1, 0, 0], [1, 1, 0], [0, 1, 1]]  # ties between channels
  adjust = jax.jit(photometric.adjust_hue)
  for turns in (-0.5, -0.1, 0.0, 0.25, 0.5):
    expected = np.empty_like(image)
    for i, j in np.ndindex(6, 6):
      h, s, v = colorsys.rgb_to_hsv(*image[i, j].tolist())
      expected[i, j] = colorsys.hsv_to_rgb((h + turns) % 1.0, s, v)
    out = adjust(planes_of(image), turns)
    np.testing.assert_allclose(np.moveaxis(np.asarray(out), 0, -1), expected,
                               atol=1e-5)


def test_luma_is_pillows():
  image = (image_of((5, 5, 3)) * 255).astype(np.uint8)
  grey = photometric.luma(planes_of(image.astype(np.float32)))
  expected = np.asarray(Image.fromarray(image).convert("L"), np.float32)
  np.testing.assert_allclose(grey, expected, atol=1.0)
  out = jax.jit(functools.partial(photometric.random_grayscale, p=1.0))(
      jax.random.key(0), image.astype(np.float32) / 255)
  np.testing.assert_allclose(
      out, np.repeat(np.asarray(grey)[..., None], 3, axis=2) / 255, atol=1e-6)


def reference_change(image, name, factor):
  """One change of ColorJitter, as in torchvision.transforms.functional."""
  grey = (image @ np.array([0.299, 0.587, 0.114], np.float32)
          if image.shape[-1] == 3 else image[..., 0])
  if name == "hue":
    out = np.empty_like(image)
    for i, j in np.ndindex(*image.shape[:2]):
      h, s, v = colorsys.rgb_to_hsv(*image[i, j].tolist())
      out[i, j] = colorsys.hsv_to_rgb((h + factor) % 1.0, s, v)
    return out
  other = {"brightness": 0.0, "contrast": grey.mean(),
           "saturation": grey[..., None]}[name]
  return np.clip(factor * image + (1 - factor) * other, 0, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_color_jitter_is_one_of_the_orders(channels):
  """Each output follows from the drawn factors in some order; all orders occur."""
  image = image_of((2, 2, 3) if channels == 3 else (4, 4, 1))
  ranges = {"brightness": (0.2, 1.8), "contrast": (0.2, 1.8)}
  strengths = {"brightness": 0.8, "contrast": 0.8}
  if channels == 3:
    ranges |= {"saturation": (0.2, 1.8), "hue": (-0.3, 0.3)}
    strengths |= {"saturation": 0.8, "hue": 0.3}
  keys = keys_of(300 if channels == 3 else 30)
  outs = np.asarray(jax.jit(jax.vmap(functools.partial(
      photometric.color_jitter, **strengths), (0, None)))(keys, image))
  # One draw: a factor and a place for each blend, then the place of the hue, the hue, p.
  u = np.asarray(jax.jit(jax.vmap(lambda key: jax.random.uniform(
      key, (9 if channels == 3 else 7,))))(keys))
  places = {"brightness": 0, "contrast": 1, "saturation": 2, "hue": 7}
  draws = {name: low + (high - low) * u[:, places[name]]
           for name, (low, high) in ranges.items()}
  seen = set()
  for i, out in enumerate(outs):
    matching = []
    for order in itertools.permutations(ranges):
      expected = image
      for name in order:
        expected = reference_change(expected, name, draws[name][i])
      if np.abs(out - expected).max() < 2e-5:
        matching.append(order)
    assert matching
    if len(matching) == 1:  # some orders agree if nothing clips
      seen.add(matching[0])
  assert len(seen) == math.factorial(len(ranges))
