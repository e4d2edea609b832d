"""Printing never ends a run."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

import augment_gen

ROOT = pathlib.Path(augment_gen.__file__).parent
CODE = """
import sys
from augment_gen.run import output
with output.forgiving():
  for i in range(2000):
    print("  X̃_f: 3 ± 1 →", flush=i % 2 == 0)
  print("X̃_f", file=sys.stderr)
  open(sys.argv[1], "w", encoding="utf-8").write("done")
"""


def start(tmp_path, stdout, **env):
  return subprocess.run(
      [sys.executable, "-c", CODE, str(tmp_path / "done")], stdout=stdout,
      stderr=subprocess.PIPE, env=os.environ | env, check=False)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_characters_that_an_encoding_lacks_are_replaced(tmp_path, encoding):
  done = start(tmp_path, subprocess.PIPE, PYTHONIOENCODING=encoding)
  assert done.returncode == 0 and b"Traceback" not in done.stderr
  assert done.stdout.startswith(b"  X?_f: 3 ")


def test_a_closed_output_ends_nothing(tmp_path):
  read, write = os.pipe()
  os.close(read)
  done = start(tmp_path, write)
  os.close(write)
  assert (done.returncode, done.stderr.decode()) == (0, "X̃_f\n")
  assert (tmp_path / "done").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_output_ends_nothing(tmp_path):
  with open("/dev/full", "wb") as full:
    done = start(tmp_path, full)
  assert (done.returncode, done.stderr.decode()) == (0, "X̃_f\n")


def test_every_file_is_opened_with_an_encoding():
  """The locale's encoding may lack characters that we write."""
  call = re.compile(r"(?<![\w.])open\(|\.(read|write)_text\(")
  for path in ROOT.rglob("*.py"):
    text = path.read_text(encoding="utf-8")
    for found in call.finditer(text):
      depth, end = 1, found.end()
      while depth:
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        end += 1
      arguments = text[found.end():end]
      assert any(word in arguments for word in (
          'encoding="utf-8', '"rb"', '"wb"', '"ab"')), (
          path, found[0] + arguments)
