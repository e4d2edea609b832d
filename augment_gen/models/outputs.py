"""What G_A's networks share: outputs from last-layer logits, the scaling of latents."""

from typing import ClassVar

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

# Distance of an image from black and white before its logit is taken. The identity is
# then accurate to 2.5 of 255 grey levels, and sigmoid' is 0.01 there, which is still
# large enough to learn from.
_EDIT_EPSILON = 0.01
# A unit of the last layer is this much of the range of an image, so that the first changes
# are small.
_RESIDUAL_UNIT = 0.2


@jax.custom_vjp
def limit(raw: jax.Array, floor: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
  """Limits raw values to [low, high].

  The gradient passes unchanged, also between `floor` and `low`, where an amount is off
  but may return. Where raw is below `floor` or above `high`, a gradient that would move
  it further out is 0.
  """
  del floor
  return jnp.clip(raw, low, high)


def _limit_forward(raw, floor, low, high):
  return jnp.clip(raw, low, high), (raw, floor, high)


def _limit_backward(kept, slope):
  raw, floor, high = kept
  # A descent step moves raw against the slope.
  outward = ((raw <= floor) & (slope > 0)) | ((raw >= high) & (slope < 0))
  zeros = jnp.zeros_like(floor)
  return jnp.where(outward, 0.0, slope), zeros, zeros, zeros


limit.defvjp(_limit_forward, _limit_backward)


class Augmenter(nn.Module):
  """A form of G_A, (x [B, H, W, C], z [B, Z]) -> image.

  Attributes:
    warmup_steps: steps in which its learning rate rises from 0.
    read_as: layout in which a U-Net's G_L reads the latents off an image; "" for the
      layout of the config.
  """
  warmup_steps: ClassVar[int] = 0
  read_as: ClassVar[str] = ""

  @property
  def latents(self) -> tuple[str, ...]:
    """Names of the latents, which decide how many there are; () if the config does."""
    return ()

  def bank(self, latents: np.ndarray) -> np.ndarray:
    """Makes the bank Z̃ of the latents G_L(x̃), [M, Z] -> [M, Z]."""
    return latents

  def shown(self, z: jax.Array) -> jax.Array:
    """How plainly each latent shows in G_A(x, z), from 0 to 1: [B, Z] -> [B, Z].

    Networks may use every latent for every image; a chain of operators does not.
    """
    return jnp.ones_like(z)

  def log_likelihood(self, z: jax.Array) -> jax.Array:
    """log p of what each z [B, Z] switches on or off, up to a constant: float32 [B].

    Its gradient trains the probabilities, which no slope of an image reaches (Williams
    1992).
    """
    return jnp.zeros(len(z))

  def mean_strengths(self, z: jax.Array) -> dict[str, jax.Array]:
    """Means over latents [B, Z] of what is worth following in training, by name."""
    return {}

  def with_cost(self, x: jax.Array, z: jax.Array, of_two_sided: float = 1.0
                ) -> tuple[jax.Array, jax.Array]:
    """Returns G_A(x, z) and its cost [B], see `LossesConfig.cost_weight`."""
    del of_two_sided
    return self(x, z), jnp.zeros(len(z))


def to_image(logits: jax.Array, x: jax.Array, output: str) -> jax.Array:
  """Computes a generator's output from its last layer.

  NOTE(paper): The paper does not say whether the generators output an image or a change
  of their input. We offer both.

  Args:
    logits: an array of the shape of `x`.
    x: the generator's input, in [0, 1].
    output: "image" for sigmoid(logits); "edit" for sigmoid(logit(x) + logits);
      "residual" for x + logits / 5, limited to [0, 1]. With the last two, zero logits give
      (nearly) the identity, and the gradient reaches x in black and white pixels, too.
      The sigmoids of "edit" stop learning where they are far on the wrong side, as on the
      strokes of a negative that is made dark as a whole (docs/experiments/036).

  Returns:
    float32, of the shape of `x`, in [0, 1]. Logits far from 0 give black or white.
  """
  logits = logits.astype(jnp.float32)
  if output == "image":
    return jax.nn.sigmoid(logits)
  x = x.astype(jnp.float32)
  if output == "residual":
    zeros = jnp.zeros_like(x)
    return limit(x + _RESIDUAL_UNIT * logits, zeros, zeros, zeros + 1)
  inside = jnp.clip(x, _EDIT_EPSILON, 1 - _EDIT_EPSILON)
  y = jax.nn.sigmoid(logits + jax.scipy.special.logit(inside))
  return y + _slope_of_clipped(x, inside, y)


def _slope_of_clipped(x: jax.Array, inside: jax.Array, y: jax.Array
                      ) -> jax.Array:
  """Returns zeros whose slope along x is 1 − |y − x| where x was clipped.

  Most pixels of a character are black or white. They would pass no gradient, and black
  or white drawings could not be learned through the second half of a cycle. The slope is
  that of painting over x: 1 where x is unchanged, 0 where it is covered.
  """
  slope = jnp.where(inside == x, 0.0, 1.0 - jnp.abs(y - inside))
  return jax.lax.stop_gradient(slope) * (x - jax.lax.stop_gradient(x))


def centred(z: jax.Array, scale: float) -> jax.Array:
  """Centres and scales latents in [0, 1] for the networks: `scale * (z - 1/2)`."""
  return scale * (z - 0.5)
