"""The configs that come with the package, and may be given by name."""

import argparse
import ast
from collections.abc import Sequence
import difflib
import os
import pathlib

from augment_gen.config.errors import raise_if_any, UserError


def folder() -> pathlib.Path:
  """The folder of these configs: inside an installed package, beside a checkout's."""
  package = pathlib.Path(__file__).parents[1]
  inside = package / "configs"
  return inside if inside.is_dir() else package.parent / "configs"


def names() -> list[str]:
  """What may be written in place of a file: "quickstart" for quickstart.py."""
  return sorted(path.stem for path in folder().glob("[!_]*.py"))


def file_of(config: str) -> str:
  """The file that `--config=NAME` or `--config=FILE.py` means.

  Raises:
    UserError: there is no such file, and no config of this name.
  """
  if os.path.isfile(config):
    return config
  known = names()
  if config in known:
    return str(folder() / f"{config}.py")
  close = difflib.get_close_matches(pathlib.Path(config).stem, known, n=1)
  hint = (f"; did you mean --config={close[0]}?" if close else
          f"; the package has: {', '.join(known)}")
  raise UserError(f"--config: there is no file {config}{hint}")


def describe(name: str) -> str:
  """What a config says of itself: its docstring."""
  text = (folder() / f"{name}.py").read_text(encoding="utf-8")
  return ast.get_docstring(ast.parse(text)) or ""


def main(args: Sequence[str]) -> int:
  """`augment-gen configs`; returns the exit status.

  Raises:
    UserError: names each config that does not exist.
  """
  parser = argparse.ArgumentParser(
      prog="augment-gen configs",
      description="Lists the configs of the package, or says what some of them are.")
  parser.add_argument("names", nargs="*", metavar="NAME")
  wanted, known = parser.parse_args(args).names, names()
  raise_if_any(f"there is no config '{name}'; there are: {', '.join(known)}"
               for name in wanted if name not in known)
  if not wanted:
    for name in known:
      print(f"  {name:<16}{describe(name).splitlines()[0]}")
  for name in wanted:
    print(f"{name}: {describe(name)}", end="\n\n" if name != wanted[-1] else "\n")
  return 0
