"""Checks every field of a config against what its declaration says."""

from collections.abc import Iterator, Sequence
import dataclasses
import difflib
import numbers
import sys
import typing
from typing import Any

import annotated_types

_KINDS = {int: "whole number", float: "finite number", bool: "truth value",
          str: "text"}
_EXAMPLES = {int: "2,2", float: "0.5,0.5", bool: "True,False", str: "a,b"}


class EachOf:
  """Metadata of a comma-separated list: each of its names is one of `choices`."""

  def __init__(self, *choices: str):
    self.choices = choices


def names(text: str) -> tuple[str, ...]:
  """"a, b, a" -> ("a", "b")."""
  return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def problems(node: Any, path: str = "") -> Iterator[str]:
  """One line for each value that its field's type, choices or bounds rule out.

  Args:
    node: a section (an instance of a dataclass).
    path: its dotted name, with a dot behind; "" for a whole config.
  """
  hints = typing.get_type_hints(type(node), include_extras=True)
  for field in dataclasses.fields(node):
    value, kind = getattr(node, field.name), hints[field.name]
    if dataclasses.is_dataclass(kind):
      yield from problems(value, f"{path}{field.name}.")
    else:
      yield from _problems(f"config.{path}{field.name}", value, kind)


def unwrap(kind: Any) -> tuple[Any, list[Any]]:
  """Annotated[type, a, b] -> (type, [a, b]); any other type has no metadata."""
  if typing.get_origin(kind) is typing.Annotated:
    base, *metadata = typing.get_args(kind)
    return base, metadata
  return kind, []


def _problems(name: str, value: Any, kind: Any) -> Iterator[str]:
  base, metadata = unwrap(kind)
  if typing.get_origin(base) is typing.Literal:
    yield from _not_chosen(name, value, typing.get_args(base))
  elif typing.get_origin(base) is tuple:
    yield from _tuple_problems(name, value, typing.get_args(base)[0], metadata)
  elif not _is(value, base):
    yield f"{name}={value!r} must be a {_KINDS[base]}"
  elif base is str:
    yield from _list_problems(name, value, metadata)
  elif words := _outside(value, metadata):
    yield f"{name}={value} {words}"


def _not_chosen(name: str, value: Any, choices: Sequence[Any]) -> Iterator[str]:
  # True is equal to 1.
  if not any(value == c and type(value) is type(c) for c in choices):
    close = difflib.get_close_matches(str(value), map(str, choices), n=1, cutoff=0.5)
    hint = f" (did you mean {close[0]}?)" if close else ""
    yield (f"{name}={value!r} is unknown{hint}; choose one of: "
           f"{', '.join(map(str, choices))}")


def _tuple_problems(name: str, value: Any, kind: Any, metadata: Sequence[Any],
                    ) -> Iterator[str]:
  of_elements, bounds = unwrap(kind)
  if not isinstance(value, tuple) or not all(_is(v, of_elements) for v in value):
    yield (f"{name}={value!r} must be {_KINDS[of_elements]}s with commas between "
           f"them, such as --{name}={_EXAMPLES[of_elements]}")
    return
  if not value and _must_hold_something(metadata):
    yield f"{name} must hold at least one {_KINDS[of_elements]}"
  for words in dict.fromkeys(filter(None, (_outside(v, bounds) for v in value))):
    yield f"{name}={value}: each number {words}"


def _list_problems(name: str, value: str, metadata: Sequence[Any]) -> Iterator[str]:
  choices = next((m.choices for m in metadata if isinstance(m, EachOf)), ())
  for part in names(value) if choices else ():
    if part not in choices:
      yield (f"{name} names {part!r}, which is unknown; choose from: "
             f"{', '.join(choices)}")
  if not names(value) and _must_hold_something(metadata):
    among = f"; choose from: {', '.join(choices)}" if choices else ""
    yield f"{name} is empty{among}"


def _must_hold_something(metadata: Sequence[Any]) -> bool:
  return any(isinstance(m, annotated_types.MinLen) for m in metadata)


def _outside(value: Any, metadata: Sequence[Any]) -> str | None:
  """What a number would have to be, if it lies outside its bounds."""
  for bound in metadata:
    low, high = (next((getattr(bound, n) for n in pair
                       if getattr(bound, n, None) is not None), None)
                 for pair in (("gt", "ge"), ("lt", "le")))
    open_low = getattr(bound, "gt", None) is not None
    open_high = getattr(bound, "lt", None) is not None
    too_low = low is not None and (value <= low if open_low else value < low)
    too_high = high is not None and (value >= high if open_high else value > high)
    if not too_low and not too_high:
      continue
    if low is not None and high is not None:
      return (f"must lie in {'(' if open_low else '['}{low}, {high}"
              f"{')' if open_high else ']'}")
    if low == 0:
      return "must be more than 0" if open_low else "must not be negative"
    return f"must be {'more than' if open_low else 'at least'} {low}"
  return None


def _is(value: Any, kind: type) -> bool:
  if kind in (bool, str):
    return isinstance(value, kind)
  if isinstance(value, bool):
    return False
  if kind is int:
    return isinstance(value, numbers.Integral)
  return isinstance(value, numbers.Real) and abs(float(value)) <= sys.float_info.max
