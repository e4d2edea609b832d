"""Characters drawn from fonts."""

import unicodedata

import numpy as np
import pytest

from augment_gen.data import glyphs, rendered, sources


def _load(spec, size=20, channels=1):
  return sources.load(f"rendered:{spec}", image_size=size, channels=channels)


def test_latin_has_62_named_classes():
  images = _load("latin?per_class=2")
  assert sources.count("rendered:latin?per_class=2") == len(images) == 124
  assert images.images.shape == (124, 20, 20, 1)
  assert np.bincount(images.labels).tolist() == [2] * 62
  assert images.class_names[10] == "U+0041 LATIN CAPITAL LETTER A"


def test_scripts_are_spread_and_hold_no_latin():
  images = _load("scripts?per_class=1", size=8)
  assert images.num_classes == len(set(images.class_names)) == 200
  scripts = {}
  for name in images.class_names:
    script = name.split(" ")[1]
    scripts[script] = scripts.get(script, 0) + 1
  assert "LATIN" not in scripts
  assert len(scripts) >= 10 and max(scripts.values()) <= 24


def test_lookalikes_are_left_out():
  letters = glyphs.characters("scripts")
  known = {unicodedata.name(c) for c in letters}
  assert "CYRILLIC CAPITAL LETTER ZHE" in known
  assert "CYRILLIC SMALL LETTER ZHE" not in known  # its capital is included
  assert "GREEK CAPITAL LETTER ALPHA" not in known  # looks like Latin A
  assert "CYRILLIC CAPITAL LETTER SHORT I" not in known  # accented
  drawn = {glyphs.distances(c)[0].tobytes() for c in letters[:300]}
  assert len(drawn) == 300


def test_faces_of_a_character_differ():
  faces = glyphs.distances("g")
  assert len(faces) >= 15
  assert len({face.tobytes() for face in faces}) == len(faces)


def test_distance_is_to_the_outline():
  """Inside a |, the maximum is half its width; outside, it falls by 1 per pixel."""
  face = glyphs.distances("|")[0] * glyphs.SIDE
  row = face[glyphs.SIDE // 2]
  inked = row > 0
  assert row.max() == pytest.approx(inked.sum() / 2, abs=0.6)
  right = np.flatnonzero(inked)[-1]
  np.testing.assert_allclose(row[right + 1:right + 6], -np.arange(5) - 0.5)


def test_plain_glyphs_without_variation():
  """The ink of a drawing covers the same pixels as the glyph's mask."""
  rng = np.random.default_rng(0)
  faces = glyphs.distances("R")[:1]
  ink = rendered.draw(faces, 2, glyphs.SIDE, 0.0, rng)
  np.testing.assert_array_equal(ink[0], ink[1])
  np.testing.assert_array_equal(ink[0] > 0.5, faces[0] > 0)
  small = rendered.draw(faces, 1, 24, 0.0, rng)[0]
  boxes = (faces[0] > 0).reshape(24, 4, 24, 4).mean((1, 3))
  assert np.abs(small - boxes).mean() < 0.03


def test_seed_decides_and_classes_are_independent():
  first = _load("latin?per_class=3&seed=1&classes=4")
  again = _load("latin?per_class=3&seed=1&classes=4")
  other = _load("latin?per_class=3&seed=2&classes=4")
  fewer = _load("latin?per_class=3&seed=1&classes=2")
  assert first.fingerprint == again.fingerprint != other.fingerprint
  np.testing.assert_array_equal(first.images[:6], fewer.images)


def test_every_drawing_has_ink_and_differs():
  images = _load("latin?per_class=20", size=28)
  share = (images.images > 127).mean((1, 2, 3))
  assert share.min() > 0.005 and share.max() < 0.6
  assert images.images[:, [0, -1]].mean() < 8  # the border is dark
  assert len({image.tobytes() for image in images.images}) == len(images)


def test_coloured_ink_stands_out():
  ink = np.zeros((50, 4, 4), np.float32)
  ink[:, :2] = 1
  images = rendered.colour(ink, np.random.default_rng(0)).astype(int)
  difference = np.abs(images[:, 0, 0] - images[:, 3, 3])
  assert difference.min() >= 75
  assert len(np.unique(images[:, 0, 0], axis=0)) == 50
  assert _load("latin?per_class=1", channels=3).images.shape == (62, 20, 20, 3)
