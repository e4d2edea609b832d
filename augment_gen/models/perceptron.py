"""G_A, G_E and G_L as perceptrons (EMNIST-Omniglot, section 4.1).

NOTE(paper): We read "perceptrons with four layers, each with 912 hidden units" as four
dense layers, the last of which outputs pixels. 912 = 28 * 28 + 128 is the size of an
image and 128 latents side by side, which is how G_A reads them here.
"""

import math
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from augment_gen.models import outputs, products


class _HiddenLayers(nn.Module):
  """`layers` dense layers, each with a ReLU: [B, D] -> [B, hidden]."""
  hidden: int
  layers: int
  dtype: Any

  @nn.compact
  def __call__(self, h: jax.Array) -> jax.Array:
    for index in range(self.layers):
      h = products.Dense(self.hidden, kernel_init=nn.initializers.he_normal(),
                         dtype=self.dtype, name=f"dense{index + 1}")(h)
      h = nn.relu(h)
    return h


class PerceptronAugmenter(outputs.Augmenter):
  """G_A: X x Z -> X.

  Source: Hayase et al., (5).

  Attributes:
    image_shape: (H, W, C).
    hidden: units of each layer except the last.
    layers: number of dense layers, including the last.
    latent_scale: scale of the latents; the network reads `latent_scale * (z - 1/2)`.
    output: "image", "edit" or "residual", see `outputs.to_image`.
    dtype: dtype of all layers but the last; parameters and the output are float32.
  """
  image_shape: tuple[int, int, int]
  hidden: int = 912
  layers: int = 4
  latent_scale: float = 2.0
  output: str = "image"
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, z: jax.Array) -> jax.Array:
    """Adds the implicit augmentation.

    Args:
      x: float32 [B, H, W, C] in [0, 1]; noise in training may exceed this range.
      z: float32 [B, Z] in [0, 1].

    Returns:
      float32 [B, H, W, C] in [0, 1].
    """
    h = jnp.concatenate(
        [x.reshape(x.shape[0], -1), outputs.centred(z, self.latent_scale)],
        axis=-1)
    h = _HiddenLayers(self.hidden, self.layers - 1, self.dtype, name="trunk")(h)
    logits = products.Dense(
        math.prod(self.image_shape), dtype=jnp.float32, name="image")(h)
    return outputs.to_image(
        logits.reshape(-1, *self.image_shape), x, self.output)


class PerceptronEliminator(nn.Module):
  """G_E: X -> X and G_L: X -> Z, which share all layers but the last.

  Source: Hayase et al., Fig. 2.

  Attributes:
    image_shape: (H, W, C).
    latent_dim: Z, the number of latents.
    hidden: units of each layer except the last.
    layers: number of dense layers, including the last.
    output: output of G_E, as in G_A, see `outputs.to_image`.
    dtype: dtype of all layers but the last; parameters and the outputs are float32.
  """
  image_shape: tuple[int, int, int]
  latent_dim: int
  hidden: int = 912
  layers: int = 4
  output: str = "image"
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Removes the implicit augmentation and infers its latents.

    Args:
      x: float32 [B, H, W, C] in [0, 1]; noise in training may exceed this range.

    Returns:
      float32 [B, H, W, C] and [B, Z], both in [0, 1].
    """
    h = x.reshape(x.shape[0], -1)
    h = _HiddenLayers(self.hidden, self.layers - 1, self.dtype, name="trunk")(h)
    logits = products.Dense(
        math.prod(self.image_shape), dtype=jnp.float32, name="image")(h)
    image = outputs.to_image(
        logits.reshape(-1, *self.image_shape), x, self.output)
    # NOTE(paper): G_L ends in a sigmoid, as in `unet.py`.
    return image, nn.sigmoid(products.Dense(
        self.latent_dim, dtype=jnp.float32, name="latent")(h))
