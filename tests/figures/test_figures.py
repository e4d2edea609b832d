"""Figures: exact pixels, files and arrays."""

import types
from unittest import mock

import numpy as np
from PIL import Image
import pytest

from augment_gen.config import LogConfig
from augment_gen.data.base import ImageSet
from augment_gen.figures import amounts, canvas, drawing, grid, of_run


def _images(*shape, seed=0):
  return np.random.default_rng(seed).random(shape).astype(np.float32)


def _contains(page, image):
  """Whether the page contains an exact copy of `image` [h, w, 3]."""
  h, w = image.shape[:2]
  corners = np.all(page[:-h + 1, :-w + 1] == image[0, 0], axis=-1)
  return any(np.array_equal(page[y:y + h, x:x + w], image)
             for y, x in np.argwhere(corners))


def _shown(image):
  rgb = drawing.to_rgb(image)
  return drawing.enlarge(rgb, drawing.zoom_of(len(rgb)))


def _same_as_file(page, path):
  assert page.dtype == np.uint8 and page.ndim == 3 and page.shape[2] == 3
  stored = np.asarray(Image.open(path).convert("RGB"))
  np.testing.assert_array_equal(page, stored)


def test_pixels_are_enlarged_by_whole_factors():
  assert [drawing.zoom_of(size) for size in (28, 105, 224, 500)] == [4, 1, 1, 1]
  image = np.array([[[0.0], [1.0]]])
  np.testing.assert_array_equal(
      drawing.enlarge(drawing.to_rgb(image), 2)[..., 0],
      [[0, 0, 255, 255], [0, 0, 255, 255]])


@pytest.mark.parametrize("channels", [1, 3])
def test_example_sheet(tmp_path, channels):
  images = (255 * _images(11, 28, 28, channels)).astype(np.uint8)
  path = tmp_path / "examples.png"
  page = grid.example_sheet({"X_p": images, "X̃_f": images[8:]}, path, columns=4)
  _same_as_file(page, path)
  assert all(_contains(page, _shown(image)) for image in images)
  # A sheet shows two rows of four; images 8 to 10 came from the second set.
  page = grid.example_sheet({"X_p": images}, path, columns=4)
  assert not _contains(page, _shown(images[8]))


def test_names_of_test_sets_are_no_mathematics(tmp_path):
  images = ImageSet("set", np.zeros((4, 8, 8, 1), np.uint8), None, ())
  task = types.SimpleNamespace(
      pretrain=images, finetune_clean=None, finetune=images,
      tests={r"a$\foo$": images, "$": images})
  folder = types.SimpleNamespace(figures=tmp_path)
  of_run.examples(task, folder, mock.Mock(), LogConfig(figure_images=2))
  assert (tmp_path / "examples.png").exists()


def test_latent_sheet(tmp_path):
  x, views = _images(2, 28, 28, 1), _images(2, 3, 28, 28, 1, seed=1)
  path = tmp_path / "latents.png"
  page = grid.latent_sheet(x, views, path, title="Fig. 5")
  _same_as_file(page, path)
  for image in (*x, *views.reshape(-1, 28, 28, 1)):
    assert _contains(page, _shown(image))
  bare = grid.latent_sheet(x, views, path)
  assert page.shape[0] - bare.shape[0] == drawing.LINE


def test_round_trip_sheet_shows_differences(tmp_path):
  a, b = np.zeros((2, 28, 28, 1), np.float32), _images(2, 28, 28, 1)
  b[0], b[1] = 0.0, 1.0
  path = tmp_path / "round_trips.png"
  page = grid.round_trip_sheet({"x": a, "G_E": b}, path, [("x", "G_E")])
  _same_as_file(page, path)
  plain = grid.round_trip_sheet({"x": a, "G_E": b}, path)
  assert page.shape[1] > plain.shape[1] + 112
  # Equal pixels are white, the largest difference is black; uint8 is scaled to [0, 1].
  for first, second in ((a, b), (a, (255 * b).astype(np.uint8))):
    difference = grid._difference_image(first, second)
    assert np.all(difference[0] == 255) and np.all(difference[1] == 0)


def test_captions_stand_below_their_images(tmp_path):
  a, b = _images(2, 28, 28, 1), _images(2, 28, 28, 1, seed=1)
  page = grid.round_trip_sheet({"x": a, "y": b}, tmp_path / "a.png",
                               captions={"y": ["D 0.50", "D 0.25"]})
  plain = grid.round_trip_sheet({"x": a, "y": b}, tmp_path / "b.png")
  assert page.shape[0] - plain.shape[0] == 2 * (drawing.LINE - drawing.GAP) + drawing.GAP
  for image in (*a, *b):
    assert _contains(page, _shown(image))
  # Something is written below the last image of the right column, and of it alone.
  below = page[-drawing.MARGIN - drawing.LINE + 4:] < 128
  middle = page.shape[1] // 2
  assert below[:, middle:].any() and not below[:, :middle].any()


def test_rows_of_images_have_their_names_to_the_left(tmp_path):
  rows = {"step 1": _images(3, 28, 28, 1), "step 20": _images(2, 28, 28, 1, seed=1)}
  page = grid.row_sheet(rows, tmp_path / "rows.png", title="over training")
  _same_as_file(page, tmp_path / "rows.png")
  for image in (*rows["step 1"], *rows["step 20"]):
    assert _contains(page, _shown(image))


def test_wide_names_do_not_overlap(tmp_path):
  names = ["a name much wider than its image", "another name as wide as that"]
  page = grid.round_trip_sheet(
      {name: _images(1, 28, 28, 1) for name in names}, tmp_path / "wide.png")
  assert page.shape[1] > sum(map(drawing.text_width, names))


def test_line_of_latents_changes_the_amount_alone():
  rng = np.random.default_rng(0)
  direction = np.array([0.6, 0.0, -0.8])
  z = rng.random((20000, 3))
  start = np.array([0.45, 0.9, 0.5])
  line = np.asarray(of_run._latent_line(start, z, 3.0 + z @ direction))
  assert line.shape == (8, 3) and line.min() >= 0 and line.max() <= 1
  assert np.all(np.diff(line @ direction) > 0.1)  # from weak to strong
  across = np.array([0.8, 0.0, 0.6])
  np.testing.assert_allclose(line[2:6] @ across, start @ across, atol=0.02)
  np.testing.assert_allclose(line[:, 1], start[1], atol=0.02)


def test_line_of_latents_along_one_of_them_has_no_two_the_same():
  z = np.random.default_rng(0).random((20000, 3))
  line = np.asarray(of_run._latent_line(np.full(3, 0.4), z, z[:, 1]))
  assert np.all(np.diff(line[:, 1]) > 0.1)
  assert line[0, 1] < 0.02 and line[-1, 1] > 0.98


def _described(alive=True):
  entry = lambda quantiles, true=None, share=0.5: {
      "says": "{share} are blurred, σ {range} px", "true": true,
      "prior": {"share": share, "quantiles": quantiles},
      "bank": {"share": share, "quantiles": quantiles}}
  return {"operators": {
      "blur": {"alive": alive, "amounts": {
          "defocus": entry([0.1, 0.2, 0.3, 0.4, 0.5], [0.2, 0.6]),
          "motion": entry(None, share=0.0),
          "sharpening": entry([1, 2, 3, 4, 5], share=0.01)}},
      "noise": {"alive": False, "amounts": {"read": entry([1, 2, 3, 4, 5])}}}}


def test_amounts_sheet(tmp_path):
  path = tmp_path / "amounts.png"
  page = amounts.amounts_sheet(_described(), path)
  _same_as_file(page, path)
  # One row: what is not alive, and what touches next to no image, is left out.
  described = _described()
  described["operators"]["noise"]["alive"] = True
  assert len(amounts.amounts_sheet(described, path)) > 1.3 * len(page)
  # The true range lies behind in grey.
  described = _described()
  described["operators"]["blur"]["amounts"]["defocus"]["true"] = None
  band = [int(canvas.COLOURS["band"][i:i + 2], 16) for i in (1, 3, 5)]
  grey = lambda page: np.all(page == np.array(band), axis=-1).sum()
  assert grey(page) > 1000 > grey(amounts.amounts_sheet(described, path))
  empty = amounts.amounts_sheet(_described(alive=False), path)
  _same_as_file(empty, path)


def test_operator_sheet(tmp_path):
  image, views = _images(28, 28, 3), _images(2, 4, 28, 28, 3, seed=1)
  path = tmp_path / "operators.png"
  page = grid.operator_sheet({"blur": views[0], "noise": views[1]}, image, path)
  _same_as_file(page, path)
  for shown in (image, *views.reshape(-1, 28, 28, 3)):
    assert _contains(page, _shown(shown))
