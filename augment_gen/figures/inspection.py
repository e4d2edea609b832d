"""A closer look at the generators: over training, the worst cases, the map of embeddings.

What it measures is kept as small files in the run folder's report/, from which the report
is made when the images are no longer at hand.
"""

from collections.abc import Callable
import pathlib
import shutil
from typing import Any

import jax
from jax.tree_util import Partial
import numpy as np
from PIL import Image

from augment_gen.config import Config
from augment_gen.data.base import Images, sample
from augment_gen.data.task import Task
from augment_gen.evaluate import embedding_map as map_lib
from augment_gen.evaluate import health, judged
from augment_gen.evaluate.chunks import chunked, floats
from augment_gen.figures import drawing, grid
from augment_gen.figures import embedding_map as map_figure
from augment_gen.models.build import generator_functions, latent_dim
from augment_gen.run.folder import RunFolder, write_json
from augment_gen.run.metrics import MetricWriter
from augment_gen.run.random import stream
from augment_gen.steps.generator import GeneratorState

SCORES, MAP = "scores.json", "embedding_map.json"  # in the run folder's report/
_PAIRS = 8  # of x and z, followed over training
_STRIPS = 10  # rows of over_training.png, at most
_WORST = 6
_MAPPED = 150  # images of each set in the map


def strip_interval(steps: int) -> int:
  """The interval at which `keep_strip` fills over_training.png in so many steps."""
  return max(1, -(-steps // _STRIPS))


def keep_strip(config: Config, task: Task, state: GeneratorState, folder: RunFolder
               ) -> None:
  """Keeps G_A(x, z) of the same few pairs at this step, as a small PNG.

  Its name is the step: a run that is stopped and goes on writes the same files.
  """
  views = _augmented(config, state, _some(task.pretrain, _PAIRS), "strip")
  path = _strips(folder) / f"{int(state.step):09}.png"
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.concatenate([drawing.to_rgb(v) for v in views], axis=1)).save(path)


def take_over_strips(source: str, folder: RunFolder) -> None:
  """Copies the strips of a run whose stage 2 is taken over, if there are none here.

  Args:
    source: the folder of that run; "" for none.
    folder: the run's folder.
  """
  theirs = pathlib.Path(source, "report", "over_training")
  if source and theirs.is_dir() and not has_strips(folder):
    shutil.copytree(theirs, _strips(folder), dirs_exist_ok=True)


def has_strips(folder: RunFolder) -> bool:
  """Whether there is anything that `over_training` can draw."""
  return any(_strips(folder).glob("*.png"))


def over_training(task: Task, folder: RunFolder, writer: MetricWriter) -> None:
  """over_training.png: the strips of `keep_strip`, below their images x."""
  paths = sorted(_strips(folder).glob("*.png"))
  if not paths:
    return
  chosen = np.unique(np.linspace(0, len(paths) - 1, min(len(paths), _STRIPS)).astype(int))
  rows = {"x": np.stack([drawing.to_rgb(x) for x in _some(task.pretrain, _PAIRS)])}
  for path in (paths[index] for index in chosen):
    strip = np.asarray(Image.open(path).convert("RGB"))
    rows[f"step {int(path.stem)}"] = np.stack(np.split(strip, _PAIRS, axis=1))
  image = grid.row_sheet(rows, folder.figures / "over_training.png",
                         title="G_A(x, z) of the same images and latents over training")
  writer.image("figures/over_training", int(paths[-1].stem), image)


def worst_cases(config: Config, task: Task, state: GeneratorState, judge: judged.Judge,
                folder: RunFolder, writer: MetricWriter) -> None:
  """worst_cases.png and told_apart.png; their numbers go to SCORES."""
  found = judged.measure(config, task, state, judge)
  write_json(_file(folder, SCORES), judged.summary(found))
  order = np.argsort(-found.error, kind="stable")[:_WORST]
  names = ("$\\tilde{x}$", "$G_E(\\tilde{x})$", "$G_A(G_E(\\tilde{x}), G_L(\\tilde{x}))$")
  columns = dict(zip(names, (found.x_f[order], found.x_e[order], found.x_f_cycle[order])))
  image = grid.round_trip_sheet(
      columns, folder.figures / "worst_cases.png", [(names[0], names[2])],
      title="Images of X̃_f that the round trip restores worst",
      captions={names[2]: [f"error {found.error[i]:.3f}" for i in order]})
  writer.image("figures/worst_cases", int(state.step), image)

  fake = np.argsort(found.d_f_x_a, kind="stable")[:_WORST]
  real = np.argsort(-found.d_f_x_f, kind="stable")[:_WORST]
  count = min(len(fake), len(real))
  fake, real = fake[:count], real[:count]
  names = ("$x$", "$G_A(x, z)$", "real: $\\tilde{x}$")
  image = grid.round_trip_sheet(
      dict(zip(names, (found.x[fake], found.x_a[fake], found.x_f[real]))),
      folder.figures / "told_apart.png",
      title="What D_f is surest of",
      captions={names[1]: [f"$D_f$ {found.d_f_x_a[i]:.2f}" for i in fake],
                names[2]: [f"$D_f$ {found.d_f_x_f[i]:.2f}" for i in real]})
  writer.image("figures/told_apart", int(state.step), image)


def embedding_map(config: Config, task: Task, state: GeneratorState, encode: Callable,
                  folder: RunFolder, writer: MetricWriter) -> None:
  """embedding_map.png: X_p, X̃_f and G_A(X_p) as F embeds them; its points go to MAP.

  Args:
    config: the run's config.
    task: its images.
    state: the state of stage 2.
    encode: F, images [n, H, W, C] in [0, 1] -> [n, D], for any n.
    folder: the run's folder.
    writer: also gets the figure.
  """
  x, x_f = (_some(images, min(len(images), _MAPPED))
            for images in (task.pretrain, task.finetune))
  x_a = _augmented(config, state, x, "map")
  points, method = map_lib.project(
      {"X_p": encode(x), "X̃_f": encode(x_f), "G_A(X_p)": encode(x_a)})
  found: dict[str, Any] = {
      "method": method, "sets": {name: np.round(part, 3).tolist()
                                 for name, part in points.items()}}
  write_json(_file(folder, MAP), found)
  image = map_figure.sheet(points, folder.figures / "embedding_map.png")
  writer.image("figures/embedding_map", int(state.step), image)


def _augmented(config: Config, state: GeneratorState, x: np.ndarray, name: str
               ) -> np.ndarray:
  """G_A(x, z) with z from the prior; what is drawn depends on the seed and the name."""
  z = jax.random.uniform(
      stream(jax.random.key(config.seed), name), (len(x), latent_dim(config)))
  g_a, _ = generator_functions(config)
  # In the chunks of the health checks, for which it is compiled already.
  return chunked(Partial(g_a, state.augmenter.final_params), health.CHUNK)(
      x, np.asarray(z))


def _some(images: Images, count: int) -> np.ndarray:
  return floats(sample(images, count))


def _file(folder: RunFolder, name: str) -> pathlib.Path:
  folder.report.mkdir(exist_ok=True)
  return folder.report / name


def _strips(folder: RunFolder) -> pathlib.Path:
  return folder.report / "over_training"
