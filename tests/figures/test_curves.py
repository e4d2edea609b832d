"""Curves in panels, and the canvases that they are drawn on."""

import re
from xml.etree import ElementTree

import numpy as np
from PIL import Image
import pytest

from augment_gen.figures import canvas, curves


def colour(role):
  """The colour of a role as [3] integers."""
  return np.array([int(canvas.COLOURS[role][i:i + 2], 16) for i in (1, 3, 5)])


def _lines(steps=3):
  for step in range(steps):
    yield {"step": step, "stage": "pretrain", "loss": 2.0 - 0.1 * step,
           "accuracy": 0.5, "query/grad_norm": 1.0 + step, "query/param_norm": 9.0}
  for step in range(steps):
    yield {"step": step, "stage": "tac", "encoder/information": 1.0,
           "policy/information": float("nan"), "policy/entropy": 2.0,
           **{f"cycle_{n}": n for n in range(7)}}
  yield {"step": 2, "stage": "generator", "health/latent_r2": 0.6}


def test_metrics_are_sorted_into_panels():
  panels = curves.panels(_lines())
  # What was measured once has no curve: the stage "generator" has none.
  assert list(panels) == ["pretrain", "tac"]
  assert [(p.title, [c.name for c in p.curves], p.log) for p in panels["pretrain"]] == [
      ("loss", ["loss"], False), ("accuracy of the contrastive task", ["accuracy"], False),
      ("gradient norms", ["query"], True)]
  loss = panels["pretrain"][0].curves[0]
  assert loss.steps.tolist() == [0, 1, 2] and loss.values.tolist() == [2.0, 1.9, 1.8]
  assert [(p.title, [c.name for c in p.curves]) for p in panels["tac"]] == [
      # Equal names keep what tells them apart.
      ("I(X; Z) and its terms, nats", ["encoder/information", "policy/information"]),
      ("H(T|X), nats", ["entropy"]),
      # No panel has more than five curves.
      ("other measurements", [f"cycle_{n}" for n in range(5)]),
      ("other measurements", ["cycle_5", "cycle_6"])]


@pytest.mark.parametrize("name, title", [
    ("generator/loss", "loss"), ("discriminator/loss_f", "losses of D_f and D_p"),
    ("discriminator/accuracy_p", "share of what D_f and D_p get right"),
    ("generator/strength/tone.exposure", "mean strengths of the operators"),
    ("generator/edit_a", "mean change by G_A and G_E"),
    ("health/edit_ratio", "health: size and place of edits"),
    ("health/two_sample_gap", "health: size and place of edits"),
    ("health/probe_gain", "nearest neighbours, %"),
    ("online/knn_D_to_C", "nearest neighbours, %"),
    ("gauges/added_lidar", "F: dimensions that it uses"),
    ("gauges/feature_std", "F: gauges"), ("embedding_std", "spread of the embeddings"),
    ("disc_f/grad_norm", "gradient norms")])
def test_each_metric_has_its_panel(name, title):
  (panel,) = curves.panels({"step": s, "stage": "a", name: 1.0} for s in (1, 2))["a"]
  assert panel.title == title


@pytest.mark.parametrize("lines", [[], list(_lines()), list(_lines(1500))])
def test_curve_sheet(tmp_path, lines):
  path = tmp_path / "curves.png"
  page = curves.curve_sheet(lines, path)
  np.testing.assert_array_equal(page, np.asarray(Image.open(path).convert("RGB")))
  # The colour of a first curve is there if there are curves.
  assert np.any(np.all(page == colour("s0"), axis=-1)) == bool(lines)


def test_a_drawn_curve_goes_through_its_points():
  panel = curves.Panel("loss", (
      curves.Curve("a", np.array([0, 10, 20]), np.array([1.0, np.nan, 3.0])),
      curves.Curve("b", np.array([0, 10, 20]), np.array([3.0, 2.0, 1.0]))))
  svg = canvas.Svg(curves.WIDTH, curves.HEIGHT, "loss")
  curves.draw(panel, svg)
  root = ElementTree.fromstring(svg.element())
  paths = {p.get("class"): p.get("d") for p in root}
  # A gap breaks the line of "a"; "b" falls on its way from left to right.
  assert re.findall("[ML]", paths["line s0"]) == ["M", "M"]
  points = [tuple(map(float, part.split()))
            for part in re.split("[ML]", paths["line s1"])[1:]]
  assert len(points) == 3
  assert points[0][0] < points[1][0] < points[2][0]
  assert points[0][1] < points[1][1] < points[2][1]  # downwards, y grows
  texts = {t.text: (float(t.get("x")), float(t.get("y"))) for t in root if t.text}
  assert texts["a"][1] < texts["b"][1] and texts["a"][0] > points[2][0]


def test_a_long_curve_is_drawn_with_few_points():
  values = np.random.default_rng(0).random(20_000)
  values[7000] = 50.0
  panel = curves.Panel("loss", (curves.Curve("a", np.arange(20_000), values),))
  svg = canvas.Svg(curves.WIDTH, curves.HEIGHT, "loss")
  curves.draw(panel, svg)
  assert len(svg.element()) < 20_000
  # The peak is not lost: it sets the axis and is drawn in the faint curve.
  faint = re.search('class="line s0 faint".*?d="(.*?)"', svg.element()).group(1)
  heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", faint)]
  assert min(heights) < 40 < np.median(heights)


def test_labels_are_moved_apart_as_little_as_needed():
  assert curves.apart([10.0, 50.0], 13, 0, 100) == [10.0, 50.0]
  assert curves.apart([52.0, 50.0], 13, 0, 100) == [63.0, 50.0]
  placed = curves.apart([99.0, 98.0, 97.0], 13, 0, 100)
  assert placed == [100.0, 87.0, 74.0]


def test_axes_of_logarithms_leave_out_what_has_none():
  axis = curves._axis(np.array([0.0, 1.0, 1000.0]), log=True)
  assert np.isnan(axis.share(0.0)) and 0 < axis.share(1.0) < axis.share(1000.0) < 1
  assert {1.0, 1000.0} <= set(axis.ticks)
  one = curves._axis(np.array([3.0, 3.0]))
  assert 0 < one.share(3.0) < 1


def test_running_mean_bears_gaps():
  values = np.array([1.0, np.nan, 3.0, 5.0, np.nan])
  np.testing.assert_allclose(
      curves._running_mean(values, 3), [1.0, 2.0, 4.0, 4.0, np.nan])


def test_png_and_svg_put_things_in_the_same_places(tmp_path):
  png = canvas.Png(100, 60)
  svg = canvas.Svg(100, 60, "a <test>")
  for surface in (png, svg):
    surface.box(10, 20, 30, 40, "band")
    surface.dots(np.array([[70.0, 15.0]]), "s1", 5)
    surface.text(50, 50, "a & b", align="right")
  page = png.save(tmp_path / "a.png")
  assert page.shape == (120, 200, 3)
  np.testing.assert_array_equal(page[60, 40], colour("band"))
  np.testing.assert_array_equal(page[60, 10], [255, 255, 255])
  np.testing.assert_array_equal(page[30, 140], colour("s1"))
  root = ElementTree.fromstring(svg.element())
  assert root.get("aria-label") == "a <test>" and root.get("viewBox") == "0 0 100 60"
  box, dot, text = root
  assert [box.get(k) for k in ("class", "x", "y", "width", "height")] == [
      "band", "10.0", "20.0", "20.0", "20.0"]
  assert dot.get("d") == "M70.0 15.0h0" and dot.get("stroke-width") == "10"
  assert text.text == "a & b" and text.get("text-anchor") == "end"
