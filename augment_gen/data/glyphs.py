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

SIDE = 96  # side of the canvas on which a glyph is measured, in pixels
_CAPITAL = 0.64  # height of an H, as a fraction of the canvas side
_LARGEST = 0.78  # wider or higher glyphs are shrunk to this fraction
_SMALLEST = 0.40  # smaller glyphs are enlarged to this fraction
_ALIKE = 0.90  # shapes of a higher cosine similarity count as one character
_SHAPE = 24  # side at which shapes are compared, in pixels

# First words of the Unicode names of letters that are Latin or belong to an ancestor
# or a descendant of Latin; "" stands for letters without a name.
_LATIN_LIKE = ("", "LATIN", "TURNED", "ROMAN", "OLD", "LISU")

_FACES = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique",
    "DejaVuSans-BoldOblique", "DejaVuSansMono", "DejaVuSansMono-Bold",
    "DejaVuSansMono-Oblique", "DejaVuSerif", "DejaVuSerif-Bold",
    "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic", "STIXGeneral",
    "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta", "cmr10",
    "cmss10", "cmti10", "cmtt10", "cmb10")


def characters(kind: str) -> tuple[str, ...]:
  """The characters of "latin", or those of "scripts", which cycle through the scripts."""
  return tuple(LATIN) if kind == "latin" else _script_letters()


@functools.cache
def _faces() -> dict[str, tuple[ImageFont.FreeTypeFont, frozenset[int]]]:
  """{face: (font, its code points)}; the fonts are scaled to the same height of H."""
  folder = os.path.join(matplotlib.get_data_path(), "fonts", "ttf")
  result = {}
  for face in _FACES:
    path = os.path.join(folder, face + ".ttf")
    points = frozenset(ft2font.FT2Font(path).get_charmap())
    # One glyph per character (no shaping), with the same result on every machine.
    basic = ImageFont.Layout.BASIC
    probe = ImageFont.truetype(path, 200, layout_engine=basic)
    _, top, _, bottom = probe.getbbox("H")
    pixels = round(200 * _CAPITAL * SIDE / (bottom - top))
    result[face] = ImageFont.truetype(path, pixels, layout_engine=basic), points
  return result


def _mask(character: str, font: ImageFont.FreeTypeFont) -> np.ndarray | None:
  """The centred glyph as bool [SIDE, SIDE], or None if it has no ink."""
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
  """The character in each face that has it, float32 [F, SIDE, SIDE].

  Values are signed distances to the outline in units of the canvas side, positive in
  the ink. A face is left out if its drawing equals that of an earlier face.
  """
  seen, result = set(), []
  for font, points in _faces().values():
    mask = _mask(character, font) if ord(character) in points else None
    if mask is None or mask.tobytes() in seen:
      continue
    seen.add(mask.tobytes())
    inside = ndimage.distance_transform_edt(mask)
    outside = ndimage.distance_transform_edt(~mask)
    # A pixel's centre is half a pixel away from the edge of its neighbour.
    result.append(np.where(mask, inside - 0.5, 0.5 - outside) / SIDE)
  return np.array(result, np.float32)


@functools.cache
def _script_letters() -> tuple[str, ...]:
  """Letters of the non-Latin scripts in DejaVu Sans.

  Accented letters are left out. So are letters that look like a Latin character in any
  face, or like an earlier letter. Size is ignored, so a lower-case letter may be left
  out because of its capital.
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
  kept: list[np.intp] = []
  for i in np.flatnonzero(~like_latin):
    if not alike[i, kept].any():
      kept.append(i)
  # Cycle through the scripts, so that the first letters, however many are used, are
  # spread over all scripts.
  turn: collections.Counter[str] = collections.Counter()
  order = []
  for letter in (letters[i] for i in kept):
    script = _script(letter)
    order.append((turn[script], script, letter))
    turn[script] += 1
  return tuple(letter for _, _, letter in sorted(order))


def _script(letter: str) -> str:
  """The first word of the letter's Unicode name, or "" if it has no name."""
  return unicodedata.name(letter, "").split(" ")[0]


def _is_letter(letter: str) -> bool:
  """Whether this is an unaccented letter whose script is not in _LATIN_LIKE."""
  return (unicodedata.category(letter) in ("Lu", "Ll", "Lo")
          and not unicodedata.decomposition(letter)
          and _script(letter) not in _LATIN_LIKE)


def _shape(character: str, font: ImageFont.FreeTypeFont) -> np.ndarray | None:
  """The glyph enlarged to fill a square, as float32 [SHAPE²] of norm 1."""
  mask = _mask(character, font)
  if mask is None:
    return None
  image = Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
  # Keep the aspect ratio, or else a vertical stroke and a dash would look the same.
  box = image.getbbox()
  assert box is not None  # the mask has ink
  half = max(box[2] - box[0], box[3] - box[1]) / 2
  middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
  image = image.resize(
      (_SHAPE, _SHAPE), Image.Resampling.BILINEAR,
      (max(0, middle[0] - half), max(0, middle[1] - half),
       min(SIDE, middle[0] + half), min(SIDE, middle[1] + half)))
  values = np.asarray(image, np.float32).reshape(-1)
  return values / np.linalg.norm(values)
