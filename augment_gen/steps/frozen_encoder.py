"""What the discriminators see of an image: F, frozen, in embedding space."""

from collections.abc import Callable
from typing import Any

from flax import linen as nn
from flax import struct
import jax
import jax.numpy as jnp

PyTree = Any
# (variables, x [b, H, W, C]) -> (y [b, D], detail [b, places, channels]).
See = Callable[[PyTree, jax.Array], tuple[jax.Array, jax.Array]]

# Standard deviations below this part of the root mean square over the channels
# count as this much.
_SILENT = 0.01


@struct.dataclass
class FrozenEncoder:
  """F as Algorithm 1 sees it: never updated, real images embedded once.

  NOTE(paper): whether batch norm normalises by the batch or by running averages
  here is not said. F is in inference mode: an embedding then depends on its image
  alone, real ones can be kept, and no batch tells D which images are generated.
  """
  variables: PyTree
  embeddings: dict[str, jax.Array]  # F(x_p) [N, D] and F(x̃_f) [M, D]
  shift: jax.Array  # [D + K] float32; D_f and D_p see (y − shift) · scale
  scale: jax.Array  # [D + K] float32


def make_see(encoder: nn.Module, features: str) -> See:
  """What D_f and D_p see: `(variables, x [b, H, W, C]) -> (y, detail)`.

  NOTE(paper): there they see y = F(x) alone. A pooled embedding tells how
  strange an image is to F, but little of what it looks like: grey dots in dense
  patterns pass for white ones at random places. Statistics of the earlier
  stages, where such things are visible, are added to y by "stages", as projected
  GANs do (Sauer et al. 2021). Of places neither tells anything; what F's first
  convolution makes of each place, added by "maps", does.

  Returns:
    A function; y [b, D] is worth keeping, as it takes all of F; detail
    [b, places, channels] is large but cheap (no places but for "maps").
  """
  def see(variables, x):
    y, maps = encoder.apply(variables, x, train=False)
    detail = jnp.zeros((len(x), 0, 1), jnp.float32)
    if features == "maps":
      h = maps["stem_conv"].astype(jnp.float32)
      detail = h.reshape(len(h), -1, h.shape[-1])
    if features == "stages":
      parts = [y]
      for name in sorted(n for n in maps if n.startswith("stage")):
        h = maps[name].astype(jnp.float32)
        mean = jnp.mean(h, axis=(1, 2))
        variance = jnp.mean(jnp.square(h - mean[:, None, None]), axis=(1, 2))
        # The root's slope is infinite at 0, where a channel is silent.
        parts += [mean, jnp.sqrt(variance + 1e-6)]
      y = jnp.concatenate(parts, axis=-1)
    return y, detail
  return see


def freeze(variables: PyTree, embeddings: dict[str, jax.Array],
           detail: jax.Array, standardise: bool) -> FrozenEncoder:
  """Packs F and the embeddings of X_p and X̃_f.

  NOTE(paper): what scale D_f and D_p see embeddings at is not given;
  `standardise` brings each dimension to mean 0 and variance 1 over both sets,
  of `detail` each channel. Not each place of it: where all images are black, any
  mark would be millions of standard deviations (docs/experiments/005).

  Args:
    variables: of F.
    embeddings: float32 [N, D] by set.
    detail: float32 [n, places, channels] of some images of both sets.
    standardise: or leave as it is.
  """
  together = jnp.concatenate(list(embeddings.values()))
  places = detail.shape[1]
  shift, scale = zip(*(
      _standard(together) if standardise else _as_it_is(together),
      # Of no rows there is no mean.
      _standard(detail.reshape(-1, detail.shape[2]))
      if standardise and places else _as_it_is(detail[0])))
  return FrozenEncoder(variables, embeddings, *(
      jnp.concatenate([of_y, jnp.tile(of_detail, places)])
      for of_y, of_detail in (shift, scale)))


def nothing_seen(encoder: nn.Module, features: str, x: jax.Array) -> jax.Array:
  """Zeros of the shape of what is seen of `x`, [b, D + K] float32."""
  see = make_see(encoder, features)
  y = jax.eval_shape(
      lambda x: _joined(*see(
          encoder.init(jax.random.key(0), x, train=False), x)), x)
  return jnp.zeros(y.shape, y.dtype)


def of_images(see: See, encoder: FrozenEncoder, x: jax.Array) -> jax.Array:
  """What is seen of images [b, H, W, C]: [b, D + K]."""
  return _to_scale(encoder, *see(encoder.variables, x))


def of_real(see: See, encoder: FrozenEncoder, name: str, x: jax.Array,
            index: jax.Array) -> jax.Array:
  """The same of images x of the set `name`, at the places [b] `index` in it."""
  # Of this pass through F only what `detail` takes is compiled: for "maps" the
  # first convolution, 6 % of ResNet-18's operations at 28 x 28.
  detail = see(encoder.variables, x)[1]
  return _to_scale(encoder, encoder.embeddings[name][index], detail)


def _to_scale(encoder: FrozenEncoder, y: jax.Array,
              detail: jax.Array) -> jax.Array:
  return (_joined(y, detail) - encoder.shift[None]) * encoder.scale[None]


def _standard(v: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Shift and scale of each column of [N, D].

  A column that hardly varies on real images is not blown up to the variance of
  the others: the first generated image to move it would be thousands of standard
  deviations away, and D would see nothing else.
  """
  std = jnp.std(v, axis=0)
  typical = jnp.sqrt(jnp.mean(jnp.square(std)))
  return jnp.mean(v, axis=0), 1.0 / (
      jnp.maximum(std, _SILENT * typical) + 1e-6)


def _as_it_is(v: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Shift and scale that change nothing, for [..., D]."""
  return jnp.zeros(v.shape[-1:]), jnp.ones(v.shape[-1:])


def _joined(y: jax.Array, detail: jax.Array) -> jax.Array:
  """[b, D] and [b, places, channels] -> [b, D + places · channels]."""
  return jnp.concatenate([y, detail.reshape(len(y), -1)], axis=-1)
