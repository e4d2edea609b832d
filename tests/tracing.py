"""Steps of any size, traced without computing anything."""

import jax
import jax.numpy as jnp
import numpy as np

from augment_gen.data.base import ImageSet
from augment_gen.data.task import Task
from augment_gen.methods.augmentation_generator import stages as generator
from augment_gen.steps import frozen_encoder


def black(count, shape):
  """A set of black images that takes no memory."""
  return ImageSet("black", np.broadcast_to(np.uint8(0), (count, *shape)), None, (),
                  fingerprint="black")


def task_of(config):
  shape = (config.data.side, config.data.side, config.data.channels)
  return Task(black(10_000, shape), black(5_000, shape), None, {}, 10, {})


def traced_step(make_stage, frozen=None):
  """Shapes of the state before and after one step, and of the metrics."""

  def one_step():
    stage = make_stage()
    # Of the images a few rows do: the step takes a batch of them.
    resident = {name: jnp.zeros((4, *images.shape[1:]), jnp.uint8)
                for name, images in stage.feed.resident.items()}
    batch = stage.feed.fetch(resident, jax.tree.map(
        jnp.asarray, stage.feed.host_batch(0)))
    state, metrics = stage.step(
        stage.state, frozen(stage) if frozen else stage.frozen, batch, stage.key)
    return stage.state, state, metrics

  return jax.eval_shape(one_step)


def generator_step(config, task, pretrained):
  """`traced_step` of stage 2, with F as the shapes in `pretrained` have it."""

  def frozen(stage):
    del stage
    nets = generator.generator_networks(config)
    x = jnp.zeros((2, *task.pretrain.shape))
    variables = zeros(generator.encoder_variables(config, pretrained))
    y, detail = frozen_encoder.make_see(
        nets.encoder, config.generator.discriminator.features)(variables, x)
    seen = y.shape[1] + detail[0].size
    return {"encoder": frozen_encoder.FrozenEncoder(
        variables, {name: jnp.zeros((len(images), y.shape[1]))
                    for name, images in (("x_p", task.pretrain),
                                         ("x_f", task.finetune))},
        jnp.zeros(seen), jnp.ones(seen))}

  return traced_step(lambda: generator.generator(config, task, None), frozen)


def zeros(tree):
  """Arrays of the shapes in a tree."""
  return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), tree)


def kept_for_gradients(loss, params):
  """Bytes that the forward pass keeps for the gradient of `loss(params)`."""
  kept = jax.eval_shape(lambda params: jax.vjp(loss, params)[1], params)
  return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(kept))
