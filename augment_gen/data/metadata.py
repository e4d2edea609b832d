"""Reads the tables that lie beside images: CSV, TSV, JSON lines or parquet."""

from collections.abc import Callable, Iterable, Mapping, Sequence
import csv
import dataclasses
import functools
import json
import math
import pathlib
from typing import Any

from augment_gen.config import errors


@dataclasses.dataclass(frozen=True)
class Table:
  """A table of text.

  Attributes:
    path: its file.
    columns: the cells of each column, all of the same number. An empty or missing cell
      is "". Numbers are written as in JSON, but 3.0 as "3".
  """
  path: pathlib.Path
  columns: Mapping[str, tuple[str, ...]]

  def __len__(self) -> int:
    return len(next(iter(self.columns.values()), ()))

  def cells(self, column: str, option: str) -> tuple[str, ...]:
    """The cells of a column.

    Raises:
      UserError: there is no such column; names `option`, which asked for it.
    """
    if column not in self.columns:
      raise errors.UserError(
          f"'{self.path}' has no column '{column}' ({option}); it has: "
          f"{', '.join(self.columns)}")
    return self.columns[column]

  def usual(self, names: Iterable[str], what: str, option: str) -> str:
    """The first of some usual column names that the table has.

    Upper case, spaces, "_" and "-" make no difference.

    Raises:
      UserError: it has none of them; says `what` was looked for, and that `option` can
        name the column.
    """
    have = {_plain(name): name for name in reversed(list(self.columns))}
    for name in names:
      if name in have:
        return have[name]
    raise errors.UserError(
        f"'{self.path}' has no column for {what} with a usual name "
        f"({', '.join(names)}): name it with the option {option}=COLUMN; it has: "
        f"{', '.join(self.columns)}")


def _plain(name: str) -> str:
  return "".join(c for c in name.lower() if c not in " _-")


def read(path: pathlib.Path) -> Table:
  """Reads a table. Its suffix tells the format.

  Raises:
    UserError: there is no such file, its format is not supported, or it is damaged.
  """
  if path.suffix.lower() not in FORMATS:
    raise errors.UserError(
        f"'{path}' (option metadata) is not a table: give a file of the type "
        f"{', '.join(FORMATS)}")
  try:
    status = path.stat()
  except OSError:
    raise errors.UserError(
        f"there is no table '{path}': the option metadata=FILE is relative to the "
        "folder of the images, or absolute") from None
  return _read(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _read(path: pathlib.Path, size: int, changed: int) -> Table:
  """`read`, cached until the file's size or mtime changes: many specs share a table."""
  del size, changed
  try:
    columns = FORMATS[path.suffix.lower()](path)
  except UnicodeDecodeError:
    raise errors.UserError(
        f"'{path}' is not UTF-8 text: save it with this encoding") from None
  except (OSError, ValueError, csv.Error) as error:
    reason = str(error).split("\n")[0]
    raise errors.UserError(f"'{path}' cannot be read as a table: {reason}") from None
  if not columns:
    raise errors.UserError(f"'{path}' is empty: it needs a column with paths of images")
  return Table(path, columns)


def _read_csv(path: pathlib.Path) -> dict[str, tuple[str, ...]]:
  """A text table whose first line names the columns.

  Spreadsheets of some languages write ";" between the cells, so the separator of a CSV
  file is the one that its first line has most often.
  """
  with open(path, newline="", encoding="utf-8-sig") as file:
    separator = "\t"
    if path.suffix.lower() == ".csv":
      separator = max(",;\t", key=file.readline().count)
      file.seek(0)
    reader = csv.reader(file, delimiter=separator, strict=True)
    header = [cell.strip() for cell in next(reader, [])]
    rows = []
    for row in reader:
      if not any(row):
        continue
      if len(row) != len(header):
        raise ValueError(f"line {reader.line_num} has {len(row)} cells, and the header "
                         f"has {len(header)}")
      rows.append([cell.strip() for cell in row])
  return _columns(header, rows)


def _read_jsonl(path: pathlib.Path) -> dict[str, tuple[str, ...]]:
  """One JSON object in each line; its fields are the columns."""
  lines = []
  with open(path, encoding="utf-8-sig") as file:
    for number, line in enumerate(file, 1):
      try:
        lines.append(json.loads(line) if line.strip() else {})
      except json.JSONDecodeError as error:
        raise ValueError(f"line {number}: {error.msg}") from None
      if not isinstance(lines[-1], dict):
        raise ValueError(f"line {number} is not a JSON object")
  lines = [line for line in lines if line]
  header = list(dict.fromkeys(name for line in lines for name in line))
  return _columns(header, ([_text(line.get(name)) for name in header] for line in lines))


def _read_parquet(path: pathlib.Path) -> dict[str, tuple[str, ...]]:
  """All columns but lists, structs and bytes: images inside the table are not read."""
  try:
    import pyarrow  # pylint: disable=g-import-not-at-top
    from pyarrow import parquet  # pylint: disable=g-import-not-at-top
  except ImportError:
    raise errors.UserError(
        f"'{path}' needs pyarrow: pip install pyarrow, or save the table as CSV"
    ) from None
  types = pyarrow.types
  names = [field.name for field in parquet.read_schema(path)
           if not types.is_nested(field.type) and not types.is_binary(field.type)
           and not types.is_large_binary(field.type)]
  table = parquet.read_table(path, columns=names)
  # Python has no times of nanoseconds.
  cells = lambda column: (column.cast(pyarrow.string())
                          if types.is_timestamp(column.type) else column).to_pylist()
  return {name: tuple(map(_text, cells(table[name]))) for name in names}


FORMATS: Mapping[str, Callable[[pathlib.Path], dict[str, tuple[str, ...]]]] = {
    ".csv": _read_csv, ".tsv": _read_csv, ".jsonl": _read_jsonl,
    ".parquet": _read_parquet}


def _columns(header: Sequence[str], rows: Iterable[Sequence[str]]
             ) -> dict[str, tuple[str, ...]]:
  twice = next((name for name in header if header.count(name) > 1), None)
  if twice is not None:
    raise ValueError(f"two columns are called '{twice}'")
  cells = list(zip(*rows)) or [()] * len(header)
  return dict(zip(header, cells))


def _text(value: Any) -> str:
  """A cell as text."""
  if value is None or (isinstance(value, float) and math.isnan(value)):
    return ""
  if isinstance(value, bool):
    return "true" if value else "false"
  if isinstance(value, float) and value.is_integer():
    return str(int(value))
  return str(value).strip()
