"""Pictures in the records of data sets: TFDS as ArrayRecord, and Hugging Face."""

import io
import types

import numpy as np
from PIL import Image
import pytest

from augment_gen.config.errors import UserError
from augment_gen.data import records, sources
from augment_gen.data.base import Request
from augment_gen.data.decoding import Decoder


def pixels(count=6):
  return np.random.default_rng(0).integers(0, 256, (count, 6, 5, 3), np.uint8)


def png(image):
  file = io.BytesIO()
  Image.fromarray(image).save(file, "png")
  return file.getvalue()


def decoder(**options):
  return Decoder(Request("set", 5, 3), **options)


def test_fingerprint_follows_the_contents_and_the_options():
  stored = [{"image": png(image)} for image in pixels()]
  fingerprint = records.Records(stored, "image", "set").fingerprint
  assert fingerprint(decoder()) == records.Records(
      list(stored), "image", "elsewhere").fingerprint(decoder())
  others = [fingerprint(decoder(resize="squash")),
            records.Records(stored[1:], "image", "set").fingerprint(decoder()),
            records.Records(stored[::-1], "image", "set").fingerprint(decoder())]
  assert len({fingerprint(decoder()), *others}) == 4


def test_bad_records_are_named_or_left_out():
  stored = [{"image": png(image)} for image in pixels()] + [{"image": b"no picture"}]
  found = records.Records(stored, "image", "set")
  with pytest.raises(UserError, match="image 6 of 'set' cannot be read"):
    records.load(found, decoder())
  kept = records.load(
      found, Decoder(Request("set", 5, 3, "skip")), np.arange(7), tuple("abcdefg"))
  assert kept.labels.tolist() == [0, 1, 2, 3, 4, 5] and kept.skipped == 1


def test_a_file_that_is_gone_is_a_bad_record(tmp_path):
  Image.fromarray(pixels()[0]).save(tmp_path / "a.png")
  stored = [{"image": {"bytes": None, "path": str(tmp_path / name)}}
            for name in ("a.png", "gone.png")]
  found = records.Records(stored, "image", "set")
  with pytest.raises(UserError, match=r"gone\.png cannot be read"):
    records.stream(found, decoder())
  kept = records.stream(found, Decoder(Request("set", 5, 3, "skip")))
  assert len(kept) == 2 and kept.read(np.arange(2)).shape == (2, 5, 5, 3)


@pytest.fixture
def tfds_builder(monkeypatch):
  """A dataset that is prepared as ArrayRecord; reading it needs no TensorFlow."""
  library = pytest.importorskip("tensorflow_datasets")

  feature = lambda **facts: types.SimpleNamespace(**facts)
  info = types.SimpleNamespace(
      name="shapes", supervised_keys=("image", "label"), splits={"train": feature()},
      available_file_formats=lambda: {library.core.FileFormat.ARRAY_RECORD},
      features={"image": feature(shape=(None, None, 3)),
                "label": feature(num_classes=2, names=["a", "b"]), "text": feature()})

  def as_data_source(split, decoders):
    assert split == "train" and set(decoders) == {"image", "text"}
    return [{"image": png(image), "label": i % 2} for i, image in enumerate(pixels())]

  builder = types.SimpleNamespace(
      name="emnist", info=info, is_prepared=lambda: True, as_data_source=as_data_source)
  monkeypatch.setattr(library, "builder", lambda name, data_dir: builder)
  return builder


def test_tfds_by_number(tfds_builder):
  held = sources.load("tfds:shapes", image_size=5, channels=3)
  assert held.labels.tolist() == [0, 1, 0, 1, 0, 1] and held.class_names == ("a", "b")
  streamed = sources.stream("tfds:shapes", image_size=5, channels=3)
  order = np.array([4, 0])
  np.testing.assert_array_equal(streamed.read(order), held.read(order))
  # EMNIST's images are transposed; the two rows and columns at the edge are cropped.
  tfds_builder.name = "other"
  np.testing.assert_array_equal(
      sources.load("tfds:shapes", image_size=5, channels=3).images,
      held.images.swapaxes(1, 2))
  tfds_builder.info.available_file_formats = set
  with pytest.raises(UserError, match="tfds build shapes --file_format=array_record"):
    sources.stream("tfds:shapes", image_size=5, channels=3)


def test_hf_without_its_library(monkeypatch):
  monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
  assert sources.check("hf:/data/birds") == [
      "'hf:/data/birds' needs the library datasets: pip install datasets"]


@pytest.fixture
def hf():
  return pytest.importorskip("datasets", reason="the extra hf is not installed")


@pytest.fixture(params=["saved", "parquet", "file", "imagefolder"])
def hf_set(request, hf, tmp_path, monkeypatch):
  """The same pictures and classes in every form."""
  monkeypatch.setattr(hf.config, "HF_DATASETS_CACHE", tmp_path / "cache")
  if request.param == "imagefolder":
    for i, image in enumerate(pixels()):
      folder = tmp_path / "set" / "ab"[i % 2]
      folder.mkdir(parents=True, exist_ok=True)
      Image.fromarray(image).save(folder / f"{i}.png")
    return tmp_path / "set"
  data = hf.Dataset.from_dict(
      {"image": [{"bytes": png(image), "path": None} for image in pixels()],
       "label": [i % 2 for i in range(6)]},
      features=hf.Features({"image": hf.Image(), "label": hf.ClassLabel(names=["a", "b"])}))
  if request.param == "saved":
    hf.DatasetDict(train=data).save_to_disk(str(tmp_path / "set"))
    return tmp_path / "set"
  (tmp_path / "set").mkdir()
  data.to_parquet(str(tmp_path / "set" / "train.parquet"))
  return tmp_path / "set" / ("train.parquet" if request.param == "file" else "")


def test_hf_in_memory_and_streamed(hf_set):
  spec = f"hf:{hf_set}?resize=squash"
  assert sources.check(spec) == [] and sources.count(spec) == 6
  held = sources.load(spec, image_size=5, channels=3)
  streamed = sources.stream(spec, image_size=5, channels=3)
  assert held.class_names == streamed.class_names == ("a", "b")
  assert sorted(held.labels.tolist()) == [0, 0, 0, 1, 1, 1]
  np.testing.assert_array_equal(streamed.labels, held.labels)
  np.testing.assert_array_equal(streamed.read(np.arange(6)), held.images)
  by_label = [[image.tobytes() for image in held.images[held.labels == i]] for i in (0, 1)]
  direct = [np.asarray(Image.fromarray(image).resize((5, 5), Image.Resampling.BILINEAR))
            for image in pixels()]
  assert by_label == [[image.tobytes() for image in direct[i::2]] for i in (0, 1)]


def test_hf_problems(hf, tmp_path):
  assert "nothing at" in sources.check(f"hf:{tmp_path}/none")[0]
  data = hf.Dataset.from_dict({"a": [1], "b": [2]})
  data.save_to_disk(str(tmp_path / "set"))
  assert "columns of images are: none" in sources.check(f"hf:{tmp_path}/set")[0]
  hf.DatasetDict(test=data).save_to_disk(str(tmp_path / "dict"))
  problem, = sources.check(f"hf:{tmp_path}/dict")
  assert "split 'train', cannot be read: the splits that were saved there are" in problem
