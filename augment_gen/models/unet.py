"""G_A, G_E and G_L as U-Nets (ImageNet-DAISO, section 4.1).

NOTE(paper): of the U-Net of Ronneberger et al. (2015) these keep the shape (two
3x3 convolutions at each resolution, channels that double as it halves, skips by
concatenation) and change what has since become usual: zero-padded convolutions,
normalisation, and nearest-neighbour upsampling followed by a 3x3 convolution,
which leaves no checkerboard.
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from augment_gen.config import MarksConfig
from augment_gen.models import conv, latent_maps, outputs

_CHANNELS_PER_GROUP = 16


class UNetAugmenter(nn.Module):
  """G_A: X x Z -> X; with "square" latents for images of any size.

  NOTE(paper): "an input channel that corresponded to z": the side² latents are
  a map, brought to the size of the image. With few latents all that is drawn so
  keeps to a coarse grid; "learned" maps are ours.

  Attributes:
    width: channels at full resolution.
    depth: how often the resolution is halved.
    latent_scale: the network reads `latent_scale * (z - 1/2)`.
    layout: of the latents in space. "square": as above. "learned": the first for
      `latent_maps.Marks` alone, whose logits the last layer's are added to; a
      `latent_maps.Pyramid` of the others for these and the U-Net.
    marks: what "learned" maps draw before training.
    output: "image" or "edit", see `outputs.to_image`.
    dtype: of the convolutions; parameters and the output are float32.
  """
  width: int = 64
  depth: int = 4
  latent_scale: float = 2.0
  layout: str = "square"
  marks: MarksConfig = MarksConfig()
  output: str = "image"
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, z: jax.Array) -> jax.Array:
    """Adds the implicit augmentation.

    Args:
      x: float32 [B, H, W, C] in [0, 1]; in training with noise, beyond it too.
      z: float32 [B, Z] in [0, 1]; Z = side² where the layout is "square", at
        least 2 where it is "learned".

    Returns:
      float32 [B, H, W, C] in [0, 1].

    Raises:
      UserError: the layout is "square" and the number of latents is not.
    """
    height, width, channels = x.shape[1:]
    z = outputs.centred(z, self.latent_scale)
    learned = self.layout == "learned"
    maps = (latent_maps.Pyramid(height, width, name="pyramid")(z[:, 1:])
            if learned else latent_maps.square(z, height, width))
    h = _UNet(self.width, self.depth, self.dtype, name="unet")(
        jnp.concatenate([x, maps], axis=-1))
    logits = _last(channels, "image")(h)
    if learned:
      spread = self.latent_scale * latent_maps.PRIOR_STD
      logits += latent_maps.Marks(channels, self.marks, name="marks")(
          maps / spread, z[:, :1] / spread, h)
    return outputs.to_image(logits, x, self.output)


class UNetEliminator(nn.Module):
  """G_E: X -> X and G_L: X -> Z, which share all layers but the last.

  NOTE(paper): the last layer of G_L is not given: a 1x1 convolution to one map,
  averaged over the squares that G_A spread the latents over; where G_A has
  learned maps of them, a dense layer.

  Attributes:
    latent_dim: Z; the square of a side where the layout is "square".
    width: channels at full resolution.
    depth: how often the resolution is halved.
    layout: of the latents, as G_A's.
    output: "image" or "edit", see `outputs.to_image`; of G_E alone.
    dtype: of the convolutions; parameters and the outputs are float32.
  """
  latent_dim: int
  width: int = 64
  depth: int = 4
  layout: str = "square"
  output: str = "image"
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Removes the implicit augmentation and reads its latent off.

    Args:
      x: float32 [B, H, W, C] in [0, 1]; in training with noise, beyond it too.

    Returns:
      float32 [B, H, W, C] and [B, Z], both in [0, 1].

    Raises:
      UserError: the layout is "square" and `latent_dim` is not.
    """
    h = _UNet(self.width, self.depth, self.dtype, name="unet")(x)
    image = outputs.to_image(_last(x.shape[-1], "image")(h), x, self.output)
    if self.layout == "square":
      side = latent_maps.latent_side(self.latent_dim)
      z = latent_maps.area_resize(_last(1, "latent")(h), side, side)
    else:
      z = nn.Dense(self.latent_dim, name="latent")(
          h.astype(jnp.float32).reshape(x.shape[0], -1))
    # NOTE(paper): what follows G_L's last layer is not given: a sigmoid, as latents
    # of the prior lie in [0, 1].
    return image, nn.sigmoid(z.reshape(x.shape[0], self.latent_dim))


def _last(channels: int, name: str) -> nn.Conv:
  return conv.Conv(channels, (1, 1), dtype=jnp.float32, name=name)


class _Convolutions(nn.Module):
  """Twice 3x3, group norm, ReLU; [B, H, W, C] -> [B, H, W, features].

  Group norm, as batch statistics would make an image's augmentation depend on
  the others in the batch, and instance norm would erase a latent that is the
  same all over the image.
  """
  features: int
  dtype: Any

  @nn.compact
  def __call__(self, h: jax.Array) -> jax.Array:
    groups = max(self.features // _CHANNELS_PER_GROUP, 1)
    if self.features % groups:
      groups = 1
    for index in (1, 2):
      h = conv.Conv(self.features, (3, 3), use_bias=False, dtype=self.dtype,
                    kernel_init=nn.initializers.he_normal(),
                    name=f"conv{index}")(h)
      h = nn.GroupNorm(groups, dtype=self.dtype, use_fast_variance=False,
                       name=f"norm{index}")(h)
      h = nn.relu(h)
    return h


class _UNet(nn.Module):
  """[B, H, W, C] -> [B, H, W, width]; what its users' last layers share."""
  width: int
  depth: int
  dtype: Any

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    height, width = x.shape[1:3]
    h = _pad_to_multiple(x, 2**self.depth).astype(self.dtype)
    skips = []
    for level in range(self.depth):
      h = _Convolutions(
          self.width * 2**level, self.dtype, name=f"down{level}")(h)
      skips.append(h)
      h = _halve(h)
    h = _Convolutions(
        self.width * 2**self.depth, self.dtype, name="bottom")(h)
    for level in reversed(range(self.depth)):
      features = self.width * 2**level
      h = h.repeat(2, axis=1).repeat(2, axis=2)
      h = conv.Conv(features, (3, 3), dtype=self.dtype, name=f"grow{level}")(h)
      h = jnp.concatenate([skips[level], h], axis=-1)
      h = _Convolutions(features, self.dtype, name=f"up{level}")(h)
    top = (h.shape[1] - height) // 2
    left = (h.shape[2] - width) // 2
    return h[:, top:top + height, left:left + width]


def _halve(h: jax.Array) -> jax.Array:
  """The maximum over squares of 2 x 2.

  Faster than `nn.max_pool`, whose gradient XLA:CPU makes slowly (1.0 ms in place
  of 8.2, 64 maps of 28 x 28 x 8, one core). Not a reshape and `max`: its gradient
  divides by the number of entries equal to the maximum, and a compiler that
  computes them twice, rounded differently, finds none: 0 / 0.
  """
  rows = jnp.maximum(h[:, ::2], h[:, 1::2])
  return jnp.maximum(rows[:, :, ::2], rows[:, :, 1::2])


def _pad_to_multiple(x: jax.Array, multiple: int) -> jax.Array:
  """Repeats the edges, evenly on both sides, up to a multiple of `multiple`."""
  pads = [(missing // 2, missing - missing // 2)
          for missing in (-x.shape[1] % multiple, -x.shape[2] % multiple)]
  return jnp.pad(x, [(0, 0), *pads, (0, 0)], mode="edge")
