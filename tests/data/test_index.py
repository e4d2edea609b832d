"""What a folder holds, remembered in the user's cache folder."""

import os
import pathlib

import pytest

from augment_gen.data import files, index


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """Three files in two folders; every search is a fresh one, and is kept."""
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  monkeypatch.setattr(index, "_WORTH_KEEPING", 1)
  monkeypatch.setattr(index, "_latest", {})
  for name in ("b/2.png", "a/x/1.png", "a-c/3.jpg", "a/notes.txt"):
    path = tmp_path / "images" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * len(name))
  return tmp_path / "images"


@pytest.fixture
def searches(monkeypatch):
  """The folders that were searched, not taken from the cache."""
  found, search = [], files.find
  monkeypatch.setattr(
      files, "find", lambda root, seen: found.append(root) or search(root, seen))
  return found


def names(found):
  return [str(path.relative_to(found.images.root)) for path in found.images]


def again(folder):
  """As the next start of the command finds the folder."""
  index._latest.clear()
  return index.find(folder)


def test_paths_are_as_pathlib_sorts_them(folder):
  paths = files.find(folder).images
  assert list(paths) == sorted(p for p in folder.rglob("*.*g") if p.is_file())
  assert paths[-1] == folder / "b" / "2.png" and paths[:1] == [paths[0]]
  with pytest.raises(IndexError):
    paths[3]
  assert paths.first_parts() == ["a", "a-c", "b"]
  odd = files.Paths.of(pathlib.Path("/r"), ["ä/日.png", os.fsdecode(b"\xff.png")])
  assert [os.fsencode(path.name) for path in odd] == ["日.png".encode(), b"\xff.png"]


def test_a_second_start_does_not_search(folder, searches):
  first, second = index.find(folder), again(folder)
  assert searches == [folder]
  assert names(second) == names(first) == ["a/x/1.png", "a-c/3.jpg", "b/2.png"]
  assert second.sizes.tolist() == [9, 9, 7]
  assert (second.folders, second.passed_over) == (("a", "a-c", "b"), ("a/notes.txt",))
  assert second.searched == first.searched and len(second.searched) == 5
  index.find(folder)
  assert searches == [folder]


@pytest.mark.parametrize("change", [
    lambda f: (f / "a" / "x" / "new.png").write_bytes(b"y"),
    lambda f: (f / "b" / "2.png").unlink(),
    lambda f: (f / "b" / "2.png").rename(f / "b" / "4.png"),
    lambda f: (f / "b" / "2.png").write_bytes(b"overwritten in place"),
    lambda f: (f / "d").mkdir()])
def test_a_changed_folder_is_searched_again(folder, searches, change):
  before = index.find(folder)
  change(folder)
  for found in (index.find(folder), again(folder)):
    assert (names(found), found.sizes.tolist(), found.folders) != (
        names(before), before.sizes.tolist(), before.folders)
  assert searches == [folder, folder]


def test_a_renamed_file_is_noticed_by_the_time_of_its_folder(folder, monkeypatch):
  monkeypatch.setattr(index, "_CHECKED_FILES", 1)
  found = index.find(folder)
  (folder / "b" / "2.png").rename(folder / "b" / "4.png")
  assert not index.unchanged(found)


def test_more_files_within_one_tick_of_the_clock_are_noticed(folder):
  found = index.find(folder)
  before = (folder / "b").stat()
  (folder / "b" / "new.png").write_bytes(b"y")
  os.utime(folder / "b", ns=(before.st_atime_ns, before.st_mtime_ns))
  assert not index.unchanged(found)


def test_a_damaged_cache_and_small_folders_are_done_without(
    folder, searches, tmp_path, monkeypatch):
  index.find(folder)
  stored, = (tmp_path / "cache" / "augment_gen" / "folders").iterdir()
  whole = bytearray(stored.read_bytes())
  stored.write_bytes(whole[:200])
  assert len(again(folder).images) == 3
  for start, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
    at = whole.index(start) + place
    whole[at:at + 2] = b"\x63\0"  # a compression that Python's zipfile lacks
  stored.write_bytes(whole)
  assert len(again(folder).images) == 3
  stored.unlink()
  monkeypatch.setattr(index, "_WORTH_KEEPING", 4)
  assert len(again(folder).images) == 3 and not stored.exists()
  assert len(searches) == 4
  monkeypatch.setattr(index, "_WORTH_KEEPING", 1)
  monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "b" / "2.png"))
  assert len(again(folder).images) == 3
  monkeypatch.setenv("XDG_CACHE_HOME", "~nobody-of-this-name/cache")
  assert len(again(folder).images) == 3


def test_images_that_a_table_names(folder):
  found = files.find(folder)
  chosen = found.with_images([found.images[2], folder / "none.png"], folders=("b",))
  assert names(chosen) == ["b/2.png", "none.png"] and chosen.folders == ("b",)
  assert chosen.sizes.tolist() == [7, -1]
  assert not len(found.with_images([]).images) and len(found.images) == 3


def test_what_was_passed_over_is_counted_by_suffix():
  assert files.by_suffix(["a.TXT", "b.txt", "c/", "d", "e/"]) == (
      "2 .txt, 2 folders, 1 without a suffix")
