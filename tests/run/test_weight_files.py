"""run/weight_files.py: formats, and files that are refused in one line."""

import hashlib
import pickle
import sys

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from augment_gen.config.errors import UserError
from augment_gen.run import weight_files

ARRAYS = {"conv1.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
          "bn1.bias": np.float16([0.5, -2.0]), "steps": np.int64([3])}


def assert_arrays(found, expected=None):
  expected = ARRAYS if expected is None else expected
  assert found.keys() == expected.keys()
  for name, array in expected.items():
    assert found[name].dtype == array.dtype
    np.testing.assert_array_equal(found[name], array)


class Trap:
  """A pickled object that leaves a file behind when it is loaded."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return open, (str(self.path), "w")


def test_safetensors(tmp_path):
  path = tmp_path / "w.safetensors"
  weight_files.write(path, ARRAYS, {"augment_gen": "{}"})
  found = weight_files.read(str(path), "FILE")
  # As any file that is written here; the library would make it its owner's alone.
  with open(other := tmp_path / "other", "w"):
    assert path.stat().st_mode == other.stat().st_mode
  other.unlink()
  assert_arrays(found.arrays)
  assert found.metadata == {"augment_gen": "{}"}
  assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_bfloat16_of_safetensors(tmp_path):
  arrays = {"a": np.float32([1, 2.5]).astype(ml_dtypes.bfloat16)}
  save_file(arrays, tmp_path / "w.safetensors")
  assert_arrays(weight_files.read(str(tmp_path / "w.safetensors"), "FILE").arrays, arrays)


def test_the_same_arrays_give_the_same_bytes(tmp_path):
  for name in "ab":
    weight_files.write(tmp_path / name, ARRAYS, {"augment_gen": "{}"})
  assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
  expected = hashlib.sha256((tmp_path / "a").read_bytes()).hexdigest()[:16]
  assert weight_files.fingerprint(str(tmp_path / "a")) == expected


def test_npz(tmp_path):
  np.savez(tmp_path / "w.npz", **ARRAYS)
  found = weight_files.read(str(tmp_path / "w.npz"), "FILE")
  assert_arrays(found.arrays)
  assert not found.metadata


def test_a_home_folder_is_found(tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path))
  np.savez(tmp_path / "w.npz", **ARRAYS)
  assert_arrays(weight_files.read("~/w.npz", "FILE").arrays)
  assert weight_files.fingerprint("~/w.npz")


def test_nothing_pickled_is_executed(tmp_path):
  sprung = tmp_path / "sprung"
  np.savez(tmp_path / "a.npz", w=np.array([Trap(sprung)], dtype=object))
  (tmp_path / "b.npz").write_bytes(pickle.dumps(Trap(sprung)))
  for name in ("a.npz", "b.npz"):
    with pytest.raises(UserError, match="^FILE is damaged, or holds pickled objects"):
      weight_files.read(str(tmp_path / name), "FILE")
  assert not sprung.exists()


@pytest.mark.parametrize("name, content, words", [
    ("w.h5", b"", r"^FILE does not end in \.safetensors, \.npz, \.pth, \.pt, \.tar$"),
    ("w.safetensors", b"no header at all", "cannot be read .*it is damaged"),
    ("w.npz", b"PK\x03\x04 cut off", "cannot be read .*it is damaged")])
def test_damaged_and_unknown_files(name, content, words, tmp_path):
  (tmp_path / name).write_bytes(content)
  with pytest.raises(UserError, match=words) as caught:
    weight_files.read(str(tmp_path / name), "FILE")
  assert len(caught.value.problems) == 1 and "\n" not in str(caught.value)


def test_one_array_is_no_file_of_weights(tmp_path):
  with open(tmp_path / "w.npz", "wb") as file:
    np.save(file, np.ones(3))
  with pytest.raises(UserError, match="FILE cannot be read"):
    weight_files.read(str(tmp_path / "w.npz"), "FILE")


@pytest.mark.parametrize("path", ["missing.npz", "gs://bucket/w.npz"])
def test_a_missing_file(path):
  with pytest.raises(UserError, match="^FILE: there is no such file$"):
    weight_files.read(path, "FILE")


def test_a_file_that_cannot_be_written(tmp_path):
  with pytest.raises(UserError, match="w.safetensors cannot be written"):
    weight_files.write(tmp_path / "no" / "w.safetensors", ARRAYS, {})


def test_without_pytorch_the_conversion_is_shown(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "torch", None)
  (tmp_path / "moco_v2.pth.tar").write_bytes(b"")
  with pytest.raises(UserError, match="not installed here") as caught:
    weight_files.read(str(tmp_path / "moco_v2.pth.tar"), "FILE")
  (line,) = caught.value.problems
  assert "torch.load('moco_v2.pth.tar'" in line and "weights_only=True" in line
  assert "'moco_v2.safetensors')" in line
