"""G_A, G_E and G_L as U-Nets (ImageNet-DAISO, section 4.1).

NOTE(paper): These networks keep the shape of the U-Net of Ronneberger et al. (2015): two
3x3 convolutions at each resolution, channels that double as the resolution halves, and
skip connections by concatenation. They also follow later practice: zero-padded
convolutions, normalisation, and nearest-neighbour upsampling followed by a 3x3
convolution, which leaves no checkerboard pattern. With `patch`, the U-Net works on squares
of pixels as channels (pixel unshuffle), as FFDNet does (Zhang et al. 2018): most of its
operations would otherwise be at full resolution. The pixels of a square then come from
different kernels. If these differ before training, a grid shows long after it
(docs/experiments/022), so they start out equal (Aitken et al. 2017).
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
    width: channels of the first level.
    depth: number of times the resolution is halved.
    patch: side of the squares of pixels that become channels.
    latent_scale: scale of the latents; the network reads `latent_scale * (z - 1/2)`.
    layout: spatial layout of the latents. "square": as above. "learned": the first
      latent is only for `latent_maps.Marks`, whose logits are added to those of the
      last layer. A `latent_maps.Pyramid` of the other latents feeds the marks and the
      U-Net.
    marks: the marks that the "learned" layout draws before training.
    output: "image", "edit" or "residual", see `outputs.to_image`.
    dtype: dtype of the convolutions; parameters and the output are float32.
    remat: whether convolutions are computed again for their gradients.
  """
  width: int = 64
  depth: int = 4
  patch: int = 1
  latent_scale: float = 2.0
  layout: str = "square"
  marks: latent_maps.FirstMarks = latent_maps.MARKS
  output: str = "image"
  dtype: Any = jnp.float32
  remat: bool = False

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
    h = UNet(self.width, self.depth, self.patch, self.dtype, self.remat, name="unet")(
        jnp.concatenate([x, maps], axis=-1))
    logits = last_layer(h, x, self.patch, "image")
    if learned:
      spread = self.latent_scale * latent_maps.PRIOR_STD
      of_pixels = h.repeat(self.patch, axis=1).repeat(self.patch, axis=2)
      logits += latent_maps.Marks(channels, self.marks, name="marks")(
          maps / spread, z[:, :1] / spread, _centre(of_pixels, height, width))
    return outputs.to_image(logits, x, self.output)


class UNetEliminator(nn.Module):
  """G_E: X -> X and G_L: X -> Z, which share all layers but the last.

  Source: Hayase et al., Fig. 2.

  NOTE(paper): The paper does not give the last layer of G_L. For the "square" layout we
  use a 1x1 convolution to one map, averaged over the squares that G_A spreads the
  latents over. For the "learned" layout we use a dense layer.

  Attributes:
    latent_dim: Z, the number of latents; a square number for the "square" layout.
    width: channels of the first level.
    depth: number of times the resolution is halved.
    patch: side of the squares of pixels that become channels.
    layout: spatial layout of the latents, the same as in G_A. "pooled": the latents are
      amounts, read off statistics of the image and of the trunk.
    output: output of G_E, as in G_A, see `outputs.to_image`.
    dtype: dtype of the convolutions; parameters and the outputs are float32.
    remat: whether convolutions are computed again for their gradients.
  """
  latent_dim: int
  width: int = 64
  depth: int = 4
  patch: int = 1
  layout: str = "square"
  output: str = "image"
  dtype: Any = jnp.float32
  remat: bool = False

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
    h = UNet(self.width, self.depth, self.patch, self.dtype, self.remat, name="unet")(x)
    logits = last_layer(h, x, self.patch, "image")
    image = outputs.to_image(logits, x, self.output)
    if self.layout == "square":
      side = latent_maps.latent_side(self.latent_dim)
      last = conv.Conv(1, (1, 1), dtype=jnp.float32, name="latent")
      z = latent_maps.area_resize(last(h), side, side)
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
    maps = (h.astype(jnp.float32), x.astype(jnp.float32) - 0.5)
    cells = [latent_maps.area_resize(of_place, _CELLS, _CELLS)
             for of_place in (*maps, *map(jnp.square, maps))]
    hidden = nn.relu(nn.Dense(_POOLED_HIDDEN, name="hidden")(
        jnp.concatenate(cells, axis=-1).reshape(x.shape[0], -1)))
    return nn.Dense(self.latent_dim, name="logits")(hidden)


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
  """All layers but the last: [B, H, W, C] -> [B, ⌈H / patch⌉, ⌈W / patch⌉, width]."""
  width: int
  depth: int
  patch: int
  dtype: Any
  remat: bool = False

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    convolutions = nn.remat(_Convolutions) if self.remat else _Convolutions
    h = _to_patches(x, self.patch)
    height, width = h.shape[1:3]
    h = _pad_to_multiple(h, 2**self.depth).astype(self.dtype)
    skips = []
    for level in range(self.depth):
      h = convolutions(
          self.width * 2**level, self.dtype, name=f"down{level}")(h)
      skips.append(h)
      h = pooling.max_pool_2x2(h)
    h = convolutions(
        self.width * 2**self.depth, self.dtype, name="bottom")(h)
    for level in reversed(range(self.depth)):
      features = self.width * 2**level
      h = conv.UpConv(features, dtype=self.dtype, name=f"grow{level}")(h)
      h = jnp.concatenate([skips[level], h], axis=-1)
      h = convolutions(features, self.dtype, name=f"up{level}")(h)
    return _centre(h, height, width)


def _to_patches(x: jax.Array, patch: int) -> jax.Array:
  """Pixel unshuffle: [B, H, W, C] -> [B, ⌈H / patch⌉, ⌈W / patch⌉, C · patch²]."""
  if patch == 1:
    return x
  batch, height, width, channels = (x := _pad_to_multiple(x, patch)).shape
  h = x.reshape(batch, height // patch, patch, width // patch, patch, channels)
  return h.transpose(0, 1, 3, 5, 2, 4).reshape(
      batch, height // patch, width // patch, channels * patch**2)


def last_layer(h: jax.Array, x: jax.Array, patch: int, name: str,
               kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
               ) -> jax.Array:
  """A 1x1 convolution to the pixels of x [B, H, W, C], in the module that calls this.

  Before training, all pixels of a square are equal.

  Args:
    h: [B, ⌈H / patch⌉, ⌈W / patch⌉, features], from a `UNet`.
    x: the images, which give the shape.
    patch: see `to_pixels`.
    name: of the convolution.
    kernel_init: draws the kernel of one pixel.

  Returns:
    float32 [B, H, W, C].
  """
  height, width, channels = x.shape[1:]

  def of_squares(key, shape, dtype):
    of_pixel = kernel_init(key, (*shape[:-1], channels), dtype)
    return jnp.repeat(of_pixel, patch**2, axis=-1)  # the order of `to_pixels`
  layer = conv.Conv(channels * patch**2, (1, 1), dtype=jnp.float32, name=name,
                    kernel_init=of_squares)
  return to_pixels(layer(h), patch, height, width)


def to_pixels(h: jax.Array, patch: int, height: int, width: int) -> jax.Array:
  """Pixel shuffle, the inverse of what `UNet` does to images of this height and width.

  Args:
    h: [B, ⌈H / patch⌉, ⌈W / patch⌉, C · patch²].
    patch: side of the squares of pixels that one place stands for.
    height: H.
    width: W.

  Returns:
    [B, H, W, C].
  """
  batch, rows, columns, features = h.shape
  channels = features // patch**2
  h = h.reshape(batch, rows, columns, channels, patch, patch)
  return _centre(h.transpose(0, 1, 4, 2, 5, 3).reshape(
      batch, rows * patch, columns * patch, channels), height, width)


def _pad_to_multiple(x: jax.Array, multiple: int) -> jax.Array:
  """Repeats edges evenly on both sides, so that `multiple` divides height and width."""
  pads = [(missing // 2, missing - missing // 2)
          for missing in (-x.shape[1] % multiple, -x.shape[2] % multiple)]
  return jnp.pad(x, [(0, 0), *pads, (0, 0)], mode="edge")


def _centre(x: jax.Array, height: int, width: int) -> jax.Array:
  """Takes off what `_pad_to_multiple` has added."""
  top, left = (x.shape[1] - height) // 2, (x.shape[2] - width) // 2
  return x[:, top:top + height, left:left + width]
