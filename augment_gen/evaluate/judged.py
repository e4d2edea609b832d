"""How D_f and D_p judge single images, and how well the cycle restores them.

Means over images, as in health.py, do not show what the worst images look like.
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

import jax
from jax.tree_util import Partial
import numpy as np

from augment_gen.config import Config
from augment_gen.data.base import sample
from augment_gen.data.task import Task
from augment_gen.evaluate.chunks import chunked, floats
from augment_gen.evaluate.health import CHUNK
from augment_gen.models.build import (
  build_augmenter,
  build_discriminator,
  build_encoder,
  generator_functions,
  latent_dim,
)
from augment_gen.run.random import stream
from augment_gen.steps import frozen_encoder
from augment_gen.steps.generator import GeneratorState

IMAGES = CHUNK  # of each set, at most

# images [n, H, W, C] in [0, 1] -> the probabilities D_f and D_p, float32 [n] each.
Judge = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Judged:
  """Images of both sets with what was made of them; float32 [n, H, W, C] in [0, 1].

  Attributes:
    x: images of X_p.
    x_a: G_A(x, z), z from the prior.
    d_f_x_a: D_f(G_A(x, z)), float32 [n].
    x_f: images x̃ of X̃_f, [m, H, W, C].
    x_e: G_E(x̃).
    x_f_cycle: G_A(G_E(x̃), z) with z from the bank of these G_L(x̃).
    d_f_x_f: D_f(x̃), float32 [m].
    error: mean |G_A(G_E(x̃), z) − x̃| of each image, float32 [m].
  """
  x: np.ndarray
  x_a: np.ndarray
  d_f_x_a: np.ndarray
  x_f: np.ndarray
  x_e: np.ndarray
  x_f_cycle: np.ndarray
  d_f_x_f: np.ndarray
  error: np.ndarray


def make_judge(config: Config, encoder: frozen_encoder.FrozenEncoder,
               state: GeneratorState) -> Judge:
  """The discriminators, as a function of images.

  Args:
    config: the run's config.
    encoder: F as they see it.
    state: the state of stage 2.
  """
  # The embeddings of the sets are of no use here, and would only fill memory.
  encoder = dataclasses.replace(encoder, embeddings={})
  return chunked(Partial(
      _judge(config), encoder, state.disc_f.params, state.disc_p.params), CHUNK)


@functools.cache
def _judge(config: Config) -> Callable[..., tuple[jax.Array, jax.Array]]:
  """Cached, so that `chunked` compiles it once."""
  see = frozen_encoder.make_see(
      build_encoder(config, bn_groups=1), config.generator.discriminator.features)
  net = build_discriminator(config)

  def judge(encoder, d_f, d_p, x):
    y = frozen_encoder.of_images(see, encoder, x)
    of = lambda params: jax.nn.sigmoid(net.apply({"params": params}, y))
    return of(d_f), of(d_p)

  return judge


def measure(config: Config, task: Task, state: GeneratorState, judge: Judge) -> Judged:
  """Judges images spread evenly over X_p and X̃_f; see `Judged`."""
  apply_a, apply_el = generator_functions(config)
  g_a = chunked(Partial(apply_a, state.augmenter.final_params), CHUNK)
  g_el = chunked(Partial(apply_el, state.eliminator.final_params), CHUNK)
  x, x_f = (floats(sample(images, min(len(images), IMAGES)))
            for images in (task.pretrain, task.finetune))
  z = np.asarray(jax.random.uniform(
      stream(jax.random.key(config.seed), "judged"), (len(x), latent_dim(config))))
  x_a, (x_e, z_f) = g_a(x, z), g_el(x_f)
  # As re-training draws them.
  x_f_cycle = g_a(x_e, build_augmenter(config).bank(z_f))
  return Judged(
      x=x, x_a=x_a, d_f_x_a=judge(x_a)[0], x_f=x_f, x_e=x_e, x_f_cycle=x_f_cycle,
      d_f_x_f=judge(x_f)[0], error=np.mean(np.abs(x_f_cycle - x_f), axis=(1, 2, 3)))


def summary(judged: Judged) -> dict[str, Any]:
  """What `measure` found over all images, as JSON values."""
  right = np.concatenate([judged.d_f_x_f > 0.5, judged.d_f_x_a < 0.5])
  return {"images": len(right), "d_f_right": float(right.mean()),
          "d_f_real": float(judged.d_f_x_f.mean()),
          "d_f_generated": float(judged.d_f_x_a.mean()),
          "error_median": float(np.median(judged.error)),
          "error_worst": float(judged.error.max())}
