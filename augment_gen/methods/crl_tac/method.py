"""CRL-TAC: its stages, and the evaluation of its encoders on every kind of crop.

    simclr ──h──────┐
    simclr_own ──h──┤
    tac ──h, P──────┴▶ evaluate
"""

from collections.abc import Mapping
import functools
import itertools
from typing import Any

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from augment_gen.augment.crops import CropGrid
from augment_gen.augment.policy import draw_t
from augment_gen.config import Config, EvaluateConfig, names
from augment_gen.data.base import evenly, ImageSet
from augment_gen.evaluate import protocol
from augment_gen.evaluate.chunks import chunked
from augment_gen.figures import of_run
from augment_gen.losses.information import entropy
from augment_gen.methods.crl_tac import rules, stages
from augment_gen.run import costs, loop, preemption, provenance
from augment_gen.run.checkpoint import checksum
from augment_gen.run.contracts import is_chosen, Run
from augment_gen.run.metrics import parameter_overview
from augment_gen.run.random import stream

STAGES = ("simclr", "simclr_own", "tac", "evaluate")
problems, data_problems = rules.problems, rules.data_problems
data_warnings = rules.data_warnings

# Encoder -> method of the table.
ENCODERS = {"tac": "CRL-TAC", "simclr": "SimCLR",
            "simclr_own": "SimCLR, own windows",
            "untrained": "untrained encoder"}
TRUE_PLACE = "true place"
UNIFORM, OWN_UNIFORM = "uniform", "own uniform"
_DRAWN = 2000  # images in the figures, at most


def trained_sections(config: Config) -> tuple[str, ...]:
  """See `contracts.Method`."""
  del config
  return ("tac",)


def reads_finetune(stage: str, values: Mapping[str, Any]) -> bool:
  """See `contracts.Method`; X̃_f is only used for evaluation."""
  del stage, values
  return False


def read_only(config: Config) -> list[str]:
  """See `contracts.Method`."""
  if not is_chosen(config, "evaluate"):
    return []
  controls = names(config.tac.controls)
  return [name for name in ("simclr", "simclr_own", "tac")
          if (name in controls or name == "tac") and not is_chosen(config, name)]


def run(run: Run) -> dict[str, Any] | None:
  """See `contracts.Method`."""
  of_run.examples(run.task, run.folder, run.writer, run.config.log)
  controls = names(run.config.tac.controls)
  states: dict[str, Any] = {}
  stage = stages.train(run.config, run.task, "tac")
  untrained = jax.device_get(stage.state)
  parameter_overview("h = H∘F", stage.state.encoder.params, run.log)
  parameter_overview("P(T|X)", stage.state.policy.params, run.log)
  needed = [name for name in ("simclr", "simclr_own", "tac")
            if run.wants(name) or run.wants("evaluate")]
  # 1. SimCLR with crops at uniform places: on the windows of CRL-TAC, and on its own.
  for name in ("simclr", "simclr_own"):
    if name in needed and name in controls:
      states[name] = loop.end_of(
          run, stages.train(run.config, run.task, name), run.wants(name))
  # 2. An encoder and P(T|X), from the same initial weights.
  if "tac" in needed:
    states["tac"] = loop.end_of(run, stage, run.wants("tac"))
  of_run.curves(run.folder, run.writer)
  if "tac" in needed:
    _draw(run, states)
  if not run.wants("evaluate"):
    return None
  # 3. Linear heads on every encoder, for every kind of crop.
  if "untrained" in controls:
    states["untrained"] = untrained
  return _evaluate(run, states)


def _draw(run: Run, states: dict[str, Any]) -> None:
  """Draws the poster's figures of P and h for the first test set."""
  name, images = next(iter(run.task.tests.items()))
  images = images.select(evenly(len(images), min(len(images), _DRAWN)))
  crops = _Crops(run, states["tac"], {name: images})
  # For D = 2, h lies on the circle, but a mean of h over crops does not.
  count = 1 if run.config.tac.dim == 2 else run.config.tac.top
  h = {f"{ENCODERS[encoder]}, {text}": _encode(run, encoder, states[encoder])(
      images, crops.boxes(kind, name)[:, :count])["head"]
       for encoder, kind, text in (("simclr", UNIFORM, "uniform crops"),
                                   ("tac", "P", "crops of P"))
       if encoder in states}
  of_run.policy(
      stages.crop_grid(run.config), images, np.exp(crops.log_p(name)), h,
      run.folder, run.writer, run.config.log)


def _evaluate(run: Run, states: dict[str, Any]) -> dict[str, Any]:
  """Evaluates the encoders and writes results.json; keeps rows that are still valid."""
  ends = {name: checksum(state) for name, state in states.items()}
  before = run.folder.read_results() or {"rows": [], "provenance": {}}
  known = before["provenance"].get("stages", {})
  # P chooses the crops for all encoders, so another P makes all rows invalid.
  if known.get("tac") != ends["tac"]:
    before, known = {"rows": []}, {}
  before, known = provenance.fresh(before, known, run.task.fingerprints, run.log)
  before = protocol.fresh(before, run.config.evaluate, run.log)
  # Controls of an earlier start stay in the table even if this start does not name them.
  results: dict[str, Any] = {
      "experiment": provenance.experiment(run.config), "rows": [],
      "provenance": provenance.of_results(
          run, protocol.fingerprints(run.config.evaluate, before.get("provenance")),
          {**known, **ends})}
  sets = {run.config.data.finetune_name: run.task.finetune, **run.task.tests}
  crops = _Crops(run, states["tac"], sets)
  results["policy"] = {name: crops.summary(name) for name in run.task.tests}
  found = {}
  for name, method in ENCODERS.items():
    valid = name not in ends or known.get(name) == ends[name]
    for kind in crops.kinds(name):
      # The row of one crop is measured together with the row of the mean over crops.
      both = {kind, crops.one_crop(kind)}
      found[name, kind] = [row for row in before["rows"] if valid
                           and row["method"] == method and row["crops"] in both]
  for (name, kind), rows in found.items():
    method = ENCODERS[name]
    if name in states:
      protocols = protocol.missing(run.config.evaluate, rows, run.task.tests)
      if protocols.protocols:
        run.log(f"evaluate: {method}, {kind}")
        found[name, kind] = protocol.replaced(
            rows, _rows(run, name, states[name], kind, crops, protocols))
      else:
        run.log(f"evaluate: {method}, {kind}, was evaluated before")
    # Also the rows of those that have not had their turn, so that stopping loses nothing.
    results["rows"] = list(itertools.chain(*found.values()))
    run.folder.write_results(results)
    preemption.leave_if(run.terminated, f"after the evaluation of {method}, {kind}")
  return results


def _rows(run: Run, name: str, state, kind: str, crops: "_Crops",
          protocols: EvaluateConfig) -> list[dict[str, Any]]:
  """Evaluates f and the head of an encoder on one kind of crop: on n crops and on one."""
  encode = _encode(run, name, state)
  outputs = {data: encode(images, crops.boxes(kind, data))
             for data, images in crops.sets.items()}
  train, *tests = crops.sets
  gradient, forward = stages.images_per_step(run.config, name)
  n = crops.boxes(kind, train).shape[1]
  counts = {"": (kind, n)}
  if one := crops.one_crop(kind):
    counts["first_"] = (one, 1)
  rows = []
  for prefix, (label, count) in counts.items():
    for feature in ("f", "head"):
      rows += protocol.evaluate_features(
          outputs[train][prefix + feature],
          {data: outputs[data][prefix + feature] for data in tests}, run.task,
          protocols, method=ENCODERS[name], pretrain_data="X",
          experiment_seed=run.config.seed, train_name=train, feature=feature,
          further={"crops": label, "crops_per_image": count,
                   "images_per_step": gradient,
                   "images_per_step_forward": forward,
                   **costs.of_stages(
                       run.folder.path, () if name == "untrained" else (name,)),
                   "commit": provenance.commit()},
          log=functools.partial(_log, run, f"  {label}, {feature}: "))
  return rows


def _log(run: Run, prefix: str, line: str) -> None:
  run.log(prefix + line)


def _encode(run: Run, name: str, state):
  """Returns `(images [N, H, W, C], boxes [N, n, 3]) -> {name: [N, …]}`.

  The names are those of `_features`.
  """
  own = name if name == "simclr_own" else "tac"
  return chunked(jax.tree_util.Partial(
      _features, stages.networks(run.config, own),
      stages.encoder_variables(state)), run.config.evaluate.batch_size)


def _policy(nets, variables, images):
  return nets.policy.apply(variables, images)


def _features(nets, variables, images, boxes) -> dict[str, jax.Array]:
  """Features of images: "f" [b, d] from F, and "head" [b, D] from H∘F.

  Both are means over the crops of an image. "first_f" and "first_head" are those of
  its first crop alone.
  """
  crops = nets.grid.cut_at(images, boxes)
  flat = crops.reshape(-1, *crops.shape[2:])
  out: dict[str, jax.Array] = {}
  for name, y in zip(("f", "head"),
                     nets.encoder.apply(variables, flat, method=_both)):
    y = y.reshape(*boxes.shape[:2], -1)
    out |= {name: jnp.mean(y, axis=1), f"first_{name}": y[:, 0]}
  return out


def _both(module, images):
  features, _ = module.encoder(images, train=False)
  return features, module.head(features)


class _Crops:
  """Windows of every image, by kind and set; computed once, on demand.

  Attributes:
    sets: the image sets by name.
  """

  def __init__(self, run: Run, state, sets: dict[str, ImageSet]):
    self.sets = sets
    self._config, self._state = run.config, state
    self.log_p = functools.cache(self._log_p)
    self.boxes = functools.cache(self._boxes)

  def kinds(self, encoder: str) -> list[str]:
    """Names of the kinds of crop that an encoder is evaluated on.

    These are "P", "top-n", "uniform" and, if it is known, "true place". An encoder
    trained on windows other than those that P chooses from has "own uniform" instead
    of the first three.
    """
    kinds = ["P", f"top-{self._config.tac.top}", UNIFORM]
    if encoder == "simclr_own":
      kinds = [OWN_UNIFORM]
    if all(images.places is not None for images in self.sets.values()):
      kinds.append(TRUE_PLACE)
    return kinds

  def one_crop(self, kind: str) -> str | None:
    """The name of a kind when only its first crop is used; None without such a row."""
    if kind == TRUE_PLACE or self._config.tac.top == 1:
      return None
    return "top-1" if kind.startswith("top-") else f"{kind}, one crop"

  def summary(self, name: str) -> dict[str, float]:
    """P's mean entropy in nats, and its mass on the content of the images."""
    log_p = self.log_p(name)
    masses = chunked(
        stages.crop_grid(self._config).mass_on_content,
        self._config.evaluate.batch_size)(self.sets[name], log_p)
    return {"entropy": float(np.mean(entropy(jnp.asarray(log_p)))),
            "mass_on_content": float(np.mean(masses))}

  def _log_p(self, name: str) -> np.ndarray:
    """log P(t|x), float32 [N, K]."""
    policy = jax.tree_util.Partial(
        _policy, stages.networks(self._config),
        {"params": self._state.policy.params})
    return chunked(policy, self._config.evaluate.batch_size)(
        self.sets[name])

  def _boxes(self, kind: str, name: str) -> np.ndarray:
    """n windows of each image, int32 [N, n, 3].

    NOTE(paper): the poster does not say how many crops make a representation. Here
    it is the mean over as many draws as "top-n" has crops; at the true place, over
    one crop of each scale. Rows for a single crop are reported as well.
    """
    data, tac, images = self._config.data, self._config.tac, self.sets[name]
    grid = stages.crop_grid(
        self._config, "simclr_own" if kind == OWN_UNIFORM else "tac")
    if kind == TRUE_PLACE:
      assert images.places is not None  # see `kinds`
      return true_boxes(images.places, data.image_size, grid)
    log_p = (np.zeros((len(images), grid.size), np.float32)
             if kind in (UNIFORM, OWN_UNIFORM) else self.log_p(name))
    key = stream(jax.random.key(self._config.seed), f"evaluate/{name}")

    def choose(log_p, index):
      if kind.startswith("top-"):
        return lax.top_k(log_p, tac.top)[1]
      keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index)
      return draw_t(keys, log_p, tac.top)

    chosen = chunked(choose, self._config.evaluate.batch_size)(
        log_p, np.arange(len(images)))
    return grid.boxes()[chosen]


def true_boxes(places: np.ndarray, size: int, grid: CropGrid) -> np.ndarray:
  """Windows centred on the content, one of each scale: int32 [N, scales, 3].

  Windows are moved to lie within the image.

  Args:
    places: int [N, 2], the content's first pixel.
    size: side of the content, in pixels.
    grid: gives the sides of the windows and of the images.
  """
  boxes = []
  for side, _ in grid.windows:
    corners = np.clip(places + (size - side) // 2, 0, grid.image_size - side)
    boxes.append(np.concatenate(
        [corners, np.full((len(corners), 1), side)], axis=1))
  return np.stack(boxes, axis=1).astype(np.int32)
