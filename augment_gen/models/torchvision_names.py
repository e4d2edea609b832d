"""A ResNet's variables under torchvision's names, which timm and MoCo share, and back.

    stem_conv/kernel [7, 7, C, 64]           conv1.weight [64, C, 7, 7]
    stem_norm/scale, bias, mean, var         bn1.weight, bias, running_mean, running_var
    stage2_block1/conv1/kernel               layer2.0.conv1.weight
    stage2_block1/norm1/scale                layer2.0.bn1.weight
    stage2_block1/shortcut_conv/kernel       layer2.0.downsample.0.weight
    stage2_block1/shortcut_norm/scale        layer2.0.downsample.1.weight

The networks compute the same: padding, pooling, epsilon (1e-5) and strides of
models/resnet.py are those of torchvision. Batch norm keeps 0.9 of its running averages in
a step, which PyTorch calls a momentum of 0.1.
"""

from collections.abc import Iterable, Mapping
import re
from typing import Any

from flax import traverse_util
import numpy as np

from augment_gen.config.errors import UserError

PyTree = Any
Path = tuple[str, ...]  # collection, modules, leaf

_MODULES = {"stem_conv": "conv1", "stem_norm": "bn1",
            **{f"conv{i}": f"conv{i}" for i in (1, 2, 3)},
            **{f"norm{i}": f"bn{i}" for i in (1, 2, 3)},
            "shortcut_conv": "downsample.0", "shortcut_norm": "downsample.1"}
_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias",
           "mean": "running_mean", "var": "running_var"}
# A file of MoCo v1 or v2 holds two encoders and a queue, one of MoCo v3 two encoders and
# a predictor: the first prefix that occurs says which names are F's.
_PREFIXES = ("module.encoder_q.", "module.base_encoder.", "module.")
_HEADS = ("fc.", "head.")
_COUNTER = ".num_batches_tracked"  # PyTorch counts steps; momentum 0.1 does not use it
_NAMED = 3  # names that a message lists of each kind


def from_torchvision(arrays: Mapping[str, np.ndarray], like: PyTree, source: str
                     ) -> tuple[PyTree, list[str]]:
  """Returns F's variables from a file's arrays.

  Classifiers and projection heads (`fc.…`, `head.…`) are left out, and so are the other
  networks of a MoCo file. All else must be there, in the right shape, and nothing more.

  Args:
    arrays: the file's arrays by name, of any floating-point type. Convolutions are
      [out, in, height, width].
    like: F's variables or their shapes, `{"params": …, "batch_stats": …}`.
    source: what messages call the file.

  Returns:
    Variables of the form of `like`, float32, and what the user should know of them, one
    line each.

  Raises:
    UserError: the names, shapes, types or values do not fit. One line.
  """
  arrays = _of_encoder(arrays)
  paths = {name_of(path): path for path in traverse_util.flatten_dict(like)}
  shapes = {name: _torch_shape(leaf.shape) for name, leaf in sorted(
      to_names(like).items(), key=lambda item: _order(item[0]))}
  arrays, notes = _fit_grey(arrays, shapes, source)
  _check(arrays, shapes, source)
  return traverse_util.unflatten_dict({
      path: _from_torch(np.asarray(arrays[name], np.float32))
      for name, path in paths.items()}), notes


def to_torchvision(variables: PyTree) -> dict[str, np.ndarray]:
  """Returns F's variables by torchvision's names, contiguous, convolutions as OIHW."""
  return {name: np.ascontiguousarray(
      array.transpose(3, 2, 0, 1) if array.ndim == 4 else array)
          for name, array in to_names(variables).items()}


def to_names(variables: PyTree) -> dict[str, Any]:
  """The leaves of F's variables by torchvision's names; layouts are ours."""
  return {name_of(path): leaf
          for path, leaf in traverse_util.flatten_dict(variables).items()}


def name_of(path: Path) -> str:
  """("params", "stage2_block1", "norm1", "scale") -> "layer2.0.bn1.weight"."""
  _, *modules, leaf = path
  names = []
  for module in modules:
    if block := re.fullmatch(r"stage(\d+)_block(\d+)", module):
      names.append(f"layer{block[1]}.{int(block[2]) - 1}")
    else:
      names.append(_MODULES[module])
  return ".".join([*names, _LEAVES[leaf]])


def _of_encoder(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """F's part of a file, without prefixes, heads and counters."""
  prefix = next((p for p in _PREFIXES if any(n.startswith(p) for n in arrays)), "")
  own = {name.removeprefix(prefix): array for name, array in arrays.items()
         if name.startswith(prefix)}
  return {name: array for name, array in own.items()
          if not name.startswith(_HEADS) and not name.endswith(_COUNTER)}


def _fit_grey(arrays: dict[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]],
              source: str) -> tuple[dict[str, np.ndarray], list[str]]:
  """Sums the first convolution over RGB if F sees grey images, as timm does.

  The sum gives a grey image what the file's network gives the same image in three equal
  channels.
  """
  name = "conv1.weight"
  stem = arrays.get(name)
  if stem is None or stem.ndim != 4 or stem.shape[1] != 3 or shapes[name][1] != 1:
    return arrays, []
  grey = np.asarray(stem, np.float32).sum(axis=1, keepdims=True)
  return {**arrays, name: grey}, [
      f"{source}: F sees grey images, so the first convolution is summed over the "
      "file's three channels"]


def _check(arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]],
           source: str) -> None:
  """Raises UserError unless `arrays` has the names and shapes, and finite numbers."""
  if "conv1.0.weight" in arrays:
    raise UserError(
        f"{source} has the stem of a ResNet-C or -D (conv1.0 to conv1.6: three "
        "convolutions), and F has one convolution of 7 × 7: give weights with a plain "
        "stem, such as timm's resnet50.tv_in1k")
  other = [f"{name} {list(arrays[name].shape)} instead of {list(shape)}"
           for name, shape in shapes.items()
           if name in arrays and arrays[name].shape != shape]
  found = [f"{words}: {_some(names)}" for words, names in (
      ("missing", [name for name in shapes if name not in arrays]),
      ("left over", [name for name in arrays if name not in shapes]),
      ("of another shape", other)) if names]
  if found:
    raise UserError(
        f"{source} holds another network than F. {'; '.join(found)}. Give weights of "
        "the same ResNet, or change config.encoder (name, width, blocks, stem) or "
        "config.data.channels")
  # ml_dtypes' bfloat16 is no subtype of np.floating.
  kinds = [f"{name} {array.dtype}" for name, array in arrays.items()
           if array.dtype.name != "bfloat16"
           and not np.issubdtype(array.dtype, np.floating)]
  if kinds:
    raise UserError(f"{source} holds no floating-point numbers in {_some(kinds)}")
  broken = [name for name, array in arrays.items()
            if not np.isfinite(np.asarray(array, np.float32)).all()]
  if broken:
    raise UserError(f"{source} holds NaN or infinite numbers in {_some(broken)}")


def _some(names: Iterable[str]) -> str:
  """"a, b, c and 5 more"."""
  names = list(names)
  more = len(names) - _NAMED
  return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _order(name: str) -> tuple[bool, bool, str]:
  """Sorts the stem first, and weights before statistics."""
  return name.startswith("layer"), "running" in name, name


def _torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
  return (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else tuple(shape)


def _from_torch(array: np.ndarray) -> np.ndarray:
  """OIHW -> HWIO."""
  return np.ascontiguousarray(array.transpose(2, 3, 1, 0) if array.ndim == 4 else array)
