"""What a folder of images holds, remembered from one start to the next.

Searching hundreds of thousands of files takes long, on network drives minutes. The result
is kept in the user's cache folder, and taken from there while the folder is unchanged.
"""

import contextlib
import functools
import hashlib
import json
import os
import pathlib
import zipfile

import numpy as np
import PIL
from tqdm import tqdm

from augment_gen.data import files
from augment_gen.run import cache

_WORTH_KEEPING = 5000  # images; fewer are found again in a moment
_CHECKED_FILES = 256
_LATEST = 4  # folders that this process remembers by itself
_FORM = 1  # of the stored files
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, RuntimeError)

_latest: dict[pathlib.Path, files.Found] = {}


def find(root: pathlib.Path) -> files.Found:
  """The contents of a folder, as `files.find` gives them, searched only if need be.

  The search shows a bar in a terminal if it takes more than a second.
  """
  found = _latest.get(root)
  if found is not None and unchanged(found):
    return found
  stored = _stored_at(root)
  found = _load(stored, root) if stored else None
  if found is None or not unchanged(found):
    with tqdm(desc=f"searching {root}", unit=" files", delay=1, disable=None,
              leave=False) as bar:
      found = files.find(root, bar.update)
    if stored and len(found.images) >= _WORTH_KEEPING and not found.problems:
      _save(stored, found)
  if len(_latest) >= _LATEST:
    _latest.pop(next(iter(_latest)))
  _latest[root] = found
  return found


def unchanged(found: files.Found) -> bool:
  """Whether a folder still has the files that were found.

  Compares the time and the number of entries of every folder, and size and time of a
  sample of the images. So an image that was overwritten in place may go unnoticed in a
  large folder; `touch` its folder to have it searched again.
  """
  if found.problems:
    return False
  for folder, before in found.searched.items():
    try:
      if before != (os.stat(folder).st_mtime_ns, len(os.listdir(folder))):
        return False
    except OSError:
      return False
  count = len(found.images)
  chosen = np.unique(np.linspace(0, count - 1, min(count, _CHECKED_FILES)).astype(int))
  return all(files.size_and_time(found.images[i]) == (found.sizes[i], found.times[i])
             for i in chosen.tolist())


@functools.cache
def _rules() -> str:
  """Identifies what counts as an image: a stored search of other rules is no use."""
  return f"{_FORM} {PIL.__version__} {' '.join(sorted(files.suffixes()))}"


def _stored_at(root: pathlib.Path) -> pathlib.Path | None:
  """The file of a folder; None if there is no place for it."""
  name = hashlib.sha256(os.fsencode(root.absolute())).hexdigest()[:16]
  place = cache.folder("folders")
  return place / f"{name}.npz" if place else None


def _save(path: pathlib.Path, found: files.Found) -> None:
  """Stores what was found; done without if it cannot be written."""
  facts = {
      "root": str(found.images.root.absolute()), "rules": _rules(),
      "folders": found.folders, "passed_over": found.passed_over,
      "searched": found.searched}
  new = path.with_suffix(f".{os.getpid()}")
  try:
    with open(new, "wb") as file:
      np.savez(file, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8),
               text=found.images.text, ends=found.images.ends, sizes=found.sizes,
               times=found.times)
    new.replace(path)
  except OSError:
    with contextlib.suppress(OSError):
      new.unlink()


def _load(path: pathlib.Path, root: pathlib.Path) -> files.Found | None:
  """Reads what was stored; None if there is nothing, or nothing of use."""
  try:
    with np.load(path, allow_pickle=False) as stored:
      facts = json.loads(stored["facts"].tobytes())
      if (facts["root"], facts["rules"]) != (str(root.absolute()), _rules()):
        return None
      return files.Found(
          files.Paths(root, stored["text"], stored["ends"]), stored["sizes"],
          stored["times"], tuple(facts["folders"]), tuple(facts["passed_over"]), (),
          {folder: (time, count) for folder, (time, count) in facts["searched"].items()})
  except _DAMAGED:
    return None
