"""Supervised training of F: on the labels of X_p, as a reference, or on those of X̃_f."""

import jax
import jax.numpy as jnp
import optax

from augment_gen.models.heads import Classifier, l2_normalize
from augment_gen.run import parallel
from augment_gen.run.contracts import PyTree, Step, Views
from augment_gen.steps import encoder as encoder_step
from augment_gen.steps import views as views_lib
from augment_gen.steps.collapse import embedding_std
from augment_gen.steps.state import EncoderState


def init(net: Classifier, tx: optax.GradientTransformation,
         image_shape: tuple[int, int, int], key: jax.Array,
         encoder: PyTree | None = None) -> EncoderState:
  """Creates a fresh state; F is random, or has the variables `encoder`."""
  return encoder_step.init(net, tx, image_shape, key, encoder)


def make_step(net: Classifier, tx: optax.GradientTransformation,
              views: Views | views_lib.OneView, images: str = "x_p") -> Step:
  """Builds a step that classifies all views by softmax cross entropy.

  Both views of an image have its label, so that F sees as many images in a step as with
  the other pre-trainers, and in re-training also those of G_A. Fine-tuning has one view.

  Args:
    net: F with a linear layer.
    tx: optimiser of `net`.
    views: see `contracts.Views`.
    images: the set that they are views of.

  Returns:
    A step, see `contracts.Step`. Its `frozen["labels"]` has the labels of the set, int32
    [N].
  """

  def loss_fn(params, batch_stats, seen, labels):
    (features, logits), new = net.apply(
        {"params": params, "batch_stats": batch_stats}, jnp.concatenate(seen), train=True,
        mutable=["batch_stats"])
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    first = l2_normalize(features[:len(seen[0])])
    return jnp.mean(losses), (new.get("batch_stats", {}), {
        "accuracy": jnp.mean(jnp.argmax(logits, axis=1) == labels),
        "embedding_std": embedding_std(parallel.gather(first))})

  def step(state: EncoderState, frozen, batch, key):
    seen = views(frozen, batch, key)
    labels = jnp.tile(frozen["labels"][batch["index"][images]], len(seen))
    return encoder_step.update(state, tx, loss_fn, seen, labels)

  return step
