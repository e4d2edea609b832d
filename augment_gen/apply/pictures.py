"""The images that a command is given: found, named, and read in batches."""

from collections.abc import Iterable, Iterator
import concurrent.futures
import dataclasses
import os
import pathlib
import sys
from typing import Any

import numpy as np

from augment_gen.config import Config
from augment_gen.config.errors import raise_if_any, UserError
from augment_gen.data import base, files, folder, sources

# What messages of data/ advise for a run, and what helps here.
_ADVICE = (
    ("add --config.data.on_bad_image=skip to the command, and other images take the place "
     "of bad ones; or repair it, and start in a new --workdir",
     "repair it, or leave it out with --on-bad-image=skip"),
    (", in a new --workdir", ""),
    (", or name their folder in the config (--config.data.root=FOLDER replaces {root})",
     ""),
    ("--config.data.on_bad_image=skip", "--on-bad-image=skip"),
    *((f"set --config.data.channels={channels} (with one number each for config.data.mean "
       "and std if they are grey), or ", "") for channels in (1, 3)),
    ("config.data.channels is", "the run was trained with a number of channels of"),
    ("the option convert=1 in the spec", "the option convert=1: folder:PATH?convert=1"))


@dataclasses.dataclass(frozen=True, eq=False)
class Given:
  """Images from anywhere, in the size of a run.

  Attributes:
    images: the set, in memory or decoded as it is read.
    names: for each image its path below the folder, with "/", or its number.
    labels: int32 [N], or None.
    class_names: one name per class; empty without labels.
  """
  images: base.Images
  names: tuple[str, ...]
  labels: np.ndarray | None
  class_names: tuple[str, ...]

  def read(self, groups: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Reads groups of images, one ahead of what is asked for.

    Args:
      groups: indices, int [n] each, without repetition.

    Yields:
      For each group, the indices of the images that could be read, int [m], and these
      images, uint8 [m, H, W, C].

    Raises:
      UserError: an image cannot be read, and bad ones are not to be skipped.
    """
    with (concurrent.futures.ThreadPoolExecutor(files.THREADS) as pool,
          concurrent.futures.ThreadPoolExecutor(1) as ahead):
      def read(indices):
        parts = np.array_split(indices, min(len(indices), files.THREADS))
        images = np.concatenate(list(pool.map(self.images.read, parts)))
        # A streamed set puts another image in the place of a bad one.
        bad = getattr(self.images, "bad", {})
        good = np.array([index not in bad for index in indices.tolist()])
        return indices[good], images[good]

      waiting: concurrent.futures.Future | None = None
      for indices in groups:
        coming = ahead.submit(read, indices)
        if waiting is not None:
          yield _result(waiting)
        waiting = coming
      if waiting is not None:
        yield _result(waiting)


def given(text: str, config: Config, on_bad_image: str, labelled: bool) -> Given:
  """Finds the images that the user names.

  Args:
    text: a folder, whose pictures become squares as the run's own did (`how_read`), or a
      spec of data/sources.py.
    config: that of the run, for the size and the channels.
    on_bad_image: "error" or "skip".
    labelled: whether the folders of a folder are classes, if they can be.

  Raises:
    UserError: there are no such images, or they are not what the run was trained on.
  """
  source = _source(text, config, labelled)
  data = config.data
  request = base.Request(
      text, data.side, data.channels, on_bad_image, data.jpeg_decoder)
  try:
    raise_if_any(source.problems())
    streamed = source.stream_problem() is None
    images = source.stream(request) if streamed else source.load(request)
  except UserError as error:
    raise UserError(*map(_advice, error.problems)) from None
  names = tuple(name.replace("\\", "/") for name in source.names())
  if len(names) != len(images):
    digits = len(str(len(images) - 1))
    names = tuple(f"{number:0{digits}}" for number in range(len(images)))
  return Given(images, names, getattr(images, "labels", None),
               tuple(getattr(images, "class_names", ())))


def how_read(config: Config) -> dict[str, Any]:
  """How the labelled images of a run are decoded: options of `folder.Folder`."""
  source = sources.parse(config.data.finetune, config.data.root or "unknown")
  return {name: getattr(source, name) for name in ("resize", "background", "max")
          if hasattr(source, name)}


def folder_of(text: str, config: Config) -> pathlib.Path | None:
  """The folder that holds the images; None if they are of another kind."""
  source = _source(text, config, labelled=False)
  return base.local_path(source.address) if isinstance(source, folder.Folder) else None


def options_of(text: str, config: Config) -> dict[str, Any]:
  """The options of a folder that decide what its pictures look like, if not the usual."""
  source = _source(text, config, labelled=False)
  return {field.name: value for field in dataclasses.fields(folder.Folder)
          if field.name not in ("address", "root", "labels")
          and (value := getattr(source, field.name)) != field.default}


def check_apart(images: pathlib.Path, out: str | os.PathLike[str]) -> None:
  """What is written must not become an image of the next start, or take its place.

  Raises:
    UserError: `out` lies in the folder `images`, or is it.
  """
  if pathlib.Path(out).resolve().is_relative_to(images.resolve()):
    raise UserError(f"{out} lies in {images}, whose images would include what is written: "
                    "choose a place elsewhere")


def printable(name: str) -> str:
  """The name of a file, whose bytes may be any, as Unicode."""
  return name.encode(errors="replace").decode()


def _source(text: str, config: Config, labelled: bool) -> base.Source:
  path = base.local_path(text)
  if text.partition(":")[0] in sources.KINDS and not path.exists():
    return sources.parse(text, "")
  if path.is_file():
    raise UserError(f"{text} is a file: give a folder of images, or a spec such as "
                    "npz:FILE")
  as_run = how_read(config)
  plain = folder.Folder(str(path), "", labels="none", **as_run)
  if not labelled:
    return plain
  classes = folder.Folder(str(path), "", **as_run)
  problems = classes.problems()
  if not problems or plain.problems():
    return classes
  print(f"without labels: {problems[0]}", file=sys.stderr)
  return plain


def _advice(problem: str) -> str:
  for before, here in _ADVICE:
    problem = problem.replace(before, here)
  return problem


def _result(future: concurrent.futures.Future) -> tuple[np.ndarray, np.ndarray]:
  try:
    return future.result()
  except UserError as error:
    raise UserError(*map(_advice, error.problems)) from None
