"""Pairs of views for contrastive learning, one function a stage."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from augment_gen.augment.learned import draw_latents
from augment_gen.augment.policy import draw_t
from augment_gen.augment.recipes import augment_batch
from augment_gen.run.random import example_keys


def hand_made(augment: Callable) -> Callable:
  """t(x) and t'(x), both from the same recipe: ordinary pre-training."""

  def views(frozen, batch, key):
    del frozen
    x = batch["x_p"]
    return tuple(augment_batch(augment, example_keys(key, name, len(x)), x)
                 for name in ("view_1", "view_2"))
  return views


def with_second_view(augment: Callable, second: Callable,
                     last: bool = False) -> Callable:
  """t(x) and t'(x) changed by `second`, sides swapped at random.

  NOTE(paper): (15) writes ℓ(F(x), F(G_A(x, z))), and that G_A is an
  "additional augmentation". We read: beside the hand-made ones, on one side;
  which side is drawn anew for each image, so that f_q sees both kinds. Whether
  the hand-made one is t'(G_A(x, z)) or G_A(t'(x), z) is not said.

  Args:
    augment: the hand-made recipe, for one image.
    second: `(frozen, images [b, H, W, C], key) -> images`, the augmentation
      that is added: G_A, or the true implicit one.
    last: whether it acts on t'(x), and F sees its work as it is, or on x, and
      F sees it cropped, turned and resampled.
  """
  plain = hand_made(augment)

  def views(frozen, batch, key):
    t_x, t_added = plain(frozen, batch, key)
    if last:
      t_added = second(frozen, t_added, key)
    else:
      added = dict(batch, x_p=second(frozen, batch["x_p"], key))
      _, t_added = plain(frozen, added, key)
    keys = example_keys(key, "swap", len(t_x))
    swap = jax.vmap(jax.random.bernoulli)(keys)[:, None, None, None]
    return jnp.where(swap, t_added, t_x), jnp.where(swap, t_x, t_added)
  return views


def learned_second(augmenter, latent_dim: int, from_bank: bool) -> Callable:
  """x -> G_A(x, z) with z uniform from the bank Z̃, or from the prior."""

  def second(frozen, x, key):
    bank = frozen["bank"] if from_bank else None
    z = draw_latents(example_keys(key, "latent", len(x)), bank, latent_dim)
    return augmenter.apply(frozen["augmenter"], x, z)
  return second


def chosen_second(augmenter, policy) -> Callable:
  """x -> G_A(x, z) with z drawn from P(z|x) among `frozen["candidates"]`."""

  def second(frozen, x, key):
    log_p = policy.apply(frozen["policy"], x)
    chosen = draw_t(example_keys(key, "latent", len(x)), log_p, 1)[:, 0]
    z = jnp.take(frozen["candidates"], chosen, axis=0)
    return augmenter.apply(frozen["augmenter"], x, z)
  return second


def true_second(augment: Callable) -> Callable:
  """x -> the implicit augmentation itself, drawn afresh: the oracle."""

  def second(frozen, x, key):
    del frozen
    return augment_batch(augment, example_keys(key, "oracle", len(x)), x)
  return second
