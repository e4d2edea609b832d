"""What the generators' last layers mean, and how they take latents in."""

import jax
import jax.numpy as jnp

OUTPUTS = ("image", "edit")
LAYOUTS = ("square", "learned")

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
      that zero logits are (nearly) the identity.

  Returns:
    float32, of the shape of `x`, in [0, 1]: far from 0, logits end at black and white.
  """
  logits = logits.astype(jnp.float32)
  if output == "edit":
    x = jnp.clip(x.astype(jnp.float32), _EDIT_EPSILON, 1 - _EDIT_EPSILON)
    logits = logits + jax.scipy.special.logit(x)
  return jax.nn.sigmoid(logits)


def centred(z: jax.Array, scale: float) -> jax.Array:
  """Latents in [0, 1] as the networks read them: `scale * (z - 1/2)`."""
  return scale * (z - 0.5)
