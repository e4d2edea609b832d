"""X_p streamed from its folder, compared with the same images in memory."""

import dataclasses

import numpy as np
from PIL import Image
import pytest

from augment_gen.config import DataConfig
from augment_gen.config.errors import UserError
from augment_gen.data import sources
from augment_gen.data.task import check_data, load_task


@pytest.fixture
def folder(tmp_path):
  rng = np.random.default_rng(0)
  for number in range(7):
    path = tmp_path / "clean" / f"part{number % 2}" / f"{number}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (9, 7, 3), np.uint8)).save(path)
  (tmp_path / "clean" / "notes.txt").write_text("no image")
  return tmp_path / "clean"


def both(folder, channels=3, options="labels=none"):
  spec = f"folder:{folder}?{options}"
  return (sources.load(spec, image_size=5, channels=channels),
          sources.stream(spec, image_size=5, channels=channels))


def test_the_images_are_the_same(folder):
  held, streamed = both(folder)
  assert streamed.resident is None and held.resident is not None
  assert len(streamed) == len(held) == 7 and streamed.shape == held.shape == (5, 5, 3)
  order = np.array([6, 0, 3, 3])
  np.testing.assert_array_equal(streamed.read(order), held.read(order))


def test_the_fingerprint_follows_the_files(folder):
  _, before = both(folder)
  assert both(folder)[1].fingerprint == before.fingerprint
  Image.new("RGB", (30, 30)).save(folder / "part0" / "0.png")
  assert both(folder)[1].fingerprint != before.fingerprint


def test_a_bad_file_is_named_when_it_is_read(folder):
  _, streamed = both(folder)
  (folder / "part0" / "2.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
  with pytest.raises(UserError, match="2.png cannot be read"):
    streamed.read(np.arange(7))


def test_other_channels_are_refused_or_converted(folder):
  streamed = sources.stream(
      f"folder:{folder}?labels=none", image_size=5, channels=1)
  with pytest.raises(UserError, match="convert=1"):
    streamed.read(np.array([0]))
  _, converted = both(folder, channels=1, options="labels=none&convert=1")
  assert converted.read(np.array([0])).shape == (1, 5, 5, 1)


def test_a_task_holds_all_but_x_p(folder):
  data = DataConfig(
      image_size=12, channels=3, pretrain=f"folder:{folder}?labels=none",
      finetune="rendered:scripts?per_class=3&classes=4", finetune_per_class=2,
      stream_pretrain=True)
  task = load_task(data)
  assert task.pretrain.resident is None and task.finetune.resident is not None
  assert task.fingerprints["pretrain"] == task.pretrain.fingerprint
  # A streamed X_p does not count towards max_resident_gib.
  small = dataclasses.replace(data, max_resident_gib=20 * 12 * 12 * 3 * 3 / 2**30)
  assert not check_data(small)
  assert any("need streaming" in line for line in check_data(
      dataclasses.replace(small, stream_pretrain=False,
                          max_resident_gib=1e-6)))


@pytest.mark.parametrize("change, words", [
    ({"on_bad_image": "skip"}, "on_bad_image=skip needs"),
    ({"canvas": 40}, "canvas is for images held in memory"),
    ({"pretrain": "rendered:latin"}, "can only be held in memory")])
def test_what_cannot_be_streamed_is_said(folder, change, words):
  data = DataConfig(image_size=12, channels=3, stream_pretrain=True,
                    pretrain=f"folder:{folder}?labels=none")
  with pytest.raises(UserError, match=words):
    load_task(dataclasses.replace(data, **change))
