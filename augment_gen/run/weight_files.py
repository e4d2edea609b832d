"""Files of named arrays: safetensors, NumPy's .npz, and PyTorch's own format.

Nothing in a file is executed. Pickled objects are refused, and PyTorch's files, which are
pickles, are left to PyTorch's restricted reader.
"""

from collections.abc import Mapping
import dataclasses
import hashlib
import os
import pathlib

import numpy as np
import safetensors
from safetensors import numpy as safetensors_numpy

from augment_gen.config.errors import UserError

_PYTORCH = (".pth", ".pt", ".tar")
_CONVERT = (
    "python -c \"import torch, safetensors.torch as s; d = torch.load('{name}', "
    "map_location='cpu', weights_only=True); s.save_file({{k: v.contiguous() for k, v in "
    "d.get('state_dict', d).items()}}, '{stem}.safetensors')\"")


@dataclasses.dataclass(frozen=True)
class Weights:
  """The contents of a file.

  Attributes:
    arrays: arrays by name. bfloat16 is that of ml_dtypes.
    metadata: texts by name; only safetensors files have them.
  """
  arrays: dict[str, np.ndarray]
  metadata: dict[str, str] = dataclasses.field(default_factory=dict)


def read(path: str, source: str) -> Weights:
  """Reads a file, by its suffix.

  Args:
    path: a file that ends in .safetensors, .npz, .pth, .pt or .tar.
    source: what messages call the file.

  Raises:
    UserError: there is no such file, it is damaged or of another kind, or it needs
      PyTorch, which is not installed. One line.
  """
  file = pathlib.Path(path).expanduser()
  suffix = file.suffix.lower()
  readers = {".safetensors": _read_safetensors, ".npz": _read_npz,
             **dict.fromkeys(_PYTORCH, _read_pytorch)}
  if suffix not in readers:
    raise UserError(f"{source} does not end in {', '.join(readers)}")
  if not file.is_file():
    raise UserError(f"{source}: there is no such file")
  try:
    return readers[suffix](file)
  except ModuleNotFoundError:
    raise UserError(
        f"{source} is a file of PyTorch, which is not installed here: install it, or "
        "convert the file where it is: " +
        _CONVERT.format(name=file.name, stem=file.name.partition(".")[0])) from None
  # A damaged file can raise nearly any error inside a reader.
  except Exception as error:  # pylint: disable=broad-except
    if "pickle" in str(error).lower():  # NumPy's and PyTorch's advice is to run it
      raise UserError(
          f"{source} is damaged, or holds pickled objects, which may execute code and "
          "are not read: save the arrays alone") from None
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    raise UserError(
        f"{source} cannot be read ({reason[:160]}): it is damaged, or holds other things "
        "than arrays") from None


def write(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray],
          metadata: Mapping[str, str]) -> None:
  """Writes a safetensors file, whole or not at all.

  Args:
    path: the file. Its folder must exist.
    arrays: contiguous arrays by name.
    metadata: texts by name. With more than one, the order and so the file's fingerprint
      is not the same each time.

  Raises:
    UserError: the file cannot be written.
  """
  file = pathlib.Path(path).expanduser()
  partial = file.with_name(file.name + ".partial")
  try:
    # The library's own file would be readable by its owner alone.
    partial.write_bytes(safetensors_numpy.save(dict(arrays), metadata=dict(metadata)))
    os.replace(partial, file)
  except (OSError, safetensors.SafetensorError) as error:
    raise UserError(f"{file} cannot be written: {error}") from None


def fingerprint(path: str) -> str:
  """The first 16 digits of the SHA-256 of a file (`sha256sum FILE`)."""
  with open(pathlib.Path(path).expanduser(), "rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _read_safetensors(file: pathlib.Path) -> Weights:
  with safetensors.safe_open(file, framework="numpy") as found:
    return Weights({name: found.get_tensor(name) for name in found.keys()},  # noqa: SIM118
                   found.metadata() or {})


def _read_npz(file: pathlib.Path) -> Weights:
  with np.load(file, allow_pickle=False) as found:
    return Weights(dict(found.items()))


def _read_pytorch(file: pathlib.Path) -> Weights:
  import torch  # pylint: disable=g-import-not-at-top
  found = torch.load(file, map_location="cpu", weights_only=True)
  # Checkpoints of a training hold the weights beside the optimiser's state.
  found = next((found[key] for key in ("state_dict", "model") if key in found), found)
  return Weights({
      name: (value.float() if value.is_floating_point() else value).numpy()
      for name, value in found.items() if isinstance(value, torch.Tensor)})
