"""Image sources by spec: `KIND:ADDRESS[?option=value&option=value]`.

  tfds:NAME[/CONFIG][:SPLIT]   a TensorFlow dataset, see tfds.py
  folder:PATH                  image files, see folder.py
  npz:FILE, idx:FILE           arrays, see arrays.py
  rendered:latin, :scripts     characters drawn from fonts, see rendered.py

`{root}` anywhere in a spec stands for config.data.root. Options and their
defaults are the fields of the kind's class, so each is described there.
"""

from collections.abc import Mapping
import dataclasses
import re
import typing

from augment_gen.config import errors
from augment_gen.data import arrays, base, folder, rendered, tfds

KINDS: Mapping[str, type[base.Source]] = {
    "tfds": tfds.Tfds,
    "folder": folder.Folder,
    "npz": arrays.Npz,
    "idx": arrays.Idx,
    "rendered": rendered.Rendered,
}
_OF_PATHS = ("folder", "npz", "idx")


def load(
    spec: str, *, image_size: int, channels: int, root: str = "",
    on_bad_image: str = "error",
) -> base.ImageSet:
  """Reads the images that `spec` names.

  Args:
    spec: see the module's docstring.
    image_size: side of the resulting square images, in pixels.
    channels: 1 (grey) or 3 (RGB).
    root: replaces {root}; also where TFDS looks.
    on_bad_image: "error", or "skip" files that cannot be decoded.

  Raises:
    UserError: the spec is wrong, or the data are missing or damaged.
  """
  source, problems = _parse(spec, root)
  errors.raise_if_any(problems or source.problems())
  return source.load(base.Request(spec, image_size, channels, on_bad_image))


def stream(spec: str, *, image_size: int, channels: int, root: str = ""
           ) -> base.Images:
  """The images that `spec` names, read as they are asked for; args as in `load`.

  Raises:
    UserError: the spec is wrong, or its kind cannot be read so.
  """
  source, problems = _parse(spec, root)
  errors.raise_if_any(problems or source.problems())
  images = source.stream(base.Request(spec, image_size, channels))
  if images is None:
    raise errors.UserError(
        f"config.data.stream_pretrain: '{spec}' can only be held in memory; give a "
        "folder: spec")
  return images


def check(spec: str, root: str = "") -> list[str]:
  """All problems with a spec that can be found without reading images."""
  source, problems = _parse(spec, root)
  return problems or source.problems()


def count(spec: str, root: str = "") -> int | None:
  """Number of images of a faultless spec; None where only loading tells."""
  source, problems = _parse(spec, root)
  errors.raise_if_any(problems)
  return source.count()


def _parse(spec: str, root: str) -> tuple[base.Source | None, list[str]]:
  """A spec's source, or what is wrong with the spec."""
  kind, colon, rest = spec.strip().partition(":")
  if kind not in KINDS or not colon:
    return None, [f"data spec '{spec}': unknown kind '{kind}'; write "
                  f"KIND:ADDRESS with one of the kinds {', '.join(KINDS)}"]
  if "{root}" in rest and not root:
    return None, [f"data spec '{spec}' needs the folder that holds the data: "
                  "pass --config.data.root=FOLDER"]
  cls = KINDS[kind]
  address, query = _split(rest.replace("{root}", root.strip()), kind)
  problems = [] if address else [f"data spec '{spec}' has no address"]
  known = {f.name: f for f in dataclasses.fields(cls)
           if f.name not in ("address", "root")}
  options = {}
  for pair in filter(None, query.split("&")):
    name, _, text = pair.partition("=")
    if name not in known:
      problems.append(f"data spec '{spec}': unknown option '{name}'; "
                      f"{kind} has: {', '.join(known)}")
      continue
    try:
      options[name] = _convert(text, known[name].type)
    except ValueError as error:
      problems.append(f"data spec '{spec}': option {name}='{text}' {error}")
  return (None if problems else cls(address, root, **options)), problems


def _split(rest: str, kind: str) -> tuple[str, str]:
  """"ADDRESS?option=value&option=value" -> address, options.

  A path may hold a "?": one that exists as it stands has no options, and of
  several marks the last one counts, if options follow it.
  """
  if kind in _OF_PATHS and base.local_path(rest).exists():
    return rest, ""
  address, mark, query = rest.rpartition("?")
  if mark and all(re.fullmatch(r"\w*=.*", part) for part in query.split("&") if part):
    return address, query
  return rest, ""


def _convert(text: str, kind: type) -> typing.Any:
  """Option text -> value; the ValueError says what is expected."""
  choices = typing.get_args(kind)
  if choices:
    if text not in choices:
      raise ValueError(f"must be one of: {', '.join(choices)}")
    return text
  if kind is bool:
    if text not in ("0", "1"):
      raise ValueError("must be 0 or 1")
    return text == "1"
  if kind in (int, float):
    try:
      return kind(text)
    except ValueError:
      word = "a whole number" if kind is int else "a number"
      raise ValueError(f"must be {word}") from None
  return text
