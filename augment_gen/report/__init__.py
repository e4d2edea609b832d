"""A run as one HTML page to look at, made from its folder alone.

    augment-gen report RUN [RUN… --out=FILE]

Every run makes its own at its end, RUN/report.html. The page needs no server and no
network: pictures, curves and style are inside.
"""

import argparse
from collections.abc import Sequence
import os
import pathlib

from augment_gen.config.errors import UserError

NAME = "report.html"


def write(folders: Sequence[str | os.PathLike[str]],
          out: str | os.PathLike[str] | None = None) -> pathlib.Path:
  """Writes the page of one run or several.

  Args:
    folders: run folders, also of runs that are not finished.
    out: the file; None: report.html in the folder of the only run.

  Returns:
    The file.

  Raises:
    UserError: a folder holds no run or is damaged, or the file cannot be written.
  """
  # Imported here, so that the command line is read first.
  from augment_gen.report import page, record  # pylint: disable=g-import-not-at-top
  records = [record.read(pathlib.Path(folder)) for folder in folders]
  if out is None and len(records) != 1:
    raise UserError("several runs need a file for their page: add --out=FILE.html")
  path = records[0].path / NAME if out is None else pathlib.Path(out)
  partial = path.with_name(path.name + ".partial")
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial.write_text(page.page(records), encoding="utf-8")
    os.replace(partial, path)
  except OSError as error:
    raise UserError(f"{path} cannot be written: {error.strerror}") from None
  return path


def main(args: Sequence[str]) -> int:
  """`augment-gen report`; returns the exit status."""
  parser = argparse.ArgumentParser(
      prog="augment-gen report",
      description="Writes a run, or several, as one HTML page to look at: what came of it "
      "in words, results, curves, pictures, settings.")
  parser.add_argument("folders", nargs="+", metavar="RUN",
                      help="run folders (--workdir of a run)")
  parser.add_argument("--out", metavar="FILE",
                      help="the page; by default report.html in the folder of the run")
  flags = parser.parse_args(args)
  path = write(flags.folders, flags.out)
  print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
  return 0
