"""Convolutions that avoid a slow case of XLA's CPU backend.

XLA:CPU (jaxlib 0.10) is many times slower than necessary, forward or backward, if the
output of a convolution has at most 2x2 places. The last two stages of a ResNet on 28x28
images are such cases. There, a convolution is exactly one matrix product per place,
between the part of the image under the window and the part of the kernel inside the
image. At 1x1, a 3x3 kernel thus reduces to its centre. benchmarks/conv_lowering.py
prints the speed-up. We also measured im2col and space-to-depth for the other strided
convolutions. On this jaxlib they were faster for some and slower for others, so they
are not used.
"""

from collections.abc import Iterator, Sequence
import contextlib
import contextvars
import functools

from flax import linen as nn
import jax
from jax import lax
import jax.numpy as jnp

LOWERINGS = ("auto", "lax", "products")

# The largest output, in places, for which XLA:CPU is slow. From 3x3 on, the convolution
# is at least as fast as the products.
_TINY_OUTPUT = 4
_NHWC = ("NHWC", "HWIO", "NHWC")

_lowering = contextvars.ContextVar("lowering", default="auto")


@contextlib.contextmanager
def lowering(name: str) -> Iterator[None]:
  """Forces one form of all convolutions traced inside, for tests and benchmarks.

  It acts at trace time. Functions that `jax.jit` has already compiled do not change.

  Args:
    name: "auto" (products for tiny outputs on the CPU backend), "lax" (no products) or
      "products" (products wherever they can replace the convolution).

  Raises:
    ValueError: the name is unknown.
  """
  if name not in LOWERINGS:
    raise ValueError(f"lowering '{name}' is not one of {LOWERINGS}")
  token = _lowering.set(name)
  try:
    yield
  finally:
    _lowering.reset(token)


def conv_general_dilated(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers=None,
    feature_group_count: int = 1,
    precision=None,
) -> jax.Array:
  """Replaces `lax.conv_general_dilated` in `nn.Conv(conv_general_dilated=...)`.

  It takes the arguments that `nn.Conv` passes, with the same meaning as in
  `lax.conv_general_dilated`: images [N, H, W, C] and a kernel [h, w, C, O]. It returns
  [N, H', W', O]. Products can replace undilated and ungrouped convolutions of this
  layout. The platform, the shapes and `lowering` decide this at trace time.
  """
  name = _lowering.get()
  if name != "lax" and _plain(
      lhs, rhs, lhs_dilation, rhs_dilation, dimension_numbers,
      feature_group_count):
    if isinstance(padding, str):
      padding = lax.padtype_to_pads(
          lhs.shape[1:3], rhs.shape[:2], window_strides, padding)
    rows, columns = (
        _windows(size, taps, stride, pad) for size, taps, stride, pad in zip(
            lhs.shape[1:3], rhs.shape[:2], window_strides, padding,
            strict=True))
    places = len(rows) * len(columns)
    tiny = places <= _TINY_OUTPUT and jax.default_backend() == "cpu"
    if places and (tiny or name == "products"):
      return _products(lhs, rhs, rows, columns, precision)
  return lax.conv_general_dilated(
      lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation,
      dimension_numbers, feature_group_count, precision=precision)


def _plain(lhs, rhs, lhs_dilation, rhs_dilation, dimension_numbers,
           feature_group_count) -> bool:
  """Whether this is an undilated, ungrouped convolution of [N, H, W, C]."""
  if lhs.ndim != 4 or feature_group_count != 1:
    return False
  if any(d != 1 for d in (*(lhs_dilation or ()), *(rhs_dilation or ()))):
    return False
  numbers = functools.partial(
      lax.conv_dimension_numbers, lhs.shape, rhs.shape)
  return numbers(dimension_numbers) == numbers(_NHWC)


def _windows(size: int, taps: int, stride: int, pad: tuple[int, int]
             ) -> list[tuple[slice, slice]]:
  """For each output place along one axis, the (pixels, taps) that overlap."""
  low, high = pad
  windows = []
  for start in range(-low, size + high - taps + 1, stride):
    first = max(start, 0)
    last = max(min(start + taps, size), first)  # Empty if all taps are outside.
    windows.append((slice(first, last), slice(first - start, last - start)))
  return windows


def _products(lhs, rhs, rows, columns, precision):
  batch, features = lhs.shape[0], rhs.shape[-1]
  places = []
  for pixel_rows, tap_rows in rows:
    for pixel_columns, tap_columns in columns:
      pixels = lhs[:, pixel_rows, pixel_columns].reshape(batch, -1)
      taps = rhs[tap_rows, tap_columns].reshape(-1, features)
      places.append(jnp.dot(pixels, taps, precision=precision))
  return jnp.stack(places, axis=1).reshape(
      batch, len(rows), len(columns), features)


# The `nn.Conv` that all networks here use.
Conv = functools.partial(nn.Conv, conv_general_dilated=conv_general_dilated)
