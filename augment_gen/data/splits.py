"""Splits of labelled sets, class by class, as pure functions of a seed."""

import numpy as np

from augment_gen.config import errors


def _shuffled_classes(labels: np.ndarray, seed: int, *draw: int):
  """Yields (class, its indices in random order) for each class in `labels`.

  Each `draw`, if one is given, is another order.
  """
  order = np.argsort(labels, kind="stable")
  classes, starts = np.unique(labels[order], return_index=True)
  for label, members in zip(classes, np.split(order, starts[1:])):
    # One random stream per class: the split of a class does not depend on the others.
    bits = np.random.Philox(np.random.SeedSequence([seed, int(label), *draw]))
    yield int(label), np.random.Generator(bits).permutation(members)


def _sorted(parts: list[np.ndarray]) -> np.ndarray:
  return np.sort(np.concatenate(parts)) if parts else np.zeros(0, np.int64)


def per_class(
    labels: np.ndarray, train_per_class: int, seed: int,
) -> tuple[np.ndarray, np.ndarray]:
  """Splits each class: `train_per_class` images for training, the rest for testing.

  The paper splits Omniglot this way: 15 of the 20 drawings of each character are for
  training. This gives 24,345 and 8,115 images.

  Args:
    labels: class labels, int [N].
    train_per_class: number of images of each class for training.
    seed: seed of the random split.

  Returns:
    (train, test): ascending indices, int64.

  Raises:
    UserError: a class has no image left for testing.
  """
  train, test, short = [], [], []
  for label, members in _shuffled_classes(labels, seed):
    if len(members) <= train_per_class:
      short.append((label, len(members)))
    train.append(members[:train_per_class])
    test.append(members[train_per_class:])
  if short:
    label, size = short[0]
    raise errors.UserError(
        f"{len(short)} classes have too few images to keep {train_per_class} "
        f"for fine-tuning and one for testing (the first: class {label} with "
        f"{size}): lower --config.data.finetune_per_class")
  return _sorted(train), _sorted(test)


def holdout(
    labels: np.ndarray, fraction: float, seed: int,
) -> tuple[np.ndarray, np.ndarray]:
  """Holds out a fraction of each class, but never all of it.

  Args:
    labels: class labels, int [N].
    fraction: fraction of each class to hold out, in (0, 1), rounded to whole images.
    seed: seed of the random split.

  Returns:
    (kept, held out): ascending indices, int64.

  Raises:
    UserError: every class is too small for even one held-out image.
  """
  kept, held = [], []
  for _, members in _shuffled_classes(labels, seed):
    size = min(round(fraction * len(members)), len(members) - 1)
    held.append(members[:size])
    kept.append(members[size:])
  if not sum(len(part) for part in held):
    raise errors.UserError(
        f"no class is large enough to hold out {fraction:g} of its images")
  return _sorted(kept), _sorted(held)


def few_of_each(labels: np.ndarray, count: int, seed: int, draw: int) -> np.ndarray:
  """Draws a few images of each class; a smaller count gives a part of a larger one's.

  Args:
    labels: class labels, int [N].
    count: number of images of each class.
    seed: seed of the draw.
    draw: number of the draw, from 1.

  Returns:
    Ascending indices, int64.

  Raises:
    UserError: a class has fewer images.
  """
  parts, short = [], []
  for label, members in _shuffled_classes(labels, seed, draw):
    if len(members) < count:
      short.append((label, len(members)))
    parts.append(members[:count])
  if short:
    label, size = short[0]
    raise errors.UserError(
        f"{len(short)} classes have fewer than {count} labelled images (the first: class "
        f"{label} with {size})")
  return _sorted(parts)
