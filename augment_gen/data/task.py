"""The sets of an experiment: X_p, X̃_f and the test sets."""

import dataclasses

import numpy as np

from augment_gen import config as config_lib
from augment_gen.augment import implicit
from augment_gen.config import errors
from augment_gen.data import base, canvas, conditions, jpeg, memory, sources, splits
from augment_gen.data import labels as labels_lib


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
  """Everything an experiment trains and tests on.

  Attributes:
    pretrain: X_p, in memory or streamed; its labels are ignored.
    finetune: X̃_f, with labels.
    finetune_clean: X_f in the order of `finetune`, for oracles and figures; None if
      X̃_f is loaded already augmented.
    tests: labelled test sets with the classes of `finetune`, by their names in the
      results table.
    num_classes: number of classes of the fine-tuning task.
    fingerprints: fingerprints of the sets, with the keys "pretrain", "finetune" and
      "test/NAME".
  """
  pretrain: base.Images
  finetune: base.ImageSet
  finetune_clean: base.ImageSet | None
  tests: dict[str, base.ImageSet]
  num_classes: int
  fingerprints: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Plan:
  """What is to be loaded.

  Attributes:
    tests: the test sets that the config names.
    streamed: whether X_p is read as it is needed, not held in memory.
  """
  tests: list[conditions.Named]
  streamed: bool


def load_task(data: config_lib.DataConfig, copies: int = 0) -> Task:
  """Loads and splits the sets; see DataConfig for the meaning of its fields.

  The split and the implicit augmentation depend only on `data.implicit_seed`. As in
  the paper, all runs share the same X̃_f and test sets, whatever their seed.

  Args:
    data: section `data` of the config.
    copies: number of copies of X_p and X̃_f that training makes in host memory.

  Raises:
    UserError: lists all problems that `check_data` finds, or else names the first
      one that appears only when the images are read.
  """
  problems, planned = plan(data, copies)
  errors.raise_if_any(problems)
  counts: dict[str, int] = {}

  def load(spec: str) -> base.ImageSet:
    images = _load(spec, data)
    counts[spec] = len(images)
    errors.raise_if_any(memory.too_large(counts, data, copies))
    return images

  pretrain: base.Images
  if planned.streamed:
    pretrain = sources.stream(
        data.pretrain, image_size=data.image_size, channels=data.channels,
        root=data.root, on_bad_image=data.on_bad_image,
        jpeg_decoder=data.jpeg_decoder)
    whole = load(data.finetune)
  else:
    pretrain = resident = load(data.pretrain)
    whole = resident if data.finetune == data.pretrain else load(data.finetune)
  if whole.labels is None:
    raise errors.UserError(
        f"data.finetune '{data.finetune}' has no labels: fine-tuning and "
        "evaluation need them (class folders, or an array of labels)")
  if len(np.unique(whole.labels)) < 2:
    raise errors.UserError(
        f"data.finetune '{data.finetune}' has images of one class alone "
        f"({', '.join(whole.class_names[:1])}): there is nothing to tell apart; give "
        "at least two classes")
  finetune, clean, held_out = _finetune(whole, data)
  tests: dict[str, base.ImageSet] = {}
  if data.implicit != "none" and held_out is not None:
    tests[data.clean_name] = held_out
    # X̃_f has an even random seed and the test set an odd one, so they never coincide.
    held_out = _augment(held_out, data, stream=1)
  if held_out is not None:
    tests[data.finetune_name] = held_out
  if data.development:
    return _development(pretrain, finetune, clean, data)
  tests = conditions.divided(tests, data)
  notes: tuple[str, ...] = ()
  for test in planned.tests:
    images = _with_classes_of(whole, load(test.spec), test.name)
    notes += conditions.add(tests, test, images, finetune if clean is None else clean)
  if not tests:
    raise errors.UserError(f"there is nothing to test on: {'; '.join(notes)}")
  if notes:
    finetune = dataclasses.replace(finetune, notes=finetune.notes + notes)
  return _task(pretrain, finetune, clean, tests)


def load_finetune(data: config_lib.DataConfig) -> base.ImageSet:
  """X̃_f alone: the one that `load_task` returns, without the other sets.

  Raises:
    UserError: the images are missing or damaged.
  """
  errors.raise_if_any(sources.check(data.finetune, data.root))
  finetune, *_ = _finetune(_load(data.finetune, data), data)
  if data.development and finetune.labels is not None:
    kept, _ = splits.holdout(finetune.labels, data.development, data.implicit_seed)
    finetune = finetune.select(kept)
  return finetune


def _finetune(whole: base.ImageSet, data: config_lib.DataConfig,
              ) -> tuple[base.ImageSet, base.ImageSet | None, base.ImageSet | None]:
  """X̃_f, X_f if it is known, and the images that are held out, not yet augmented."""
  finetune = whole
  held_out: base.ImageSet | None = None
  if data.finetune_per_class or data.development:
    _check_files_once(whole)
  if data.finetune_per_class and whole.labels is not None:
    train, rest = splits.per_class(
        whole.labels, data.finetune_per_class, data.implicit_seed)
    finetune, held_out = whole.select(train), whole.select(rest)
  if data.implicit == "none":
    return finetune, None, held_out
  return _augment(finetune, data, stream=0), finetune, held_out


def _check_files_once(images: base.ImageSet) -> None:
  """Raises UserError if links to one file could be both trained and tested on."""
  if images.origins is None:
    return
  files, counts = np.unique(images.origins.astype(str), return_counts=True)
  if (more := counts > 1).any():
    raise errors.UserError(
        f"'{images.name}' holds {more.sum()} files more than once, by links (the first: "
        f"{files[np.argmax(more)]}): images of X̃_f that are held out would be among those "
        "that are trained on; keep one of each")


def _development(pretrain: base.Images, finetune: base.ImageSet,
                 clean: base.ImageSet | None,
                 data: config_lib.DataConfig) -> Task:
  """Makes a task that tests on a held-out part of X̃_f, and on its clean images if known.

  If X_p and X̃_f are the same set (CRL-TAC), the held-out images are removed from X_p
  as well.
  """
  assert finetune.labels is not None  # checked by load_task
  kept, held = splits.holdout(
      finetune.labels, data.development, data.implicit_seed)
  tests = {data.finetune_name: finetune.select(held)}
  if clean is not None:
    tests = {data.clean_name: clean.select(held), **tests}
    clean = clean.select(kept)
  if len(pretrain) == len(finetune) and data.pretrain == data.finetune:
    assert isinstance(pretrain, base.ImageSet)  # ensured by _stream_problems
    pretrain = pretrain.select(kept)
  return _task(
      pretrain, finetune.select(kept), clean, conditions.divided(tests, data))


def _task(pretrain: base.Images, finetune: base.ImageSet,
          clean: base.ImageSet | None, tests: dict[str, base.ImageSet]) -> Task:
  fingerprints = {"pretrain": pretrain.fingerprint,
                  "finetune": finetune.fingerprint}
  fingerprints |= {f"test/{n}": t.fingerprint for n, t in tests.items()}
  return Task(
      pretrain, finetune, clean, tests, finetune.num_classes, fingerprints)


def check_data(data: config_lib.DataConfig, copies: int = 0) -> list[str]:
  """Returns all problems of a data section that can be found without reading images.

  Args:
    data: section `data` of the config.
    copies: number of copies of the sets in host memory, as in `load_task`.
  """
  return plan(data, copies)[0]


def plan(data: config_lib.DataConfig, copies: int = 0) -> tuple[list[str], Plan]:
  """The problems that `check_data` returns, and what is to be loaded."""
  problems = []
  for name, values in (("mean", data.mean), ("std", data.std)):
    if len(values) not in (1, data.channels):
      problems.append(
          f"config.data.{name} must hold one number, or one for each of the "
          f"{data.channels} channels, such as --config.data.{name}=0.5")
  if data.canvas and data.canvas < data.image_size:
    problems.append(
        f"config.data.canvas is {data.canvas}; images of {data.image_size} "
        "pixels (config.data.image_size) do not fit on it: make it larger, or 0")
  if data.implicit not in ("none", *implicit.NAMES):
    problems.append(
        f"config.data.implicit: '{data.implicit}' is unknown; there are none, "
        f"{', '.join(implicit.NAMES)}")
  if data.jpeg_decoder == "simplejpeg" and (missing := jpeg.problem()):
    problems.append(missing)
  if not data.finetune_per_class and not data.tests:
    problems.append(
        "there is nothing to test on: config.data.finetune_per_class is 0 (all "
        "images are for fine-tuning), so give config.data.tests=NAME=SPEC")
  tests, found = conditions.named(data)
  problems += found
  # Parts of a set by condition are counted already, and only their whole is checked.
  counts = {test.spec: test.count for test in tests if test.count is not None}
  held = [data.finetune, *(test.spec for test in tests if test.count is None)]
  wrong = []
  for spec in dict.fromkeys([data.pretrain, *held]):
    found, count = sources.examine(spec, data.root)
    wrong += found
    if count is not None:
      counts[spec] = count
  problems = [*dict.fromkeys(problems + wrong)]
  if wrong:
    return problems, Plan(tests, False)
  obstacles = _stream_problems(data)
  # One copy, whatever the devices: a streamed set has another fingerprint than the same
  # one in memory, so another machine must choose alike.
  streamed = data.stream == "on" or (data.stream == "auto" and not obstacles and bool(
      memory.too_large(counts, data, copies=1)))
  if streamed:
    problems += obstacles
    if data.pretrain not in held:
      counts.pop(data.pretrain, None)
  return problems + memory.too_large(counts, data, copies), Plan(tests, streamed)


def _stream_problems(data: config_lib.DataConfig) -> list[str]:
  """Why X_p cannot be streamed; `data` has valid specs."""
  problems = []
  if problem := sources.stream_problem(data.pretrain, data.root):
    problems.append(f"config.data.stream: '{data.pretrain}' cannot be streamed: {problem}")
  if data.canvas:
    problems.append("config.data.canvas is for images held in memory: use "
                    "config.data.stream=off")
  if data.development and data.finetune == data.pretrain:
    problems.append("config.data.development removes the held-out images from X_p, "
                    "too, if X_p is X̃_f: use config.data.stream=off")
  return problems


def _load(spec: str, data: config_lib.DataConfig) -> base.ImageSet:
  images = sources.load(
      spec, image_size=data.image_size, channels=data.channels,
      root=data.root, on_bad_image=data.on_bad_image, jpeg_decoder=data.jpeg_decoder)
  if data.canvas:
    images = canvas.put_on(images, data.canvas, data.canvas_seed)
  return images


def _augment(images: base.ImageSet, data: config_lib.DataConfig,
             stream: int) -> base.ImageSet:
  """Applies the implicit augmentation once to a whole set."""
  changed = implicit.apply_once(
      data.implicit, images.images, 2 * data.implicit_seed + stream)
  return dataclasses.replace(
      images, name=f"{images.name} + {data.implicit}",
      images=np.asarray(changed), fingerprint="")


def _with_classes_of(
    wanted: base.ImageSet, images: base.ImageSet, name: str,
) -> base.ImageSet:
  """Renumbers a test set's labels to match those of `wanted`, by class name."""
  if images.labels is None:
    raise errors.UserError(
        f"test set '{name}' ({images.name}) has no labels to test against")
  if images.class_names == wanted.class_names:
    return images
  names = labels_lib.composed(images.class_names)
  place = {c: i for i, c in enumerate(labels_lib.composed(wanted.class_names))}
  unknown = [c for c in names if c not in place]
  if unknown:
    raise errors.UserError(
        f"test set '{name}' ({images.name}) has {len(unknown)} classes that "
        f"'{wanted.name}' does not have (the first: '{unknown[0]}'): the names "
        "of the classes must agree")
  table = np.array([place[c] for c in names], np.int32)
  return dataclasses.replace(
      images, labels=table[images.labels], class_names=wanted.class_names,
      fingerprint="")
