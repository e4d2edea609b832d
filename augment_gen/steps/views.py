"""Pairs of views for contrastive learning, and single ones for fine-tuning."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from augment_gen.augment.learned import draw_latents
from augment_gen.augment.policy import draw_t
from augment_gen.augment.recipes import augment_batch
from augment_gen.run.contracts import Batch, PyTree
from augment_gen.run.random import example_keys
from augment_gen.steps import micro_batches

# (frozen, batch, key) -> one view of the images of a set, as a tuple.
OneView = Callable[[PyTree, Batch, jax.Array], tuple[jax.Array]]


def hand_made(augment: Callable) -> Callable:
  """Builds t(x) and t'(x) from the same recipe, as in ordinary pre-training."""

  def views(frozen, batch, key):
    del frozen
    return _two_views(augment, batch["x_p"], batch["x_p"], key)
  return views


def single(augment: Callable, images: str) -> OneView:
  """Builds t(x) of the images of a set, as in fine-tuning."""

  def view(frozen, batch, key):
    del frozen
    x = batch[images]
    return (augment_batch(augment, example_keys(key, "view", len(x)), x),)
  return view


def _two_views(augment: Callable, x_1: jax.Array, x_2: jax.Array, key: jax.Array
               ) -> tuple[jax.Array, jax.Array]:
  """Computes t(x_1) and t'(x_2) of images [b, H, W, C].

  One call for both, so that the recipe is compiled once.
  """
  keys = jnp.concatenate([example_keys(key, name, len(x_1))
                          for name in ("view_1", "view_2")])
  both = augment_batch(augment, keys, jnp.concatenate([x_1, x_2]))
  return both[:len(x_1)], both[len(x_1):]


def with_second_view(augment: Callable, second: Callable,
                     last: bool = False) -> Callable:
  """Builds t(x), and t'(x) changed by `second`, with the sides swapped at random.

  Source: Hayase et al., (15).

  NOTE(paper): (15) has ℓ(F(x), F(G_A(x, z))), and the paper calls G_A an "additional
  augmentation". We add it to the hand-made augmentations on one side. The side is drawn
  for each image, so that f_q sees both kinds of view. The paper does not say whether
  the view is t'(G_A(x, z)) or G_A(t'(x), z).

  Args:
    augment: the hand-made recipe for one image.
    second: `(frozen, images [b, H, W, C], key) -> images`, the added augmentation: G_A,
      or the true implicit one.
    last: If True, `second` acts on t'(x), and F sees its output directly. If False, it
      acts on x, and F sees its output cropped, rotated and resampled by t'.
  """

  def views(frozen, batch, key):
    x = batch["x_p"]
    if last:
      t_x, t_added = _two_views(augment, x, x, key)
      t_added = second(frozen, t_added, key)
    else:
      t_x, t_added = _two_views(augment, x, second(frozen, x, key), key)
    keys = example_keys(key, "swap", len(t_x))
    swap = jax.vmap(jax.random.bernoulli)(keys)[:, None, None, None]
    return jnp.where(swap, t_added, t_x), jnp.where(swap, t_x, t_added)
  return views


def small_crops(augment: Callable, count: int) -> Callable:
  """Builds (frozen, batch, key) -> further views of "x_p" (multi-crop).

  NOTE(paper): With G_A, small crops are still hand-made views of x alone. G_A may need
  images of one size, and one of the two large views of an image shows its effect.

  Args:
    augment: the hand-made recipe for one image, with a small crop.
    count: number of crops of an image, at least 1.

  Returns:
    A function whose result is float32 [count · b, h, w, C], crop by crop.
  """

  def crops(frozen, batch, key):
    del frozen
    x = batch["x_p"]
    keys = jnp.concatenate([
        example_keys(key, f"small_{n}", len(x)) for n in range(count)])
    return augment_batch(augment, keys, jnp.concatenate([x] * count))
  return crops


def learned_second(augmenter, latent_dim: int, from_bank: bool, micro_batch: int = 0
                   ) -> Callable:
  """Builds x -> G_A(x, z), with z drawn uniformly from the bank Z̃ or from the prior.

  Source: Hayase et al., (15).

  Args:
    augmenter: G_A.
    latent_dim: Z.
    from_bank: whether z is one of `frozen["bank"]`, or of the prior.
    micro_batch: images that pass through G_A at once; 0: all.
  """

  def second(frozen, x, key):
    bank = frozen["bank"] if from_bank else None
    z = draw_latents(example_keys(key, "latent", len(x)), bank, latent_dim)
    return _augmented(augmenter, frozen, x, z, micro_batch)
  return second


def chosen_second(augmenter, policy, micro_batch: int = 0) -> Callable:
  """Builds x -> G_A(x, z), with z drawn from `frozen["candidates"]` by P(z|x).

  `micro_batch` as in `learned_second`.
  """

  def second(frozen, x, key):
    log_p = policy.apply(frozen["policy"], x)
    chosen = draw_t(example_keys(key, "latent", len(x)), log_p, 1)[:, 0]
    z = jnp.take(frozen["candidates"], chosen, axis=0)
    return _augmented(augmenter, frozen, x, z, micro_batch)
  return second


def _augmented(augmenter, frozen, x: jax.Array, z: jax.Array, micro_batch: int
               ) -> jax.Array:
  return micro_batches.of_size(
      lambda x, z: augmenter.apply(frozen["augmenter"], x, z), micro_batch, x, z)


def true_second(augment: Callable) -> Callable:
  """Builds the oracle, which draws the true implicit augmentation anew each time."""

  def second(frozen, x, key):
    del frozen
    return augment_batch(augment, example_keys(key, "oracle", len(x)), x)
  return second
