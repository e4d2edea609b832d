"""G_A, G_E and G_L as perceptrons and U-Nets, the heads, and the builders."""

import dataclasses
import math

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tracing import kept_for_gradients

from augment_gen import config as config_lib
from augment_gen.config import errors
from augment_gen.models import build, heads, outputs, perceptron, unet

SHAPE = (6, 5, 2)


def pairs(output, depth=1):
  return {
      "perceptron": (
          perceptron.PerceptronAugmenter(SHAPE, 16, 3, output=output),
          perceptron.PerceptronEliminator(SHAPE, 9, 16, 3, output=output)),
      "unet": (unet.UNetAugmenter(4, depth, output=output),
               unet.UNetEliminator(9, 4, depth, output=output)),
      "unet-learned": (
          unet.UNetAugmenter(4, depth, layout="learned", output=output),
          unet.UNetEliminator(9, 4, depth, layout="learned", output=output)),
      "unet-patches": (
          unet.UNetAugmenter(4, depth, 2, layout="learned", output=output),
          unet.UNetEliminator(9, 4, depth, 2, layout="square", output=output)),
  }


def batch(size=3, latents=9):
  rng = np.random.default_rng(1)
  return tuple(jnp.asarray(rng.random(shape, np.float32))
               for shape in ((size, *SHAPE), (size, latents)))


def some_params(module, *args):
  """Random values in all leaves, because compiling the real `init` is slow."""
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(module.init, jax.random.key(0), *args)
  return jax.tree.map(
      lambda a: jnp.asarray(0.3 * rng.standard_normal(a.shape), a.dtype),
      shapes)


@pytest.mark.parametrize("output", ["image", "edit", "residual"])
@pytest.mark.parametrize("kind", ["perceptron", "unet", "unet-learned"])
def test_generators(kind, output):
  # Compiling takes long, and the form of the output is a matter of the last layer.
  augmenter, eliminator = pairs(output, depth=2 if output == "image" else 1)[kind]
  x, z = batch(32)  # marks are steep, so few pixels have a gradient
  params_a = some_params(augmenter, x, z)
  params_e = some_params(eliminator, x)

  def run(params_a, params_e, z):
    image = augmenter.apply(params_a, x, z)
    return image, *eliminator.apply(params_e, image)

  @jax.jit
  def run_and_gradients(*args):
    def loss(*args):
      results = run(*args)
      return sum(jnp.sum(jnp.sin(jnp.arange(a.size).reshape(a.shape) + 9 * a))
                 for a in results), results
    return jax.grad(loss, (0, 1, 2), has_aux=True)(*args)

  grads, (image, restored, z_hat) = run_and_gradients(params_a, params_e, z)
  assert image.shape == restored.shape == x.shape
  assert z_hat.shape == z.shape
  for value in (image, restored, z_hat):
    assert value.dtype == jnp.float32
    assert value.min() >= 0 and value.max() <= 1
    # Of sigmoids, only marks reach pure black and white, because they are steep.
    assert (value.min() > 0 and value.max() < 1) or (value is not z_hat and (
        output == "residual" or (value is image and kind == "unet-learned")))
  for path, grad in jax.tree.leaves_with_path(grads):
    assert np.any(np.asarray(grad)), path
  _, (other, _, _) = run_and_gradients(params_a, params_e, 1 - z)
  assert np.all(np.abs(other - image).max(axis=(1, 2, 3)) > 1e-3)


@pytest.mark.parametrize("kind", ["perceptron", "unet", "unet-learned", "unet-patches"])
def test_images_of_a_batch_do_not_meet(kind):
  augmenter, eliminator = pairs("image")[kind]
  x, z = batch()
  params_a = some_params(augmenter, x, z)
  params_e = some_params(eliminator, x)

  @jax.jit
  def run(x, z):
    return augmenter.apply(params_a, x, z), *eliminator.apply(params_e, x)

  changed = run(x.at[1:].set(1 - x[1:]), z.at[1:].set(1 - z[1:]))
  for before, after in zip(run(x, z), changed):
    np.testing.assert_allclose(before[:1], after[:1], atol=1e-6)
    assert np.any(before[1:] != after[1:])


@pytest.mark.parametrize("kind", ["perceptron", "unet", "unet-learned", "unet-patches"])
def test_eliminator_shares_all_but_the_last_layer(kind):
  _, eliminator = pairs("image")[kind]
  x, _ = batch()
  params = some_params(eliminator, x)
  gradients = jax.jit(jax.jacrev(lambda p: jnp.stack(
      [jnp.sum(jnp.sin(9 * value)) for value in eliminator.apply(p, x)])))(
          params)

  def moved_by(index):
    return {name for name, tree in gradients["params"].items()
            if any(np.any(np.asarray(a[index])) for a in jax.tree.leaves(tree))}

  shared = {"trunk", "unet"} & set(params["params"])
  assert len(shared) == 1
  assert moved_by(0) == shared | {"image"}
  assert moved_by(1) == shared | {"latent"}


@pytest.mark.parametrize("height, width", [(8, 12), (7, 5)])
def test_patches_are_squares_of_pixels(height, width):
  """What a U-Net with patches of 2 does is what one without does on their pixels."""
  x = np.random.default_rng(2).random((2, height, width, 3), np.float32)
  rows, columns = -(-height // 2), -(-width // 2)
  # The missing row and column come last: of 1 missing, 0 stand before.
  whole = np.pad(x, ((0, 0), (0, 2 * rows - height), (0, 2 * columns - width), (0, 0)),
                 mode="edge")
  squares = np.stack([whole[:, i::2, j::2, c] for c in range(3)
                      for i in range(2) for j in range(2)], axis=-1)
  patched, plain = (unet.UNet(4, 1, patch, jnp.float32) for patch in (2, 1))
  params = some_params(patched, x)
  found = jax.jit(patched.apply)(params, x)
  assert found.shape == (2, rows, columns, 4)
  np.testing.assert_array_equal(found, jax.jit(plain.apply)(params, squares))
  np.testing.assert_array_equal(unet.to_pixels(squares, 2, height, width), x)


def test_pixels_of_a_square_start_out_equal():
  """Otherwise a grid would show until they have learned the same (Aitken et al. 2017)."""
  class Last(nn.Module):
    patch: int

    @nn.compact
    def __call__(self, h, x):
      return unet.last_layer(h, x, self.patch, "image")

  h = np.random.default_rng(3).random((2, 4, 5, 6), np.float32)
  x = np.zeros((2, 8, 10, 3), np.float32)
  out, variables = Last(2).init_with_output(jax.random.key(0), h, x)
  np.testing.assert_array_equal(out, np.repeat(np.repeat(out[:, ::2, ::2], 2, 1), 2, 2))
  assert np.std(out[:, ::2, ::2], axis=(0, 1, 2)).min() > 0.01
  # A single pixel starts as it did in a plain convolution.
  plain = nn.Conv(3, (1, 1)).init(jax.random.key(0), h)["params"]["kernel"]
  assert np.std(variables["params"]["image"]["kernel"]) == pytest.approx(
      np.std(plain), rel=0.5)


def test_perceptron_sizes_of_the_paper():
  shape = (28, 28, 1)
  x, z = jnp.zeros((1, *shape)), jnp.zeros((1, 128))

  def count(tree):
    return sum(a.size for a in jax.tree.leaves(tree))

  augmenter = jax.eval_shape(
      perceptron.PerceptronAugmenter(shape).init, jax.random.key(0), x, z)
  assert count(augmenter) == 3 * (912 * 912 + 912) + 912 * 784 + 784
  eliminator = jax.eval_shape(
      perceptron.PerceptronEliminator(shape, 128).init, jax.random.key(0), x)
  assert count(eliminator) == (
      784 * 912 + 912 + 2 * (912 * 912 + 912) + 912 * 912 + 912)


def test_perceptron_reads_scaled_latents():
  x, z = batch()
  plain = perceptron.PerceptronAugmenter(SHAPE, 16, 1, latent_scale=1.0)
  params = jax.jit(plain.init)(jax.random.key(0), x, z)
  kernel = params["params"]["image"]["kernel"]
  flat = jnp.concatenate([x.reshape(3, -1), 4.0 * (z - 0.5)], axis=1)
  expected = jax.nn.sigmoid(jnp.matmul(flat, kernel)).reshape(x.shape)
  scaled = perceptron.PerceptronAugmenter(SHAPE, 16, 1, latent_scale=4.0)
  np.testing.assert_allclose(
      jax.jit(scaled.apply)(params, x, z), expected, rtol=1e-4, atol=1e-5)


def test_edit_of_nothing_is_nearly_the_identity():
  x = jnp.linspace(0, 1, 11).reshape(1, 11, 1, 1)
  edited = outputs.to_image(jnp.zeros_like(x), x, "edit")
  np.testing.assert_allclose(edited, x, atol=0.0101)
  np.testing.assert_allclose(edited[0, 1:-1], x[0, 1:-1], rtol=1e-5)
  np.testing.assert_allclose(
      outputs.to_image(jnp.zeros_like(x), x, "image"), 0.5 * jnp.ones_like(x))


def test_limits_pass_gradients_that_lead_back():
  raw = jnp.asarray([-2.0, -2.0, -0.5, 0.5, 2.0, 2.0])
  slope = jnp.asarray([1.0, -1.0, 1.0, 1.0, -1.0, 1.0])
  floor, low, high = (jnp.full_like(raw, v) for v in (-1.0, 0.0, 1.0))
  value, pull = jax.vjp(lambda raw: outputs.limit(raw, floor, low, high), raw)
  np.testing.assert_array_equal(value, [0, 0, 0, 0.5, 1, 1])
  np.testing.assert_array_equal(pull(slope)[0], [0, -1, 1, 1, 0, 1])


def test_a_residual_is_added_and_learns_on_the_wrong_side():
  x = jnp.asarray([0.0, 0.3, 1.0, 1.2])
  to_image = lambda logits: outputs.to_image(jnp.asarray(logits), x, "residual")
  np.testing.assert_allclose(to_image([0.0] * 4), [0, 0.3, 1, 1], rtol=1e-6)
  np.testing.assert_allclose(to_image([5.0, -1, -2.5, -2]), [1, 0.1, 0.5, 0.8], rtol=1e-6)
  # Where a pixel is black beyond doubt, it can still become brighter, but no darker.
  pull = jax.vjp(to_image, [-50.0] * 4)[1]
  np.testing.assert_allclose(pull(-jnp.ones(4))[0], -0.2, rtol=1e-6)
  np.testing.assert_allclose(pull(jnp.ones(4))[0], 0.0)


def test_an_edit_passes_gradients_on_in_black_and_white():
  """The gradient is 1 where the image is unchanged, 0 where it is covered."""
  x = jnp.asarray([-0.2, 0.0, 0.003, 0.3, 0.997, 1.0, 1.2])
  slope = jax.jit(lambda logits: jax.grad(lambda x: jnp.sum(
      outputs.to_image(jnp.full_like(x, logits), x, "edit")))(x))
  np.testing.assert_allclose(slope(0.0), 1.0, atol=1e-3)
  lit, dark = slope(20.0), slope(-20.0)
  np.testing.assert_allclose(lit[:4], 0.0, atol=0.02)
  np.testing.assert_allclose(dark[3:], 0.0, atol=0.02)
  # Where nothing is clipped, it is the true gradient.
  f = lambda x: float(outputs.to_image(jnp.float32(1.5), jnp.float32(x), "edit"))
  np.testing.assert_allclose(
      slope(1.5)[3], (f(0.301) - f(0.299)) / 0.002, rtol=1e-2)
  # The output is still that of the clipped image.
  y = outputs.to_image(jnp.full_like(x, 0.7), x, "edit")
  clipped = np.clip(x, 0.01, 0.99)
  np.testing.assert_allclose(
      y, 1 / (1 + np.exp(-(np.log(clipped / (1 - clipped)) + 0.7))), rtol=1e-5)


def test_latents_are_laid_out_in_space():
  x = jnp.full((1, 16, 16, 1), 0.5)
  augmenter = unet.UNetAugmenter(width=4, depth=0)
  z = jnp.full((1, 4), 0.5)
  params = some_params(augmenter, x, z)
  apply = jax.jit(augmenter.apply)
  change = np.abs(np.asarray(apply(params, x, z.at[0, 1].set(1.0)))
                  - np.asarray(apply(params, x, z))).sum(axis=(0, 3))
  assert change[:8, 8:].sum() > change.sum() / 2  # the upper right quarter


def test_unet_takes_full_size_images_in_bfloat16():
  x = jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.float32)
  z = jax.ShapeDtypeStruct((2, 196), jnp.float32)
  image, params = jax.eval_shape(
      unet.UNetAugmenter(64, 4, dtype=jnp.bfloat16).init_with_output,
      jax.random.key(0), x, z)
  assert (image.shape, image.dtype) == (x.shape, jnp.float32)
  count = sum(a.size for a in jax.tree.leaves(params))
  assert 25e6 < count < 40e6  # the original U-Net has 31 million
  assert {a.dtype for a in jax.tree.leaves(params)} == {jnp.dtype("float32")}
  (image, z_hat), _ = jax.eval_shape(
      unet.UNetEliminator(196, 64, 4, dtype=jnp.bfloat16).init_with_output,
      jax.random.key(0), x)
  assert (image.shape, z_hat.shape) == (x.shape, z.shape)
  assert z_hat.dtype == jnp.float32


def test_unet_refuses_latents_that_are_no_square():
  with pytest.raises(errors.UserError, match="take 121 or 144"):
    unet.UNetAugmenter(4, 1).init(
        jax.random.key(0), jnp.zeros((1, 4, 4, 1)), jnp.zeros((1, 128)))


def test_projection_is_a_normalised_perceptron():
  head = heads.ProjectionHead(dim=6)
  y = np.random.default_rng(0).standard_normal((5, 16), np.float32)
  params = jax.jit(head.init)(jax.random.key(1), y)
  hidden, out = (params["params"][k] for k in ("hidden", "out"))
  assert hidden["kernel"].shape == (16, 16) and out["kernel"].shape == (16, 6)
  assert np.abs(hidden["kernel"]).max() <= 1 / math.sqrt(16)
  expected = np.maximum(np.asarray(y) @ hidden["kernel"], 0) @ out["kernel"]
  expected /= np.linalg.norm(expected, axis=1, keepdims=True)
  np.testing.assert_allclose(
      jax.jit(head.apply)(params, y), expected, rtol=1e-4, atol=1e-6)
  wide = jax.eval_shape(
      heads.ProjectionHead(dim=6, hidden=7).init, jax.random.key(0), y)
  assert wide["params"]["hidden"]["kernel"].shape == (16, 7)


def test_linear_projection_has_one_layer():
  head = heads.ProjectionHead(dim=6, hidden=heads.HIDDEN["linear"])
  y = np.random.default_rng(0).standard_normal((5, 16), np.float32)
  params = jax.jit(head.init)(jax.random.key(1), y)
  assert set(params["params"]) == {"out"}
  expected = np.asarray(y) @ params["params"]["out"]["kernel"]
  expected /= np.linalg.norm(expected, axis=1, keepdims=True)
  np.testing.assert_allclose(
      jax.jit(head.apply)(params, y), expected, rtol=1e-4, atol=1e-6)


def test_zero_vectors_normalise_to_zero_without_nan():
  x = jnp.asarray([[0.0, 0.0], [3.0, 4.0]], jnp.bfloat16)
  value, grad = jax.jit(jax.value_and_grad(
      lambda x: heads.l2_normalize(x)[:, 0].sum()))(x)
  np.testing.assert_allclose(heads.l2_normalize(x), [[0, 0], [0.6, 0.8]],
                             rtol=1e-6)
  assert np.isfinite(value) and jnp.all(jnp.isfinite(grad))


def test_discriminator():
  network = heads.Discriminator(hidden=8, layers=2)
  y = np.random.default_rng(0).standard_normal((5, 4), np.float32)
  params = jax.jit(network.init)(jax.random.key(1), y)
  first, last = (params["params"][k]["kernel"] for k in ("hidden1", "out"))
  h = np.asarray(y) @ first
  expected = np.where(h > 0, h, 0.2 * h) @ last
  np.testing.assert_allclose(
      jax.jit(network.apply)(params, y), expected[:, 0], rtol=1e-4, atol=1e-6)


DATA = config_lib.DataConfig(image_size=8, channels=3)


def of_generator(**settings):
  return config_lib.Config(data=DATA, generator=config_lib.GeneratorConfig(**settings))


@pytest.mark.parametrize("kinds, dim", [
    (("perceptron", "perceptron"), 5), (("unet", "unet"), 4),
    (("perceptron", "unet"), 4)])
def test_build_augmenter_and_eliminator(kinds, dim):
  networks = config_lib.NetworksConfig(
      augmenter=kinds[0], eliminator=kinds[1], hidden=12, layers=2, unet_width=4,
      unet_depth=1, output="edit")
  config = of_generator(networks=networks, latent=config_lib.LatentConfig(dim=dim))
  augmenter = build.build_augmenter(config)
  eliminator = build.build_eliminator(config)
  x, z = jnp.zeros((2, 8, 8, 3)), jnp.zeros((2, dim))
  image, _ = jax.eval_shape(
      augmenter.init_with_output, jax.random.key(0), x, z)
  (restored, z_hat), _ = jax.eval_shape(
      eliminator.init_with_output, jax.random.key(0), x)
  assert image.shape == restored.shape == x.shape and z_hat.shape == z.shape
  assert augmenter.latent_scale == 2.0
  for kind, network in zip(kinds, (augmenter, eliminator)):
    assert kind in type(network).__name__.lower()
  assert augmenter.output == eliminator.output == "edit"


def test_generator_functions():
  config = of_generator(networks=config_lib.NetworksConfig(hidden=12, layers=2))
  g_a, g_el = functions = build.generator_functions(config)
  assert build.generator_functions(config) is functions  # so they compile once
  augmenter = build.build_augmenter(config)
  eliminator = build.build_eliminator(config)
  rng = np.random.default_rng(0)
  x = rng.random((2, 8, 8, 3), np.float32)
  z = rng.random((2, config.generator.latent.dim), np.float32)
  variables = jax.jit(augmenter.init)(jax.random.key(2), x, z)
  np.testing.assert_array_equal(
      g_a(variables["params"], x, z), jax.jit(augmenter.apply)(variables, x, z))
  variables = jax.jit(eliminator.init)(jax.random.key(2), x)
  for ours, theirs in zip(g_el(variables["params"], x),
                          jax.jit(eliminator.apply)(variables, x), strict=True):
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name, dim", [
    ("resnet18", 64), ("resnet34", 64), ("resnet50", 256)])
def test_build_encoder(name, dim):
  config = config_lib.Config(
      data=DATA, encoder=config_lib.EncoderConfig(name=name, width=8), precision="bf16")
  encoder = build.build_encoder(config, bn_groups=2)
  (y, _), _ = jax.eval_shape(
      lambda key, x: encoder.init_with_output(key, x, train=False),
      jax.random.key(0), jnp.zeros((2, 32, 32, 3)))
  assert y.shape == (2, dim)
  assert (encoder.bn_groups, encoder.mean, encoder.dtype) == (
      2, DATA.mean, jnp.bfloat16)


def test_build_discriminator():
  config = of_generator(
      discriminator=config_lib.DiscriminatorConfig(hidden=6, layers=4))
  assert build.build_discriminator(config) == heads.Discriminator(6, 4)


def test_a_square_map_needs_a_square_number_of_latents():
  with pytest.raises(errors.UserError, match="no square"):
    build.build_eliminator(of_generator(
        networks=config_lib.NetworksConfig(eliminator="unet")))


def test_blocks_set_the_depth_of_the_encoder():
  network = build.build_encoder(config_lib.Config(encoder=config_lib.EncoderConfig(
      name="resnet50", width=4, blocks=(1, 2))))
  x = jax.ShapeDtypeStruct((2, 28, 28, 1), jnp.float32)
  (y, _), variables = jax.eval_shape(
      lambda key, x: network.init_with_output(key, x, train=False),
      jax.random.key(0), x)
  assert y.shape == (2, 32)
  assert {name for name in variables["params"] if "block" in name} == {
      "stage1_block1", "stage2_block1", "stage2_block2"}


def test_remat_of_u_nets_changes_memory_alone():
  x = jnp.asarray(np.random.default_rng(1).random((4, 32, 32, 2), np.float32))
  params, slopes, memory = None, [], []
  for remat in (False, True):
    net = unet.UNetEliminator(9, 8, 2, remat=remat)
    params = params or some_params(net, x)

    def loss(params):
      image, z = net.apply(params, x)
      return jnp.sum(image**2) + jnp.sum(z**2)
    slopes.append(jax.jit(jax.grad(loss))(params))
    memory.append(kept_for_gradients(loss, params))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), *slopes)
  assert memory[1] < memory[0] / 2


@pytest.mark.parametrize("remat", [False, True])
def test_all_networks_know_whether_to_remat(remat):
  config = config_lib.Config(remat=remat)
  unets = dataclasses.replace(
      config.generator.networks, augmenter="unet", eliminator="unet")
  config = dataclasses.replace(config, generator=dataclasses.replace(
      config.generator, networks=unets, latent=config_lib.LatentConfig(dim=4)))
  assert build.build_encoder(config).remat is remat
  assert build.build_augmenter(config).remat is remat
  chain = dataclasses.replace(unets, augmenter="operators", residual_width=4)
  assert build.build_augmenter(dataclasses.replace(
      config, generator=dataclasses.replace(config.generator, networks=chain))
                               ).residual.remat is remat
  assert build.build_eliminator(config).remat is remat
