"""The learned view G_A(x, z) in re-training, equation (15)."""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

PyTree = Any

_LARGEST_FACTOR = 2.0**20  # edits saturate beyond it
_BISECTIONS = 20


def draw_latents(keys: jax.Array, bank: jax.Array | None,
                 dim: int) -> jax.Array:
  """Draws one latent per example.

  Source: Hayase et al., (15).

  Args:
    keys: [B] typed keys.
    bank: float32 [M, Z], Z̃ = {G_L(x̃) : x̃ ∈ X̃_f}. Its rows are drawn uniformly with
      replacement, as in the paper. None for the prior, uniform on [0, 1]^dim.
    dim: Z, the number of latents.

  Returns:
    float32 [B, Z].

  Raises:
    ValueError: the rows of the bank do not have length `dim`.
  """
  # NOTE(paper): The paper does not give the prior p(z); it says "uniformly drawn" only
  # of Z̃. We use the uniform distribution on the cube, where the sigmoid on G_L puts its
  # latents, too.
  if bank is None:
    return jax.vmap(lambda key: jax.random.uniform(key, (dim,)))(keys)
  if bank.shape[1:] != (dim,):
    raise ValueError(f"the bank has shape {bank.shape}, but latents have {dim} "
                     "dimensions")
  rows = jax.vmap(lambda key: jax.random.randint(key, (), 0, len(bank)))(keys)
  return jnp.take(bank, rows, axis=0)


def calibrated(bank: np.ndarray) -> np.ndarray:
  """Brings each latent of the bank to the distribution of the prior: [M, Z] -> [M, Z].

  NOTE(paper): (15) draws z from G_L(x̃_f) as it is. Where G_L is unsure it answers with
  the middle of the range, and where it takes content for an augmentation, with an end of
  it, so views get other amounts than those that D_f has judged. Each latent is replaced
  by its rank, from 1 / 2M to 1 − 1 / 2M. The bank then says which amounts go together,
  and the quantile functions of G_A how large they are (docs/experiments/017).
  """
  # Equal latents, where the sigmoid is 1, are in a random order, another one for each
  # latent: in that of X̃_f they would all rise together, and follow the classes.
  ties = np.random.Generator(np.random.Philox(0)).random(bank.shape)
  order = np.lexsort((ties, bank), axis=0)
  ranks = np.argsort(order, axis=0, kind="stable")
  return ((ranks + 0.5) / len(bank)).astype(np.float32)


# Parameters that produce the logits, for both kinds of G_A. At 0 nothing is drawn.
# Larger gains draw more marks and make each one stronger.
_OF_LOGITS = ("image", "marks", "strengths")


def match_strength(augmenter: nn.Module, params: PyTree, x: jax.Array,
                   z: jax.Array, strength: float, pieces: int = 1) -> PyTree:
  """Scales an untrained G_A until its edits have a given strength.

  This is the control for "any change of the images would do": same network, same
  latents and same strength, but nothing learned.

  Args:
    augmenter: G_A with an edit as its output, so that larger logits mean a larger edit.
    params: parameters of the untrained network.
    x: float32 [B, H, W, C] in [0, 1].
    z: float32 [B, Z].
    strength: target for the mean |G_A(x, z) − x|.
    pieces: in how many equal parts the images are changed, for want of memory.

  Returns:
    The parameters, with those of the logits scaled.
  """
  def scaled(params, factor):
    return {name: jax.tree.map(lambda a: factor * a, part)
            if name in _OF_LOGITS else part for name, part in params.items()}

  # The arrays are arguments, because the compiler would spend seconds on constants.
  @jax.jit
  def edit_of(params, x, z, factor):
    x_a = augmenter.apply({"params": scaled(params, factor)}, x, z)
    return jnp.mean(jnp.abs(x_a - x))

  def edit(factor):
    return np.mean([edit_of(params, *part, factor)
                    for part in zip(np.split(x, pieces), np.split(z, pieces))])

  low, high = 0.0, 1.0
  while edit(high) < strength and high < _LARGEST_FACTOR:
    low, high = high, 2 * high
  for _ in range(_BISECTIONS):
    middle = (low + high) / 2
    low, high = (middle, high) if edit(middle) < strength else (low, middle)
  return scaled(params, (low + high) / 2)
