"""A folder of augmented copies: the names of its files, its table, and its settings."""

import collections
from collections.abc import Iterable, Mapping, Sequence
import csv
import json
import os
import pathlib
from typing import Any, IO

from augment_gen.config.errors import UserError
from augment_gen.run.folder import differences, LOCK, lock, write_json

_TABLE, _SETTINGS = "manifest.csv", "augment.json"
# The run may have moved: the checksum of its G_A says whether it is the same.
_FREE = ("run",)


def stems(names: Sequence[str]) -> list[str]:
  """What the names of an image's copies begin with.

  This is the path of the image without its suffix, or with it if another image would
  have the same, also where the file system takes "A" and "a" for the same name.
  """
  paths = [pathlib.PurePosixPath(*("up" if part == ".." else part
                                   for part in pathlib.PurePosixPath(name).parts
                                   if part != "/")) for name in names]
  found = [str(path.with_suffix("")) for path in paths]
  while True:
    times = collections.Counter(stem.casefold() for stem in found)
    again = [str(path) if times[stem.casefold()] > 1 else stem
             for path, stem in zip(paths, found)]
    if again == found:
      return found
    found = again


def copy_name(stem: str, number: int) -> str:
  """The path of a copy below the folder: cats/tom-00.png, cats/tom-01.png, …"""
  return f"{stem}-{number:02}.png"


class Manifest:
  """The table of a folder, one row for each copy, in the order in which they were made.

  Attributes:
    done: source and draw of the copies that are in the table, and there as files.
  """

  def __init__(self, folder: pathlib.Path, settings: Mapping[str, Any],
               columns: Sequence[str]):
    """Opens the table of a new folder, or of one that the same settings have made.

    Args:
      folder: made if it is missing.
      settings: JSON values that decide what the copies are.
      columns: of the table; among them "file", "source" and "draw".

    Raises:
      UserError: the folder holds something else, is in use, or cannot be written.
    """
    self._folder, self._columns = folder, tuple(columns)
    self._path = folder / _TABLE
    try:
      folder.mkdir(parents=True, exist_ok=True)
      _check_owner(folder, settings)
      self._lock = lock(folder, str(folder))
      write_json(folder / _SETTINGS, dict(settings))
      self.done = self._read()
      self._file = _open(self._path, "a")
    except OSError as error:
      raise UserError(f"{folder} cannot be written: {error.strerror}") from None
    self._writer = csv.DictWriter(self._file, self._columns, lineterminator="\n")
    if not self._file.tell():
      self._writer.writeheader()

  def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
    """Adds rows, values by column. Their files must be there."""
    self._writer.writerows(rows)
    self._file.flush()

  def close(self) -> None:
    self._file.close()
    self._lock.close()

  def _read(self) -> set[tuple[str, int]]:
    """The copies that are done.

    Drops rows whose files are gone, and a row that a crash cut off.
    """
    done: set[tuple[str, int]] = set()
    if not self._path.exists():
      return done
    partial = self._path.with_name(self._path.name + ".partial")
    with _open(self._path, "r") as before, _open(partial, "w") as after:
      writer = csv.writer(after, lineterminator="\n")
      writer.writerow(self._columns)
      lines = (line for line in before if line.endswith("\n"))
      for row in csv.DictReader(lines):
        values = [row.get(column) for column in self._columns]
        if None not in values and (self._folder / row["file"]).is_file():
          done.add((row["source"], int(row["draw"])))
          writer.writerow(values)
    os.replace(partial, self._path)
    return done


def _open(path: pathlib.Path, mode: str) -> IO[str]:
  # Names of files are any bytes.
  return open(path, mode, newline="", encoding="utf-8", errors="surrogateescape")


def _check_owner(folder: pathlib.Path, settings: Mapping[str, Any]) -> None:
  path = folder / _SETTINGS
  if not path.exists():
    if any(entry.name != LOCK for entry in os.scandir(folder)):
      raise UserError(f"{folder} holds other files: choose a new folder")
    return
  try:
    before = json.loads(path.read_text(encoding="utf-8"))
    without = lambda values: {k: v for k, v in values.items() if k not in _FREE}
    found = list(differences(without(before), without(settings)))
  except (ValueError, AttributeError):
    raise UserError(f"{path} is damaged: choose a new folder") from None
  if found:
    changed = "; ".join(f"{name}: {old} there, {new} here" for name, old, new in found)
    raise UserError(f"{folder} holds copies made with other settings ({changed}): "
                    "choose another folder")
