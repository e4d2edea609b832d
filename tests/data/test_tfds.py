"""TensorFlow datasets, with TensorFlow and without."""

import importlib.util
import io
import pathlib
import types

import numpy as np
from PIL import Image
import pytest

from augment_gen.config import errors
from augment_gen.data import arrays, base, sources, tfds


@pytest.fixture(scope="module", name="library")
def library_fixture():
  """TFDS, which takes too long to import while tests are collected."""
  return pytest.importorskip("tensorflow_datasets")


def _digits(count=5, side=6):
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (count, side, side), np.uint8)


def _load(spec, **kwargs):
  return sources.load(spec, image_size=6, channels=1, **kwargs)


def test_images_as_tfds_has_them_are_put_right():
  # An upright white L. TFDS stores EMNIST transposed.
  letter = np.zeros((1, 6, 6), np.uint8)
  letter[0, :, 1] = letter[0, 5, 1:5] = 255
  request = base.Request("x", 6, 1)
  stored = letter.transpose(0, 2, 1)[..., None]
  np.testing.assert_array_equal(
      arrays.prepare(
          stored, request, white=255, **tfds.ADJUST["emnist"])[..., 0], letter)
  # TFDS stores Omniglot as black on white RGB.
  stored = np.repeat(255 - letter[..., None], 3, -1)
  np.testing.assert_array_equal(
      arrays.prepare(
          stored, request, white=255, **tfds.ADJUST["omniglot"])[..., 0],
      letter)


@pytest.mark.parametrize("address,wanted", [
    ("mnist", ("mnist", "train")),
    ("emnist/byclass:train+test", ("emnist/byclass", "train+test")),
    ("mnist:3.0.1", ("mnist:3.0.1", "train")),
    ("mnist:3.0.1:test", ("mnist:3.0.1", "test")),
    ("mnist:train[:10%]", ("mnist", "train[:10%]")),
])
def test_address(address, wanted):
  assert tfds.Tfds(address, "")._name_and_split() == wanted


class _Builder:
  """A fake TFDS builder with 5 digits and no files."""
  name = "emnist"
  data_dir = "/data/emnist"

  def __init__(self, prepared=True, shape=(6, 6, 1)):
    from tensorflow_datasets import features
    self.prepared = prepared
    self.info = types.SimpleNamespace(
        name="emnist", supervised_keys=("image", "label"),
        available_file_formats=tuple,  # none that is read by number
        features=features.FeaturesDict({
            "image": features.Image(shape=shape),
            "label": features.ClassLabel(num_classes=3)}),
        splits={"train+test": types.SimpleNamespace(num_examples=5)})

  def is_prepared(self):
    return self.prepared

  def download_and_prepare(self):
    raise ConnectionError("no network")

  def as_dataset(self, split, shuffle_files):
    import tensorflow as tf
    assert split == "train+test" and not shuffle_files
    varied = self.info.features["image"].shape[0] is None

    def examples():
      for i, image in enumerate(_digits()):
        # With varied sizes, image i has 2i extra rows and columns.
        image = np.pad(image, (0, 2 * i * varied), constant_values=7)
        yield {"image": image[..., None], "label": i % 3}
    signature = {"image": tf.TensorSpec((None, None, 1), tf.uint8),
                 "label": tf.TensorSpec((), tf.int64)}
    return tf.data.Dataset.from_generator(examples, output_signature=signature)


@pytest.fixture(name="put")
def put_fixture(library, monkeypatch):
  """A function that makes tfds.builder return the given builder."""
  return lambda builder: monkeypatch.setattr(
      library, "builder", lambda name, data_dir: builder)


@pytest.fixture(name="pretend")
def pretend_fixture(monkeypatch):
  """A function that makes `find_spec` say whether a package is installed."""
  find_spec = importlib.util.find_spec

  def pretend(package, installed):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *args: (
        (object() if installed else None) if name == package
        else find_spec(name, *args)))
  return pretend


def test_without_data_and_network(put, pretend):
  pretend("tensorflow", installed=True)
  put(_Builder(prepared=False))
  spec = "tfds:emnist/byclass:train+test"
  assert sources.count(spec, "/data") is None
  with pytest.raises(
      errors.UserError, match=r"not in /data/emnist.*no network.*tfds build "
      r"emnist/byclass --data_dir=/data.*--config.data.root"):
    _load(spec, root="/data")


@pytest.mark.slow  # TensorFlow takes 10 s to start
def test_tfrecord_is_read(put):
  pytest.importorskip("tensorflow")
  spec = "tfds:emnist/byclass:train+test"
  put(_Builder())
  assert (sources.check(spec), sources.count(spec)) == ([], 5)
  images = _load(spec)
  np.testing.assert_array_equal(
      images.images[..., 0], _digits().transpose(0, 2, 1))
  assert images.labels.tolist() == [0, 1, 2, 0, 1]
  assert images.class_names == ("0", "1", "2")
  problem, = sources.check("tfds:emnist/byclass:valid")
  assert "no split 'valid'" in problem
  # Images of several sizes.
  put(_Builder(shape=(None, None, 1)))
  images = _load(spec).images
  assert images.shape == (5, 6, 6, 1)
  np.testing.assert_array_equal(images[0, ..., 0], _digits()[0].T)
  assert (images[4, -2:, -2:] == 7).all()


def _prepare_toy(library, folder):
  """Prepares `augment_gen_toy` as ArrayRecord: five digits for training, two for tests."""

  class AugmentGenToy(library.core.GeneratorBasedBuilder):  # registers its name
    VERSION = library.core.Version("1.0.0")
    pkg_dir_path = pathlib.Path(__file__).parent

    def _info(self):
      return library.core.DatasetInfo(
          builder=self, supervised_keys=("image", "label"),
          features=library.features.FeaturesDict({
              "image": library.features.Image(shape=(6, 6, 1)),
              "label": library.features.ClassLabel(names=["a", "b"])}))

    def _split_generators(self, dl_manager):
      return {"train": self._generate_examples(5), "test": self._generate_examples(2)}

    def _generate_examples(self, count):
      # TFDS encodes arrays with TensorFlow, and takes encoded images as they are.
      for i, image in enumerate(_digits(count)):
        png = io.BytesIO()
        Image.fromarray(image).save(png, "png")
        png.seek(0)
        yield i, {"image": png, "label": i % 2}

  AugmentGenToy(data_dir=folder, file_format="array_record").download_and_prepare()


def test_array_record_needs_no_tensorflow(library, tmp_path, pretend):
  pretend("tensorflow", installed=False)
  _prepare_toy(library, tmp_path)
  spec = "tfds:augment_gen_toy:train+test"
  assert sources.check(spec, str(tmp_path)) == []
  assert sources.count(spec, str(tmp_path)) == 7
  found = _load(spec, root=str(tmp_path))
  # TFDS shuffles a split once, when it prepares it.
  wanted = [(digit.tobytes(), i % 2)
            for count in (5, 2) for i, digit in enumerate(_digits(count))]
  assert sorted(zip(map(np.ndarray.tobytes, found.images), found.labels)) == sorted(wanted)
  assert found.class_names == ("a", "b")
  assert len(_load("tfds:augment_gen_toy:train[:40%]", root=str(tmp_path)).images) == 2


@pytest.mark.parametrize("prepared", [False, True])
def test_what_needs_tensorflow_is_told_in_one_line(prepared, put, pretend):
  put(_Builder(prepared))
  pretend("tensorflow", installed=False)
  problem, = sources.check("tfds:emnist/byclass:train+test")
  assert problem.startswith(
      "'tfds:emnist/byclass:train+test' needs TensorFlow: pip install "
      "'augment_gen[tensorflow]'; or run `tfds build emnist/byclass --file_format=")


def test_tfds_is_not_installed(pretend):
  pretend("tensorflow_datasets", installed=False)
  problem, = sources.check("tfds:mnist")
  assert "pip install tensorflow-datasets" in problem


def test_unknown_dataset(library, tmp_path):
  problem, = sources.check("tfds:nosuchset", str(tmp_path))
  assert "not a dataset of TFDS: Dataset nosuchset not found" in problem
