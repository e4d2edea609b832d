"""Convolutions that XLA's CPU backend does not stumble over.

XLA:CPU (jaxlib 0.10) is many times slower than it need be, forward or
backward, where a convolution puts out a map of 2x2 or fewer places; the last
two stages of a ResNet on 28x28 images are such. There a convolution is exactly
a matrix product per place: of the part of the image that the window covers, and
of the part of the kernel that lies inside the image. At 1x1 a 3x3 kernel so
comes down to its centre. benchmarks/conv_lowering.py prints what this gains;
im2col and space-to-depth, measured for the other strided convolutions, were
faster for some and slower for others on this jaxlib, and are not used.
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

# The largest output, in places, that XLA:CPU is slow for: from 3x3 on, the
# convolution is as fast as the products, or faster.
_TINY_OUTPUT = 4
_NHWC = ("NHWC", "HWIO", "NHWC")

_lowering = contextvars.ContextVar("lowering", default="auto")


@contextlib.contextmanager
def lowering(name: str) -> Iterator[None]:
  """Forces one form of all convolutions traced inside, to test and to measure.

  It acts while tracing: what `jax.jit` has compiled before stays as it is.

  Args:
    name: "auto" (products for tiny outputs on the CPU backend), "lax" (never),
      or "products" (wherever they can stand for the convolution).

  Raises:
    ValueError: another name.
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
  """`lax.conv_general_dilated`, for `nn.Conv(conv_general_dilated=...)`.

  Takes what `nn.Conv` passes, with the meaning it has in
  `lax.conv_general_dilated`: images [N, H, W, C], a kernel [h, w, C, O], and
  returns [N, H', W', O]. Products stand for undilated and ungrouped
  convolutions of this layout; the platform, shapes and `lowering` decide while
  tracing whether they do.
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
  """Along one axis: for each place of the output, (pixels, taps) that meet."""
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


# `nn.Conv` in the form that all networks here use.
Conv = functools.partial(nn.Conv, conv_general_dilated=conv_general_dilated)
