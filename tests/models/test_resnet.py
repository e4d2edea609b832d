"""models/resnet.py: torchvision's sizes, normalisation and gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tracing import kept_for_gradients

from augment_gen.config import errors
from augment_gen.models import conv, resnet


def parameters(variables):
  return sum(a.size for a in jax.tree.leaves(variables["params"]))


def shapes(network, batch, size, channels=3):
  x = jax.ShapeDtypeStruct((batch, size, size, channels), jnp.float32)
  return jax.eval_shape(functools.partial(
      network.init_with_output, train=False), jax.random.key(0), x)


@pytest.mark.parametrize("build, count, dim", [
    (resnet.ResNet18, 11_176_512, 512), (resnet.ResNet34, 21_284_672, 512),
    (resnet.ResNet50, 23_508_032, 2048)])
def test_parameters_and_maps_of_torchvision(build, count, dim):
  network = build(dtype=jnp.bfloat16)
  (y, out), variables = shapes(network, 2, 224)
  assert parameters(variables) == count
  assert network.feature_dim == dim
  assert y.shape == out["pooled"].shape == (2, dim)
  assert y.dtype == jnp.float32
  assert [out[k].shape[1:] for k in (
      "stem_conv", "stem", "stage1", "stage2", "stage3", "stage4")] == [
          (112, 112, 64), (56, 56, 64), (56, 56, dim // 8), (28, 28, dim // 4),
          (14, 14, dim // 2), (7, 7, dim)]
  assert out["stage4"].dtype == jnp.bfloat16


def test_bottlenecks_stride_in_the_3x3():
  (_, _), variables = shapes(resnet.ResNet50(width=8), 1, 64)
  block = variables["params"]["stage2_block1"]
  assert block["conv2"]["kernel"].shape == (3, 3, 16, 16)
  x = jnp.zeros((1, 8, 8, 32))
  module = resnet.BottleneckBlock(
      width=16, stride=2, bn_groups=1, dtype=jnp.float32)
  _, state = jax.eval_shape(functools.partial(
      module.init_with_output, train=False, capture_intermediates=True),
                            jax.random.key(0), x)
  sizes = {name: state["intermediates"][name]["__call__"][0].shape[1]
           for name in ("conv1", "conv2", "conv3")}
  assert sizes == {"conv1": 8, "conv2": 4, "conv3": 4}


def test_small_stem_keeps_the_resolution():
  (_, out), variables = shapes(
      resnet.ResNet18(stem="small", width=16), 2, 32, channels=1)
  for name in ("stem_conv", "stem", "stage1"):
    assert out[name].shape == (2, 32, 32, 16)
  assert out["stage4"].shape == (2, 4, 4, 128)
  assert variables["params"]["stem_conv"]["kernel"].shape == (3, 3, 1, 16)


def init(network, x):
  return jax.jit(functools.partial(network.init, train=False))(jax.random.key(1), x)


def apply(network, variables, x):
  return jax.jit(functools.partial(network.apply, train=False))(
      variables, x)[0]


def small(**kwargs):
  return resnet.ResNet(
      stage_sizes=(1, 1), block=resnet.BasicBlock, width=4, **kwargs)


def test_images_are_normalised_by_channel():
  x = np.random.default_rng(0).random((2, 4, 4, 3), np.float32)
  mean, std = (0.2, 0.4, 0.6), (0.5, 1.0, 2.0)
  variables = init(small(), x)
  actual = apply(small(mean=mean, std=std), variables, x)
  by_hand = ((x - np.asarray(mean)) / np.asarray(std)).astype(np.float32)
  expected = apply(small(mean=(0.0,), std=(1.0,)), variables, by_hand)
  np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_wrong_normalisation_is_named():
  x = jnp.zeros((1, 8, 8, 1))
  with pytest.raises(errors.UserError) as caught:
    small(mean=(0.1, 0.2, 0.3), std=(1.0, 1.0)).init(
        jax.random.key(0), x, train=False)
  assert len(caught.value.problems) == 2
  assert "data.mean has 3 numbers" in caught.value.problems[0]


def test_unknown_stem_is_named():
  with pytest.raises(errors.UserError, match="choose from imagenet, small"):
    small(stem="big").init(
        jax.random.key(0), jnp.zeros((1, 8, 8, 1)), train=False)


def test_initialised_by_fan_out():
  x = jnp.zeros((1, 8, 8, 3))
  params = init(resnet.ResNet(
      stage_sizes=(1,), block=resnet.BasicBlock, width=64), x)["params"]
  kernel = params["stem_conv"]["kernel"]  # 7x7
  np.testing.assert_allclose(kernel.std(), np.sqrt(2 / (49 * 64)), rtol=0.05)
  np.testing.assert_array_equal(
      params["stage1_block1"]["norm2"]["scale"], np.ones(64))


@pytest.mark.parametrize("block", [resnet.BasicBlock, resnet.BottleneckBlock])
def test_gradients_reach_every_leaf_in_groups(block):
  network = resnet.ResNet(
      stage_sizes=(1, 1), block=block, width=4, bn_groups=2)
  x = np.random.default_rng(0).random((4, 16, 16, 2), np.float32)
  variables = init(network, x)

  @jax.jit
  def gradients(params):
    def loss(params):
      (y, _), updated = network.apply(
          {**variables, "params": params}, x, train=True,
          mutable=["batch_stats"])
      return jnp.sum(jnp.sin(y * jnp.arange(y.size).reshape(y.shape))), updated
    return jax.grad(loss, has_aux=True)(params)

  grads, updated = gradients(variables["params"])
  for path, grad in jax.tree.leaves_with_path(grads):
    assert np.any(np.asarray(grad)), path
  for path, old in jax.tree.leaves_with_path(variables["batch_stats"]):
    new = functools.reduce(lambda t, k: t[k.key], path, updated["batch_stats"])
    assert np.any(np.asarray(new) != np.asarray(old)), path


def test_lowering_leaves_the_network_as_it_is():
  x = np.random.default_rng(0).random((3, 8, 8, 1), np.float32)
  network = small()
  variables = init(network, x)
  results = []
  for name in ("products", "lax"):
    with conv.lowering(name):
      results.append(apply(network, variables, x))
  np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("block", [resnet.BasicBlock, resnet.BottleneckBlock])
def test_remat_changes_memory_alone(block):
  x = jnp.asarray(np.random.default_rng(0).random((4, 32, 32, 3), np.float32))
  variables, slopes, memory = None, [], []
  for remat in (False, True):
    network = resnet.ResNet(
        stage_sizes=(2, 2), block=block, width=8, bn_groups=2, stem="small", remat=remat)
    if variables is None:
      variables = network.init(jax.random.key(0), x, train=False)

    def loss(params):
      (y, _), new = network.apply(
          {**variables, "params": params}, x, train=True, mutable=["batch_stats"])
      return jnp.sum(y**2), new
    slopes.append(jax.jit(jax.grad(loss, has_aux=True))(variables["params"]))
    memory.append(kept_for_gradients(lambda p, loss=loss: loss(p)[0], variables["params"]))
  plain, again = slopes
  assert jax.tree.structure(plain) == jax.tree.structure(again)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
               plain, again)
  assert memory[1] < memory[0] / 2
