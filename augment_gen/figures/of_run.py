"""The figures of a run: what is drawn, from which state, and under which name."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
import numpy as np

from augment_gen.augment.crops import CropGrid
from augment_gen.config import Config, LogConfig
from augment_gen.data.base import evenly, Images, ImageSet
from augment_gen.data.task import Task
from augment_gen.evaluate import health, judged
from augment_gen.evaluate.chunks import chunked
from augment_gen.figures import amounts as amounts_lib
from augment_gen.figures import curves as curves_lib
from augment_gen.figures import drawing, grid, inspection
from augment_gen.figures import policy as policy_lib
from augment_gen.models import latent_maps
from augment_gen.models.build import build_augmenter, generator_functions, latent_dim
from augment_gen.run.folder import is_newer, RunFolder
from augment_gen.run.forms import jit_quickly
from augment_gen.run.metrics import MetricWriter
from augment_gen.run.random import stream
from augment_gen.steps.frozen_encoder import FrozenEncoder
from augment_gen.steps.generator import GeneratorState

# Files that `generator` always draws, and those that it draws if it is given F as the
# discriminators see it.
_GENERATOR = ("latents.png", "latent_line.png", "round_trips.png", "embedding_map.png")
_JUDGED = ("worst_cases.png", "told_apart.png")

_LATENTS = 8  # columns of Fig. 5
_ROWS = 6
_OF_BANK = 256  # images whose latents make the bank of the round trips
_DRAWS = 32  # batches of latents to which the line is fitted
_INSTANCES = 200  # images in the poster's figure of instances
_POINTS = 2000
_REACH = 2.5  # half length of the line, in standard deviations of the prior


def examples(task: Task, folder: RunFolder, writer: MetricWriter,
             config: LogConfig) -> None:
  """examples.png: a few images of every set (Fig. 4)."""
  sets = {"$X_p$": task.pretrain}
  if task.finetune_clean is not None:
    sets["$X_f$"] = task.finetune_clean
  sets["$\\tilde{X}_f$"] = task.finetune
  sets |= {drawing.literal(f"test {name}"): images for name, images in task.tests.items()}
  chosen = {name: images.read(_spread(len(images), config.figure_images))
            for name, images in sets.items()}
  image = grid.example_sheet(
      chosen, folder.figures / "examples.png", columns=config.figure_images)
  writer.image("figures/examples", 0, image)


def generator_files(folder: RunFolder, judged_too: bool) -> tuple[str, ...]:
  """The files that `generator` draws.

  Args:
    folder: the run's folder.
    judged_too: whether it is given F as the discriminators see it.
  """
  return (*_GENERATOR, *(_JUDGED if judged_too else ()),
          *(["over_training.png"] if inspection.has_strips(folder) else ()))


def generator(config: Config, task: Task, state: GeneratorState,
              folder: RunFolder, writer: MetricWriter, encode: Callable,
              encoder: FrozenEncoder | None) -> None:
  """latents.png, latent_line.png (Fig. 5), round_trips.png, and those of inspection.py.

  Args:
    config: the run's config.
    task: its images.
    state: the state of stage 2.
    folder: the run's folder.
    writer: also gets the figures.
    encode: F, images [n, H, W, C] in [0, 1] -> [n, D], for any n.
    encoder: F as the discriminators see it; None for figures without their scores.
  """
  g_a, g_el = generator_functions(config)
  # In the chunks of the health checks, for which they are compiled already.
  g_a = chunked(Partial(g_a, state.augmenter.final_params), health.CHUNK)
  g_el = chunked(Partial(g_el, state.eliminator.final_params), health.CHUNK)
  x_p, x_f = _some(task.pretrain, _ROWS), _some(task.finetune, _ROWS)
  key = stream(jax.random.key(config.seed), "figures")
  z = jax.random.uniform(key, (_LATENTS, latent_dim(config)))
  step = int(state.step)

  # The same latents for every image, so that columns can be compared.
  repeated = jnp.repeat(x_p, _LATENTS, axis=0)
  views = g_a(repeated, jnp.tile(z, (_ROWS, 1))).reshape(
      _ROWS, _LATENTS, *x_p.shape[1:])
  image = grid.latent_sheet(
      np.asarray(x_p), np.asarray(views), folder.figures / "latents.png",
      title="G_A(x, z): one row an image, one column a latent of the prior")
  writer.image("figures/latents", step, image)

  same = jnp.repeat(x_p[:1], len(repeated), axis=0)
  line = _latent_line(
      z[0], *_changes(g_a, same, stream(key, "line"), z.shape[1]))
  views = g_a(repeated, jnp.tile(line, (_ROWS, 1))).reshape(
      _ROWS, _LATENTS, *x_p.shape[1:])
  image = grid.latent_sheet(
      np.asarray(x_p), np.asarray(views), folder.figures / "latent_line.png",
      title="G_A(x, z): z along the line on which the amount of change varies "
            "most")
  writer.image("figures/latent_line", step, image)

  z_rows = jax.random.uniform(
      stream(key, "rows"), (_ROWS, latent_dim(config)))
  x_a = g_a(x_p, z_rows)
  x_p_cycle, _ = g_el(x_a)
  x_e, z_f = g_el(x_f)
  # As re-training draws them: the bank may change a latent by its place among the others.
  _, others = g_el(_some(task.finetune, _OF_BANK))
  bank = build_augmenter(config).bank(np.concatenate([z_f, others]))
  x_f_cycle = g_a(x_e, bank[:_ROWS])
  columns = {
      "$x$": x_p, "$G_A(x, z)$": x_a, "$G_E(G_A(x, z))$": x_p_cycle,
      "$\\tilde{x}$": x_f, "$G_E(\\tilde{x})$": x_e,
      "$G_A(G_E(\\tilde{x}), G_L(\\tilde{x}))$": x_f_cycle,
  }
  names = list(columns)
  shown = {name: np.asarray(a) for name, a in columns.items()}
  judge = None if encoder is None else judged.make_judge(config, encoder, state)
  image = grid.round_trip_sheet(
      shown, folder.figures / "round_trips.png",
      # What G_A adds, and what G_E takes away.
      differences=[(names[0], names[1]), (names[3], names[4])],
      captions=judge and _scores(shown, judge))
  writer.image("figures/round_trips", step, image)

  inspection.over_training(task, folder, writer)
  if judge is not None:
    inspection.worst_cases(config, task, state, judge, folder, writer)
  inspection.embedding_map(config, task, state, encode, folder, writer)


def _scores(columns: dict[str, np.ndarray], judge: judged.Judge) -> dict[str, list[str]]:
  """Captions for round trips: the judgement of the discriminator that each is meant for."""
  augmented = (False, True, False, True, False, True)
  scores = judge(np.concatenate(list(columns.values())))
  d_f, d_p = (np.split(part, len(columns)) for part in scores)
  return {name: [f"$D_f$ {p:.2f}" if is_augmented else f"$D_p$ {p:.2f}"
                 for p in (d_f if is_augmented else d_p)[place]]
          for place, (name, is_augmented) in enumerate(zip(columns, augmented))}


def operators_files(described: dict[str, Any]) -> tuple[str, ...]:
  """The files that `operators` draws."""
  return ("amounts.png", *(["operators.png"] if _alive(described) else ()))


def operators(config: Config, task: Task, state: GeneratorState,
              described: dict[str, Any], folder: RunFolder, writer: MetricWriter) -> None:
  """operators.png and amounts.png of a chain of operators.

  Args:
    config: the run's config.
    task: its images.
    state: the state of stage 2.
    described: from `evaluate.amounts.describe`.
    folder: the run's folder.
    writer: also gets the figures.
  """
  chain = build_augmenter(config)
  alive = _alive(described)
  image = amounts_lib.amounts_sheet(described, folder.figures / "amounts.png")
  writer.image("figures/amounts", int(state.step), image)
  if not alive:
    return
  x = jnp.repeat(_some(task.pretrain, 1), _LATENTS, axis=0)
  # All latents of an operator rise together from its weakest amounts to its strongest.
  z = jnp.linspace(0.02, 0.98, _LATENTS)[:, None] * jnp.ones((1, latent_dim(config)))
  apply = jit_quickly(chain.apply, static_argnames="only")
  image = grid.operator_sheet(
      {name: np.asarray(apply({"params": state.augmenter.final_params}, x, z, only=name))
       for name in alive}, np.asarray(x[0]), folder.figures / "operators.png")
  writer.image("figures/operators", int(state.step), image)


def _alive(described: dict[str, Any]) -> list[str]:
  return [name for name, found in described["operators"].items() if found["alive"]]


def _changes(g_a: Callable, x: jax.Array, key: jax.Array,
             dim: int) -> tuple[np.ndarray, np.ndarray]:
  """Draws latents from the prior and measures how much G_A changes an image with them.

  Args:
    g_a: (x, z) -> image.
    x: [b, H, W, C], b copies of the image; b latents are computed at a time.
    key: key of the latents.
    dim: Z.

  Returns:
    z [n, dim], and mean |G_A(x, z) − x| [n].
  """
  z = jax.random.uniform(key, (_DRAWS, len(x), dim))
  amount = [np.mean(np.abs(g_a(x, part) - x), axis=(1, 2, 3)) for part in z]
  return np.asarray(z).reshape(-1, dim), np.asarray(amount).reshape(-1)


def _latent_line(start: jax.Array, z: np.ndarray,
                 amount: np.ndarray) -> jax.Array:
  """Latents that differ only in how much G_A changes images with them.

  They lie on a line through `start` [Z], in the direction of the covariance of z [n, Z]
  with the amount of change [n]. For the uniform prior this is the least-squares
  direction.

  Returns:
    [_LATENTS, Z], weak to strong. The line extends `_REACH` standard deviations of the
    prior to either side or, if that is shorter, as far as from the centre of the cube
    [0, 1]^Z to its surface.
  """
  axis = np.mean((z - 0.5) * (amount - amount.mean())[:, None], axis=0)
  axis /= max(np.linalg.norm(axis), 1e-12)
  middle = np.asarray(start) - np.dot(np.asarray(start) - 0.5, axis) * axis
  # Beyond the cube, several latents on the line would be clipped to the same corner.
  reach = min(_REACH * latent_maps.PRIOR_STD,
              0.5 / max(np.abs(axis).max(), 1e-12))
  return jnp.asarray(np.clip(
      middle[None] + np.linspace(-reach, reach, _LATENTS)[:, None] * axis[None],
      0, 1), jnp.float32)


def policy(grid: CropGrid, images: ImageSet, p: np.ndarray,
            representations: dict[str, np.ndarray], folder: RunFolder,
            writer: MetricWriter, config: LogConfig) -> None:
  """heat_maps.png, instances.png and, for D = 2, circle.png of CRL-TAC.

  Args:
    grid: the windows.
    images: a labelled set.
    p: float [N, K], P(t|x) of its images.
    representations: name -> float [N, D], h of each image: the mean over its crops;
      for D = 2, h of one crop, of unit length.
    folder: the run's folder.
    writer: also gets the figures.
    config: section `log`.
  """
  assert images.labels is not None

  def draw(name, function, *args):
    image = function(*args, folder.figures / f"{name}.png")
    writer.image(f"figures/{name}", 0, image)

  chosen = _spread(len(images), config.figure_images)
  draw("heat_maps", policy_lib.heat_sheet, grid, images.read(chosen),
       p[chosen])
  chosen = _spread(len(images), _INSTANCES)
  part = {name: h[chosen] for name, h in representations.items()}
  draw("instances", policy_lib.instance_sheet, part, images.labels[chosen])
  if next(iter(part.values())).shape[1] == 2:
    chosen = _spread(len(images), _POINTS)
    part = {name: h[chosen] for name, h in representations.items()}
    draw("circle", policy_lib.circle_sheet, part, images.labels[chosen])


def curves(folder: RunFolder, writer: MetricWriter) -> None:
  """curves.png: the curves of the metrics in metrics.jsonl, if they are new."""
  path = folder.figures / "curves.png"
  lines = folder.read_metrics()
  if lines and not is_newer([path], [folder.metrics_path]):
    image = curves_lib.curve_sheet(lines, path)
    writer.image("figures/curves", max(line["step"] for line in lines), image)


def _spread(size: int, count: int) -> np.ndarray:
  return evenly(size, min(count, size))


def _some(images: Images, count: int) -> jax.Array:
  chosen = images.read(_spread(len(images), count))
  return jnp.asarray(np.resize(chosen, (count, *images.shape)),
                     jnp.float32) / 255.0
