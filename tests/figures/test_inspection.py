"""Strips over training, worst cases, the map."""

import json
import types

import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageColor
import pytest

from augment_gen.data.base import ImageSet
from augment_gen.evaluate import judged
from augment_gen.figures import canvas, grid, inspection, of_run
from augment_gen.run.folder import RunFolder

CONFIG = types.SimpleNamespace(seed=3)


class Writer:
  """Notes which figures were written."""

  def __init__(self):
    self.names = []

  def image(self, name, step, image):
    assert image.dtype == np.uint8
    self.names.append((name, step))


@pytest.fixture
def folder(tmp_path):
  folder = RunFolder(tmp_path / "run", {})
  yield folder
  folder.close()


@pytest.fixture
def task():
  images = np.random.default_rng(0).integers(0, 256, (20, 6, 6, 1)).astype(np.uint8)
  part = lambda rows: ImageSet("x", rows, None, ())
  return types.SimpleNamespace(pretrain=part(images), finetune=part(images[::-1].copy()))


def _state(step):
  return types.SimpleNamespace(
      step=step, augmenter=types.SimpleNamespace(final_params=jnp.float32(step / 100)))


@pytest.fixture
def brighter(monkeypatch):
  """G_A: adds its parameter and a part of the first latent."""
  g_a = lambda params, x, z: jnp.clip(x + params + 0.1 * z[:, :1, None, None], 0, 1)
  monkeypatch.setattr(inspection, "generator_functions", lambda _: (g_a, None))
  monkeypatch.setattr(inspection, "latent_dim", lambda _: 2)


def test_strips_are_the_same_whoever_writes_them_and_become_rows(
    folder, task, brighter, monkeypatch):
  for step in (5, 10):
    inspection.keep_strip(CONFIG, task, _state(step), folder)
  paths = sorted((folder.report / "over_training").iterdir())
  assert [path.name for path in paths] == ["000000005.png", "000000010.png"]
  before = paths[1].read_bytes()
  # A run that goes on from step 5 writes step 10 once more.
  inspection.keep_strip(CONFIG, task, _state(10), folder)
  assert paths[1].read_bytes() == before != paths[0].read_bytes()

  shown = {}
  draw = grid.row_sheet
  monkeypatch.setattr(grid, "row_sheet", lambda rows, *args, **kwargs: (
      shown.update(rows), draw(rows, *args, **kwargs))[1])
  writer = Writer()
  inspection.over_training(task, folder, writer)
  assert list(shown) == ["x", "step 5", "step 10"]
  assert all(images.shape == (8, 6, 6, 3) for images in shown.values())
  change = shown["step 10"].astype(int) - shown["x"].astype(int)
  assert np.all(change >= 0) and np.all(change[shown["x"] < 200] >= 25)
  assert writer.names == [("figures/over_training", 10)]
  assert (folder.figures / "over_training.png").exists()


def test_a_run_has_ten_strips_or_one_for_each_step():
  assert [inspection.strip_interval(steps) for steps in (0, 1, 2, 10, 11, 400)] == [
      1, 1, 1, 1, 2, 40]


def test_without_strips_there_is_no_figure(folder, task):
  inspection.over_training(task, folder, writer := Writer())
  assert not writer.names


def test_a_figure_that_was_deleted_is_missed(folder, task, brighter):
  """What a start compares with the folder is all that it would draw."""
  assert "over_training.png" not in of_run.generator_files(folder, judged_too=True)
  inspection.keep_strip(CONFIG, task, _state(5), folder)
  files = of_run.generator_files(folder, judged_too=True)
  assert {"over_training.png", "worst_cases.png", "told_apart.png"} <= set(files)
  # Without F as the discriminators see it these two cannot be drawn.
  assert set(files) - set(of_run.generator_files(folder, judged_too=False)) == {
      "worst_cases.png", "told_apart.png"}
  described = {"operators": {"blur": {"alive": True}, "noise": {"alive": False}}}
  assert of_run.operators_files(described) == ("amounts.png", "operators.png")
  described["operators"]["blur"]["alive"] = False
  assert of_run.operators_files(described) == ("amounts.png",)


def test_strips_are_taken_over_with_stage_2(folder, task, brighter, tmp_path):
  inspection.keep_strip(CONFIG, task, _state(5), folder)
  other = RunFolder(tmp_path / "other", {})
  for source in ("", str(tmp_path / "other")):  # none, and a run without strips
    inspection.take_over_strips(source, other)
    assert not inspection.has_strips(other)
  inspection.take_over_strips(str(folder.path), other)
  inspection.over_training(task, other, writer := Writer())
  assert writer.names == [("figures/over_training", 5)]
  # Strips of its own stay.
  inspection.keep_strip(CONFIG, task, _state(7), folder)
  inspection.take_over_strips(str(folder.path), other)
  assert len(list((other.report / "over_training").iterdir())) == 1
  other.close()


def test_worst_cases_are_the_worst(folder, task, monkeypatch):
  images = np.stack([np.full((6, 6, 1), n / 20, np.float32) for n in range(10)])
  error = np.array([3, 9, 1, 7, 0, 5, 8, 2, 6, 4], np.float32) / 10
  found = judged.Judged(
      x=images, x_a=images, d_f_x_a=np.linspace(0, 0.9, 10), x_f=images, x_e=images,
      x_f_cycle=images, d_f_x_f=np.linspace(0.2, 1, 10), error=error)
  monkeypatch.setattr(judged, "measure", lambda *_: found)
  shown = []
  draw = grid.round_trip_sheet
  monkeypatch.setattr(grid, "round_trip_sheet", lambda columns, *args, **kwargs: (
      shown.append((columns, kwargs["captions"])), draw(columns, *args, **kwargs))[1])
  inspection.worst_cases(CONFIG, task, _state(1), None, folder, Writer())
  (worst, errors), (told, scores) = shown
  first = lambda columns, place: [round(20 * float(image[0, 0, 0])) for image in
                                  list(columns.values())[place]]
  assert first(worst, 0) == [1, 6, 3, 8, 5, 9]
  assert next(iter(errors.values()))[:2] == ["error 0.900", "error 0.800"]
  assert first(told, 1) == [0, 1, 2, 3, 4, 5]  # D_f finds these least real
  assert first(told, 2) == [9, 8, 7, 6, 5, 4]  # and these most
  assert [words[0] for words in scores.values()] == ["$D_f$ 0.00", "$D_f$ 1.00"]
  numbers = json.loads((folder.report / inspection.SCORES).read_text())
  assert numbers["error_worst"] == pytest.approx(0.9) and numbers["images"] == 20
  # Of views 0 to 5 have less than 0.5, of real images 4 to 9 more.
  assert numbers["d_f_right"] == pytest.approx(
      (np.sum(found.d_f_x_a < 0.5) + np.sum(found.d_f_x_f > 0.5)) / 20)


def test_the_map_has_a_point_for_every_image(folder, task, brighter):
  encode = lambda x: x.reshape(len(x), -1)[:, :5]
  inspection.embedding_map(CONFIG, task, _state(20), encode, folder, writer := Writer())
  found = json.loads((folder.report / inspection.MAP).read_text())
  assert {name: np.shape(part) for name, part in found["sets"].items()} == {
      "X_p": (20, 2), "X̃_f": (20, 2), "G_A(X_p)": (20, 2)}
  assert writer.names == [("figures/embedding_map", 20)]
  page = Image.open(folder.figures / "embedding_map.png").convert("RGB")
  colours = {colour for _, colour in page.getcolors(1 << 24)}
  assert {ImageColor.getrgb(canvas.COLOURS[f"s{number}"]) for number in range(3)} <= colours
