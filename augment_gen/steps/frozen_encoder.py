"""The input of the discriminators: features of images from the frozen encoder F."""

from collections.abc import Callable, Sequence
from typing import Any

from flax import linen as nn
from flax import struct
import jax
import jax.numpy as jnp
import numpy as np

from augment_gen.models.latent_maps import area_resize
from augment_gen.steps.pixel_statistics import pixel_statistics

PyTree = Any
# (variables, x [b, H, W, C]) -> (y [b, D], detail [b, places, channels]).
See = Callable[[PyTree, jax.Array], tuple[jax.Array, jax.Array]]

# Side of the grid of cells over which maps are averaged.
_SIDES = {"stages": 1, "cells": 2, "pixels": 1}
# Lower bound of a standard deviation, as a fraction of the root mean square of the
# standard deviations of all channels.
_SILENT = 0.01


@struct.dataclass
class FrozenEncoder:
  """F as Algorithm 1 uses it: never updated, with real images embedded once.

  NOTE(paper): The paper does not say whether batch norm uses batch statistics or
  running averages here. We run F in inference mode: an embedding then depends only on
  its own image, embeddings of real images can be cached, and batch statistics do not
  tell D which images are generated.
  """
  variables: PyTree
  # F(x_p) [N, D] and F(x̃_f) [M, D], for the sets in memory.
  embeddings: dict[str, jax.Array]
  # [D + K] float32, K = places · channels; D_f and D_p see (y − shift) · scale.
  shift: jax.Array
  scale: jax.Array  # [D + K] float32


def make_see(encoder: nn.Module, features: str) -> See:
  """Builds the features for D_f and D_p: `(variables, x [b, H, W, C]) -> (y, detail)`.

  NOTE(paper): In the paper, D_f and D_p see only y = F(x). A pooled embedding tells
  how unusual an image is to F, but little about its appearance: dense patterns of grey
  dots pass for white dots at random places. "stages" appends channel statistics of all
  stages to y, because the earlier stages show such differences. Projected GANs do
  likewise (Sauer et al. 2021). "cells" has them for each quarter of the image, so that
  light from one side shows. "pixels" adds to "stages" what `pixel_statistics` says of the
  image itself. None of these encodes positions any finer. "maps" does: it adds the output
  of F's first convolution at every place.

  Args:
    encoder: the module of F.
    features: "embedding", "stages", "cells", "pixels" or "maps".

  Returns:
    A function. y [b, D] is worth caching, because it needs all of F. detail
    [b, places, channels] is large but cheap; it has no places except for "maps".
  """
  def see(variables, x):
    y, maps = encoder.apply(variables, x, train=False)
    detail = jnp.zeros((len(x), 0, 1), jnp.float32)
    if features == "maps":
      h = maps["stem_conv"].astype(jnp.float32)
      detail = h.reshape(len(h), -1, h.shape[-1])
    if features in _SIDES:
      parts, side = [y], _SIDES[features]
      for name in sorted(n for n in maps if n.startswith("stage")):
        h = maps[name].astype(jnp.float32)
        mean = jnp.mean(h, axis=(1, 2), keepdims=True)
        # Squares of what is left without the mean: E h² − (E h)² would lose digits.
        first, second = (area_resize(power, side, side).reshape(len(h), -1)
                         for power in (h, jnp.square(h - mean)))
        # Silent channels have variance 0, where the slope of the root is infinite.
        parts += [first, jnp.sqrt(second + 1e-6)]
      if features == "pixels":
        parts.append(pixel_statistics(x))
      y = jnp.concatenate(parts, axis=-1)
    return y, detail
  return see


def freeze(variables: PyTree, embeddings: dict[str, jax.Array],
           detail: jax.Array, standardise: bool,
           samples: Sequence[tuple[jax.Array, int]] = ()) -> FrozenEncoder:
  """Packs F and the embeddings of X_p and X̃_f.

  NOTE(paper): The paper does not give the scale at which D_f and D_p see embeddings.
  `standardise` brings each dimension of y and each channel of `detail` to mean 0 and
  variance 1 over both sets. It does not treat each place of `detail` separately: where
  all images are black, any mark would be millions of standard deviations away
  (docs/experiments/005).

  Args:
    variables: Flax variables of F.
    embeddings: float32 [N, D] for each set in memory, by name.
    detail: float32 [n, places, channels] of some images of both sets.
    standardise: whether to standardise; otherwise features keep their scale.
    samples: for each set that is not in memory, embeddings of some of its images, float32
      [n, D], and how many images it has. In the scale they stand for all of them.
  """
  together = jnp.concatenate([*embeddings.values(), *(y for y, _ in samples)])
  # How many images each embedding stands for.
  weights = np.concatenate([*(np.ones(len(y)) for y in embeddings.values()),
                            *(np.full(len(y), count / len(y)) for y, count in samples)])
  places = detail.shape[1]
  shift, scale = zip(*(
      standard(together, weights) if standardise else _as_it_is(together),
      # Without places there are no rows to average over.
      standard(detail.reshape(-1, detail.shape[2]))
      if standardise and places else _as_it_is(detail[0])))
  return FrozenEncoder(variables, embeddings, *(
      jnp.concatenate([of_y, jnp.tile(of_detail, places)])
      for of_y, of_detail in (shift, scale)))


def nothing_seen(encoder: nn.Module, features: str, x: jax.Array) -> jax.Array:
  """Returns zeros in the shape of the features of `x`, [b, D + K] float32."""
  see = make_see(encoder, features)
  y = jax.eval_shape(
      lambda x: _joined(*see(
          encoder.init(jax.random.key(0), x, train=False), x)), x)
  return jnp.zeros(y.shape, y.dtype)


def of_images(see: See, encoder: FrozenEncoder, x: jax.Array) -> jax.Array:
  """Computes the features of images [b, H, W, C] for D_f and D_p: [b, D + K]."""
  return _to_scale(encoder, *see(encoder.variables, x))


def of_real(see: See, encoder: FrozenEncoder, name: str, x: jax.Array,
            index: jax.Array) -> jax.Array:
  """Computes the features of real images, with cached embeddings if there are any.

  Args:
    see: from `make_see`.
    encoder: F and the cached embeddings.
    name: name of the set that the images come from.
    x: [b, H, W, C], the images.
    index: [b], their positions in the set.

  Returns:
    [b, D + K].
  """
  y, detail = see(encoder.variables, x)
  if name in encoder.embeddings:
    # XLA then compiles only the part of F that `detail` needs. For "maps" this is the
    # first convolution, 6 % of ResNet-18's operations at 28 x 28.
    y = encoder.embeddings[name][index]
  return _to_scale(encoder, y, detail)


def _to_scale(encoder: FrozenEncoder, y: jax.Array,
              detail: jax.Array) -> jax.Array:
  return (_joined(y, detail) - encoder.shift[None]) * encoder.scale[None]


def standard(v: jax.Array, weights: np.ndarray | None = None
             ) -> tuple[jax.Array, jax.Array]:
  """Shift and scale that standardise each column of [N, D]; rows may have weights [N].

  A column that hardly varies on real images is not scaled up to the variance of the
  others. Otherwise the first generated image to change it would be thousands of
  standard deviations away, and D would see nothing else.
  """
  if weights is None or np.ptp(weights) == 0:
    mean, std = jnp.mean(v, axis=0), jnp.std(v, axis=0)
  else:
    part = jnp.asarray(weights / weights.sum(), jnp.float32)[:, None]
    mean = jnp.sum(part * v, axis=0)
    std = jnp.sqrt(jnp.sum(part * jnp.square(v - mean[None]), axis=0))
  typical = jnp.sqrt(jnp.mean(jnp.square(std)))
  return mean, 1.0 / (jnp.maximum(std, _SILENT * typical) + 1e-6)


def _as_it_is(v: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Shift and scale that change nothing, for [..., D]."""
  return jnp.zeros(v.shape[-1:]), jnp.ones(v.shape[-1:])


def _joined(y: jax.Array, detail: jax.Array) -> jax.Array:
  """Joins [b, D] and [b, places, channels] to [b, D + places · channels]."""
  return jnp.concatenate([y, detail.reshape(len(y), -1)], axis=-1)
