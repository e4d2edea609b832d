"""The settings in words, from their declarations in schema.py.

    augment-gen settings [SECTION]
    python -m augment_gen.config.reference > docs/settings.md
"""

import argparse
from collections.abc import Iterator, Sequence
import dataclasses
import inspect
import re
import typing
from typing import Any

import annotated_types

from augment_gen.config import schema
from augment_gen.config.checks import EachOf, unwrap
from augment_gen.config.errors import UserError

_TYPES = {int: "whole number", float: "number", bool: "True or False", str: "text"}


@dataclasses.dataclass(frozen=True)
class Field:
  """A setting.

  Attributes:
    name: dotted, without "config.".
    default: as it would be written in Python.
    values: what it may be, in words.
    words: what it means.
  """
  name: str
  default: str
  values: str
  words: str


@dataclasses.dataclass(frozen=True)
class Section:
  """A section of the config: its dotted name, what it is, its own fields."""
  name: str
  words: str
  fields: tuple[Field, ...]


def sections(node: Any = schema.Config(), path: str = "") -> Iterator[Section]:
  """All sections, each before those that lie in it.

  Args:
    node: a section, an instance of a dataclass.
    path: its dotted name, with a dot behind; "" for the whole config.
  """
  comments = _comments(type(node))
  hints = typing.get_type_hints(type(node), include_extras=True)
  inner, fields = [], []
  for field in dataclasses.fields(node):
    value, name = getattr(node, field.name), f"{path}{field.name}"
    if dataclasses.is_dataclass(value):
      inner.append((value, f"{name}."))
    else:
      fields.append(Field(name, repr(value), _values(hints[field.name]),
                          comments.get(field.name, "")))
  yield Section(path.removesuffix("."), inspect.getdoc(type(node)) or "",
                tuple(fields))
  for value, name in inner:
    yield from sections(value, name)


def as_text(prefix: str = "") -> str:
  """The fields of a section and of those in it, for a terminal; "": all."""
  lines = []
  for section in sections():
    if prefix and section.name != prefix and not section.name.startswith(f"{prefix}."):
      continue
    lines += ["", section.words.splitlines()[0]]
    for field in section.fields:
      lines.append(f"  --config.{field.name}={field.default}  ({field.values})")
      if field.words:
        lines.append(f"      {field.words}")
  return "\n".join(lines).strip()


def section_text(section: str, asked_by: str) -> str:
  """`as_text` of a section that a user names.

  Raises:
    UserError: there is no such section; the message begins with `asked_by`.
  """
  known = [part.name for part in sections()]
  if section not in known:
    raise UserError(f"{asked_by}: there is no such section; there are: "
                    f"{', '.join(filter(None, known))}")
  return as_text(section)


def as_markdown() -> str:
  """docs/settings.md."""
  lines = ["# Settings", "",
           "Made from [schema.py](../augment_gen/config/schema.py) by `python -m "
           "augment_gen.config.reference`. Change one with `--config.NAME=VALUE`, or "
           "in a file of [configs](../configs).", ""]
  for section in sections():
    lines += [f"## {section.name or 'The run'}", "", section.words, ""]
    if section.fields:
      lines += ["| name | default | values | meaning |", "| --- | --- | --- | --- |"]
    for field in section.fields:
      cells = (f"`{field.name}`", f"`{field.default}`", field.values, field.words)
      lines.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    lines.append("")
  return "\n".join(lines).rstrip() + "\n"


def _comments(cls: type) -> dict[str, str]:
  """The comments above a field and beside it, as one line of text."""
  found: dict[str, str] = {}
  above: list[str] = []
  for line in inspect.getsource(cls).splitlines():
    comment = re.match(r"\s*#\s?(.*)", line)
    field = re.match(r"  (\w+): ", line)
    beside = re.search(r"\s{2}#\s(.*)$", line)
    if comment:
      above.append(comment[1])
      continue
    if field:
      name = field[1]
      found[name] = " ".join([*above, *([beside[1]] if beside else [])])
    elif beside and found:  # a declaration of several lines
      found[name] = f"{found[name]} {beside[1]}".strip()
    above = []
  return found


def _values(kind: Any) -> str:
  """What a value of a type may be, in words."""
  base, metadata = unwrap(kind)
  if typing.get_origin(base) is typing.Literal:
    return ", ".join(map(str, typing.get_args(base)))
  if typing.get_origin(base) is tuple:
    return f"{_values(typing.get_args(base)[0])}, with commas between several"
  choices = next((m.choices for m in metadata if isinstance(m, EachOf)), None)
  if choices:
    return f"some of {', '.join(choices)}, with commas between"
  bounds = [f"{word} {getattr(m, attribute)}" for m in metadata
            if not isinstance(m, annotated_types.MinLen)
            for attribute, word in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))
            if getattr(m, attribute, None) is not None]
  return " ".join([_TYPES[base], *bounds])


def main(args: Sequence[str]) -> int:
  """`augment-gen settings`; returns the exit status.

  Raises:
    UserError: there is no such section.
  """
  parser = argparse.ArgumentParser(
      prog="augment-gen settings",
      description="Lists the settings: what each is, its default and its bounds. Change "
      "one with `augment-gen train … --config.NAME=VALUE`.")
  parser.add_argument("section", nargs="?", default="", metavar="SECTION",
                      help="such as pretrain or generator.losses; all if left out")
  section = parser.parse_args(args).section.removeprefix("config.")
  print(section_text(section, asked_by=f"settings {section}"))
  return 0


if __name__ == "__main__":
  print(as_markdown(), end="")
