"""G_A, G_E and G_L as U-Nets (ImageNet-DAISO, section 4.1).

NOTE(paper): These networks keep the shape of the U-Net of Ronneberger et al. (2015): two
3x3 convolutions at each resolution, channels that double as the resolution halves, and
skip connections by concatenation. They also follow later practice: zero-padded
convolutions, normalisation, and nearest-neighbour upsampling followed by a 3x3
convolution, which leaves no checkerboard pattern.
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from augment_gen.models import conv, latent_maps, norm, outputs, pooling

_CHANNELS_PER_GROUP = 16
_CELLS, _POOLED_HIDDEN = 4, 128  # side of the grid of cells, units that read them


class UNetAugmenter(outputs.Augmenter):
  """G_A: X x Z -> X. With "square" latents it takes images of any size.

  Source: Hayase et al., (5).

  NOTE(paper): The paper has "an input channel that corresponded to z". Here, side²
  latents form a map that is resized to the image. With few latents, everything drawn
  this way keeps to a coarse grid. The "learned" maps are ours.

  Attributes:
    width: channels at full resolution.
    depth: number of times the resolution is halved.
    latent_scale: scale of the latents; the network reads `latent_scale * (z - 1/2)`.
    layout: spatial layout of the latents. "square": as above. "learned": the first
      latent is only for `latent_maps.Marks`, whose logits are added to those of the
      last layer. A `latent_maps.Pyramid` of the other latents feeds the marks and the
      U-Net.
    marks: the marks that the "learned" layout draws before training.
    output: "image" or "edit", see `outputs.to_image`.
    dtype: dtype of the convolutions; parameters and the output are float32.
  """
  width: int = 64
  depth: int = 4
  latent_scale: float = 2.0
  layout: str = "square"
  marks: latent_maps.FirstMarks = latent_maps.MARKS
  output: str = "image"
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, z: jax.Array) -> jax.Array:
    """Adds the implicit augmentation.

    Args:
      x: float32 [B, H, W, C] in [0, 1]; noise in training may exceed this range.
      z: float32 [B, Z] in [0, 1]; Z is side² for the "square" layout, and at least 2
        for "learned".

    Returns:
      float32 [B, H, W, C] in [0, 1].

    Raises:
      UserError: the layout is "square" and Z is not a square number.
    """
    height, width, channels = x.shape[1:]
    z = outputs.centred(z, self.latent_scale)
    learned = self.layout == "learned"
    maps = (latent_maps.Pyramid(height, width, name="pyramid")(z[:, 1:])
            if learned else latent_maps.square(z, height, width))
    h = UNet(self.width, self.depth, self.dtype, name="unet")(
        jnp.concatenate([x, maps], axis=-1))
    logits = _last(channels, "image")(h)
    if learned:
      spread = self.latent_scale * latent_maps.PRIOR_STD
      logits += latent_maps.Marks(channels, self.marks, name="marks")(
          maps / spread, z[:, :1] / spread, h)
    return outputs.to_image(logits, x, self.output)


class UNetEliminator(nn.Module):
  """G_E: X -> X and G_L: X -> Z, which share all layers but the last.

  Source: Hayase et al., Fig. 2.

  NOTE(paper): The paper does not give the last layer of G_L. For the "square" layout we
  use a 1x1 convolution to one map, averaged over the squares that G_A spreads the
  latents over. For the "learned" layout we use a dense layer.

  Attributes:
    latent_dim: Z, the number of latents; a square number for the "square" layout.
    width: channels at full resolution.
    depth: number of times the resolution is halved.
    layout: spatial layout of the latents, the same as in G_A. "pooled": the latents are
      amounts, read off statistics of the image and of the trunk.
    output: output of G_E, "image" or "edit", see `outputs.to_image`.
    dtype: dtype of the convolutions; parameters and the outputs are float32.
  """
  latent_dim: int
  width: int = 64
  depth: int = 4
  layout: str = "square"
  output: str = "image"
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Removes the implicit augmentation and infers its latents.

    Args:
      x: float32 [B, H, W, C] in [0, 1]; noise in training may exceed this range.

    Returns:
      float32 [B, H, W, C] and [B, Z], both in [0, 1].

    Raises:
      UserError: the layout is "square" and `latent_dim` is not a square number.
    """
    h = UNet(self.width, self.depth, self.dtype, name="unet")(x)
    image = outputs.to_image(_last(x.shape[-1], "image")(h), x, self.output)
    if self.layout == "square":
      side = latent_maps.latent_side(self.latent_dim)
      z = latent_maps.area_resize(_last(1, "latent")(h), side, side)
    elif self.layout == "pooled":
      z = _Pooled(self.latent_dim, name="latent")(x, h)
    else:
      z = nn.Dense(self.latent_dim, name="latent")(
          h.astype(jnp.float32).reshape(x.shape[0], -1))
    # NOTE(paper): The paper does not give an activation after G_L's last layer. We use a
    # sigmoid, because latents of the prior lie in [0, 1].
    return image, nn.sigmoid(z.reshape(x.shape[0], self.latent_dim))


class _Pooled(nn.Module):
  """G_L for amounts: x [B, H, W, C] and the trunk's h -> logits [B, latent_dim].

  NOTE(paper): In the paper G_L shares all layers but the last with G_E. Two layers read
  means and mean squares of cells: of h, and of x itself, whose brightness and contrast
  the group norms of the trunk take away.
  """
  latent_dim: int

  @nn.compact
  def __call__(self, x: jax.Array, h: jax.Array) -> jax.Array:
    maps = jnp.concatenate([h.astype(jnp.float32), x.astype(jnp.float32) - 0.5], axis=-1)
    cells = latent_maps.area_resize(
        jnp.concatenate([maps, jnp.square(maps)], axis=-1), _CELLS, _CELLS)
    hidden = nn.relu(nn.Dense(_POOLED_HIDDEN, name="hidden")(
        cells.reshape(x.shape[0], -1)))
    return nn.Dense(self.latent_dim, name="logits")(hidden)


def _last(channels: int, name: str) -> nn.Conv:
  return conv.Conv(channels, (1, 1), dtype=jnp.float32, name=name)


class _Convolutions(nn.Module):
  """Twice a 3x3 convolution, group norm and ReLU: [B, H, W, C] -> [B, H, W, features].

  Batch statistics would make an image's augmentation depend on the other images of the
  batch. Instance norm would erase a latent that is constant over the image. Group norm
  does neither.
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
      h = norm.GroupNorm(groups, dtype=self.dtype, name=f"norm{index}")(h)
      h = nn.relu(h)
    return h


class UNet(nn.Module):
  """All layers but the last: [B, H, W, C] -> [B, H, W, width]."""
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
      h = pooling.max_pool_2x2(h)
    h = _Convolutions(
        self.width * 2**self.depth, self.dtype, name="bottom")(h)
    for level in reversed(range(self.depth)):
      features = self.width * 2**level
      h = conv.UpConv(features, dtype=self.dtype, name=f"grow{level}")(h)
      h = jnp.concatenate([skips[level], h], axis=-1)
      h = _Convolutions(features, self.dtype, name=f"up{level}")(h)
    top = (h.shape[1] - height) // 2
    left = (h.shape[2] - width) // 2
    return h[:, top:top + height, left:left + width]


def _pad_to_multiple(x: jax.Array, multiple: int) -> jax.Array:
  """Repeats edges evenly on both sides, so that `multiple` divides height and width."""
  pads = [(missing // 2, missing - missing // 2)
          for missing in (-x.shape[1] % multiple, -x.shape[2] % multiple)]
  return jnp.pad(x, [(0, 0), *pads, (0, 0)], mode="edge")
