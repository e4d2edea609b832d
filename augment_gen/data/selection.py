"""Selects images of a folder by a table, and takes their classes from it.

Each row of the table (metadata.py) describes one image. `where` chooses rows:

  where=light=room                     rows with "room" in the column "light"
  where=light=room|spot;camera=a       either light, and camera a

Characters that a spec uses itself (, & ; | ? = %) are written as in URLs: "%2C" is ",".
"""

import collections
from collections.abc import Collection, Container, Iterator
import dataclasses
import os
import pathlib
import urllib.parse

from augment_gen.config import errors
from augment_gen.data import files as files_lib
from augment_gen.data import labels as labels_lib
from augment_gen.data import metadata

# Usual names of the column with the paths, as metadata.Table.usual compares them.
PATHS = ("filename", "filepath", "file", "path", "imagepath", "imagefile", "imagename",
         "image", "imgpath", "img")
_SPECIAL = ",&;|?=%{}\n\r"
_LISTED = 8  # values or files of a message


@dataclasses.dataclass(frozen=True)
class Query:
  """What is wanted of a table: the options of a spec.

  Attributes:
    metadata: the table's file, absolute or relative to the folder of the images.
    path: column with the paths of the images; "": the one with a usual name.
    label: column with the classes; "": the table gives none.
    where: which rows; "": all.
  """
  metadata: str
  path: str = ""
  label: str = ""
  where: str = ""


@dataclasses.dataclass(frozen=True)
class Selection:
  """The images that a table selects.

  Attributes:
    found: the contents of the folder; its images are the selected ones, sorted, its
      folders the classes, and its problems also those of the table.
    class_of: the class of each image; None if the folders are the classes.
    notes: lines for the user.
    columns: the table's columns for the selected images, in the order of `found.images`.
  """
  found: files_lib.Found
  class_of: dict[pathlib.Path, str] | None = None
  notes: tuple[str, ...] = ()
  columns: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


def select(root: pathlib.Path, found: files_lib.Found, query: Query) -> Selection:
  """Selects images of the folder `root`, whose contents are `found`.

  Everything that is wrong with the table or does not fit the folder becomes a problem
  of the result, one line each, which then has no images.
  """
  try:
    table = metadata.read(root / query.metadata)
    return _select(root, found, query, table)
  except errors.UserError as error:
    return Selection(failed(found, *error.problems))


def failed(found: files_lib.Found, *problems: str) -> files_lib.Found:
  """`found` without its images and with further problems."""
  return found.with_images(
      (), folders=(), problems=(*found.problems, *problems))


def _select(root: pathlib.Path, found: files_lib.Found, query: Query,
            table: metadata.Table) -> Selection:
  column = urllib.parse.unquote(query.path) or table.usual(
      PATHS, "the paths of the images", "path")
  texts = table.cells(column, "option path")
  label = urllib.parse.unquote(query.label)
  if label:
    table.cells(label, "option label")
  start = 0 if str(root) == "." else len(os.path.join(root, ""))
  present = {str(image)[start:]: place for place, image in enumerate(found.images)}
  # Macs write "é" as two characters, other systems as one.
  texts = _as_on_disk(texts, present)
  paths = _below(root, table, texts, present)
  chosen = _rows(table, query.where)
  errors.raise_if_any(_problems(root, table, texts, paths, chosen, present))

  # In the order of the files, as in a folder without a table; last come files of which
  # the table says that they are images.
  rows = sorted(chosen, key=lambda row: (present.get(paths[row], len(present)), paths[row]))
  names = [paths[row] for row in rows]
  images = tuple(found.images[present[name]] if name in present else root / name
                 for name in names)
  columns = {name: tuple(cells[row] for row in rows)
             for name, cells in table.columns.items()}
  class_of = None
  filled = {name.split(os.sep)[0] for name in names}
  folders = tuple(name for name in found.folders if name in filled)
  if label:
    class_of = dict(zip(images, columns[label]))
    if empty := [image for image, name in class_of.items() if not name]:
      raise errors.UserError(
          f"'{table.path}' has no '{label}' (option label) for {len(empty)} images "
          f"(the first: {empty[0].relative_to(root)}): fill it in, or leave these rows "
          "out with the option where=COLUMN=VALUE")
    folders = files_lib.in_order(set(class_of.values()))
  # The table itself is no file that was passed over.
  own = os.path.relpath(table.path, root)
  unnamed = sorted(present.keys() - set(paths))
  notes = []
  if query.where:
    notes.append(f"{len(chosen)} of {len(table)} rows of {table.path.name} selected: "
                 f"{query.where}")
  if unnamed:
    notes.append(f"{len(unnamed)} images that {table.path.name} does not name are among "
                 f"the files passed over: {files_lib.some(unnamed)}")
  other = sorted({*found.passed_over, *unnamed} - {own})
  found = found.with_images(images, folders=folders, passed_over=tuple(other))
  return Selection(found, class_of, tuple(notes), columns)


def _as_on_disk(texts: tuple[str, ...], present: Collection[str]) -> tuple[str, ...]:
  """Cells, their characters composed as in the names of files where only that differs."""
  if all(text.isascii() for text in texts):
    return texts
  names = dict(zip(labels_lib.composed(tuple(present)), present))
  return tuple(text if text in present else names.get(composed, text)
               for text, composed in zip(texts, labels_lib.composed(texts)))


def _below(root: pathlib.Path, table: metadata.Table, texts: tuple[str, ...],
           present: Container[str]) -> list[str]:
  """Each row's path relative to `root`; "" for a path that leads out of it.

  Raises:
    UserError: a path may mean two files.
  """
  real = os.path.realpath(root)
  two_meanings: dict[str, list[str]] = {}
  # Either may have been reached by a link.
  to_table = dict.fromkeys((
      os.path.relpath(table.path.parent, root),
      os.path.relpath(os.path.realpath(table.path.parent), real)))

  def candidates(text: str) -> Iterator[str]:
    # Tables made on Windows have backslashes; elsewhere, names may contain them.
    for spelling in dict.fromkeys((text, text.replace("\\", "/"))):
      if os.path.isabs(spelling):
        yield os.path.relpath(spelling, root)
        yield os.path.relpath(os.path.realpath(spelling), real)
      else:
        yield os.path.normpath(spelling)
        yield from (os.path.normpath(os.path.join(way, spelling)) for way in to_table)

  def path(text: str) -> str:
    if text in present and to_table.keys() == {"."}:
      return text
    inside = [c for c in candidates(text) if c.split(os.sep)[0] not in ("..", ".")]
    known = list(dict.fromkeys(c for c in inside if c in present))
    if len(known) > 1:
      two_meanings[text] = known
    on_disk = (c for c in inside if os.path.isfile(root / c))
    return next(iter(known), None) or next(on_disk, None) or next(iter(inside), "")

  paths = [path(text) for text in texts]
  if two_meanings:
    text, (one, other, *_) = next(iter(two_meanings.items()))
    raise errors.UserError(
        f"'{table.path}' names {len(two_meanings)} files that are there both relative to "
        f"'{root}' and relative to the table (the first: '{text}' may be '{one}' or "
        f"'{other}'): write paths relative to '{root}', or give the table's folder instead")
  return paths


def _problems(root: pathlib.Path, table: metadata.Table, texts: tuple[str, ...],
              paths: list[str], chosen: list[int], present: Container[str]
              ) -> Iterator[str]:
  """What is wrong with the paths, one line for each kind of problem."""
  if nameless := sum(not texts[row] for row in chosen):
    yield f"'{table.path}' gives no path in {nameless} rows: fill it in, or remove them"
  if outside := [texts[row] for row in chosen if texts[row] and not paths[row]]:
    yield (f"'{table.path}' names {len(outside)} files outside the folder '{root}' (the "
           f"first: '{outside[0]}'): paths are relative to that folder or to the table, "
           "so give a folder that holds all images")
  # Of all rows: a file that stands for two conditions is wrong under each of them.
  counts = collections.Counter(filter(None, paths))
  if twice := [path for path, count in counts.items() if count > 1]:
    yield (f"'{table.path}' names {len(twice)} files more than once (the first: "
           f"'{twice[0]}'): keep one row for each image")
  missing = [paths[row] for row in chosen if paths[row] and paths[row] not in present
             and not os.path.isfile(root / paths[row])]
  if missing:
    yield (f"{len(missing)} of {len(chosen)} files that '{table.path}' names are missing "
           f"in '{root}' (the first: '{missing[0]}'): put them there, or remove their "
           "rows")


def _rows(table: metadata.Table, where: str) -> list[int]:
  """The rows that `where` chooses.

  Raises:
    UserError: `where` is not understood, names a column or a value that does not occur,
      or chooses no row.
  """
  wanted = []
  for part in filter(None, where.split(";")):
    column, equals, values = part.partition("=")
    if not column or not equals:
      raise errors.UserError(
          f"option where={where}: '{part}' is not COLUMN=VALUE; write several values as "
          "COLUMN=A|B and several columns as COLUMN=A;COLUMN=B")
    column = urllib.parse.unquote(column)
    cells = table.cells(column, "option where")
    among = {urllib.parse.unquote(value) for value in values.split("|")}
    if unknown := sorted(among - set(cells)):
      have = files_lib.in_order(set(cells))
      raise errors.UserError(
          f"'{table.path}' has no '{unknown[0]}' in the column '{column}' (option "
          f"where); it has: {files_lib.some(have, _LISTED)}")
    wanted.append((cells, among))
  rows = [row for row in range(len(table))
          if all(cells[row] in among for cells, among in wanted)]
  if not rows:
    raise errors.UserError(f"'{table.path}' has no row" + (
        f" with all of where={where}" if where else "s: give each image one"))
  return rows


def narrowed(where: str, column: str, value: str) -> str:
  """`where`, and `value` in `column`."""
  quoted = [
      "".join(f"%{ord(c):02X}" if c in _SPECIAL else c for c in text)
      for text in (column, value)]
  return ";".join(filter(None, (where, "=".join(quoted))))
