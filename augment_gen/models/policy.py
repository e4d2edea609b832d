"""The policy P(T|X, η) of CRL-TAC, over crops of an image or over latents of G_A."""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from augment_gen.augment.crops import CropGrid
from augment_gen.models import conv, norm


class CropDistribution(nn.Module):
  """P(T|X, η): X -> log-probabilities of the windows of a grid.

  Source: Koyama et al., P(T|X).

  NOTE(paper): The poster does not give the network. Here, each window is scored by its
  content, with a convolution whose receptive field is the window, rounded down to whole
  steps of the grid. The scores then also use the content of neighbouring windows. At
  initialisation all windows are equally likely; with `scale_mass="equal"`, this holds
  for the windows of one scale.

  Attributes:
    grid: the windows.
    width: number of channels.
    scale_mass: the mass of P on the windows of each scale, "learned" or "equal".
    mean: subtracted from the images; one number per channel, or one for all.
    std: divisor of the centred images; one number per channel, or one for all.
    dtype: dtype of the convolutions but the last layer; parameters and the output are
      float32.
  """
  grid: CropGrid
  width: int = 32
  scale_mass: str = "learned"
  mean: tuple[float, ...] = (0.5,)
  std: tuple[float, ...] = (0.5,)
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Scores all windows.

    Args:
      x: float32 [B, H, W, C] in [0, 1].

    Returns:
      float32 [B, K], log P(t|x), in the order of `grid.boxes()`.
    """
    stride = self.grid.stride
    # The stem's map has one place for each step of the grid.
    x = norm.of_images(x, self.mean, self.std)
    h = nn.relu(conv.Conv(
        max(1, self.width // 2), (stride, stride), strides=(stride, stride),
        padding="VALID", dtype=self.dtype, name="stem")(x))
    logits = []
    for number, (side, places) in enumerate(self.grid.windows, start=1):
      field = max(side // stride, 1)
      w = nn.relu(conv.Conv(self.width, (field, field), padding="VALID", dtype=self.dtype,
                            name=f"window{number}")(h))
      w = w[:, :places, :places]
      w = nn.relu(conv.Conv(self.width, (3, 3), dtype=self.dtype,
                            name=f"around{number}")(w))
      w = conv.Conv(1, (1, 1), kernel_init=nn.initializers.zeros, dtype=jnp.float32,
                    name=f"score{number}")(w)
      logits.append(w.reshape(len(x), -1))
    if self.scale_mass == "equal":
      logits = [jax.nn.log_softmax(scores, axis=-1) for scores in logits]
    return jax.nn.log_softmax(jnp.concatenate(logits, axis=-1), axis=-1)


class LatentDistribution(nn.Module):
  """P(z|X, η): X -> log-probabilities of the candidates among G_A's latents.

  At initialisation all candidates are equally likely.

  Attributes:
    size: K, the number of candidates.
    width: channels at half the resolution; doubled at a quarter of the resolution.
    mean: subtracted from the images; one number per channel, or one for all.
    std: divisor of the centred images; one number per channel, or one for all.
    dtype: dtype of the convolutions but the last layer; parameters and the output are
      float32.
  """
  size: int
  width: int = 32
  mean: tuple[float, ...] = (0.5,)
  std: tuple[float, ...] = (0.5,)
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps float32 [B, H, W, C] in [0, 1] to float32 [B, K], log P(z|x)."""
    h = norm.of_images(x, self.mean, self.std)
    for number, width in enumerate((self.width, 2 * self.width), start=1):
      h = nn.relu(conv.Conv(width, (3, 3), strides=(2, 2), dtype=self.dtype,
                            name=f"conv{number}")(h))
    logits = nn.Dense(self.size, kernel_init=nn.initializers.zeros, dtype=jnp.float32,
                      name="score")(h.reshape(len(h), -1))
    return jax.nn.log_softmax(logits, axis=-1)
