"""A small convolutional encoder for crops of small images."""

from collections.abc import Sequence
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from augment_gen.models import conv, norm


class ConvNet(nn.Module):
  """F: X -> Y as a stack of 3x3 convolutions, for images of about 28 x 28 pixels.

  NOTE(paper): The poster does not give h. Each stage halves the map. The last map is
  flattened instead of pooled, because the strokes of a character differ in where they
  are.

  Attributes:
    stage_sizes: number of convolutions per stage; the first in each stage has stride 2.
    width: channels of the first stage; each further stage doubles them.
    dtype: dtype of the convolutions; parameters, statistics and the output are float32.
    bn_groups: number of groups in *this device's* batch, see `norm.BatchNorm`.
    mean: subtracted from the images; one number per channel, or one for all.
    std: divisor of the centred images; one number per channel, or one for all.
  """
  stage_sizes: Sequence[int] = (1, 2, 2)
  width: int = 32
  dtype: Any = jnp.float32
  bn_groups: int = 1
  mean: tuple[float, ...] = (0.5,)
  std: tuple[float, ...] = (0.5,)

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool
               ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Embeds images.

    Args:
      x: float32 [B, H, W, C] in [0, 1].
      train: If True, use batch statistics and update their running averages. If False,
        use the running averages.

    Returns:
      The embedding, float32 [B, H/2^stages · W/2^stages · channels] (rounded up), and
      the maps by name: "stem_conv" (first convolution, norm and ReLU), "stage1", ...,
      and "pooled", which is the embedding.
    """
    out: dict[str, jax.Array] = {}
    h = norm.of_images(x, self.mean, self.std).astype(self.dtype)
    for stage, convolutions in enumerate(self.stage_sizes, start=1):
      for index in range(convolutions):
        stride = 2 if index == 0 else 1
        h = conv.Conv(
            self.width * 2 ** (stage - 1), (3, 3), strides=(stride, stride),
            padding=((1, 1), (1, 1)), use_bias=False, dtype=self.dtype,
            kernel_init=nn.initializers.he_normal(),
            name=f"stage{stage}_conv{index + 1}")(h)
        h = nn.relu(norm.BatchNorm(
            groups=self.bn_groups, dtype=self.dtype,
            name=f"stage{stage}_norm{index + 1}")(h, train=train))
        out.setdefault("stem_conv", h)
      out[f"stage{stage}"] = h
    out["pooled"] = h.astype(jnp.float32).reshape(h.shape[0], -1)
    return out["pooled"], out
