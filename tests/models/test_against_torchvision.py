"""With PyTorch: features, names and files are those of torchvision."""

import sys

import jax
import numpy as np
import pytest

from augment_gen.config.errors import UserError
from augment_gen.models import resnet, torchvision_names
from augment_gen.run import weight_files

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Float32, up to 53 layers: 6e-7 was seen. An epsilon of 1e-3 gives 2e-3; "SAME" padding, or
# the stride in the first 1 x 1 convolution, gives more.
TOLERANCE = 5e-6


def networks(name):
  """(torchvision's network with random weights and statistics, ours)."""
  torch.manual_seed(0)
  theirs = getattr(torchvision.models, name)(weights=None).eval()
  for module in theirs.modules():
    if isinstance(module, torch.nn.BatchNorm2d):
      torch.nn.init.uniform_(module.weight, 0.5, 1.0)
      torch.nn.init.normal_(module.bias, std=0.1)
      torch.nn.init.normal_(module.running_mean, std=0.1)
      torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
  theirs.fc = torch.nn.Identity()
  ours = {"resnet18": resnet.ResNet18, "resnet50": resnet.ResNet50}[name]
  return theirs, ours(mean=MEAN, std=STD)


def arrays_of(network):
  return {name: value.numpy() for name, value in network.state_dict().items()}


def form(network):
  return jax.eval_shape(lambda: network.init(
      jax.random.key(0), np.zeros((1, 32, 32, 3), np.float32), train=False))


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_features_agree(name):
  theirs, ours = networks(name)
  variables, _ = torchvision_names.from_torchvision(arrays_of(theirs), form(ours), name)
  # 75 pixels become 38, 19, 10, 5 and 3: strides meet odd and even sides.
  x = np.random.default_rng(0).uniform(size=(2, 75, 75, 3)).astype(np.float32)
  found = np.asarray(jax.jit(
      lambda v, x: ours.apply(v, x, train=False)[0])(variables, x))
  normal = (x - np.float32(MEAN)[None, None, None]) / np.float32(STD)[None, None, None]
  with torch.no_grad():
    expected = theirs(torch.from_numpy(normal).permute(0, 3, 1, 2)).numpy()
  error = np.abs(found - expected).max() / np.abs(expected).max()
  print(f"{name}: largest difference / largest feature {error:.2g}")
  assert error < TOLERANCE


def test_what_is_written_loads_into_torchvision(tmp_path):
  """Strictly, but for the classifier that F has not."""
  theirs, ours = networks("resnet18")
  rng = np.random.default_rng(1)
  variables = jax.tree.map(
      lambda a: rng.uniform(size=a.shape).astype(np.float32), form(ours))
  weight_files.write(
      tmp_path / "w.safetensors", torchvision_names.to_torchvision(variables), {})
  from safetensors import torch as safetensors_torch
  theirs.load_state_dict(safetensors_torch.load_file(tmp_path / "w.safetensors"))
  found = arrays_of(theirs)
  for key, array in torchvision_names.to_torchvision(variables).items():
    np.testing.assert_array_equal(found[key], array)


def small():
  return {"conv1.weight": torch.ones(2, 3, 7, 7).half(), "bn1.bias": torch.zeros(2),
          "bn1.num_batches_tracked": torch.tensor(3)}


@pytest.mark.parametrize("wrap", [
    lambda d: d, lambda d: {"epoch": 1, "arch": "resnet50", "state_dict": d,
                            "optimizer": {"state": {0: torch.ones(1)}}},
    lambda d: {"model": d}])
@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_pytorch(wrap, zipped, tmp_path):
  """Also in the format before version 1.6, which the official MoCo files have."""
  path = tmp_path / "w.pth.tar"
  torch.save(wrap(small()), path, _use_new_zipfile_serialization=zipped)
  found = weight_files.read(str(path), "FILE").arrays
  assert {name: a.dtype.name for name, a in found.items()} == {
      "conv1.weight": "float32", "bn1.bias": "float32",
      "bn1.num_batches_tracked": "int64"}
  np.testing.assert_array_equal(found["conv1.weight"], np.ones((2, 3, 7, 7)))


def test_the_conversion_that_users_are_shown(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  torch.save({"state_dict": small()}, "moco.pth.tar")
  expected = weight_files.read("moco.pth.tar", "FILE").arrays
  with monkeypatch.context() as patch:
    patch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError) as caught:
      weight_files.read("moco.pth.tar", "FILE")
  exec(str(caught.value).split('"')[1], {})
  found = weight_files.read("moco.safetensors", "FILE").arrays
  assert found.keys() == expected.keys()
  for name, array in found.items():
    np.testing.assert_array_equal(array, expected[name])


class Trap:
  """A pickled object that leaves a file behind when it is loaded."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return open, (str(self.path), "w")


def test_nothing_in_a_file_of_pytorch_is_executed(tmp_path):
  torch.save({"state_dict": small(), "args": Trap(tmp_path / "sprung")}, tmp_path / "w.pt")
  with pytest.raises(UserError, match="^FILE is damaged, or holds pickled objects"):
    weight_files.read(str(tmp_path / "w.pt"), "FILE")
  assert not (tmp_path / "sprung").exists()
