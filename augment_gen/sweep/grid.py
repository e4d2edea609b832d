"""What a sweep varies: values from the command line, combinations, and their names."""

from collections.abc import Iterator, Sequence
import dataclasses
import hashlib
import itertools
import json
import re
import shlex

from augment_gen.config.errors import raise_if_any, UserError

_LONGEST_VALUE, _LONGEST_NAME = 32, 200  # characters in a folder's name
# The name of some settings, and (field, value as on the command line) of each.
Case = tuple[str, tuple[tuple[str, str], ...]]
# A table has rows for each value of these settings, as the paper's Table 1 has.
ROWS = ("pretrain.method", "pretrain.with_finetune")


@dataclasses.dataclass(frozen=True)
class Point:
  """A point of the grid.

  Attributes:
    settings: (field, value as on the command line) of each varied field.
    seed: config.seed.
    title: the name of the case; "" for none.
    of_case: the settings of the case, like `settings`.
    label: the varied fields in words, such as "order=first", but for those that the rows
      of a table say; "" for none.
    name: the name of the folder, such as "order=first,cycle_weight=10,seed=0".
  """
  settings: tuple[tuple[str, str], ...]
  seed: int
  title: str
  of_case: tuple[tuple[str, str], ...]
  label: str
  name: str


def seeds(text: str) -> list[int]:
  """"0-2,7" -> [0, 1, 2, 7].

  Raises:
    UserError: the text is something else, or names a seed twice.
  """
  found: list[int] = []
  for part in text.split(","):
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
    first, last = map(int, (match[1], match[2] or match[1])) if match else (1, 0)
    if last < first:
      raise UserError(f"--seeds={text}: '{part}' is no seed and no range; write them "
                      "like --seeds=0-4 or --seeds=0,2,7-9")
    found += range(first, last + 1)
  raise_if_any(f"--seeds={text} names seed {seed} twice"
               for seed in dict.fromkeys(found) if found.count(seed) > 1)
  return found


def values(setting: str) -> tuple[str, list[str]]:
  """"retrain.order=first,last" -> ("retrain.order", ["first", "last"]).

  Values that hold commas are given as a JSON list: in 'data.mean=[0.5,[0.4,0.5,0.6]]'
  the second value is 0.4,0.5,0.6, and so it is in 'data.mean=["0.5","0.4,0.5,0.6"]'.

  Raises:
    UserError: the text is something else, or has a value twice.
  """
  field, equals, text = setting.partition("=")
  field = field.strip().removeprefix("config.")
  if not equals or not field:
    raise UserError(f"--set {setting}: write --set FIELD=VALUE,VALUE, such as "
                    "--set retrain.order=first,last")
  if not text.startswith("["):
    found = [part.strip() for part in text.split(",")]
  else:
    try:
      # Numbers keep their form: 1e-4 is not made 0.0001.
      parsed = json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
      found = [_text(value) for value in parsed]
    except ValueError as error:
      raise UserError(f"--set {setting}: this is no JSON list of values ({error}); put "
                      "it in quotes, as in --set 'retrain.arms=[\"generator,prior\", "
                      "\"control\"]'") from None
  if not found:
    raise UserError(f"--set {setting} has no values")
  raise_if_any(f"--set {setting} has the value '{value}' twice"
               for value in dict.fromkeys(found) if found.count(value) > 1)
  return field, found


def case(text: str) -> Case:
  """"no cycle: a.b=1 c=x" -> ("no cycle", (("a.b", "1"), ("c", "x"))).

  A value with spaces stands in quotes.

  Raises:
    UserError: the text is something else, or gives a setting twice.
  """
  name, colon, rest = text.partition(":")
  try:
    parts = [part.partition("=") for part in shlex.split(rest)]
  except ValueError as error:
    raise UserError(f"--case '{text}': {error}") from None
  settings = tuple((field.removeprefix("config."), value) for field, _, value in parts)
  if not colon or not name.strip() or not all(f and equals for f, equals, _ in parts):
    raise UserError(f"--case '{text}': write --case 'NAME: FIELD=VALUE FIELD=VALUE', such "
                    "as --case 'no cycle: generator.losses.cycle_weight=0'")
  fields = [field for field, _ in settings]
  raise_if_any(f"--case '{text}' gives {field} twice"
               for field in dict.fromkeys(fields) if fields.count(field) > 1)
  return name.strip(), settings


def points(varied: Sequence[tuple[str, Sequence[str]]], seeds: Sequence[int],
           cases: Sequence[Case] = (("", ()),)) -> Iterator[Point]:
  """All combinations, in order.

  The seed changes last, so that one seed of the whole grid is there before the next
  begins; of the fields, the last one changes first.

  Args:
    varied: (field, its values); no field stands there twice.
    seeds: the seeds.
    cases: sets of settings, each with a name of its own; "" for the config itself.
  """
  fields = [field for field, _ in varied]
  short = short_names([*fields, "seed"])
  for seed in seeds:
    for (title, settings), chosen in itertools.product(
        cases, itertools.product(*(values for _, values in varied))):
      label = [f"{short[field]}={value}" for field, value in zip(fields, chosen)
               if field not in ROWS]
      name = ",".join([
          *([word(title)] if title else []),
          *(f"{short[field]}={word(value)}" for field, value in zip(fields, chosen)),
          f"seed={seed}"])
      if len(name) > _LONGEST_NAME:
        name = f"{name[:_LONGEST_NAME]}-{_digest(name)}"
      yield Point(tuple(zip(fields, chosen)), seed, title, settings, ", ".join(label),
                  name)


def short_names(fields: Sequence[str]) -> dict[str, str]:
  """The shortest ends of dotted names that tell them apart, by name."""
  def ends(field):
    parts = field.split(".")
    return [".".join(parts[n:]) for n in range(len(parts) - 1, -1, -1)]
  return {field: next((end for end in ends(field)
                       if sum(end in ends(other) for other in fields) == 1), field)
          for field in fields}


def word(value: str) -> str:
  """A value as part of a folder's name; two values make two words.

  A comma becomes "+". If other characters have to be replaced, or the value is long, a
  hash of the value stands behind it.
  """
  plain = value.replace(",", "+")
  clean = re.sub(r"[^\w.+-]+", "-", plain, flags=re.ASCII)
  if clean == plain and "+" not in value and len(plain) <= _LONGEST_VALUE:
    return clean
  return f"{clean[:_LONGEST_VALUE]}-{_digest(value)}"


def _text(value: object) -> str:
  """A value of a JSON list as it is written on the command line."""
  if isinstance(value, bool):
    return str(value)
  if isinstance(value, str):
    return value
  if isinstance(value, list) and not any(isinstance(v, list) for v in value):
    return ",".join(map(_text, value))
  raise ValueError(f"{json.dumps(value)} is no value of a setting")


def _digest(text: str) -> str:
  return hashlib.sha256(text.encode()).hexdigest()[:6]
