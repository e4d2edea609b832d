"""P(T|X, η) of CRL-TAC: over crops of an image, or over latents of G_A."""

from flax import linen as nn
import jax
import jax.numpy as jnp

from augment_gen.augment.crops import CropGrid
from augment_gen.models import conv, norm


class CropDistribution(nn.Module):
  """P(T|X, η): X -> log-probabilities of the windows of a grid.

  NOTE(paper): the poster's network is not given. Here each window is scored by
  what it shows (a convolution whose field is the window, cut to whole steps of
  the grid), then by what its neighbours show. At first all windows are equally
  likely; with equal mass, all of one scale.

  Attributes:
    grid: the windows.
    width: channels.
    scale_mass: of P on the windows of each scale: "learned", or "equal".
    mean: of the images, subtracted; one number per channel, or one for all.
    std: what they are divided by then.
  """
  grid: CropGrid
  width: int = 32
  scale_mass: str = "learned"
  mean: tuple[float, ...] = (0.5,)
  std: tuple[float, ...] = (0.5,)

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Scores all windows.

    Args:
      x: float32 [B, H, W, C] in [0, 1].

    Returns:
      float32 [B, K], log P(t|x), in the order of `grid.boxes()`.
    """
    stride = self.grid.stride
    # One place of this map for each step of the grid.
    x = norm.of_images(x, self.mean, self.std)
    h = nn.relu(conv.Conv(
        self.width // 2, (stride, stride), strides=(stride, stride),
        padding="VALID", name="stem")(x))
    logits = []
    for number, (side, places) in enumerate(self.grid.windows, start=1):
      field = max(side // stride, 1)
      w = nn.relu(conv.Conv(self.width, (field, field), padding="VALID",
                            name=f"window{number}")(h))
      w = w[:, :places, :places]
      w = nn.relu(conv.Conv(self.width, (3, 3), name=f"around{number}")(w))
      w = conv.Conv(1, (1, 1), kernel_init=nn.initializers.zeros,
                    name=f"score{number}")(w)
      logits.append(w.reshape(len(x), -1))
    if self.scale_mass == "equal":
      logits = [jax.nn.log_softmax(scores, axis=-1) for scores in logits]
    return jax.nn.log_softmax(jnp.concatenate(logits, axis=-1), axis=-1)


class LatentDistribution(nn.Module):
  """P(z|X, η): X -> log-probabilities of the candidates among G_A's latents.

  At first all candidates are as likely.

  Attributes:
    size: K, the number of candidates.
    width: channels at half the resolution; twice as many at a quarter.
    mean: of the images, subtracted; one number per channel, or one for all.
    std: what they are divided by then.
  """
  size: int
  width: int = 32
  mean: tuple[float, ...] = (0.5,)
  std: tuple[float, ...] = (0.5,)

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """float32 [B, H, W, C] in [0, 1] -> float32 [B, K], log P(z|x)."""
    h = norm.of_images(x, self.mean, self.std)
    for number, width in enumerate((self.width, 2 * self.width), start=1):
      h = nn.relu(conv.Conv(width, (3, 3), strides=(2, 2),
                            name=f"conv{number}")(h))
    logits = nn.Dense(self.size, kernel_init=nn.initializers.zeros,
                      name="score")(h.reshape(len(h), -1))
    return jax.nn.log_softmax(logits, axis=-1)
