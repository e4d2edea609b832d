"""Rays, lens, noise and tone curve."""

import jax
import numpy as np
import pytest

from augment_gen.data.products import camera

PLAIN = camera.Camera(
    eye=np.float32([0.0, 1.0, 3.0]), target=np.float32([0.0, 1.0, 0.0]),
    roll=np.float32(0), tangent=np.float32(0.5), exposure=np.float32(1),
    white=np.ones(3, np.float32), defocus=np.float32(0), vignetting=np.float32(0),
    electrons=np.float32(1e9), read=np.float32(0), contrast=np.float32(0))


_develop, _blur = jax.jit(camera.develop), jax.jit(camera.blur)
_rays = jax.jit(lambda settings: camera.rays(settings, 5))


def decode(encoded):
  """The inverse of the sRGB encoding."""
  return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055)**2.4)


def develop(settings, radiance, noise=None):
  noise = np.zeros_like(radiance) if noise is None else noise
  return np.asarray(_develop(settings, radiance, noise), float)


def flat(value, side=32):
  return np.full((side, side, 3), value, np.float32)


def test_rays_span_the_angle_of_view():
  x, y, z = (np.asarray(c).reshape(5, 5) for c in _rays(PLAIN))
  np.testing.assert_allclose(x**2 + y**2 + z**2, 1, rtol=1e-5)
  place = np.array([-0.4, -0.2, 0.0, 0.2, 0.4])  # the border is at ±0.5
  np.testing.assert_allclose((x / -z)[0], place, atol=1e-6)
  np.testing.assert_allclose((y / -z)[:, 0], -place, atol=1e-6)


def test_the_camera_rolls_about_its_axis():
  x, y, z = (np.asarray(c).reshape(5, 5) for c in _rays(
      PLAIN._replace(roll=np.float32(np.pi / 2))))
  place = np.array([-0.4, -0.2, 0.0, 0.2, 0.4])
  np.testing.assert_allclose((y / -z)[0], place, atol=1e-6)
  np.testing.assert_allclose((x / -z)[:, 0], place, atol=1e-6)


def test_what_it_looks_at_is_in_the_middle_whatever_the_roll():
  turned = PLAIN._replace(eye=np.float32([2, 3, 1]), target=np.float32([0.3, 0.2, -0.4]),
                          roll=np.float32(0.4))
  ahead = np.array([-1.7, -2.8, -1.4])
  middle = np.stack(_rays(turned), 1)[12]
  np.testing.assert_allclose(middle, ahead / np.linalg.norm(ahead), atol=1e-5)


@pytest.mark.parametrize("level", [0.05, 0.4])
def test_noise_is_shot_noise_and_read_noise(level):
  settings = PLAIN._replace(electrons=np.float32(2000), read=np.float32(0.003))
  noise = np.random.default_rng(0).standard_normal((32, 32, 3), np.float32)
  found = decode(develop(settings, flat(level), noise))
  assert found.mean() == pytest.approx(level, rel=0.005)
  assert found.var() == pytest.approx(level / 2000 + 0.003**2, rel=0.08)


def test_exposure_white_balance_and_vignetting():
  settings = PLAIN._replace(exposure=np.float32(2), white=np.float32([1.5, 1.0, 0.5]),
                            vignetting=np.float32(0.4))
  found = decode(develop(settings, flat(0.2)))
  np.testing.assert_allclose(found[16, 16], np.array([0.6, 0.4, 0.2]), rtol=0.01)
  corner = 1 - 0.4 * (31 / 32)**2
  np.testing.assert_allclose(found[0, 0], corner * np.array([0.6, 0.4, 0.2]), rtol=1e-3)


def test_blur_is_gaussian_and_keeps_light():
  image = np.zeros((32, 32, 3), np.float32)
  image[16, 16] = 1
  found = np.asarray(_blur(image, np.float32(0.8)), float)
  np.testing.assert_allclose(found.sum((0, 1)), 1, rtol=1e-5)
  away = np.arange(32) - 16
  variance = (found[..., 0].sum(0) * away**2).sum()
  assert variance == pytest.approx(0.64, rel=0.02)
  np.testing.assert_allclose(np.asarray(_blur(flat(0.3), np.float32(2))), 0.3,
                             rtol=1e-5)


def test_tone_curve_keeps_black_white_and_order():
  settings = PLAIN._replace(contrast=np.float32(0.6))
  ramp = np.linspace(0, 1, 32, dtype=np.float32)[None, :, None] + 0 * flat(1)
  found = develop(settings, ramp)[0, :, 0]
  plain = develop(PLAIN, ramp)[0, :, 0]
  np.testing.assert_allclose(decode(plain), ramp[0, :, 0], atol=1e-5)
  assert (found[0], found[-1]) == (0, pytest.approx(1)) and (np.diff(found) > 0).all()
  assert (found[plain < 0.45] <= plain[plain < 0.45]).all() and found[-8] > plain[-8]
