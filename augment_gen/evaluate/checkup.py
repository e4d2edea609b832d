"""The health of a run's generator: `health.measure` on the run's images."""

from collections.abc import Mapping, Sequence
import functools
from typing import Any

import jax
from jax.tree_util import Partial
import numpy as np

from augment_gen.augment import implicit
from augment_gen.config import Config
from augment_gen.data.base import evenly, Images, ImageSet, sample
from augment_gen.data.task import Task
from augment_gen.evaluate import amounts, health, knn, needed
from augment_gen.evaluate.chunks import chunked, floats
from augment_gen.evaluate.features import Encode, extract
from augment_gen.models.build import (
  build_augmenter,
  build_encoder,
  generator_functions,
  latent_dim,
  shown_latents,
)
from augment_gen.run.random import stream
from augment_gen.steps import frozen_encoder
from augment_gen.steps.generator import GeneratorState

_IMAGES = 1000  # images of each set, at most
_COMPARED = 512  # images of each set for each comparison of `_unneeded`


def measure(config: Config, task: Task, encode: Encode, variables: Any,
            state: GeneratorState) -> dict[str, float]:
  """Runs `health.measure` on images spread evenly over the sets.

  Args:
    config: the run's config.
    task: the run's images. If the clean X_f is known, edits are compared with the true
      ones, and a nearest-neighbour probe on F(X_f) classifies the test images before
      and after G_E.
    encode: F.
    variables: F's variables.
    state: the state of stage 2 at any step.
  """
  g_a, g_el = generator_functions(config)
  shown = shown_latents(config)
  clean = None if task.finetune_clean is None else _read(task.finetune_clean)
  return health.measure(
      Partial(g_a, state.augmenter.final_params),
      Partial(g_el, state.eliminator.final_params),
      Partial(encode, variables),
      _read(task.pretrain), _read(task.finetune),
      key=stream(jax.random.key(config.seed), "health"),
      latent_dim=latent_dim(config),
      x_f_clean=clean,
      # Any seed that data/task.py does not use.
      x_f_again=None if clean is None else implicit.apply_once(
          config.data.implicit, clean, 2 * config.data.implicit_seed + 2),
      probe=_probe(config, task, encode, variables),
      shown=lambda z: shown(state.augmenter.final_params, z),
      bank_of=build_augmenter(config).bank, look=Partial(_look(config), variables))


def describe(config: Config, task: Task, variables: Any, state: GeneratorState
             ) -> dict[str, Any]:
  """Runs `amounts.describe` on the run's images, and says what nobody misses.

  Args:
    config: the run's config; its G_A is a chain of operators.
    task: its images.
    variables: F's variables.
    state: the state of stage 2.

  Returns:
    See `amounts.describe`; and "unneeded", the strengths of operators that are alive
    without which X̃_f is drawn as well, OPERATOR.AMOUNT (`needed.unneeded`).
  """
  chain = build_augmenter(config)
  _, g_el = generator_functions(config)
  x, x_f = floats(_read(task.pretrain)), floats(_read(task.finetune))
  z = jax.random.uniform(
      stream(jax.random.key(config.seed), "amounts"), (len(x), latent_dim(config)))
  described = amounts.describe(
      chain, state.augmenter.final_params, x, np.asarray(z), x_f,
      chain.bank(
          chunked(Partial(g_el, state.eliminator.final_params), health.CHUNK)(x_f)[1]),
      implicit.TRUE_RANGES.get(config.data.implicit))
  return described | {"unneeded": _unneeded(config, task, variables, state, described)}


def _unneeded(config: Config, task: Task, variables: Any, state: GeneratorState,
              described: Mapping[str, Any]) -> list[str]:
  """Strengths of operators that are alive without which X̃_f is drawn as well."""
  chain = build_augmenter(config)
  g_a, g_el = generator_functions(config)
  params = state.augmenter.final_params
  x, x_f = (floats(sample(images, min(len(images), _COMPARED)))
            for images in (task.pretrain, task.finetune))
  z = np.asarray(jax.random.uniform(stream(
      jax.random.key(config.seed), "unneeded"), (len(x_f), latent_dim(config))))
  x_e, _ = chunked(Partial(g_el, state.eliminator.final_params), health.CHUNK)(x_f)
  distance = health.distance_from(
      chunked(Partial(_look(config), variables), health.CHUNK), x, x_f)

  # G_A(x_p, z) would say little: it differs from X̃_f by the content, too.
  def gap(left_out: Sequence[str]) -> float:
    draw = chunked(Partial(g_a, chain.without(params, left_out)), health.CHUNK)
    return distance(draw(x_e, z))

  def acts(name: str) -> bool:
    operator, _, amount = name.partition(".")
    found = described["operators"][operator]
    return found["alive"] and (
        found["amounts"][amount]["prior"]["share"] >= amounts.SPOKEN_OF)

  return needed.unneeded({name: others for name, others in chain.one_sided().items()
                          if acts(name)}, gap)


@functools.cache
def _look(config: Config) -> Encode:
  """F and statistics of its stages, `(variables, x) -> [b, d]`; compiled once."""
  see = frozen_encoder.make_see(build_encoder(config, bn_groups=1), "stages")
  return lambda variables, x: see(variables, x)[0]


def _probe(config: Config, task: Task, encode: Encode,
           variables: Any) -> health.Probe | None:
  """A nearest-neighbour classifier on F(X_f), and the test sets that it classifies."""
  known = task.finetune_clean
  names = config.data.clean_name, config.data.finetune_name
  if known is None or not all(name in task.tests for name in names):
    return None
  features = extract(
      encode, variables, known, config.evaluate.batch_size)
  clean, augmented = (_some(task.tests[name]) for name in names)
  assert clean.labels is not None and augmented.labels is not None  # of test sets
  # With data.finetune_per_class=0, sets of these names may be any.
  if not np.array_equal(clean.labels, augmented.labels):
    return None
  return health.Probe(
      predict=lambda queries: knn.knn_predict(
          features, known.labels, queries, task.num_classes,
          config.evaluate.knn_k, config.evaluate.knn_temperature),
      labels=clean.labels, clean=clean.images, augmented=augmented.images)


def _read(images: Images) -> np.ndarray:
  return sample(images, min(len(images), _IMAGES))


def _some(images: ImageSet) -> ImageSet:
  return images.select(evenly(len(images), min(len(images), _IMAGES)))
