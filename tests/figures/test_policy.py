"""The poster's figures."""

import numpy as np
from PIL import Image

from augment_gen.augment.crops import CropGrid
from augment_gen.figures import policy

GRID = CropGrid(image_size=12, crop=4, stride=2, scales=(1.0, 2.0))


def test_heat_maps_say_what_is_seen():
  rng = np.random.default_rng(0)
  p = rng.dirichlet(np.ones(GRID.size), 3)
  seen, middle = policy.heat_maps(GRID, p)
  expected = np.zeros((3, 12, 12))
  for k, (top, left, side) in enumerate(GRID.boxes()):
    expected[:, top:top + side, left:left + side] += p[:, k, None, None]
  np.testing.assert_allclose(seen, expected, atol=1e-6)
  np.testing.assert_allclose(middle.max(axis=(1, 2)), 1.0)
  sure = np.eye(GRID.size)[[6]]  # top 2, left 2, side 4; middle pixels 3 and 4
  _, middle = policy.heat_maps(GRID, sure)
  np.testing.assert_array_equal(np.argwhere(middle[0]),
                                [[3, 3], [3, 4], [4, 3], [4, 4]])


def test_sheets_are_drawn(tmp_path):
  rng = np.random.default_rng(1)
  images = rng.random((2, 12, 12, 1))
  pages = {
      "heat": policy.heat_sheet(
          GRID, images, rng.dirichlet(np.ones(GRID.size), 2),
          tmp_path / "heat.png")}
  labels = np.array([1, 0, 1, 2])
  for name, draw in (("instances", policy.instance_sheet),
                     ("circle", policy.circle_sheet)):
    h = {"a": rng.standard_normal((4, 2)), "b": rng.standard_normal((4, 2))}
    pages[name] = draw(h, labels, tmp_path / f"{name}.png")
  for name, page in pages.items():
    stored = np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB"))
    np.testing.assert_array_equal(page, stored)
    assert len(Image.fromarray(page).getcolors(1 << 24)) > 10
