"""Tests of augment/operators against slow references, and of their slopes at 0."""

import colorsys
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
import scipy.special

from augment_gen.augment import operators
from augment_gen.augment.operators.base import Operator

BY_NAME = {operator.name: operator for operator in operators.CHAIN}
STRENGTHS = [(operator.name, amount.name) for operator in operators.CHAIN
             for amount in operator.amounts if amount.strength]


def _image(channels: int, side: int = 28, seed: int = 0) -> np.ndarray:
  """Smooth grey shapes with noise, away from black and white: [side, side, C]."""
  x = np.random.RandomState(seed).uniform(0.2, 0.8, (side, side, channels))
  return (0.5 * x + 0.5 * scipy.ndimage.gaussian_filter(x, (2, 2, 0))).astype(np.float32)


def _amounts(operator: Operator, **given: float) -> dict[str, np.float32]:
  """All strengths 0, other amounts as in the middle of their start, unless given."""
  middle = {a.name: 0.0 if a.strength else float(np.mean(a.start))
            for a in operator.amounts}
  return {name: np.float32(v) for name, v in (middle | given).items()}


@functools.cache
def _compiled(name: str):
  return jax.jit(BY_NAME[name].apply)


def _apply(name: str, image: np.ndarray, seed: int = 0, **given: float) -> np.ndarray:
  return np.array(_compiled(name)(
      jnp.asarray(image), _amounts(BY_NAME[name], **given), jax.random.key(seed)))


def _uniform(seed: int, shape) -> np.ndarray:
  return np.array(jax.random.uniform(jax.random.key(seed), shape))


@pytest.mark.parametrize("operator", operators.CHAIN, ids=operators.NAMES)
def test_strengths_of_0_change_nothing(operator):
  image = _image(3)
  np.testing.assert_allclose(_apply(operator.name, image), image, atol=2e-3)


@functools.cache
def _of_strengths(name: str):
  """What an operator makes of an image with many keys, as a mark may lie anywhere.

  Returns a jitted function of the image, the amounts and a direction to change them in:
  the pictures, and how they change in that direction, [64, H, W, C].
  """
  keys = jax.random.split(jax.random.key(1), 64)
  def of(image, amounts, direction):
    apply = lambda amounts: jax.vmap(
        lambda key: BY_NAME[name].apply(image, amounts, key))(keys)
    return jax.jvp(apply, (amounts,), (direction,))
  return jax.jit(of)


@pytest.mark.parametrize("name,amount", STRENGTHS)
def test_a_strength_can_be_learned_from_0(name, amount):
  """At 0 the image changes with a strength, and as fast as it does a little above."""
  operator, image, of = BY_NAME[name], _image(3), _of_strengths(name)
  if name == "geometry":
    # Between pixels of an image that is not smooth, bilinear sampling has two slopes.
    image = scipy.ndimage.gaussian_filter(image, (3, 3, 0))
  step = 0.02 * next(a.span for a in operator.amounts if a.name == amount)
  amounts = _amounts(operator)
  direction = {a: np.float32(a == amount) for a in amounts}
  at_0, slope = of(image, amounts, direction)
  change = of(image, amounts | {amount: np.float32(step)}, direction)[0] - at_0
  slope, change = np.asarray(slope), np.asarray(change)
  assert np.isfinite(slope).all()
  slope, change = np.mean(slope, axis=0) * step, np.mean(change, axis=0)
  assert np.abs(slope).sum() > 0.3 * np.abs(change).sum() > 0
  # It points to where a little of it goes.
  cosine = np.sum(slope * change) / np.linalg.norm(slope) / np.linalg.norm(change)
  assert cosine > 0.5


@pytest.mark.parametrize("operator", operators.CHAIN, ids=operators.NAMES)
@pytest.mark.parametrize("channels,shape", [(1, (28, 28)), (3, (33, 47))])
def test_all_amounts_have_finite_slopes_for_all_images(operator, channels, shape):
  if operator.colour_only and channels == 1:
    pytest.skip("needs colour")
  shape = (*shape, channels)
  images = [np.zeros(shape, np.float32), np.ones(shape, np.float32),
            np.random.RandomState(0).uniform(0, 1, shape).astype(np.float32)]
  ends = [{a.name: np.float32(end(a)) for a in operator.amounts}
          for end in (lambda a: a.low, lambda a: a.high, lambda a: max(a.low, 0.0))]
  loss = lambda image, amounts: jnp.sum(jnp.square(
      operator.apply(image, amounts, jax.random.key(0))))
  slope = jax.jit(jax.grad(loss, argnums=(0, 1)))
  for image in images:
    for amounts in ends:
      for leaf in jax.tree.leaves(slope(jnp.asarray(image), amounts)):
        assert np.isfinite(leaf).all()


def test_specks_lie_where_random_numbers_are_below_the_density():
  image, u = _image(1), _uniform(0, (4, 28, 28))
  densities = 0.05, 0.02, 0.04, 0.03
  found = _apply("specks", image, light=densities[0], light_large=densities[1],
                 dark=densities[2], dark_large=densities[3])
  expected = image.copy()
  for small, large, tone in ((0, 1, 1.0), (2, 3, 0.0)):
    for row in range(28):
      for col in range(28):
        for kind, side in ((small, 1), (large, 2)):
          below = (densities[kind] - u[kind, row, col]) / (0.2 * densities[kind] + 1e-3)
          # Most are full, some are faint.
          opacity = min(max(below, 0.0), 1.0)
          part = expected[row:row + side, col:col + side]
          part += opacity * (tone - part)
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_expected_number_of_specks_has_the_right_slope():
  black, operator = jnp.zeros((64, 64, 1)), BY_NAME["specks"]
  brightness = lambda light, key: jnp.mean(
      operator.apply(black, _amounts(operator) | {"light": light}, key))
  keys = jax.random.split(jax.random.key(0), 32)
  slopes = jax.jit(jax.vmap(jax.grad(brightness), (None, 0)))(jnp.float32(0.1), keys)
  # A tenth of the area that specks would cover is missing, as a fifth of them is faint.
  np.testing.assert_allclose(np.mean(slopes), 0.9, rtol=0.05)


def test_scratches_are_lines_with_round_ends():
  image, u = _image(1), _uniform(0, (4, 8))
  found = _apply("scratches", image, light=1.5, dark=2.0, length=12.0, width=1.4)
  opacity = [1, 0.5, 0, 0, 1, 1, 0, 0]
  expected = image[..., 0].astype(np.float64)
  for tone, marks in ((0.0, range(4, 8)), (1.0, range(4))):
    left = np.ones((28, 28))
    for i in marks:
      centre = np.array([u[0, i] * 28, u[1, i] * 28])
      along = np.array([math.sin(math.pi * u[2, i]), math.cos(math.pi * u[2, i])])
      half = 12.0 * (0.5 + u[3, i]) / 2
      for row in range(28):
        for col in range(28):
          offset = np.array([row, col]) - centre
          nearest = np.clip(offset @ along, -half, half) * along
          distance = np.linalg.norm(offset - nearest)
          left[row, col] *= 1 - opacity[i] * np.clip(0.7 + 0.5 - distance, 0, 1)
    expected = expected * left + tone * (1 - left)
  np.testing.assert_allclose(found[..., 0], expected, atol=0.02)


def test_spots_are_round_and_soft():
  image, u = _image(1), _uniform(0, (3, 6))
  found = _apply("spots", image, light=1.0, dark=1.25, radius=3.0)
  expected = image[..., 0].astype(np.float64)
  for tone, spots in ((0.0, ((3, 1), (4, 0.25))), (1.0, ((0, 1),))):
    left = np.ones((28, 28))
    for i, opacity in spots:
      for row in range(28):
        for col in range(28):
          square = (row - 28 * u[0, i])**2 + (col - 28 * u[1, i])**2
          left[row, col] *= 1 - opacity * math.exp(
              -square / 2 / (3.0 * (0.5 + u[2, i]))**2)
    expected = expected * left + tone * (1 - left)
  np.testing.assert_allclose(found[..., 0], expected, atol=1e-4)


def test_occluders_are_rectangles():
  image, u = _image(1), _uniform(0, (4, 6))
  found = _apply("occluders", image, dark=1.5, light=1.0, side=9.0, dark_tone=0.3,
                 light_tone=0.9)
  expected = image[..., 0].astype(np.float64)
  for tone, of in ((0.3, ((0, 1.0), (1, 0.5))), (0.9, ((3, 1.0),))):
    left = np.ones((28, 28))
    for i, opacity in of:
      for row in range(28):
        for col in range(28):
          inside = opacity
          for place, centre, size in ((row, u[0, i], u[2, i]), (col, u[1, i], u[3, i])):
            half = 4.5 * (0.6 + 0.8 * size)
            inside *= np.clip(half + 0.5 - abs(place - 28 * centre), 0, 1)
          left[row, col] *= 1 - inside
    expected = expected * left + tone * (1 - left)
  np.testing.assert_allclose(found[..., 0], expected, atol=1e-4)


def _ramp(height: int, width: int, turns: float) -> np.ndarray:
  """The ramp from its ends: 0 at one corner or side, 1 at the opposite one."""
  angle = 2 * math.pi * turns
  along = np.array([[math.cos(angle) * col / width + math.sin(angle) * row / height
                     for col in range(width)] for row in range(height)])
  return (along - along.min()) / (along.max() - along.min())


@pytest.mark.parametrize("turns", [0.0, 0.1, 0.4, 0.85])
def test_light_from_a_side(turns):
  image = _image(3, 24)[:, :20]
  ramp = _ramp(24, 20, turns)[..., None]
  for place, width in ((0.5, 1.0), (0.3, 0.5), (0.7, 0.05)):
    dark = np.interp(ramp, [place - width / 2, place + width / 2], [0, 1])
    found = _apply("shading", image, strength=0.7, turns=turns, place=place, width=width)
    np.testing.assert_allclose(found, image * (1 - 0.7 * dark), atol=1e-4)
  y, x = np.mgrid[-1:1:24j, -1:1:20j]
  found = _apply("shading", image, corners=0.6, strength=0.7, turns=turns, place=0.5,
                 width=1.0)
  np.testing.assert_allclose(
      found, image * (1 - 0.7 * ramp) * (1 - 0.3 * (x**2 + y**2))[..., None], atol=1e-4)
  light = 0.6 * (0.25 + 0.75 * ramp) * np.array([1, 2**-0.5, 2**-1.0])
  np.testing.assert_allclose(
      _apply("glare", image, strength=0.6, turns=turns, evenness=0.25, warmth=1.0),
      1 - (1 - image) * (1 - light), atol=1e-5)


def test_geometry_moves_what_is_seen():
  image = _image(3, 20)
  padded = np.pad(image, ((0, 0), (3, 0), (0, 0)), mode="edge")[:, :20]
  np.testing.assert_allclose(_apply("geometry", image, right=0.3), padded, atol=1e-5)
  padded = np.pad(image, ((2, 0), (0, 0), (0, 0)), mode="edge")[:20]
  np.testing.assert_allclose(_apply("geometry", image, down=0.2), padded, atol=1e-5)
  np.testing.assert_allclose(
      _apply("geometry", image, turn=0.25), np.rot90(image), atol=1e-4)
  # Smooth, so that bilinear sampling is exact enough: x² + y at the place that is seen.
  y, x = (np.mgrid[:40, :40] + 0.5 - 20) / 20
  smooth = lambda y, x: (0.3 * x**2 + 0.2 * y + 0.4)[..., None].astype(np.float32)
  scale = (1 + 0.1 * (x**2 + y**2)) * 2**-0.2 / (1 + 0.1 * x - 0.05 * y)
  expected = smooth(scale * y, scale * x)
  found = _apply("geometry", smooth(y, x), zoom=0.2, distortion=0.1, tilt_right=0.1,
                 tilt_down=-0.05)
  inside = (np.abs(scale * x) < 0.95) & (np.abs(scale * y) < 0.95)
  np.testing.assert_allclose(found[inside], expected[inside], atol=2e-3)


def test_defocus_is_the_discrete_gaussian():
  image, variance = _image(3, 40), 2.0 * (28 / 40)**2  # 2 px² of this image
  taps = np.arange(-9, 10)
  kernel = scipy.special.ive(np.abs(taps), 2.0)
  expected = image
  for axis in (0, 1):
    expected = scipy.ndimage.convolve1d(expected, kernel, axis=axis, mode="reflect")
  np.testing.assert_allclose(
      _apply("blur", image, defocus=variance), expected, atol=1e-3)


def test_motion_blur_moves_along_its_direction():
  image = np.zeros((28, 28, 1), np.float32)
  image[14, 14] = 1.0
  # A line of 6 pixels has the variance 3.
  across = _apply("blur", image, motion=3.0, turns=0.0)[..., 0]
  _, cols = np.mgrid[:28, :28] - 14
  np.testing.assert_allclose(across.sum(), 1.0, atol=1e-4)
  np.testing.assert_allclose(across[14].sum(), 1.0, atol=1e-4)  # it stays in its row
  down = _apply("blur", image, motion=3.0, turns=0.25)[..., 0]
  np.testing.assert_allclose(down, across.T, atol=1e-4)
  # Nine samples of a line miss a little of its variance.
  np.testing.assert_allclose(np.sum(across * cols**2), 3.0, rtol=0.05)


def test_sharpening_is_an_unsharp_mask():
  image = _image(1)
  kernel = scipy.special.ive(np.abs(np.arange(-8, 9)), 1.0)
  blurred = image
  for axis in (0, 1):
    blurred = scipy.ndimage.convolve1d(blurred, kernel, axis=axis, mode="reflect")
  np.testing.assert_allclose(
      _apply("sharpening", image, strength=0.8), image + 0.8 * (image - blurred), atol=1e-3)


def test_tone_and_its_negative():
  image = _image(1)
  expected = 0.5 + 0.6 * (np.clip(image**2.0 * 2**0.5, 0, 1) - 0.5)
  np.testing.assert_allclose(
      _apply("tone", image, exposure=0.5, gamma=1.0, contrast=-0.4), expected, atol=1e-5)
  np.testing.assert_allclose(_apply("tone", image, negative=1.0), 1 - image, atol=1e-6)


def test_colour_balances_channels_and_saturation():
  image = _image(3)
  x = image.astype(np.float64) * [2**0.25, 2**0.1, 2**-0.25]
  grey = x @ [0.299, 0.587, 0.114]
  expected = grey[..., None] + 0.6 * (x - grey[..., None])
  np.testing.assert_allclose(
      _apply("colour", image, warmth=0.5, tint=0.1, saturation=-0.4), expected, atol=1e-5)


def test_hue_turns_in_the_plane_of_yiq():
  image = _image(3, 6)
  found = _apply("colour", image, hue=0.15)
  luma = np.array([0.299, 0.587, 0.114])
  for row in range(6):
    for col in range(6):
      before, after = (
          np.array([0.74 * (r - y) - 0.27 * (b - y), 0.48 * (r - y) + 0.41 * (b - y)])
          for (r, _, b), y in ((of[row, col], of[row, col] @ luma)
                               for of in (image, found)))
      turn = -2 * math.pi * 0.15
      np.testing.assert_allclose(after, [
          math.cos(turn) * before[0] - math.sin(turn) * before[1],
          math.sin(turn) * before[0] + math.cos(turn) * before[1]], atol=1e-5)
  np.testing.assert_allclose(found @ luma, image @ luma, atol=1e-5)
  # The direction is that of HSV: a little from red is orange.
  red = np.full((1, 1, 3), (0.6, 0.3, 0.3), np.float32)
  hue = colorsys.rgb_to_hsv(*_apply("colour", red, hue=0.08)[0, 0])[0]
  assert 0.04 < hue < 0.12


def test_noise_grows_with_light():
  for level, std in ((0.0, 0.05), (0.81, 0.05 + 0.2 * 0.9)):
    image = np.full((200, 200, 1), level, np.float32)
    found = _apply("noise", image, read=0.05, shot=0.2)
    np.testing.assert_allclose(found.mean(), level, atol=0.01)
    np.testing.assert_allclose(found.std(), std, rtol=0.05)


def test_a_raster_is_lines_with_soft_edges():
  image, phase = _image(1), float(_uniform(0, ()))
  found = _apply("raster", image, light=0.5, dark=0.8, period=4.5, width=1.4, turns=0.1)
  expected = image.copy()
  for row in range(28):
    for col in range(28):
      along = math.cos(0.2 * math.pi) * row + math.sin(0.2 * math.pi) * col
      # Dark lines lie halfway between the light ones.
      for shift, tone, opacity in ((0.5, 0.0, 0.8), (0.0, 1.0, 0.5)):
        place = along / 4.5 + phase + shift
        distance = 4.5 * abs(place - round(place))
        cover = opacity * min(max(0.7 + 0.5 - distance, 0.0), 1.0)
        expected[row, col] += cover * (tone - expected[row, col])
  np.testing.assert_allclose(found, expected, atol=1e-4)


def test_lines_of_a_raster_never_run_into_one_another():
  """With a cover of the whole image, they would be a change of exposure."""
  found = _apply("raster", np.ones((28, 28, 1), np.float32), dark=0.9, period=4.0,
                 width=4.0, turns=0.0)
  assert found.max() == 1.0 and found.min() < 0.2


def test_a_raster_scales_with_the_image():
  rasters = [_apply("raster", np.zeros((side, 2 * side, 1), np.float32), light=0.5,
                    period=4.0, width=2.0, turns=0.0)[..., 0] for side in (28, 56)]
  for raster, period in zip(rasters, (4, 8)):
    np.testing.assert_allclose(raster[period:], raster[:-period], atol=1e-5)  # rows repeat
    np.testing.assert_allclose(raster, raster[:, :1] * np.ones_like(raster), atol=1e-6)
    np.testing.assert_allclose(raster.mean(), 0.25, atol=0.02)  # half is lines
  assert np.abs(rasters[1][4:] - rasters[1][:-4]).max() > 0.4


def test_compression_shrinks_small_coefficients_of_blocks():
  image = _image(1, 24)
  expected = np.zeros_like(image)
  for top in range(0, 24, 8):
    for left in range(0, 24, 8):
      c = scipy.fft.dctn(image[top:top + 8, left:left + 8, 0], norm="ortho")
      for k in range(8):
        for j in range(8):
          threshold = 0.04 * (k + j) / 14
          c[k, j] *= 1 - threshold / (threshold + c[k, j]**2 + 0.05**2)
      expected[top:top + 8, left:left + 8, 0] = scipy.fft.idctn(c, norm="ortho")
  np.testing.assert_allclose(
      _apply("compression", image, strength=0.04), expected, atol=1e-5)


def test_grey_images_have_no_colour_amounts():
  grey, colour = (operators.chosen(operators.NAMES, channels) for channels in (1, 3))
  assert "colour" not in [operator.name for operator in grey]
  assert all(not a.colour_only for operator in grey for a in operator.amounts)
  assert [operator.name for operator in colour] == list(operators.NAMES)
  # In the order of the chain, whatever the order of the names.
  assert [operator.name for operator in operators.chosen(("noise", "blur"), 1)] == [
      "blur", "noise"]
