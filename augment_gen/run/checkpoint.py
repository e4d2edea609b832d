"""Checkpoints of one stage: written whole or not at all, and checked when read."""

import errno
import pathlib
import shutil
from typing import Any, TypeVar
import zlib

import jax
import numpy as np
import orbax.checkpoint as ocp

from augment_gen.config import errors

State = TypeVar("State")

# What a file system raises for a while, and not because a file is damaged.
_PASSING = frozenset((errno.EACCES, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM,
                      errno.EPERM, errno.ESTALE, errno.ETIMEDOUT))


def checksum(tree: Any) -> str:
  """CRC-32 over the bytes of all leaves: equal states have equal checksums."""
  crc = 0
  for leaf in jax.tree.leaves(jax.device_get(tree)):
    crc = zlib.crc32(np.ascontiguousarray(leaf).tobytes(), crc)
  return f"{crc:08x}"


def _leaves(tree: Any) -> dict[str, list]:
  """Path -> [dtype, *shape], in JSON types."""
  return {jax.tree_util.keystr(path): [np.dtype(leaf.dtype).name, *leaf.shape]
          for path, leaf in jax.tree.leaves_with_path(tree)}


class Checkpoints:
  """The checkpoints of one stage, newest last.

  Args:
    folder: the stage's folder.
    keep: number of checkpoints to keep.
    log: called with a line when a damaged checkpoint is skipped.
  """

  def __init__(self, folder: pathlib.Path, keep: int, log=print):
    self._folder = folder.absolute()
    self._keep = keep
    self._log = log
    self._checkpointer = ocp.Checkpointer(ocp.CompositeCheckpointHandler())

  def steps(self) -> list[int]:
    """Steps with a checkpoint, in order; unfinished saves do not count."""
    if not self._folder.exists():
      return []
    return sorted(int(p.name) for p in self._folder.iterdir()
                  if p.is_dir() and p.name.isdigit())

  def save(self, step: int, state: Any) -> None:
    """Saves under a temporary name, then renames; deletes the oldest checkpoints.

    Checkpoints of later steps go, too: training came back to an earlier one, as they were
    damaged.
    """
    state = jax.device_get(state)
    self._checkpointer.save(
        self._folder / str(step),
        args=ocp.args.Composite(
            state=ocp.args.StandardSave(state),
            check=ocp.args.JsonSave({
                "step": step, "crc32": checksum(state),
                "leaves": _leaves(state)})),
        force=True)
    steps = self.steps()
    usable = [known for known in steps if known <= step]
    for other in {*steps} - {*usable[-self._keep:]}:
      shutil.rmtree(self._folder / str(other))

  def restore(self, like: State, at_least: int = 0) -> State | None:
    """The newest undamaged checkpoint, or None if there are no checkpoints.

    Args:
      like: a state of the same structure, shapes and dtypes.
      at_least: ignore checkpoints of earlier steps.

    Returns:
      The state as NumPy arrays.

    Raises:
      UserError: all checkpoints, also of earlier steps, are damaged, or one cannot be read
        or has another structure than `like`.
    """
    there = self.steps()
    steps = [s for s in there if s >= at_least]
    for step in reversed(steps):
      try:
        return self._read(step, like)
      except errors.UserError:
        raise
      # A damaged file can raise nearly any error inside the reader.
      except Exception as error:  # pylint: disable=broad-except
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if isinstance(error, MemoryError) or getattr(error, "errno", None) in _PASSING:
          raise errors.UserError(
              f"checkpoint {self._folder / str(step)} cannot be read now ({reason}): start "
              "the same command again once this is mended") from None
        self._log(f"checkpoint {self._folder / str(step)} is damaged "
                  f"({reason[:160]}): trying the one before")
    if steps and len(steps) == len(there):
      raise errors.UserError(
          f"all checkpoints in {self._folder} are damaged: delete that folder, "
          "and the stage starts anew")
    return None

  def newest_checksum(self) -> str | None:
    """The newest checkpoint's checksum as saved; None: there is none, "": it is damaged."""
    if not (steps := self.steps()):
      return None
    try:
      return self._check(steps[-1])["crc32"]
    except Exception:  # pylint: disable=broad-except  (see `restore`)
      return ""

  def _check(self, step: int) -> dict[str, Any]:
    return self._checkpointer.restore(
        self._folder / str(step),
        args=ocp.args.Composite(check=ocp.args.JsonRestore())).check

  def _read(self, step: int, like: State) -> State:
    abstract = jax.tree.map(
        lambda a: np.zeros(np.shape(a), np.asarray(a).dtype)
        if not hasattr(a, "dtype") else np.zeros(a.shape, a.dtype), like)
    path, check = self._folder / str(step), self._check(step)
    # Orbax only compares the names, and its message says little.
    theirs, ours = check["leaves"], _leaves(abstract)
    different = [name for name in {**ours, **theirs}
                 if ours.get(name) != theirs.get(name)]
    if different:
      name = different[0]
      raise errors.UserError(
          f"checkpoint {path} is of other networks than this code makes of the "
          f"same config: {len(different)} arrays differ, such as {name}, "
          f"{theirs.get(name, 'not')} there, {ours.get(name, 'not')} here. Go on "
          "with the commit that environment.json names, or in a new --workdir")
    state = self._checkpointer.restore(path, args=ocp.args.Composite(
        state=ocp.args.StandardRestore(abstract))).state
    if checksum(state) != check["crc32"]:
      raise ValueError("its contents do not match their checksum")
    return state
