"""Convolutions that avoid slow cases of XLA's CPU backend.

XLA:CPU (jaxlib 0.10) is many times slower than necessary, forward or backward, if the
output of a convolution has at most 2x2 places. The last two stages of a ResNet on 28x28
images are such cases, and so are the gradients of kernels of at most 2x2 taps. There, a
convolution is exactly one matrix product per place, between the part of the image under
the window and the part of the kernel inside the image. At 1x1, a 3x3 kernel thus
reduces to its centre. 1x1 kernels are one product on images of any size
(docs/experiments/021). benchmarks/conv_lowering.py prints the speed-up. Gradients of
other kernels keep XLA:CPU from computing twice what made the image. We also measured
im2col and space-to-depth for the other strided convolutions. On this jaxlib they were
faster for some and slower for others, so they are not used.
"""

from collections.abc import Iterator, Sequence
import contextlib
import contextvars
import functools
from typing import Any

from flax import linen as nn
import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from augment_gen.run import forms

LOWERINGS = ("auto", "lax", "products")

# Fewer channels have only images of the data, which no batch norm made: `_quick_gradient`
# has little to save there. The limit itself was not measured.
_LEAST_CHANNELS = 8

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
    name: "auto" (products for tiny outputs and 1x1 kernels on the CPU backend), "lax"
      (no products) or "products" (products wherever they can replace the convolution).

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
    places, taps = len(rows) * len(columns), rhs.shape[0] * rhs.shape[1]
    on_cpu = forms.for_cpu()
    if places and (name == "products" or (on_cpu and places <= _TINY_OUTPUT)):
      return _products(lhs, rhs, rows, columns, precision)
    if places and on_cpu and taps == 1:
      return _pointwise(lhs, rhs, window_strides, padding, precision)
    by_tap = taps <= _TINY_OUTPUT and max(window_strides) == 1
    if places and on_cpu and (by_tap or lhs.shape[-1] >= _LEAST_CHANNELS):
      return _quick_gradient(lhs, rhs, tuple(window_strides), tuple(map(tuple, padding)),
                             by_tap, precision)
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
  whole = (slice(0, lhs.shape[1]), slice(0, lhs.shape[2]))
  if all((r, c) == whole for r, _ in rows for c, _ in columns):
    # Every place sees the whole image: one product does, and nothing is sliced.
    taps = jnp.stack([rhs[r, c] for _, r in rows for _, c in columns], axis=3)
    return jnp.dot(lhs.reshape(batch, -1),
                   taps.reshape(-1, len(rows) * len(columns) * features),
                   precision=precision).reshape(
                       batch, len(rows), len(columns), features)
  places = []
  for pixel_rows, tap_rows in rows:
    for pixel_columns, tap_columns in columns:
      pixels = lhs[:, pixel_rows, pixel_columns].reshape(batch, -1)
      taps = rhs[tap_rows, tap_columns].reshape(-1, features)
      places.append(jnp.dot(pixels, taps, precision=precision))
  return jnp.stack(places, axis=1).reshape(
      batch, len(rows), len(columns), features)


def _pointwise(lhs, rhs, strides, padding, precision):
  """A 1x1 convolution as one product of matrices, as which its gradient is quick, too.

  XLA:CPU would copy both operands of a convolution's gradient, transposed, and those of a
  product over several dimensions: 1.5 of a ResNet-50's 6.0 s a step went into that
  (docs/experiments/021).
  """
  lhs = jnp.pad(lhs, ((0, 0), *padding, (0, 0)))[:, ::strides[0], ::strides[1]]
  flat = jnp.dot(lhs.reshape(-1, lhs.shape[-1]), rhs[0, 0], precision=precision)
  return flat.reshape(*lhs.shape[:-1], -1)


def _ordinary(lhs, rhs, strides, padding, by_tap, precision):
  del by_tap  # is for the gradient
  return lax.conv_general_dilated(
      lhs, rhs, strides, padding, dimension_numbers=_NHWC, precision=precision)


# A convolution as `lax` has it, but for its gradient with respect to the kernel.
_quick_gradient = jax.custom_vjp(_ordinary, nondiff_argnums=(2, 3, 4, 5))


def _quick_gradient_forward(lhs, rhs, *static):
  return _ordinary(lhs, rhs, *static), (lhs, rhs)


def _quick_gradient_backward(strides, padding, by_tap, precision, saved, dy):
  lhs, rhs = saved
  static = strides, padding, by_tap, precision
  (d_lhs,) = jax.linear_transpose(lambda x: _ordinary(x, rhs, *static), lhs)(dy)
  if by_tap:
    return d_lhs, _slope_by_tap(lhs, rhs, padding, precision, dy)
  # XLA:CPU transposes the image. If batch norm or ReLU made the image, it computes these
  # once more, in the order of the transposed image, which takes 24 ms where to transpose
  # takes 1 to 7 (docs/experiments/021). A product with the identity changes no value, and
  # XLA keeps its result.
  identity = jnp.eye(lhs.shape[-1], dtype=lhs.dtype)
  kept = jnp.dot(lhs.reshape(-1, lhs.shape[-1]), identity).reshape(lhs.shape)
  (d_rhs,) = jax.linear_transpose(lambda k: _ordinary(kept, k, *static), rhs)(dy)
  return d_lhs, d_rhs


_quick_gradient.defvjp(_quick_gradient_forward, _quick_gradient_backward)


def _slope_by_tap(lhs, rhs, padding, precision, dy):
  """The gradient of a kernel of at most 2x2 taps and stride 1, as one product per tap.

  As a convolution, it would have an output of that size, XLA:CPU's slow case.
  """
  height, width, features = dy.shape[1:]
  padded = jnp.pad(lhs, ((0, 0), *padding, (0, 0)))
  flat = dy.reshape(-1, features)
  taps = [jnp.dot(padded[:, i:i + height, j:j + width].reshape(-1, lhs.shape[-1]).T, flat,
                  precision=precision)
          for i in range(rhs.shape[0]) for j in range(rhs.shape[1])]
  return jnp.stack(taps).reshape(rhs.shape).astype(rhs.dtype)


# The `nn.Conv` that all networks here use.
Conv = functools.partial(nn.Conv, conv_general_dilated=conv_general_dilated)


class UpConv(nn.Module):
  """Doubles height and width by repeating places, then a 3x3 convolution with zero padding.

  On CPU, the repeated map is never made. Each output place sees only 2x2 different places
  of the input, so that one 2x2 convolution with a set of features for each of the four
  parities of row and column does the same with 4/9 of the products, and on matrices of a
  better shape. No other backend was measured, and each gets the plain form.

  Attributes:
    features: number of output channels.
    dtype: dtype of the convolution; parameters are float32.
  """
  features: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """[B, H, W, C] -> [B, 2H, 2W, features]."""
    batch, height, width, channels = x.shape
    kernel = self.param("kernel", nn.initializers.lecun_normal(),
                        (3, 3, channels, self.features), jnp.float32)
    bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
    if not forms.for_cpu():
      y = conv_general_dilated(
          x.repeat(2, axis=1).repeat(2, axis=2).astype(self.dtype),
          kernel.astype(self.dtype), (1, 1), "SAME", dimension_numbers=_NHWC)
      return y + bias.astype(self.dtype).reshape(1, 1, 1, -1)
    # [2, 2, C, 2, 2, features]: taps, then parities.
    taps = jnp.einsum("aip,bjq,pqco->ijcabo", _TAPS_OF_PARITY, _TAPS_OF_PARITY, kernel,
                      precision=lax.Precision.HIGHEST)
    h = conv_general_dilated(
        x.astype(self.dtype),
        taps.reshape(2, 2, channels, 4 * self.features).astype(self.dtype),
        (1, 1), ((1, 1), (1, 1)), dimension_numbers=_NHWC)
    h = h.reshape(batch, height + 1, width + 1, 2, 2, self.features)
    rows = [jnp.stack([h[:, a:a + height, b:b + width, a, b] for b in (0, 1)], axis=3)
            for a in (0, 1)]
    y = jnp.stack(rows, axis=2).reshape(batch, 2 * height, 2 * width, self.features)
    return y + bias.astype(self.dtype).reshape(1, 1, 1, -1)


# [parity, tap of 2, tap of 3]: an even row sees its own place of the input with the last
# two taps and the one before with the first; an odd row its own with the first two.
_TAPS_OF_PARITY = np.array([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], np.float32)
