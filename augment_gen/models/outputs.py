"""What the generators' last layers mean, and how they take latents in."""

import jax
import jax.numpy as jnp

# How far an image is kept from black and white before its logit is taken. The
# identity is so met to 2.5 of 255 grey levels, and sigmoid' there is 0.01:
# small enough for the one and still large enough to learn from.
_EDIT_EPSILON = 0.01


def to_image(logits: jax.Array, x: jax.Array, output: str) -> jax.Array:
  """A generator's output from its last layer.

  NOTE(paper): whether the generators put out an image or a change of their
  input is not given: both are offered.

  Args:
    logits: of the shape of `x`.
    x: the generator's input, in [0, 1].
    output: "image": sigmoid(logits); "edit": sigmoid(logit(x) + logits), so
      that zero logits are (nearly) the identity. Its gradient reaches x in black
      and white pixels, too.

  Returns:
    float32, of the shape of `x`, in [0, 1]: far from 0, logits end at black and white.
  """
  logits = logits.astype(jnp.float32)
  if output == "image":
    return jax.nn.sigmoid(logits)
  x = x.astype(jnp.float32)
  inside = jnp.clip(x, _EDIT_EPSILON, 1 - _EDIT_EPSILON)
  y = jax.nn.sigmoid(logits + jax.scipy.special.logit(inside))
  return y + _slope_of_clipped(x, inside, y)


def _slope_of_clipped(x: jax.Array, inside: jax.Array, y: jax.Array
                      ) -> jax.Array:
  """Zeros whose slope along x, where it was clipped, is 1 − |y − x|.

  Black and white pixels, which most of a character's are, would pass no gradient
  on, and what is drawn in black or white could not be learned through the second
  half of a cycle. The slope is that of laying what is drawn over x: 1 where x is
  left as it is, 0 where it is covered.
  """
  slope = jnp.where(inside == x, 0.0, 1.0 - jnp.abs(y - inside))
  return jax.lax.stop_gradient(slope) * (x - jax.lax.stop_gradient(x))


def centred(z: jax.Array, scale: float) -> jax.Array:
  """Latents in [0, 1] as the networks read them: `scale * (z - 1/2)`."""
  return scale * (z - 0.5)
