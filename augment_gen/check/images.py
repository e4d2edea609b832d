"""What there is to know about the images of a run before it starts."""

from collections.abc import Iterator, Sequence
import os
import pathlib

import numpy as np
from PIL import Image

from augment_gen.config import Config
from augment_gen.config.errors import UserError
from augment_gen.data import pictures, sources
from augment_gen.data import task as task_lib
from augment_gen.data.base import evenly, labels_of
from augment_gen.data.files import some
from augment_gen.data.task import Task
from augment_gen.figures import drawing, grid
from augment_gen.run import session

_FILES = 100  # of each spec, whose sizes are looked at
_UNEVEN = 3  # times as many images in the largest class as in the smallest
_SHOWN = 8  # images of each set on the sheet
# Matplotlib has no tilde above a letter outside of formulas.
_FORMULAS = {"X_p": "$X_p$", "X̃_f": r"$\tilde{X}_f$"}


def lines(config: Config, task: Task, sheet: pathlib.Path) -> Iterator[str]:
  """Counts, what is passed over, classes, and sizes; draws some images.

  Args:
    config: the run's config.
    task: its images.
    sheet: the PNG file that is drawn.

  Raises:
    UserError: the file cannot be written.
  """
  sets = session.sets_by_name(task)
  for name, images in sets.items():
    for line in session.describe(images):
      yield f"{name}: {line}"
    if name != "X_p" and (found := labels_of(images)):
      yield f"{name}: {balance(*found)}"
  data = config.data
  specs = [data.pretrain, data.finetune, *(
      test.spec for test in task_lib.plan(data)[1].tests)]
  for spec in dict.fromkeys(specs):
    source = sources.parse(spec, data.root)
    if files := source.origins():
      yield f"{spec}: " + sizes(
          files, data.image_size, getattr(source, "resize", "crop"))
  shown = {_FORMULAS.get(name) or drawing.literal(name):
           images.read(np.unique(evenly(len(images), min(len(images), _SHOWN))))
           for name, images in sets.items()}
  try:
    grid.example_sheet(shown, sheet, columns=_SHOWN)
  except OSError as error:
    raise UserError(f"--sheet={sheet} cannot be written: {error.strerror}") from None
  yield f"examples of each set: {sheet}"


def balance(labels: np.ndarray, names: Sequence[str]) -> str:
  """How many images the classes have, in words."""
  counts = np.bincount(labels, minlength=len(names))
  low, high = int(counts.min()), int(counts.max())
  if low == high:
    return f"{low} images in each of {len(names)} classes"
  text = f"{low} to {high} images in each of {len(names)} classes"
  if high < _UNEVEN * max(low, 1):
    return text
  few = [names[i] for i in np.flatnonzero(counts == low).tolist()]
  return (f"WARNING: {text}, which is uneven; fewest: {some(few)}; most: "
          f"{names[int(counts.argmax())]}")


def sizes(files: Sequence[str], side: int, resize: str) -> str:
  """How large some files are, and what becomes of them, in words.

  Args:
    files: the files.
    side: of the images that they become, in pixels.
    resize: "crop" or "squash", see `decoding.Decoder`.
  """
  shapes = []
  for index in np.unique(evenly(len(files), min(len(files), _FILES))).tolist():
    try:
      with Image.open(os.path.expanduser(files[index])) as image:
        shapes.append(image.size)
    except pictures.UNREADABLE:
      continue  # loading has a word on bad files
  if not shapes:
    return "sizes are not known"
  widths, heights = np.array(shapes).T
  short, long = np.minimum(widths, heights), np.maximum(widths, heights)
  text = (f"{_range(widths)} × {_range(heights)} pixels in {len(shapes)} of {len(files)} "
          f"files, scaled to {side} × {side}")
  notes = []
  if enlarged := int((short < side).sum()):
    notes.append(f"{enlarged} are smaller than that, and are enlarged")
  if oblong := int((short != long).sum()):
    lost = 100 * float(np.mean(1 - short / long))
    notes.append(f"{oblong} are not square, and are "
                 + (f"cropped at the centre, which loses {lost:.0f} % of the pixels"
                    if resize == "crop" else "squeezed"))
  return "; ".join([text, *notes])


def _range(values: np.ndarray) -> str:
  low, high = int(values.min()), int(values.max())
  return str(low) if low == high else f"{low}–{high}"
