"""Characters drawn from fonts: `rendered:latin` and `rendered:scripts`.

These sets need no download: `latin` stands in for EMNIST, and `scripts` (letters of
a dozen other scripts) for Omniglot. The faces of the fonts that matplotlib ships act as
different writers. A random affine map, a smooth random displacement and a random stroke
thickness imitate handwriting. Images show light ink on black or, with three channels,
coloured ink on a coloured ground.

Each glyph is stored as a signed distance to its outline. Stroke thickness is then an
offset, and antialiasing is a ramp one pixel wide. Drawing takes one bilinear sample per
output pixel.
"""

import dataclasses
import unicodedata

import numpy as np

from augment_gen.data import base, glyphs

# kind -> default (classes, images per class).
DEFAULTS = {"latin": (62, 200), "scripts": (200, 20)}
_GRID = 4  # control points of the displacement along each side


@dataclasses.dataclass(frozen=True)
class Rendered(base.Source):
  """Options of rendered:latin and rendered:scripts.

  Attributes:
    classes: number of characters (0: 62 for latin, 200 spread over the scripts).
    per_class: images of each character (0: 200 for latin, 20 for scripts).
    seed: seed of the drawings; it does not affect which characters are drawn.
    variation: strength of the handwriting effects; 0 draws plain glyphs.
  """
  classes: int = 0
  per_class: int = 0
  seed: int = 0
  variation: float = 1.0

  def problems(self) -> list[str]:
    if self.address not in DEFAULTS:
      return [f"there is no 'rendered:{self.address}'; there are: "
              f"{', '.join('rendered:' + name for name in DEFAULTS)}"]
    problems = [
        f"option {name}={getattr(self, name):g} of rendered:{self.address} "
        "must not be negative"
        for name in ("classes", "per_class", "seed", "variation")
        if not getattr(self, name) >= 0]
    have = len(glyphs.characters(self.address))
    if self.classes > have:
      problems.append(f"rendered:{self.address} has {have} classes, fewer than "
                      f"the classes={self.classes} asked for")
    return problems

  def count(self) -> int:
    classes, per_class = DEFAULTS[self.address]
    return (self.classes or classes) * (self.per_class or per_class)

  def load(self, request: base.Request) -> base.ImageSet:
    classes = self.classes or DEFAULTS[self.address][0]
    chosen = glyphs.characters(self.address)[:classes]
    per_class = self.count() // classes
    size = request.image_size
    images = np.empty(
        (classes, per_class, size, size, request.channels), np.uint8)
    for i, character in enumerate(chosen):
      # One random stream per character: its images do not depend on other classes.
      rng = np.random.Generator(np.random.Philox(
          np.random.SeedSequence([self.seed, ord(character)])))
      ink = draw(glyphs.distances(character), per_class, size, self.variation,
                 rng)
      images[i] = (to_uint8(ink)[..., None] if request.channels == 1
                   else colour(ink, rng))
    labels = np.repeat(np.arange(classes, dtype=np.int32), per_class)
    names = tuple(f"U+{ord(c):04X} {unicodedata.name(c)}" for c in chosen)
    return base.ImageSet(
        request.name, images.reshape(-1, *images.shape[2:]), labels, names)


def draw(
    faces: np.ndarray, count: int, size: int, variation: float,
    rng: np.random.Generator,
) -> np.ndarray:
  """Draws one character in random handwriting.

  Args:
    faces: float32 [F, G, G], signed distances of its glyphs in all faces, in units of
      the canvas side, positive inside.
    count: number of drawings, each in a random face.
    size: side of the drawings, in pixels.
    variation: strength of the handwriting effects; 0 draws plain glyphs.
    rng: source of all randomness.

  Returns:
    float32 [count, size, size], ink in [0, 1].
  """
  face = rng.integers(len(faces), size=count)
  y, x = _hand(count, size, variation, rng)
  distance = _sample(faces, face, y, x)
  # Strokes get at most slightly thinner than in the face: hairlines would break.
  thickness = variation * rng.normal(0.008, 0.011, (count, 1, 1)).clip(-0.004)
  ink = 0.5 + (distance + thickness.astype(np.float32)) * size
  return np.clip(ink, 0.0, 1.0)


def _hand(count: int, size: int, variation: float,
          rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
  """Where on the canvas, [0, 1]², pixels are sampled: y, x float32 [count, size, size]."""
  rotation = variation * rng.normal(0, 0.14, count)  # radians
  shear = variation * rng.normal(0, 0.15, count)
  stretch = np.exp(variation * rng.normal(0, 0.10, (2, count)))
  shift = variation * rng.normal(0, 0.035, (2, count))
  cos, sin = np.cos(rotation), np.sin(rotation)
  affine = np.array([[cos * stretch[0], -sin * stretch[1]],
                     [(sin + shear * cos) * stretch[0],
                      (cos - shear * sin) * stretch[1]]])
  # Random displacements of the control points, interpolated by a smooth basis.
  pull = variation * rng.normal(0, 0.035, (2, count, _GRID, _GRID))
  basis = _smooth_basis(size)
  field = basis @ pull.astype(np.float32) @ basis.T  # [2, count, size, size]
  pixel = ((np.arange(size) + 0.5) / size - 0.5).astype(np.float32)
  affine, shift = affine.astype(np.float32), shift.astype(np.float32)

  def look(axis: int) -> np.ndarray:
    along_y = affine[axis, 0][:, None, None] * pixel[:, None]
    along_x = affine[axis, 1][:, None, None] * pixel[None, :]
    return 0.5 + along_y + along_x + field[axis] + shift[axis][:, None, None]

  return look(0), look(1)


def _smooth_basis(size: int) -> np.ndarray:
  """Gaussian bumps at the control points, float32 [size, GRID]; rows sum to 1."""
  place = (np.arange(size) + 0.5)[:, None] / size
  control = np.linspace(0, 1, _GRID)
  bumps = np.exp(-0.5 * ((place - control) / (0.6 / (_GRID - 1)))**2)
  return (bumps / bumps.sum(1, keepdims=True)).astype(np.float32)


def _sample(faces: np.ndarray, face: np.ndarray, y: np.ndarray,
            x: np.ndarray) -> np.ndarray:
  """Bilinear samples of faces[face] (face: [N]) at y, x ([N, S, S], clipped to [0, 1])."""
  side = faces.shape[-1]
  y = np.clip(y * side - 0.5, 0, side - 1.001)
  x = np.clip(x * side - 0.5, 0, side - 1.001)
  row, column = y.astype(np.int32), x.astype(np.int32)
  y, x = y - row, x - column
  flat = faces.reshape(-1)
  first = (face[:, None, None] * side + row) * side + column
  above = flat[first] * (1 - x) + flat[first + 1] * x
  below = flat[first + side] * (1 - x) + flat[first + side + 1] * x
  return above * (1 - y) + below * y


def colour(ink: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Coloured ink on a coloured ground.

  Args:
    ink: float32 [N, S, S] in [0, 1].
    rng: source of the colours.

  Returns:
    uint8 [N, S, S, 3]. Either the ground is dark and the ink light, or vice versa. They
    differ by at least 0.3 of the full range in each channel.
  """
  dark = rng.uniform(0.0, 0.35, (len(ink), 1, 1, 3))
  light = rng.uniform(0.65, 1.0, (len(ink), 1, 1, 3))
  swap = rng.random((len(ink), 1, 1, 1)) < 0.5
  ground, pen = np.where(swap, light, dark), np.where(swap, dark, light)
  return to_uint8(ground + ink[..., None] * (pen - ground))


def to_uint8(images: np.ndarray) -> np.ndarray:
  """Converts values in [0, 1] to uint8 in 0..255, rounded."""
  return np.rint(images * 255).astype(np.uint8)
