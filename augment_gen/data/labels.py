"""Conversion of stored labels to the classes 0, 1, 2, …"""

from collections.abc import Sequence
import unicodedata

import numpy as np

from augment_gen.config import errors


def shape_problem(shape: tuple[int, ...], dtype: np.dtype,
                  name: str) -> str | None:
  """What is wrong with the shape or the dtype of stored labels, or None."""
  if dtype.kind not in "biufSU":
    return (f"'{name}': labels are of the type {dtype}: store whole numbers or "
            "strings")
  if len(shape) == 1 or (len(shape) == 2 and dtype.kind not in "SU"):
    return None
  if len(shape) == 2 and shape[1] == 1:
    return None
  return (f"'{name}': labels have the shape {shape}: one label per image is "
          "needed, [N], or rows with a single 1, [N, CLASSES]")


def encode(
    values: np.ndarray, class_names: Sequence[str] | np.ndarray | None,
    name: str,
) -> tuple[np.ndarray, tuple[str, ...]]:
  """Converts stored labels to (int32 [N], class names).

  Whole numbers, also those stored as floats, are indices into `class_names`. Without
  class names, only the numbers that occur are classes; they are in ascending order and
  named by their digits. Other values (strings) become their index in `class_names`, or
  in the sorted order of all values if no class names are given. Negative labels and
  other values that are not class names become -1.

  Args:
    values: [N] or [N, 1]; or [N, C] with a single 1 in each row and zeros elsewhere.
    class_names: names of the classes, [C], or None.
    name: name of the set, for messages.

  Raises:
    UserError: the labels do not have any of these forms, or two classes have the same
      name.
  """
  values = np.asarray(values)
  if problem := shape_problem(values.shape, values.dtype, name):
    raise errors.UserError(problem)
  if class_names is not None:
    class_names = tuple(_text(np.asarray(class_names).reshape(-1), name).tolist())
    if len(set(class_names)) < len(class_names):
      raise errors.UserError(f"'{name}': two classes have the same name")
  if values.ndim == 2 and values.shape[1] > 1:
    values = _from_one_hot(values, name)
  values = values.reshape(-1)
  if values.dtype.kind == "f":
    values = _whole(values, name)
  if values.dtype.kind in "iu":
    if class_names is None:
      occurring = np.unique(values[values >= 0])
      labels = np.searchsorted(occurring, values)
      labels[values < 0] = -1
      return labels.astype(np.int32), tuple(str(v) for v in occurring.tolist())
    # Values that int32 cannot hold must not wrap around into the range of classes.
    top = min(np.iinfo(values.dtype).max, 2**31 - 1)
    return np.clip(values, None, top).astype(np.int64).clip(-1).astype(
        np.int32), class_names
  text = _text(values, name)
  names = np.unique(text).tolist() if class_names is None else class_names
  place = {name: i for i, name in enumerate(names)}
  labels = np.array([place.get(t, -1) for t in text.tolist()], np.int32)
  return labels, tuple(names)


def _from_one_hot(values: np.ndarray, name: str) -> np.ndarray:
  """Converts one-hot rows [N, C] to int64 [N], the column of each row's 1."""
  if not (((values == 0) | (values == 1)).all()
          and (np.count_nonzero(values, axis=1) == 1).all()):
    raise errors.UserError(
        f"'{name}': labels have the shape {values.shape}, but some rows are not "
        "one 1 and zeros: give each image one class, labels of the shape [N]")
  return values.argmax(1)


def _whole(values: np.ndarray, name: str) -> np.ndarray:
  """Converts whole numbers from float [N] to int64 [N]."""
  wrong = ~np.isfinite(values) | (values != np.rint(values)) | (
      np.abs(values) >= 2**53)
  if wrong.any():
    first = int(np.argmax(wrong))
    raise errors.UserError(
        f"'{name}': {wrong.sum()} labels are no whole numbers (the first: "
        f"{values[first]} of image {first}): classes are whole numbers or strings")
  return values.astype(np.int64)


def _text(values: np.ndarray, name: str) -> np.ndarray:
  """Converts any values to an array of strings; bytes are decoded as UTF-8."""
  if values.dtype.kind != "S":
    return values.astype(str)
  try:
    return np.char.decode(values, "utf-8")
  except UnicodeDecodeError as error:
    raise errors.UserError(
        f"'{name}': labels or names of classes are bytes, and not UTF-8: store "
        "strings") from error


def composed(names: Sequence[str]) -> tuple[str, ...]:
  """Names with "é" as one character, as most systems write it, and not as two.

  If two of them would become the same, all stay as they are.
  """
  found = tuple(unicodedata.normalize("NFC", name) for name in names)
  return found if len(set(found)) == len(set(names)) else tuple(names)
