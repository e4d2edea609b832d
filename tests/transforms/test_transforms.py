"""Each framework's transform against the chain that it was exported from.

A framework that is not installed is skipped.
"""

import pathlib
import re
import subprocess
import sys

import exported
from exported import X
import numpy as np
from PIL import Image
import pytest

from augment_gen.config.errors import UserError
from augment_gen.export import draws

FLOATS = X.astype(np.float32) / 255


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  return exported.write(tmp_path_factory.mktemp("export") / "made")


def wanted(made, images, seed):
  """The original: Flax, with the latents that this seed draws for these images."""
  z = np.stack([draws.latents(seed, str(i), 0, made.bank, made.bank.shape[1])
                for i in range(len(images))])
  return np.asarray(made.original(images, z, 1.0))


@pytest.fixture(name="torchvision")
def torchvision_fixture():
  pytest.importorskip("torchvision")
  from augment_gen.transforms import torchvision
  return torchvision


def channels_first(images):
  import torch
  return torch.from_numpy(np.moveaxis(images, -1, -3).copy())


def channels_last(tensor):
  return np.moveaxis(tensor.numpy(), -3, -1)


def seed_of(augment, monkeypatch):
  """Lets a transform draw one seed again and again, and returns it."""
  seed = augment.make_params([])["seed"]
  monkeypatch.setattr(augment, "make_params", lambda inputs: {"seed": seed})
  return seed


def test_torchvision(made, torchvision, monkeypatch):
  import torch
  from torchvision import tv_tensors
  from torchvision.transforms import v2
  torch.manual_seed(0)
  augment = torchvision.LearnedAugmentation(made.folder)
  seed = seed_of(augment, monkeypatch)
  floats = wanted(made, FLOATS, seed)
  found = augment(channels_first(FLOATS))
  np.testing.assert_allclose(channels_last(found), floats, atol=1e-4)
  grey = v2.Compose([augment, v2.Identity()])(channels_first(X))
  assert grey.dtype == torch.uint8 and grey.is_contiguous()
  np.testing.assert_array_equal(channels_last(grey), np.rint(255 * floats))
  # One image, more axes, other floats, a nested sample with boxes and a label.
  np.testing.assert_array_equal(
      channels_last(augment(channels_first(X[0]))), channels_last(grey)[0])
  pair = augment(channels_first(X[:4].reshape(2, 2, *X.shape[1:])))
  np.testing.assert_array_equal(
      channels_last(pair).reshape(X[:4].shape), channels_last(grey)[:4])
  half = augment(channels_first(FLOATS).to(torch.bfloat16))
  assert half.dtype == torch.bfloat16
  boxes = tv_tensors.BoundingBoxes([[1, 1, 3, 3]], format="XYXY", canvas_size=(8, 8))
  points = tv_tensors.KeyPoints([[1, 2], [3, 4]], canvas_size=(8, 8))
  sample = {"image": tv_tensors.Image(channels_first(X[0])), "boxes": boxes, "label": 7,
            "points": points}
  out = augment(sample)
  assert isinstance(out["image"], tv_tensors.Image) and out["label"] == 7
  np.testing.assert_array_equal(channels_last(out["image"]), channels_last(grey)[0])
  assert out["boxes"].tolist() == boxes.tolist()
  assert out["points"].tolist() == points.tolist()


def test_torchvision_draws_with_torch_and_refuses_other_images(made, torchvision):
  import torch
  augment = torchvision.LearnedAugmentation(made.folder, p=0.5)
  draw = lambda: augment(channels_first(X))
  torch.manual_seed(1)
  first, second = draw(), draw()
  torch.manual_seed(1)
  assert torch.equal(draw(), first) and not torch.equal(first, second)
  assert torch.equal(torchvision.LearnedAugmentation(made.folder, p=0)(first), first)
  with pytest.raises(UserError, match="resize and convert"):
    augment(torch.zeros(3, 9, 8))
  # Passed through, as transforms do with what they don't know, it would be no copy.
  with pytest.raises(UserError, match="was given a PIL image: put v2.ToImage.. before it"):
    augment(Image.new("RGB", (9, 8)))


class Samples:
  """A dataset of torch: X, augmented one by one."""

  def __init__(self, augment):
    self.augment = augment

  def __len__(self):
    return len(X)

  def __getitem__(self, index):
    return self.augment(channels_first(X[index])), index


@pytest.mark.slow  # a worker that is spawned imports PyTorch again
def test_torchvision_in_a_worker_and_behind_it(made, torchvision):
  import torch
  from torch.utils import data
  augment = torchvision.LearnedAugmentation(made.folder)
  loader = data.DataLoader(Samples(augment), batch_size=5, num_workers=1,
                           multiprocessing_context="spawn")
  torch.manual_seed(0)
  images, labels = next(iter(loader))
  assert images.shape == (5, 3, 8, 8) and images.dtype == torch.uint8
  assert labels.tolist() == [0, 1, 2, 3, 4]
  assert all((channels_last(images)[i] != X[i]).any() for i in range(5))
  assert augment(images).shape == images.shape  # after collation


def test_a_classifier_is_trained_in_pytorch(made, torchvision, tmp_path):
  """The example of the user guide, whose workers are forked."""
  for number, image in enumerate(X):
    file = tmp_path / f"class{number % 2}" / f"{number}.png"
    file.parent.mkdir(exist_ok=True)
    Image.fromarray(image).save(file)
  script = pathlib.Path(__file__).parents[2] / "examples" / "train_in_pytorch.py"
  done = subprocess.run(
      [sys.executable, script, made.folder, tmp_path, "2"], check=False, text=True,
      capture_output=True, timeout=300)
  assert done.returncode == 0, done.stderr
  losses = re.findall(r"epoch \d: loss ([\d.]+)", done.stdout)
  assert len(losses) == 2 and all(0 < float(loss) < 10 for loss in losses)


def test_grain(made):
  import grain

  from augment_gen.transforms import grain as transforms
  augment = transforms.LearnedAugmentation(made.folder)
  seed = int(np.random.default_rng(4).integers(2**62))
  found = augment.random_map(FLOATS, np.random.default_rng(4))
  np.testing.assert_allclose(found, wanted(made, FLOATS, seed), atol=1e-4)
  np.testing.assert_array_equal(
      augment.random_map(X.astype(np.int64), np.random.default_rng(4)),
      augment.random_map(X, np.random.default_rng(4)))
  bits = augment.random_map(X > 99, np.random.default_rng(4))
  assert bits.dtype == bool and 0.01 < bits.mean() < 0.99
  in_field = transforms.LearnedAugmentation(made.folder, field="image")
  dataset = grain.MapDataset.source(
      [{"image": image, "label": i} for i, image in enumerate(X)]).seed(0)
  elements = list(dataset.random_map(in_field))
  assert [element["label"] for element in elements] == [0, 1, 2, 3, 4]
  assert all(e["image"].dtype == np.uint8 and (e["image"] != x).any()
             for e, x in zip(elements, X))
  again = list(dataset.random_map(in_field))
  np.testing.assert_array_equal(again[3]["image"], elements[3]["image"])
  never = dataset.random_map(transforms.LearnedAugmentation(
      made.folder, p=0, field="image"))
  np.testing.assert_array_equal(never[2]["image"], X[2])
  with pytest.raises(UserError, match="resize and convert"):
    augment.random_map(X[:, :4], np.random.default_rng(0))


@pytest.mark.slow  # TensorFlow alone takes half of it to load
def test_tf_data(made):
  tf = pytest.importorskip("tensorflow")
  from augment_gen.transforms import tf_data
  augment = tf_data.mapper(made.folder)
  dataset = tf.data.Dataset.from_tensor_slices((X, np.arange(5))).batch(5)
  floats = dataset.map(lambda x, y: (augment(tf.cast(x, tf.float32) / 255, seed=9), y))
  (found, labels), = floats.as_numpy_iterator()
  np.testing.assert_allclose(found, wanted(made, FLOATS, 9), atol=1e-4)
  assert labels.tolist() == [0, 1, 2, 3, 4]

  singles = dataset.unbatch().map(lambda x, y: (augment(x), y), num_parallel_calls=2)
  assert singles.element_spec[0].shape == X.shape[1:]
  assert singles.element_spec[0].dtype == tf.uint8
  assert all((image != X[i]).any() for image, i in singles.as_numpy_iterator())
  never = dataset.map(lambda x, y: tf_data.mapper(made.folder, p=0)(x))
  np.testing.assert_array_equal(next(never.as_numpy_iterator()), X)
  with pytest.raises(Exception, match="resize and convert"):
    next(dataset.map(lambda x, y: augment(x[:, :4])).as_numpy_iterator())


def test_no_framework_is_imported_with_the_package():
  code = ("import sys, augment_gen.export, augment_gen.transforms; "
          "assert not {'torch', 'torchvision', 'tensorflow', 'grain', 'jax', 'flax'} & "
          "set(sys.modules)")
  assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
