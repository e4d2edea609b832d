"""Tables beside images, in all formats."""

import json
import sys

import pytest

from augment_gen.config import errors
from augment_gen.data import metadata

ROWS = [{"path": "a.png", "label": 3, "angle": 0.5, "wide": True},
        {"path": "b.png", "label": None, "angle": 2.0, "wide": False}]
CELLS = {"path": ("a.png", "b.png"), "label": ("3", ""), "angle": ("0.5", "2"),
         "wide": ("true", "false")}


def _written(path, text, encoding="utf-8"):
  path.write_bytes(text.encode(encoding))
  return metadata.read(path)


@pytest.mark.parametrize("name,text", [
    ("m.csv", "path, label,note\na.png,3,\"x, y\"\n,,\nb.png,4,\n"),
    ("m.csv", "path;label;note\r\na.png;3;x, y\r\n\r\nb.png;4;\r\n"),
    ("m.TSV", "path\tlabel\tnote\na.png\t3\tx, y\nb.png\t 4\t\n"),
])
def test_text_tables(tmp_path, name, text):
  # Spreadsheets write a byte order mark in front.
  for encoding in ("utf-8", "utf-8-sig"):
    table = _written(tmp_path / f"{encoding}{name}", text, encoding)
    assert table.columns == {
        "path": ("a.png", "b.png"), "label": ("3", "4"), "note": ("x, y", "")}
    assert len(table) == 2


def test_json_lines(tmp_path):
  lines = [json.dumps({**row, "box": [1, 2]}) for row in ROWS]
  del_label = json.loads(lines[1])
  del del_label["label"]
  table = _written(tmp_path / "m.jsonl", f"{lines[0]}\n\n{json.dumps(del_label)}\n")
  assert table.columns == {**CELLS, "box": ("[1, 2]", "[1, 2]")}


def test_parquet_gives_the_same_cells(tmp_path):
  pyarrow = pytest.importorskip("pyarrow")
  from pyarrow import parquet
  table = pyarrow.Table.from_pylist([{**row, "image": {"bytes": b"x"}, "raw": b"y"}
                                     for row in ROWS])
  parquet.write_table(table, tmp_path / "m.parquet")
  assert metadata.read(tmp_path / "m.parquet").columns == CELLS
  (tmp_path / "bad.parquet").write_bytes(b"PAR")
  with pytest.raises(errors.UserError, match="bad.parquet' cannot be read as a table"):
    metadata.read(tmp_path / "bad.parquet")


def test_parquet_with_times_of_nanoseconds(tmp_path):
  pyarrow = pytest.importorskip("pyarrow")
  from pyarrow import parquet
  times = pyarrow.array([1_000_000_001, None], pyarrow.timestamp("ns"))
  parquet.write_table(pyarrow.table({"path": ["a", "b"], "taken": times}),
                      tmp_path / "m.parquet")
  assert metadata.read(tmp_path / "m.parquet").columns == {
      "path": ("a", "b"), "taken": ("1970-01-01 00:00:01.000000001", "")}


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
  (tmp_path / "m.parquet").write_bytes(b"")
  monkeypatch.setitem(sys.modules, "pyarrow", None)
  with pytest.raises(errors.UserError, match="needs pyarrow: pip install pyarrow"):
    metadata.read(tmp_path / "m.parquet")


def test_a_changed_file_is_read_again(tmp_path):
  assert len(_written(tmp_path / "m.csv", "path\na\n")) == 1
  assert len(_written(tmp_path / "m.csv", "path\na\nb\n")) == 2


@pytest.mark.parametrize("name,content,words", [
    ("m.xlsx", b"", "is not a table: give a file of the type .csv, .tsv, .jsonl, .parquet"),
    ("m.csv", b"", "m.csv' is empty"),
    ("m.csv", b"path,path\na,b\n", "two columns are called 'path'"),
    ("m.csv", b"path,label\na,b\nc\n", "line 3 has 1 cells, and the header has 2"),
    ("m.csv", b"path\n\xff\n", "is not UTF-8"),
    ("m.jsonl", b'{"path": "a"}\n{"path"\n', "line 2: Expecting"),
    ("m.jsonl", b"3\n", "line 1 is not a JSON object"),
])
def test_damaged_tables(tmp_path, name, content, words):
  (tmp_path / name).write_bytes(content)
  with pytest.raises(errors.UserError, match=words) as info:
    metadata.read(tmp_path / name)
  assert len(str(info.value).splitlines()) == 1


def test_a_table_that_is_not_there(tmp_path):
  with pytest.raises(errors.UserError, match="there is no table.*relative to the folder"):
    metadata.read(tmp_path / "m.csv")


def test_usual_names_in_any_spelling(tmp_path):
  table = _written(tmp_path / "m.csv", "Image,File-Name,x\na,b,c\n")
  assert table.usual(("filename", "image"), "paths", "path") == "File-Name"
  with pytest.raises(errors.UserError, match=r"path=COLUMN; it has: Image, File-Name, x"):
    table.usual(("file",), "paths", "path")
