"""Spatial maps of latents, and the marks drawn from them."""

import jax
import jax.numpy as jnp
import numpy as np

from augment_gen.models import latent_maps, unet


def test_area_resize():
  x = np.random.default_rng(0).uniform(size=(2, 3, 2, 2)).astype(np.float32)
  up = latent_maps.area_resize(x, 6, 8)
  np.testing.assert_allclose(up, x.repeat(2, 1).repeat(4, 2), rtol=1e-5)
  np.testing.assert_allclose(latent_maps.area_resize(up, 3, 2), x, rtol=1e-5)
  np.testing.assert_allclose(
      latent_maps.area_resize(x, 2, 1)[:, 0, 0],
      (x[:, 0].mean(1) * 2 + x[:, 1].mean(1)) / 3, rtol=1e-5)


def test_pyramid_has_maps_of_all_scales_but_the_whole():
  z = np.random.default_rng(0).standard_normal((500, 30), np.float32)
  maps, variables = jax.jit(latent_maps.Pyramid(6, 5).init_with_output)(
      jax.random.key(1), z)
  assert maps.shape == (500, 6, 5, 3)  # levels of 6 x 5, 3 x 3 and 2 x 2
  np.testing.assert_allclose(
      maps[..., 0].reshape(500, -1),
      z @ variables["params"]["level0"]["kernel"], rtol=1e-4, atol=1e-5)
  # Resizing 3 rows to 6 repeats each row.
  np.testing.assert_allclose(maps[:, ::2, :, 1], maps[:, 1::2, :, 1], atol=1e-6)
  np.testing.assert_allclose(maps[..., 2].std(), 1, atol=0.3)
  np.testing.assert_allclose(maps[..., 0].std(), 1, atol=0.15)


def test_marks_against_each_pixel_written_out():
  rng = np.random.default_rng(0)
  maps = rng.normal(size=(2, 4, 3, 2)).astype(np.float32)
  amount = rng.normal(size=(2, 1)).astype(np.float32)
  h = rng.normal(size=(2, 4, 3, 5)).astype(np.float32)
  network = latent_maps.Marks(2)
  params = jax.tree.map(
      lambda a: np.asarray(a + 0.2 * rng.normal(size=a.shape), np.float32),
      jax.jit(network.init)(jax.random.key(0), maps, amount, h)["params"])
  drawn = np.asarray(jax.jit(network.apply)({"params": params}, maps, amount, h))
  gain, kernel, bias = (params["gain"], params["threshold"]["kernel"][0, 0],
                        params["threshold"]["bias"])
  seen = set()
  for b, r, c, k in np.ndindex(2, 4, 3, 2):
    light = 1.4 + 3 * (h[b, r, c] @ kernel[:, k] + bias[k])
    dark = 1.4 + 3 * (h[b, r, c] @ kernel[:, 2 + k] + bias[2 + k])
    expected = 0.0
    for level in range(2):
      mark = (maps[b, r, c, level] * gain[level, k]
              + amount[b, 0] * gain[2, k])
      expected += 40 * (max(mark - light, 0) - max(-mark - dark, 0))
    seen.add(np.sign(expected))
    np.testing.assert_allclose(drawn[b, r, c, k], expected, rtol=1e-3, atol=1e-3)
  assert seen == {-1.0, 0.0, 1.0}


def drawn_on_black(count, latents, shape):
  """bool [count, *shape]: pixels that an untrained G_A turns white, for each z."""
  x = jnp.full((count, *shape, 1), 0.01)
  z = jax.random.uniform(jax.random.key(0), (count, latents))
  augmenter = unet.UNetAugmenter(
      4, 0, layout="learned", latent_scale=8.0, output="edit")
  image, _ = jax.jit(augmenter.init_with_output)(jax.random.key(1), x, z)
  return np.asarray(image)[..., 0] > 0.5


def test_learned_maps_bring_latents_to_every_place():
  often = drawn_on_black(200, 10, (12, 10)).mean(axis=0)  # for each pixel
  assert 0.005 < often.mean() < 0.3
  assert np.mean(often > 0) > 0.8  # no region is left out
  assert often.max() < 0.5  # no pixel is always drawn


def test_learned_maps_differ_in_amount_and_size_of_what_they_draw():
  drawn = drawn_on_black(400, 49, (28, 28))
  amount = drawn.mean((1, 2))
  # If pixels were independent, the amount would hardly vary between images.
  independent = np.sqrt(amount.mean() * (1 - amount.mean()) / 784)
  assert amount.std() > 2 * independent
  # A drawn pixel would not make its right-hand neighbour more likely to be drawn.
  pairs = (drawn[:, :, ::2] & drawn[:, :, 1::2]).mean()
  assert pairs > 2 * amount.mean() ** 2


def test_of_learned_maps_the_first_latent_says_how_much_is_drawn():
  x = jnp.full((100, 28, 28, 1), 0.01)
  augmenter = unet.UNetAugmenter(
      4, 0, layout="learned", latent_scale=8.0, output="edit")
  z = jax.random.uniform(jax.random.key(0), (100, 49))
  params = jax.jit(augmenter.init)(jax.random.key(1), x, z)
  apply = jax.jit(augmenter.apply)
  weak, medium, strong = (
      np.asarray(apply(params, x, z.at[:, 0].set(first)) > 0.5)
      for first in (0.0, 0.5, 1.0))
  assert (weak <= medium).all() and (medium <= strong).all()
  assert strong.mean() > 1.5 * medium.mean() > 2 * weak.mean() > 0
  # The first latent does nothing else: the U-Net does not see it.
  gain = params["params"]["marks"]["gain"].at[-1].set(0.0)
  params["params"]["marks"]["gain"] = gain
  np.testing.assert_array_equal(
      *(apply(params, x, z.at[:, 0].set(first)) for first in (0.0, 1.0)))
