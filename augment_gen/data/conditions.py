"""The test sets that a config names, and their parts by condition.

`config.data.tests` lists NAME=SPEC. With `config.data.conditions=COLUMN`, a set whose
images have a table is measured for each value of that column, too:

  NAME=SPEC   the whole set as NAME, and its parts as "NAME VALUE"
  SPEC        the parts alone, each called by its value, without the images of X̃_f

So X̃_f may be one condition of a folder, and a bare SPEC of that folder gives all others,
and of its own condition what fine-tuning has left over. What is held out of X̃_f
(finetune_per_class, development) is divided as well, if it has several values.

No file may be both in X̃_f and in a test set: `disjoint` refuses it. Pictures of one object
under other conditions are other files, and count as test images. So it is in the paper,
whose lights all show the same 100 products. To test on other objects, let a column of the
table say which these are, and select with `where`.
"""

import collections
import dataclasses

import numpy as np

from augment_gen import config as config_lib
from augment_gen.config import errors
from augment_gen.data import base, files, sources

MOST = 64  # values of a column of conditions


@dataclasses.dataclass(frozen=True)
class Named:
  """A test set that is to be loaded.

  Attributes:
    name: its name in the results table.
    spec: its images.
    rest: whether images of X̃_f are left out of it; otherwise they are an error.
    count: number of images, for a part of a set whose spec is checked already.
  """
  name: str
  spec: str
  rest: bool = False
  count: int | None = None


def named(data: config_lib.DataConfig) -> tuple[list[Named], list[str]]:
  """The test sets of a config, also by condition if there are conditions; and all problems.

  Specs are checked only as far as their conditions are needed.
  """
  given = [_split(part) for part in config_lib.names(data.tests)]
  if data.conditions:
    sets, problems = _by_condition(given, data)
  else:
    sets = [Named(name, spec) for name, spec in given if name]
    problems = [f"config.data.tests: '{spec}' is not NAME=SPEC"
                for name, spec in given if not name]
  return sets, problems + _name_problems(sets, data)


def _split(part: str) -> tuple[str, str]:
  """Splits "NAME=SPEC"; a bare SPEC, which has "=" only after its colon, has no name."""
  name, equals, spec = part.partition("=")
  return (name, spec) if name and equals and spec and ":" not in name else ("", part)


def _by_condition(given: list[tuple[str, str]], data: config_lib.DataConfig
                  ) -> tuple[list[Named], list[str]]:
  """`named` where there are conditions."""
  sets: list[Named] = []
  problems: list[str] = []
  divided = False
  for name, spec in given:
    if name:
      sets.append(Named(name, spec))
    try:
      counts = _counts(spec, data)
    except errors.UserError as error:
      problems += error.problems
      continue
    if counts is None and not name:
      problems.append(
          f"config.data.tests: '{spec}' has no table to take config.data.conditions="
          f"{data.conditions} from: give it the option metadata=FILE, or write NAME=SPEC")
    divided = divided or counts is not None
    sets += [Named(f"{name} {value}".strip(),
                   sources.narrowed(spec, data.conditions, value), not name, count)
             for value, count in (counts or {}).items()]
  # What is held out of X̃_f may be all that there is to divide.
  if not problems and not divided and not _has_column(data.finetune, data):
    problems.append(
        f"config.data.conditions={data.conditions}: no set has a table with such a column: "
        "give their specs the option metadata=FILE")
  return sets, problems


def _has_column(spec: str, data: config_lib.DataConfig) -> bool:
  """Whether a table has the column of conditions, or the spec is wrong anyway."""
  try:
    source = sources.parse(spec, data.root)
  except errors.UserError:
    return True
  return bool(source.problems()) or data.conditions in source.columns()


def _counts(spec: str, data: config_lib.DataConfig) -> dict[str, int] | None:
  """Number of images under each condition; None if the images have no table.

  Raises:
    UserError: the spec is wrong, or its table lacks the column.
  """
  source = sources.parse(spec, data.root)
  errors.raise_if_any(source.problems())
  cells = _cells(source, spec, data)
  if cells is None:
    return None
  counts = collections.Counter(cells)
  return {value: counts[value] for value in files.in_order(counts)}


def _cells(source: base.Source, spec: str, data: config_lib.DataConfig
           ) -> tuple[str, ...] | None:
  """The condition of each image; None if the images have no table.

  Raises:
    UserError: the table lacks the column, or its values are not conditions.
  """
  columns = source.columns()
  if not columns:
    return None
  setting = f"config.data.conditions={data.conditions}"
  if data.conditions not in columns:
    raise errors.UserError(f"{setting}: the table of '{spec}' has no such column; it has: "
                           f"{', '.join(columns)}")
  cells = source.column(data.conditions)
  if empty := [place for place, value in enumerate(cells) if not value]:
    raise errors.UserError(
        f"{setting} is empty for {len(empty)} images of '{spec}' (the first: "
        f"{source.origins()[empty[0]]}): fill it in, or leave them out with the option "
        "where=COLUMN=VALUE")
  values = files.in_order(set(cells))
  if len(values) > MOST:
    raise errors.UserError(
        f"{setting} has {len(values)} values in '{spec}' ({files.some(values)}): choose a "
        f"column with at most {MOST}, as each is a test set")
  return cells


def _name_problems(sets: list[Named], data: config_lib.DataConfig) -> list[str]:
  """Two test sets of one name.

  Parts of a bare spec may have the name of what is held out of X̃_f: `add` knows whether
  they are the same images.
  """
  names = [test.name for test in sets]
  fixed = [test.name for test in sets if not test.rest]
  if data.finetune_per_class:
    fixed += [data.finetune_name] + [data.clean_name] * (data.implicit != "none")
  twice = {name for group in (names, fixed) for name in group if group.count(name) > 1}
  return [_same_name(name) for name in sorted(twice)]


def _same_name(name: str) -> str:
  return (f"config.data: two test sets are called '{name}' (tests, finetune_name, "
          "clean_name)")


def divided(tests: dict[str, base.ImageSet], data: config_lib.DataConfig
            ) -> dict[str, base.ImageSet]:
  """Test sets that are held out of X̃_f, each followed by its parts by condition.

  Raises:
    UserError: values of the column are missing or too many.
  """
  if not data.conditions:
    return tests
  source = sources.parse(data.finetune, data.root)
  if data.conditions not in source.columns():
    return tests
  cells = dict(zip(source.origins(), _cells(source, data.finetune, data) or ()))
  result = {}
  for name, images in tests.items():
    result[name] = images
    assert images.origins is not None  # a table describes files
    values = np.array([cells[origin] for origin in images.origins])
    if len(there := files.in_order(set(values.tolist()))) > 1:
      result |= {f"{name} {value}": images.select(np.flatnonzero(values == value))
                 for value in there}
  return result


def add(tests: dict[str, base.ImageSet], test: Named, images: base.ImageSet,
        finetune: base.ImageSet) -> tuple[str, ...]:
  """Adds a test set that shares no file with X̃_f to `tests`.

  Args:
    tests: the test sets so far.
    test: what it is.
    images: the images of its spec.
    finetune: X̃_f.

  Returns:
    Notes for the user, for a part that has no images left or is there already.

  Raises:
    UserError: images of X̃_f are among the test images and may not be left out, or
      another set has its name.
  """
  images = disjoint(test, images, finetune)
  if test.rest:
    if not len(images):
      return (f"all images of '{test.name}' are in X̃_f: there is no such test set",)
    for name, other in tests.items():
      if _files(other) == _files(images):
        return (f"the rest of '{test.name}' is what the test set '{name}' holds",)
  if test.name in tests:
    raise errors.UserError(
        f"{_same_name(test.name)}: their images differ, so change one of these names")
  tests[test.name] = images
  return ()


def disjoint(test: Named, images: base.ImageSet, finetune: base.ImageSet
             ) -> base.ImageSet:
  """A test set without the files of X̃_f.

  Args:
    test: what it is.
    images: its images.
    finetune: X̃_f, before the implicit augmentation. Where images have no files of their
      own, as in arrays, those that are equal pixel by pixel are looked for.

  Raises:
    UserError: it has some, and is not a `rest`; or all of it is in X̃_f.
  """
  if images.origins is None or finetune.origins is None:
    return _unlike(test, images, finetune)
  trained = _files(finetune)
  both = np.array([origin in trained for origin in _origins(images)], bool)
  if not both.any():
    return images
  if not test.rest:
    first = _origins(images)[int(np.argmax(both))]
    raise errors.UserError(
        f"test set '{test.name}' holds {both.sum()} images that are in X̃_f (the first: "
        f"{first}): nothing may be tested on what it was trained on; take other folders, "
        "or rows of a table (option where), or hold images of X̃_f out with "
        "config.data.finetune_per_class")
  rest = images.select(np.flatnonzero(~both))
  return dataclasses.replace(
      rest, notes=(*rest.notes, f"{both.sum()} images left out that are in X̃_f"))


def _unlike(test: Named, images: base.ImageSet, finetune: base.ImageSet) -> base.ImageSet:
  """The same test set, with a note on images that are equal to some of X̃_f.

  Sets have equal images for other reasons, too, such as blank ones.

  Raises:
    UserError: all of them are.
  """
  if images.images.shape[1:] != finetune.images.shape[1:] or not len(images):
    return images
  trained = {hash(image.tobytes()) for image in finetune.images}
  equal = sum(hash(image.tobytes()) in trained for image in images.images)
  if equal == len(images):
    raise errors.UserError(
        f"test set '{test.name}' ({images.name}) holds no image that is not in X̃_f, pixel "
        "by pixel: nothing may be tested on what it was trained on; give other images, or "
        "hold images of X̃_f out with config.data.finetune_per_class")
  if not equal:
    return images
  return dataclasses.replace(images, notes=(
      *images.notes, f"WARNING: {equal} of {len(images)} images are in X̃_f, too, pixel "
      "by pixel"))


def _origins(images: base.ImageSet) -> np.ndarray:
  return np.zeros(0, object) if images.origins is None else images.origins


def _files(images: base.ImageSet) -> frozenset[str]:
  """The files of a set; none if it has none of its own."""
  return frozenset(_origins(images).tolist())
