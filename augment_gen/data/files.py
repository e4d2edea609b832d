"""Finds the image files below a folder.

A file counts as an image without being opened if Pillow reads files of its suffix. So
does a file in a format that Pillow lacks (a camera's raw files, HEIC): it is a bad image
and must not be passed over silently. The content of all other files decides.
"""

from collections.abc import Iterable
import concurrent.futures
import dataclasses
import functools
import os
import pathlib
import stat

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


@dataclasses.dataclass(frozen=True)
class Found:
  """The contents of a folder.

  Attributes:
    images: paths of the images, sorted.
    folders: names of the direct subfolders, sorted alphabetically, or by value if all
      are whole numbers.
    passed_over: paths relative to the folder of everything that is not an image,
      sorted. Paths of folders (a NAS's thumbnails, hidden folders, folders already
      visited by another path) end in "/".
    problems: one line for each folder that cannot be opened.
  """
  images: tuple[pathlib.Path, ...]
  folders: tuple[str, ...]
  passed_over: tuple[str, ...]
  problems: tuple[str, ...]


def find(root: pathlib.Path) -> Found:
  """Searches all folders below `root` and follows symbolic links.

  Each real folder is visited once, however many links lead to it, so a link to a parent
  causes no loop. A folder's own path takes precedence over links to it.
  """
  images, unknown, folders, other, problems = [], [], [], [], []
  seen = set()
  real = [str(root)]
  links: list[str] = []
  start = len(os.path.join(root, ""))
  while real or links:
    folder = real.pop() if real else links.pop(0)
    try:
      status = os.stat(folder)
      if (status.st_dev, status.st_ino) in seen:
        other.append(folder[start:] + "/")
        continue
      seen.add((status.st_dev, status.st_ino))
      entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
      problems.append(f"folder '{folder}' cannot be opened ({error.strerror}): "
                      "make it readable, or move it elsewhere")
      continue
    if os.path.dirname(folder) == str(root):
      folders.append(os.path.basename(folder))
    for entry in entries:
      hidden = entry.name.startswith(".")
      if entry.is_dir():
        if hidden or entry.name.lower() in _JUNK:
          other.append(entry.path[start:] + "/")
        else:
          (links if entry.is_symlink() else real).append(entry.path)
        continue
      suffix = os.path.splitext(entry.name)[1].lower()
      # A broken link is not a file, but it was meant to be one.
      if hidden or suffix in _PLAIN or not (
          entry.is_file() or entry.is_symlink()):
        other.append(entry.path[start:])
      elif suffix in suffixes() or suffix in FOREIGN:
        images.append(pathlib.Path(entry.path))
      else:
        unknown.append(entry.path)
  with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
    for path, found in zip(unknown, pool.map(_is_image, unknown)):
      if found:
        images.append(pathlib.Path(path))
      else:
        other.append(path[start:])
  return Found(tuple(sorted(images)), in_order(folders), tuple(sorted(other)),
               tuple(problems))


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
      return _HEIC if _is_heic(file.read(12)) else FOREIGN.get(
          path.suffix.lower(), "")
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
