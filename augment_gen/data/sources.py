"""Image sources by spec: `KIND:ADDRESS[?option=value&option=value]`.

    tfds:NAME[/CONFIG][:SPLIT]   a TensorFlow dataset, see tfds.py
    folder:PATH                  image files, with or without a table, see folder.py
    daiso:PATH                   DAISO-100, see daiso.py
    hf:PATH                      a data set of Hugging Face on this machine, see hf.py
    npz:FILE, idx:FILE           arrays, see arrays.py
    rendered:latin, :scripts     characters drawn from fonts, see rendered.py
    products:shop, :world        products under two lights, see products/source.py

`{root}` anywhere in a spec is replaced by config.data.root. The options of a kind and
their defaults are the fields of its class and are described there.
"""

from collections.abc import Mapping
import dataclasses
import os
import re
import typing

from augment_gen.config import errors
from augment_gen.data import arrays, base, daiso, folder, hf, rendered, selection, tfds
from augment_gen.data.products import source as products

KINDS: Mapping[str, type[base.Source]] = {
    "tfds": tfds.Tfds,
    "folder": folder.Folder,
    "daiso": daiso.Daiso,
    "hf": hf.Hf,
    "npz": arrays.Npz,
    "idx": arrays.Idx,
    "rendered": rendered.Rendered,
    "products": products.Products,
}
_OF_PATHS = ("folder", "daiso", "hf", "npz", "idx")


def parse(spec: str, root: str) -> base.Source:
  """Returns the source that a spec describes.

  Raises:
    UserError: lists everything that is wrong with the spec.
  """
  kind, colon, rest = spec.strip().partition(":")
  if kind not in KINDS or not colon:
    raise errors.UserError(
        f"data spec '{spec}': unknown kind '{kind}'; write "
        f"KIND:ADDRESS with one of the kinds {', '.join(KINDS)}")
  if "{root}" in rest and not root:
    raise errors.UserError(
        f"data spec '{spec}' needs the folder that holds the data: "
        "pass --config.data.root=FOLDER")
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
    if name in options:
      several = "; several conditions are where=A=1;B=2" if name == "where" else ""
      problems.append(f"data spec '{spec}': option {name} is given twice{several}")
    try:
      options[name] = _convert(text, known[name].type)
    except ValueError as error:
      problems.append(f"data spec '{spec}': option {name}='{text}' {error}")
  errors.raise_if_any(problems)
  return cls(address, root, **options)


def load(
    spec: str, *, image_size: int, channels: int, root: str = "",
    on_bad_image: str = "error", jpeg_decoder: str = "pillow",
) -> base.ImageSet:
  """Reads the images that `spec` names.

  Args:
    spec: see the module's docstring.
    image_size: side of the resulting square images, in pixels.
    channels: 1 (grey) or 3 (RGB).
    root: replacement for {root}; also the folder in which TFDS looks for datasets.
    on_bad_image: what to do about files that cannot be decoded: "error" or "skip".
    jpeg_decoder: what decodes JPEG files, "pillow" or "simplejpeg" (data/jpeg.py).

  Raises:
    UserError: the spec is wrong, or the data are missing or damaged.
  """
  source = parse(spec, root)
  errors.raise_if_any(source.problems())
  return source.load(base.Request(
      spec, image_size, channels, on_bad_image, jpeg_decoder))


def stream(
    spec: str, *, image_size: int, channels: int, root: str = "",
    on_bad_image: str = "error", jpeg_decoder: str = "pillow",
) -> base.Images:
  """Returns the images that `spec` names, read on demand; see `load` for the args.

  Raises:
    UserError: the spec is wrong, or its images can only be held in memory.
  """
  source = parse(spec, root)
  errors.raise_if_any(source.problems())
  if problem := source.stream_problem():
    raise errors.UserError(f"'{spec}' cannot be streamed: {problem}")
  return source.stream(base.Request(
      spec, image_size, channels, on_bad_image, jpeg_decoder))


def stream_problem(spec: str, root: str = "") -> str | None:
  """Why a valid spec cannot be streamed, or None if it can."""
  return parse(spec, root).stream_problem()


def examine(spec: str, root: str = "") -> tuple[list[str], int | None]:
  """What can be said of a spec without reading images.

  Returns:
    All problems, and the number of images; None if there are problems, or if only loading
    can tell.
  """
  try:
    source = parse(spec, root)
  except errors.UserError as error:
    return list(error.problems), None
  problems = source.problems()
  return problems, None if problems else source.count()


def check(spec: str, root: str = "") -> list[str]:
  """Returns all problems with a spec that can be found without reading images."""
  return examine(spec, root)[0]


def count(spec: str, root: str = "") -> int | None:
  """Number of images of a valid spec, or None if only loading can tell."""
  return examine(spec, root)[1]


def narrowed(spec: str, column: str, value: str) -> str:
  """A spec of the images of `spec`, which has a table, with `value` in `column`."""
  head, _, query = spec.rpartition("?")
  pairs = query.split("&")
  where = next((pair for pair in pairs if pair.startswith("where=")), "where=")
  rest = [pair for pair in pairs if pair != where]
  text = selection.narrowed(where.removeprefix("where="), column, value)
  return f"{head}?{'&'.join([*rest, f'where={text}'])}"


def _split(rest: str, kind: str) -> tuple[str, str]:
  """Splits "ADDRESS?option=value&option=value" into the address and the options.

  A path may contain "?". If the whole text is an existing path, it has no options.
  Otherwise the last "?" starts the options, provided that options follow it.
  """
  if kind in _OF_PATHS and _is_path(rest):
    return rest, ""
  address, mark, query = rest.rpartition("?")
  option = re.compile(r"\w*=.*", re.DOTALL)
  if mark and all(option.fullmatch(part) for part in query.split("&") if part):
    return address, query
  return rest, ""


def _is_path(text: str) -> bool:
  return os.path.exists(base.local_path(text))


def _convert(text: str, kind: typing.Any) -> typing.Any:
  """Converts an option's text to the type `kind`.

  Raises:
    ValueError: says what is expected instead.
  """
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
