"""Finds the image files below a folder.

A file counts as an image without being opened if Pillow reads files of its suffix. So
does a file in a format that Pillow lacks (a camera's raw files, HEIC): it is a bad image
and must not be passed over silently. The content of all other files decides.
"""

import collections
from collections.abc import Callable, Iterable, Mapping, Sequence
import concurrent.futures
import dataclasses
import functools
import os
import pathlib
import stat
from typing import Any

import numpy as np
from PIL import Image

THREADS = min(8, os.cpu_count() or 1)

_CONVERT = "convert it to PNG or TIFF"
_RAW = f"a camera's raw file: {_CONVERT}"
_HEIC = "HEIC, which Pillow reads only after: pip install pillow-heif"
# Suffixes of image formats that Pillow does not read by itself, and what to do. Pillow
# takes raw files for TIFF files and would read only their thumbnail.
FOREIGN = {
    **dict.fromkeys((".heic", ".heif", ".hif"), _HEIC),
    **dict.fromkeys((".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf",
                     ".rw2"), _RAW),
    ".jxl": f"JPEG XL: {_CONVERT}", ".svg": f"a drawing: {_CONVERT}",
    ".exr": f"OpenEXR: {_CONVERT}", ".hdr": f"Radiance HDR: {_CONVERT}",
    ".dcm": f"DICOM: {_CONVERT}",
}
# Suffixes of files that often lie beside images in great numbers and are never opened.
_PLAIN = frozenset((
    ".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".md",
    ".html", ".py", ".ipynb", ".log", ".ini", ".db", ".zip", ".gz", ".tar",
    ".npy", ".npz", ".mat", ".pkl", ".pt", ".parquet", ".mp4", ".mov", ".avi"))
# Folders of thumbnails, recycle bins and the like, which hold no images of the set.
_JUNK = frozenset((
    "@eadir", "__macosx", "lost+found", "#recycle", "$recycle.bin",
    "system volume information", "__pycache__"))
# Formats of Pillow that hold data or video, or that it only guesses at.
_NO_IMAGES = ("BUFR", "GRIB", "HDF5", "IPTC", "MPEG")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1",
                b"msf1")


class Paths(Sequence[pathlib.Path]):
  """Paths of the files below a folder, in a few arrays.

  Millions of paths take a tenth of the memory of as many `pathlib.Path`s.
  """

  def __init__(self, root: pathlib.Path, text: np.ndarray, ends: np.ndarray):
    """Makes a sequence of paths; see `of`.

    Args:
      root: the folder.
      text: uint8 [T], the names relative to the folder, one after the other.
      ends: int64 [N], where in `text` each name ends.
    """
    self.root, self.text, self.ends = root, text, ends

  @classmethod
  def of(cls, root: pathlib.Path, names: Iterable[str]) -> "Paths":
    """Takes names relative to `root`."""
    encoded = [os.fsencode(name) for name in names]
    lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
    return cls(root, np.frombuffer(b"".join(encoded), np.uint8), np.cumsum(lengths))

  def __len__(self) -> int:
    return len(self.ends)

  def __getitem__(self, index):
    if isinstance(index, slice):
      return [self[i] for i in range(*index.indices(len(self)))]
    return self.root / self.relative(range(len(self))[index])

  def relative(self, index: int) -> str:
    """The path relative to the folder."""
    start = self.ends[index - 1] if index else 0
    return os.fsdecode(self.text[start:self.ends[index]].tobytes())

  def first_parts(self) -> list[str]:
    """For each file, the direct subfolder that it is in, or its own name."""
    return [self.relative(i).partition(os.sep)[0] for i in range(len(self))]


@dataclasses.dataclass(frozen=True)
class Found:
  """The contents of a folder.

  Attributes:
    images: paths of the images, sorted part by part.
    sizes: size of each image in bytes, int64 [N]; -1 if it cannot be had.
    times: when each image was changed, in nanoseconds, int64 [N].
    folders: names of the direct subfolders, sorted alphabetically, or by value if all
      are whole numbers.
    passed_over: paths relative to the folder of everything that is not an image,
      sorted. Paths of folders (a NAS's thumbnails, hidden folders, folders already
      visited by another path) end in "/".
    problems: one line for each folder that cannot be opened.
    searched: (time of the last change in nanoseconds, number of entries) of each
      folder that was searched, by its path.
  """
  images: Paths
  sizes: np.ndarray
  times: np.ndarray
  folders: tuple[str, ...]
  passed_over: tuple[str, ...]
  problems: tuple[str, ...]
  searched: Mapping[str, tuple[int, int]]

  def with_images(self, images: Sequence[pathlib.Path], **changes: Any) -> "Found":
    """The same folder with these images below it, such as those that a table names."""
    root = self.images.root
    facts = [size_and_time(image) for image in images]
    return dataclasses.replace(
        self, images=Paths.of(root, (os.path.relpath(image, root) for image in images)),
        sizes=np.array([size for size, _ in facts], np.int64),
        times=np.array([changed for _, changed in facts], np.int64), **changes)


@dataclasses.dataclass
class _Listing:
  """The entries of one folder: what `find` knows before it opens a file."""
  identity: tuple[int, int]
  changed: int
  entries: int
  real: list[str]
  links: list[str]
  images: list[tuple[str, int, int]]  # path, size, time of the last change
  unknown: list[tuple[str, int, int]]
  other: list[str]


def find(root: pathlib.Path, seen: Callable[[int], object] = lambda count: None) -> Found:
  """Searches all folders below `root` and follows symbolic links.

  Each real folder is visited once, however many links lead to it, so a link to a parent
  causes no loop. A folder's own path takes precedence over links to it.

  Args:
    root: the folder.
    seen: called with the number of entries of each folder.
  """
  images, unknown, other, folders, problems = [], [], [], [], []
  searched: dict[str, tuple[int, int]] = {}
  visited = set()
  start = len(os.path.join(root, ""))
  wave, links = [str(root)], list[str]()
  with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
    while wave or links:
      wave = wave or [links.pop(0)]
      following: list[str] = []
      for folder, listing in zip(wave, pool.map(_listing, wave)):
        if isinstance(listing, OSError):
          problems.append(f"folder '{folder}' cannot be opened ({listing.strerror}): "
                          "make it readable, or move it elsewhere")
          continue
        if os.path.dirname(folder) == str(root):
          folders.append(os.path.basename(folder))
        if listing.identity in visited:
          other.append(folder[start:] + "/")
          continue
        visited.add(listing.identity)
        searched[folder] = listing.changed, listing.entries
        following += listing.real
        links += listing.links
        images += listing.images
        unknown += listing.unknown
        other += [path[start:] for path in listing.other]
        seen(listing.entries)
      wave = following
    for file, good in zip(unknown, pool.map(_is_image, [path for path, *_ in unknown])):
      if good:
        images.append(file)
      else:
        other.append(file[0][start:])
  images.sort(key=lambda file: file[0].replace(os.sep, "\0"))  # part by part
  return Found(
      Paths.of(root, (path[start:] for path, *_ in images)),
      np.array([size for _, size, _ in images], np.int64),
      np.array([changed for *_, changed in images], np.int64),
      in_order(folders), tuple(sorted(other)), tuple(problems), searched)


def _listing(folder: str) -> _Listing | OSError:
  """Lists one folder."""
  try:
    # The status first: what is added later changes it.
    status = os.stat(folder)
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
  except OSError as error:
    return error
  found = _Listing((status.st_dev, status.st_ino), status.st_mtime_ns, len(entries),
                   [], [], [], [], [])
  for entry in entries:
    hidden = entry.name.startswith(".")
    try:
      is_folder, is_file = entry.is_dir(), entry.is_file()
    except OSError:  # a link that leads to itself, or where nothing may be read
      is_folder, is_file = False, False
    if is_folder:
      if hidden or entry.name.lower() in _JUNK:
        found.other.append(entry.path + "/")
      else:
        (found.links if entry.is_symlink() else found.real).append(entry.path)
      continue
    suffix = os.path.splitext(entry.name)[1].lower()
    # A broken link is not a file, but it was meant to be one.
    if hidden or suffix in _PLAIN or not (is_file or entry.is_symlink()):
      found.other.append(entry.path)
      continue
    known = suffix in suffixes() or suffix in FOREIGN
    kind = found.images if known else found.unknown
    kind.append((entry.path, *size_and_time(entry.path)))
  return found


def size_and_time(path: str | pathlib.Path) -> tuple[int, int]:
  """A file's size in bytes and its last change in nanoseconds; (-1, 0) if unknown."""
  try:
    status = os.stat(path)
  except OSError:
    return -1, 0
  return status.st_size, status.st_mtime_ns


def by_suffix(names: Iterable[str]) -> str:
  """How many files there are of which suffix: "3 .txt, 1 .csv, 1 folder"."""
  kinds = collections.Counter(
      "folder" if name.endswith("/") else
      os.path.splitext(name)[1].lower() or "without a suffix" for name in names)
  return ", ".join(f"{number} {kind}" + "s" * (kind == "folder" and number > 1)
                   for kind, number in kinds.most_common())


def in_order(names: Iterable[str]) -> tuple[str, ...]:
  """Sorts names by value if all are whole numbers, else alphabetically."""
  names = sorted(names)
  if all(name.isascii() and name.isdigit() for name in names):
    names.sort(key=int)
  return tuple(names)


def some(names: Iterable[str], number: int = 3) -> str:
  """Lists the first `number` names: "a, b, c, …"."""
  names = list(names)
  return ", ".join(names[:number]) + (", …" if len(names) > number else "")


@functools.cache
def suffixes() -> frozenset[str]:
  """Suffixes of all formats that Pillow reads, with the dot."""
  try:
    import pillow_heif  # pylint: disable=g-import-not-at-top
    pillow_heif.register_heif_opener()
  except ImportError:
    pass
  return frozenset(
      suffix for suffix, kind in Image.registered_extensions().items()
      if kind in Image.OPEN and kind not in _NO_IMAGES)


def why_unreadable(path: pathlib.Path) -> str:
  """Why Pillow cannot read an image, or "" if the reason is unknown."""
  try:
    with open(path, "rb") as file:
      suffix = ".heic" if _is_heic(file.read(12)) else path.suffix.lower()
      return "" if suffix in suffixes() else FOREIGN.get(suffix, "")
  except OSError:
    return ""


def _is_heic(start: bytes) -> bool:
  return start[4:8] == b"ftyp" and start[8:12] in _HEIC_BRANDS


@functools.cache
def _formats() -> tuple[str, ...]:
  """Formats that can be recognised by a signature at the start of the file."""
  suffixes()  # makes Pillow load all its formats
  return tuple(kind for kind, (_, accept) in Image.OPEN.items()
               if accept and kind not in _NO_IMAGES)


def _is_image(path: str) -> bool:
  """Whether the content looks like an image."""
  try:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
      return False
    return _identify(path, status.st_size, status.st_mtime_ns)
  except OSError:
    return False


@functools.cache
def _identify(path: str, size: int, changed: int) -> bool:
  """Whether a file opens as an image; cached until its size or its mtime changes."""
  del size, changed
  with open(path, "rb") as file:
    if _is_heic(file.read(12)):
      return True
    file.seek(0)
    try:
      with Image.open(file, formats=_formats()):
        return True
    except Exception:  # pylint: disable=broad-except  (whatever Pillow raises)
      return False
