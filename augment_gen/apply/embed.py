"""`augment-gen embed`: the features F(x) of any number of images, in one file."""

from collections.abc import Callable
import os
import pathlib
import sys

import jax
from jax.tree_util import Partial
import numpy as np

from augment_gen.apply import pictures
from augment_gen.config.errors import UserError
from augment_gen.export import runs
from augment_gen.methods.augmentation_generator import stages
from augment_gen.run import runtime
from augment_gen.run.progress import Progress

_BATCH = 128  # images at a time
SUFFIXES = (".npz", ".parquet")


def run(source: str, out: str, run: str, stage: str, on_bad_image: str) -> None:
  """Writes features, paths and labels of images.

  Args:
    source: a folder of images, or a spec.
    out: the file, see `write`.
    run: folder of the run.
    stage: that F is taken from.
    on_bad_image: "error" or "skip".

  Raises:
    UserError: the run, the images or the file are not as they must be.
  """
  file = pathlib.Path(out)
  _check_file(file)
  runtime.keep_compiled_code()
  config = runs.config_with_generator(pathlib.Path(run))
  variables = runs.encoder_variables(pathlib.Path(run), config, stage)
  given = pictures.given(source, config, on_bad_image, labelled=True)
  encode = Partial(jax.jit(stages.encode(config)), variables)
  indices, features = encode_all(given, encode)
  columns = {"features": features,
             "paths": np.array([given.names[i] for i in indices])}
  if given.labels is not None:
    columns["labels"] = given.labels[indices]
    columns["class_names"] = np.array(given.class_names)
  write(file, columns)
  if left_out := len(given.names) - len(indices):
    print(f"embed: {left_out} images could not be read and are left out",
          file=sys.stderr)


def encode_all(given: pictures.Given, encode: Callable[[np.ndarray], jax.Array]
               ) -> tuple[np.ndarray, np.ndarray]:
  """Encodes all images that can be read.

  Args:
    given: the images.
    encode: float32 [b, H, W, C] in [0, 1] -> [b, D].

  Returns:
    Indices of the images, int [n], and their features, float32 [n, D].

  Raises:
    UserError: no image can be read.
  """
  count = len(given.names)
  size = min(_BATCH, count)
  progress = Progress("embed", 0, count, 1)
  places, found = [], []
  groups = [np.arange(start, min(start + size, count)) for start in range(0, count, size)]
  for group, (indices, images) in zip(groups, given.read(groups)):
    if len(indices):
      x = np.resize(images.astype(np.float32) / 255, (size, *images.shape[1:]))
      found.append(np.asarray(encode(x), np.float32)[:len(indices)])
      places.append(indices)
    progress.advance(int(group[-1]) + 1)
    progress.show({})
  progress.close()
  if not found:
    raise UserError("none of the images can be read")
  return np.concatenate(places), np.concatenate(found)


def write(file: pathlib.Path, columns: dict[str, np.ndarray]) -> None:
  """Writes a file, whole or not at all.

  Args:
    file: an .npz with the arrays of `columns`, or a .parquet with a row for each image,
      in which the name of its class takes the place of `class_names`.
    columns: float32 `features` [n, D] and `paths` [n]; with classes, int32 `labels` [n]
      and `class_names` [classes].

  Raises:
    UserError: the file cannot be written.
  """
  partial = file.with_name(file.name + ".partial")
  try:
    if file.suffix == ".parquet":
      _write_parquet(partial, columns)
    else:
      with open(partial, "wb") as opened:
        np.savez(opened, allow_pickle=False, **columns)
    os.replace(partial, file)
  except OSError as error:
    raise UserError(f"{file} cannot be written: {error}") from None


def _write_parquet(file: pathlib.Path, columns: dict[str, np.ndarray]) -> None:
  import pyarrow  # pylint: disable=g-import-not-at-top
  from pyarrow import parquet  # pylint: disable=g-import-not-at-top
  features = columns["features"]
  table = {
      "path": pyarrow.array([*map(pictures.printable, columns["paths"].tolist())]),
      "features": pyarrow.FixedSizeListArray.from_arrays(
          pyarrow.array(features.ravel()), features.shape[1])}
  if "labels" in columns:
    labels = columns["labels"]
    table["label"] = pyarrow.array(labels)
    table["class"] = pyarrow.array(columns["class_names"][labels].tolist())
  parquet.write_table(pyarrow.table(table), file)


def _check_file(file: pathlib.Path) -> None:
  if file.suffix not in SUFFIXES:
    raise UserError(f"{file} does not end in {' or '.join(SUFFIXES)}")
  if not file.parent.is_dir():
    raise UserError(f"{file}: there is no folder {file.parent}")
  if file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK):
    raise UserError(f"{file} cannot be written: it is a folder, or you may not write there")
  if file.suffix == ".parquet":
    try:
      import pyarrow  # noqa: F401  pylint: disable=g-import-not-at-top,unused-import
    except ImportError:
      raise UserError(f"{file} needs pyarrow: pip install pyarrow, or write an .npz"
                      ) from None
