"""Glyphs of the fonts that matplotlib ships, as signed distances."""

import collections
import functools
import os
import unicodedata

import matplotlib
from matplotlib import ft2font
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

LATIN = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

SIDE = 96  # pixels of the canvas on which a glyph is measured
_CAPITAL = 0.64  # height of an H, as part of the canvas
_LARGEST = 0.78  # a glyph wider or higher than this part is shrunk to it
_SMALLEST = 0.40  # and a smaller one enlarged to that
_ALIKE = 0.90  # cosine of two shapes from which they count as one character
_SHAPE = 24  # side at which shapes are compared, in pixels

# First words of the names of letters that are Latin, or were before or after.
_LATIN_LIKE = ("", "LATIN", "TURNED", "ROMAN", "OLD", "LISU")

_FACES = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique",
    "DejaVuSans-BoldOblique", "DejaVuSansMono", "DejaVuSansMono-Bold",
    "DejaVuSansMono-Oblique", "DejaVuSerif", "DejaVuSerif-Bold",
    "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic", "STIXGeneral",
    "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta", "cmr10",
    "cmss10", "cmti10", "cmtt10", "cmb10")


def characters(kind: str) -> tuple[str, ...]:
  """The characters of "latin", or of "scripts" with the scripts in turn."""
  return tuple(LATIN) if kind == "latin" else _script_letters()


@functools.cache
def _faces() -> dict[str, tuple[ImageFont.FreeTypeFont, frozenset[int]]]:
  """{face: (font, code points it has)}; H is equally high in all of them."""
  folder = os.path.join(matplotlib.get_data_path(), "fonts", "ttf")
  result = {}
  for face in _FACES:
    path = os.path.join(folder, face + ".ttf")
    points = frozenset(ft2font.FT2Font(path).get_charmap())
    # One glyph per character (no shaping), alike on every machine.
    basic = ImageFont.Layout.BASIC
    probe = ImageFont.truetype(path, 200, layout_engine=basic)
    _, top, _, bottom = probe.getbbox("H")
    pixels = round(200 * _CAPITAL * SIDE / (bottom - top))
    result[face] = ImageFont.truetype(path, pixels, layout_engine=basic), points
  return result


def _mask(character: str, font: ImageFont.FreeTypeFont) -> np.ndarray | None:
  """bool [SIDE, SIDE]: the glyph in the middle; None if it has no ink."""
  left, top, right, bottom = font.getbbox(character)
  largest = max(right - left, bottom - top)
  if right <= left or bottom <= top:
    return None
  part = largest / SIDE
  scale = min(_LARGEST, max(_SMALLEST, part)) / part
  if scale != 1:
    font = font.font_variant(size=max(1, round(font.size * scale)))
    left, top, right, bottom = font.getbbox(character)
  image = Image.new("L", (SIDE, SIDE))
  origin = ((SIDE - left - right) / 2, (SIDE - top - bottom) / 2)
  ImageDraw.Draw(image).text(origin, character, fill=255, font=font)
  mask = np.asarray(image) > 127
  return mask if mask.any() else None


@functools.cache
def distances(character: str) -> np.ndarray:
  """float32 [F, SIDE, SIDE]: the character in each face that has it.

  Signed distance to the outline in units of the canvas, positive in the ink.
  Faces that draw it exactly as an earlier one are left out.
  """
  seen, result = set(), []
  for font, points in _faces().values():
    mask = _mask(character, font) if ord(character) in points else None
    if mask is None or mask.tobytes() in seen:
      continue
    seen.add(mask.tobytes())
    inside = ndimage.distance_transform_edt(mask)
    outside = ndimage.distance_transform_edt(~mask)
    # A pixel's centre lies half a pixel from the edge of its neighbour.
    result.append(np.where(mask, inside - 0.5, 0.5 - outside) / SIDE)
  return np.array(result, np.float32)


@functools.cache
def _script_letters() -> tuple[str, ...]:
  """Letters of the other scripts that DejaVu Sans holds.

  Accented forms are left out, and so is what looks like a Latin character (in
  any face) or an earlier letter, whatever its size: a lower case beside its
  capital.
  """
  font, points = _faces()["DejaVuSans"]
  candidates = {letter: _shape(letter, font) for letter in map(chr, points)
                if _is_letter(letter)}
  letters = sorted(c for c, shape in candidates.items() if shape is not None)
  shapes = np.array([candidates[letter] for letter in letters])
  latin = np.array([_shape(c, face) for face, has in _faces().values()
                    for c in LATIN if ord(c) in has])
  like_latin = (shapes @ latin.T).max(1) > _ALIKE
  alike = shapes @ shapes.T > _ALIKE
  kept = []
  for i in np.flatnonzero(~like_latin):
    if not alike[i, kept].any():
      kept.append(i)
  # In turn, so that any number of first letters is spread over the scripts.
  turn = collections.Counter()
  order = []
  for letter in (letters[i] for i in kept):
    script = _script(letter)
    order.append((turn[script], script, letter))
    turn[script] += 1
  return tuple(letter for _, _, letter in sorted(order))


def _script(letter: str) -> str:
  """The first word of its name, "" if it has none."""
  return unicodedata.name(letter, "").split(" ")[0]


def _is_letter(letter: str) -> bool:
  """Is it a letter without accents, of a script unlike Latin?"""
  return (unicodedata.category(letter) in ("Lu", "Ll", "Lo")
          and not unicodedata.decomposition(letter)
          and _script(letter) not in _LATIN_LIKE)


def _shape(character: str, font: ImageFont.FreeTypeFont) -> np.ndarray | None:
  """float32 [SHAPE²] of norm 1: the glyph enlarged to fill a square."""
  mask = _mask(character, font)
  if mask is None:
    return None
  image = Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
  # With its aspect ratio, without which a stroke and a dash were alike.
  box = image.getbbox()
  half = max(box[2] - box[0], box[3] - box[1]) / 2
  middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
  image = image.resize(
      (_SHAPE, _SHAPE), Image.Resampling.BILINEAR,
      (max(0, middle[0] - half), max(0, middle[1] - half),
       min(SIDE, middle[0] + half), min(SIDE, middle[1] + half)))
  values = np.asarray(image, np.float32).reshape(-1)
  return values / np.linalg.norm(values)
