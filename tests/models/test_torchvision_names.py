"""models/torchvision_names.py: names, layouts, and what is refused."""

import functools
import re

from flax import traverse_util
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from augment_gen.config.errors import UserError
from augment_gen.models import resnet
from augment_gen.models import torchvision_names as names

# Names of the convolutions, and their shapes, as `torchvision.models` has them.
RESNET18 = """
conv1 64,3,7,7
layer1.0.conv1 64,64,3,3
layer1.0.conv2 64,64,3,3
layer1.1.conv1 64,64,3,3
layer1.1.conv2 64,64,3,3
layer2.0.conv1 128,64,3,3
layer2.0.conv2 128,128,3,3
layer2.0.downsample.0 128,64,1,1
layer2.1.conv1 128,128,3,3
layer2.1.conv2 128,128,3,3
layer3.0.conv1 256,128,3,3
layer3.0.conv2 256,256,3,3
layer3.0.downsample.0 256,128,1,1
layer3.1.conv1 256,256,3,3
layer3.1.conv2 256,256,3,3
layer4.0.conv1 512,256,3,3
layer4.0.conv2 512,512,3,3
layer4.0.downsample.0 512,256,1,1
layer4.1.conv1 512,512,3,3
layer4.1.conv2 512,512,3,3
"""
RESNET50 = """
conv1 64,3,7,7
layer1.0.conv1 64,64,1,1
layer1.0.conv2 64,64,3,3
layer1.0.conv3 256,64,1,1
layer1.0.downsample.0 256,64,1,1
layer1.1.conv1 64,256,1,1
layer1.1.conv2 64,64,3,3
layer1.1.conv3 256,64,1,1
layer1.2.conv1 64,256,1,1
layer1.2.conv2 64,64,3,3
layer1.2.conv3 256,64,1,1
layer2.0.conv1 128,256,1,1
layer2.0.conv2 128,128,3,3
layer2.0.conv3 512,128,1,1
layer2.0.downsample.0 512,256,1,1
layer2.1.conv1 128,512,1,1
layer2.1.conv2 128,128,3,3
layer2.1.conv3 512,128,1,1
layer2.2.conv1 128,512,1,1
layer2.2.conv2 128,128,3,3
layer2.2.conv3 512,128,1,1
layer2.3.conv1 128,512,1,1
layer2.3.conv2 128,128,3,3
layer2.3.conv3 512,128,1,1
layer3.0.conv1 256,512,1,1
layer3.0.conv2 256,256,3,3
layer3.0.conv3 1024,256,1,1
layer3.0.downsample.0 1024,512,1,1
layer3.1.conv1 256,1024,1,1
layer3.1.conv2 256,256,3,3
layer3.1.conv3 1024,256,1,1
layer3.2.conv1 256,1024,1,1
layer3.2.conv2 256,256,3,3
layer3.2.conv3 1024,256,1,1
layer3.3.conv1 256,1024,1,1
layer3.3.conv2 256,256,3,3
layer3.3.conv3 1024,256,1,1
layer3.4.conv1 256,1024,1,1
layer3.4.conv2 256,256,3,3
layer3.4.conv3 1024,256,1,1
layer3.5.conv1 256,1024,1,1
layer3.5.conv2 256,256,3,3
layer3.5.conv3 1024,256,1,1
layer4.0.conv1 512,1024,1,1
layer4.0.conv2 512,512,3,3
layer4.0.conv3 2048,512,1,1
layer4.0.downsample.0 2048,1024,1,1
layer4.1.conv1 512,2048,1,1
layer4.1.conv2 512,512,3,3
layer4.1.conv3 2048,512,1,1
layer4.2.conv1 512,2048,1,1
layer4.2.conv2 512,512,3,3
layer4.2.conv3 2048,512,1,1
"""


def torchs(listed):
  """All names of a network, with shapes: each convolution has its batch norm."""
  found = {}
  for line in listed.split("\n")[1:-1]:
    name, shape = line.split()
    shape = tuple(map(int, shape.split(",")))
    found[f"{name}.weight"] = shape
    norm = (name.replace("downsample.0", "downsample.1") if "downsample" in name
            else re.sub(r"conv(\d)$", r"bn\1", name))
    for leaf in ("weight", "bias", "running_mean", "running_var"):
      found[f"{norm}.{leaf}"] = shape[:1]
  return found


def form(network, channels=3):
  x = jax.ShapeDtypeStruct((1, 32, 32, channels), jnp.float32)
  return jax.eval_shape(functools.partial(network.init, train=False),
                        jax.random.key(0), x)


def filled(like, seed=0):
  """Arrays of random numbers in the form of `like`."""
  random = np.random.default_rng(seed)
  return jax.tree.map(
      lambda a: random.normal(size=a.shape).astype(np.float32), like)


SMALL = functools.partial(
    resnet.ResNet, stage_sizes=(1, 2), block=resnet.BasicBlock, width=4)


@pytest.fixture(scope="module")
def like():
  return form(SMALL())


@pytest.fixture
def arrays(like):
  return names.to_torchvision(filled(like))


def read(arrays, like):
  return names.from_torchvision(arrays, like, "FILE")


def assert_same(found, expected):
  """Equal bits, and the very same structure."""
  assert jax.tree.structure(found) == jax.tree.structure(expected)
  for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected)):
    assert a.dtype == np.float32
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("network, listed", [
    (resnet.ResNet18, RESNET18), (resnet.ResNet50, RESNET50)])
def test_names_and_shapes_are_those_of_torchvision(network, listed):
  zeros = jax.tree.map(lambda a: np.broadcast_to(np.float32(0), a.shape), form(network()))
  found = names.to_names(zeros)
  assert found.keys() == torchs(listed).keys()
  for name, shape in torchs(listed).items():
    ours = found[name].shape
    assert shape == ((ours[3], ours[2], *ours[:2]) if len(ours) == 4 else ours), name


@pytest.mark.parametrize("block", [resnet.BasicBlock, resnet.BottleneckBlock])
def test_there_and_back_keeps_every_bit(block):
  like = form(SMALL(block=block))
  variables = filled(like)
  arrays = names.to_torchvision(variables)
  assert all(array.flags.c_contiguous for array in arrays.values())
  found, notes = read(arrays, like)
  assert_same(found, variables)
  assert not notes


def test_convolutions_are_oihw(like):
  variables = filled(like)
  kernel = variables["params"]["stage2_block1"]["conv1"]["kernel"]  # [3, 3, 4, 8]
  array = names.to_torchvision(variables)["layer2.0.conv1.weight"]
  assert array.shape == (8, 4, 3, 3)
  assert array[5, 2, 0, 1] == kernel[0, 1, 2, 5]


OTHERS = {"fc.weight": np.ones((10, 8)), "fc.bias": np.ones(10),
          "fc.0.weight": np.ones((8, 8)), "head.bias": np.ones(3),
          "bn1.num_batches_tracked": np.int64(7)}


@pytest.mark.parametrize("prefix, beside", [
    ("", ()), ("module.", ()),
    ("module.encoder_q.", ("module.encoder_k.conv1.weight", "module.queue",
                           "module.queue_ptr")),
    ("module.base_encoder.", ("module.momentum_encoder.conv1.weight",
                              "module.predictor.0.weight"))])
def test_files_of_torchvision_timm_and_moco(prefix, beside, arrays, like):
  arrays = {f"{prefix}{name}": a for name, a in (arrays | OTHERS).items()}
  found, _ = read({**{name: np.ones(3) for name in beside}, **arrays}, like)
  assert_same(found, filled(like))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_precisions_become_float32(dtype, arrays, like):
  arrays = {name: a.astype(dtype) for name, a in arrays.items()}
  expected = jax.tree.map(lambda a: a.astype(dtype).astype(np.float32), filled(like))
  assert_same(read(arrays, like)[0], expected)


def test_grey_images_get_the_sum_over_channels(arrays):
  like = form(SMALL(), channels=1)
  found, (note,) = read(arrays, like)
  kernel = found["params"]["stem_conv"]["kernel"]
  assert kernel.shape == (7, 7, 1, 4) and kernel.dtype == np.float32
  np.testing.assert_allclose(
      kernel[..., 0, :].transpose(2, 0, 1), arrays["conv1.weight"].sum(axis=1), rtol=1e-5)
  assert "summed over the file's three channels" in note


def test_grey_weights_are_not_for_colour(arrays):
  grey = {**arrays, "conv1.weight": arrays["conv1.weight"][:, :1]}
  with pytest.raises(UserError, match=r"conv1\.weight \[4, 1, 7, 7\] instead of \[4, 3"):
    read(grey, form(SMALL()))


def test_one_line_lists_all_that_does_not_fit(arrays, like):
  del arrays["layer1.0.conv2.weight"]
  arrays["layer3.0.conv1.weight"] = np.ones((8, 8, 3, 3))
  arrays["layer2.1.bn1.bias"] = np.ones(5)
  for index in range(5):
    arrays[f"more{index}.weight"] = np.ones(1)
  with pytest.raises(UserError) as caught:
    read(arrays, like)
  (line,) = caught.value.problems
  assert line.startswith("FILE holds another network than F. ")
  assert "missing: layer1.0.conv2.weight;" in line
  assert "left over: layer3.0.conv1.weight, more0.weight, more1.weight and 3 more" in line
  assert "of another shape: layer2.1.bn1.bias [5] instead of [8]" in line


@pytest.mark.parametrize("network, words", [
    (SMALL(width=8), r"conv1\.weight \[4, 3, 7, 7\] instead of \[8, 3, 7, 7\]"),
    (SMALL(stem="small"), r"conv1\.weight \[4, 3, 7, 7\] instead of \[4, 3, 3, 3\]\. Give"),
    (SMALL(stage_sizes=(1, 1)), r"left over: layer2\.1\.\w+\.\w+, .* and 7 more\. Give"),
    (SMALL(stage_sizes=(2, 2)), r"missing: layer1\.1\.\w+\.\w+, .* and 7 more\. Give"),
    (SMALL(block=resnet.BottleneckBlock), r"missing: .*; of another shape: ")])
def test_other_widths_blocks_and_stems_are_refused(network, words, arrays):
  with pytest.raises(UserError, match=words):
    read(arrays, form(network))


def test_the_stem_of_resnet_d_is_named(arrays, like):
  stem = arrays.pop("conv1.weight")
  deep = {f"conv1.{i}.weight": stem for i in (0, 3, 6)}
  with pytest.raises(UserError, match="the stem of a ResNet-C or -D .*tv_in1k"):
    read(arrays | deep, like)


@pytest.mark.parametrize("change, words", [
    (lambda a: a.astype(np.int32), "no floating-point numbers in conv1.weight int32$"),
    (lambda a: a.astype(complex), "no floating-point numbers in conv1.weight complex128$"),
    (lambda a: np.where(a > 2, np.nan, a), "NaN or infinite numbers in conv1.weight$")])
def test_arrays_that_are_no_weights_are_named(change, words, arrays, like):
  arrays["conv1.weight"] = change(arrays["conv1.weight"])
  with pytest.raises(UserError, match=words):
    read(arrays, like)


def test_every_array_has_a_name_of_its_own(like):
  paths = traverse_util.flatten_dict(like)
  assert len({names.name_of(path) for path in paths}) == len(paths)
