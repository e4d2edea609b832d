"""X_p streamed from its folder, compared with the same images in memory."""

import dataclasses
import os

import numpy as np
from PIL import Image
import pytest

from augment_gen.config import DataConfig
from augment_gen.config.errors import UserError
from augment_gen.data import feed, sources, streamed
from augment_gen.data.base import Joined, sample
from augment_gen.data.task import check_data, load_task, plan


@pytest.fixture
def folder(tmp_path):
  rng = np.random.default_rng(0)
  for number in range(7):
    path = tmp_path / "clean" / f"part{number % 2}" / f"{number}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (9, 7, 3), np.uint8)).save(path)
  (tmp_path / "clean" / "notes.txt").write_text("no image")
  return tmp_path / "clean"


def stream(folder, channels=3, options="labels=none", **kwargs):
  return sources.stream(
      f"folder:{folder}?{options}", image_size=5, channels=channels, **kwargs)


def both(folder, channels=3, options="labels=none"):
  return (sources.load(f"folder:{folder}?{options}", image_size=5, channels=channels),
          stream(folder, channels, options))


def test_the_images_are_the_same(folder):
  held, found = both(folder)
  assert found.resident is None and held.resident is not None
  assert len(found) == len(held) == 7 and found.shape == held.shape == (5, 5, 3)
  order = np.array([6, 0, 3, 3])
  np.testing.assert_array_equal(found.read(order), held.read(order))
  np.testing.assert_array_equal(sample(found, 5), sample(held, 5))
  assert found.notes == held.notes and found.passed_over == 1


def test_classes_are_known(folder):
  held, found = both(folder, options="labels=folders")
  np.testing.assert_array_equal(found.labels, held.labels)
  assert found.class_names == held.class_names == ("part0", "part1")


def test_the_fingerprint_follows_the_files(folder, tmp_path):
  before = stream(folder)
  assert stream(folder).fingerprint == before.fingerprint
  folder.rename(tmp_path / "moved")
  assert stream(tmp_path / "moved").fingerprint == before.fingerprint
  Image.new("RGB", (30, 30)).save(tmp_path / "moved" / "part0" / "0.png")
  assert stream(tmp_path / "moved").fingerprint != before.fingerprint


def test_the_fingerprint_sees_pixels_of_files_that_keep_their_size(tmp_path):
  paths = [tmp_path / f"{number}.bmp" for number in range(3)]
  for path in paths:
    Image.new("RGB", (12, 12)).save(path)
  before, size = stream(tmp_path).fingerprint, paths[1].stat().st_size
  Image.new("RGB", (12, 12), (9, 9, 9)).save(paths[1])
  assert paths[1].stat().st_size == size
  assert stream(tmp_path).fingerprint != before


def damage(folder, number):
  path = folder / f"part{number % 2}" / f"{number}.png"
  path.write_bytes(b"\x89PNG\r\n\x1a\nbroken")


def test_a_bad_file_is_named_when_it_is_read(folder):
  found = stream(folder)
  damage(folder, 2)
  with pytest.raises(UserError, match=r"2.png cannot be read.*on_bad_image=skip"):
    found.read(np.arange(7))
  with pytest.raises(UserError, match="2.png cannot be read"):
    stream(folder)  # the sample has it


def test_another_image_takes_the_place_of_a_bad_one(folder):
  held = sources.load(f"folder:{folder}?labels=none", image_size=5, channels=3)
  damage(folder, 2)
  damage(folder, 5)
  bad = [str(path.name) for path in sorted(folder.rglob("*.png"))].index("2.png")
  one, two = (stream(folder, on_bad_image="skip") for _ in range(2))
  images = one.read(np.arange(7))
  np.testing.assert_array_equal(images[bad], two.read(np.array([bad]))[0])
  assert sum((images[bad] == image).all() for image in held.images) == 1
  assert one.skipped == 2 and two.skipped == 1 and "2.png" in one.bad[bad]
  batches = feed.ImageFeed({"x_p": Joined((one, held))}, 4, 0, "pretrain")
  line, = batches.report()
  assert "'x_p' whose place others took: 2; the first: " in line and "2.png" in line


def test_what_may_pass_is_no_bad_file(folder, monkeypatch):
  """If a drive fails for a moment, a replacement would change the bits of one run."""
  found = stream(folder, on_bad_image="skip")
  monkeypatch.setattr(Image, "open", lambda file: (_ for _ in ()).throw(
      OSError(5, os.strerror(5))))
  with pytest.raises(UserError, match=r"Input/output error\): start the same"):
    found.read(np.array([0]))
  monkeypatch.setattr(Image, "open", lambda file: (_ for _ in ()).throw(
      OSError("truncated")))
  with pytest.raises(UserError, match="nor can 20 others"):
    found.read(np.array([0]))


@pytest.mark.parametrize("mode, asked, said", [
    ("L", "in a new --workdir; or leave such files out", "1 channels, not 3"),
    ("F", "which value is white", "32-bit float pixels")])
def test_a_picture_of_another_kind_is_a_bad_one_if_these_are_skipped(
    folder, monkeypatch, mode, asked, said):
  monkeypatch.setattr(streamed, "_SAMPLE", 1)  # the start does not see it
  Image.new(mode, (12, 12)).save(folder / "part1" / "5.png", format="TIFF")
  place = [path.name for path in sorted(folder.rglob("*.png"))].index("5.png")
  with pytest.raises(UserError, match=asked):
    stream(folder).read(np.array([place]))
  found = stream(folder, on_bad_image="skip")
  found.read(np.array([place]))
  assert said in found.bad[place]


def test_bad_files_of_the_sample_are_said_at_the_start(folder):
  good = stream(folder, on_bad_image="skip")
  damage(folder, 2)
  found = stream(folder, on_bad_image="skip")
  note = next(note for note in found.notes if "were looked at" in note)
  assert note.startswith("1 of 7 images") and "2.png" in note
  assert not any("were looked at" in note for note in good.notes)


def test_other_channels_are_refused_or_converted(folder, monkeypatch):
  with pytest.raises(UserError, match="convert=1"):
    stream(folder, channels=1)
  monkeypatch.setattr(streamed, "_SAMPLE", 1)
  Image.new("L", (9, 9), 7).save(folder / "part0" / "0.png")
  found = stream(folder, channels=1)  # the sample is this image alone
  assert found.read(np.array([0])).max() == 7
  with pytest.raises(UserError, match="convert=1"):
    found.read(np.arange(7))
  _, converted = both(folder, channels=1, options="labels=none&convert=1")
  assert converted.read(np.array([0])).shape == (1, 5, 5, 1)


def test_which_value_is_white_is_asked_as_in_memory(tmp_path):
  Image.fromarray(np.full((6, 6), 4095, np.uint16)).save(tmp_path / "a.png")
  with pytest.raises(UserError, match=r"reach only to 4095.*max=4095"):
    stream(tmp_path, channels=1)
  mask = Image.fromarray(np.eye(6, dtype=np.uint8))
  mask.save(tmp_path / "a.png")
  held, found = both(tmp_path, channels=1)
  assert "0 or 1" in found.notes[0]
  np.testing.assert_array_equal(found.read(np.array([0])), held.images)
  Image.fromarray(np.full((6, 6), 9, np.uint8)).save(tmp_path / "a.png")
  with pytest.raises(UserError, match="values up to 9, above max=1"):
    found.read(np.array([0]))


def data_of(folder, **changes):
  return dataclasses.replace(DataConfig(
      image_size=12, channels=3, pretrain=f"folder:{folder}?labels=none",
      finetune=f"folder:{folder}?labels=folders", finetune_per_class=2,
      implicit="none", stream="on"), **changes)


def test_a_task_holds_all_but_x_p(folder):
  task = load_task(data_of(folder))
  assert task.pretrain.resident is None and task.finetune.resident is not None
  assert task.fingerprints["pretrain"] == task.pretrain.fingerprint


def test_x_p_is_streamed_if_the_sets_are_too_large(folder):
  each = 12 * 12 * 3 / 2**30
  # 7 + 7 images, and a copy for a device.
  small = data_of(folder, stream="auto", max_resident_gib=27.5 * each)
  large = dataclasses.replace(small, max_resident_gib=28.5 * each)
  for copies in (0, 1):  # alike on all machines
    assert plan(small, copies)[1].streamed and not plan(large, copies)[1].streamed
  assert not check_data(small) and not check_data(large)
  assert any("need streaming" in line for line in check_data(
      dataclasses.replace(small, stream="off", max_resident_gib=13.5 * each)))
  # Streaming does not help where X̃_f is too large, or where it is impossible.
  assert any("need streaming" in line for line in check_data(
      dataclasses.replace(small, max_resident_gib=6.5 * each)))
  assert not plan(dataclasses.replace(small, canvas=40))[1].streamed


@pytest.mark.parametrize("change, words", [
    ({"canvas": 40}, "canvas is for images held in memory"),
    ({"pretrain": "rendered:latin"}, "can only be held in memory")])
def test_what_cannot_be_streamed_is_said(folder, change, words):
  with pytest.raises(UserError, match=words):
    load_task(data_of(folder, **change))
