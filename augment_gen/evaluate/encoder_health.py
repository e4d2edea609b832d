"""Is the encoder F healthy, during pre-training and re-training?

An encoder can collapse, wholly (all images get the same features) or in part (features
fill few dimensions), while its loss looks good. The gauges here need no labels. They see
F in inference mode, as the linear heads do, and not its projection head, whose spread is
the metric "embedding_std" of every step.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
import math
from typing import Any

import jax
import numpy as np

from augment_gen.evaluate import gauges
from augment_gen.evaluate.chunks import at_once, floats
from augment_gen.evaluate.health import Bound, CHUNK
from augment_gen.run.forms import jit_quickly
from augment_gen.run.random import stream

IMAGES = 512  # images of X_p, at most
HAND_MADE, ADDED = "hand_made", "added"  # names of the views
_VIEWS = (4, 10)  # views of an image: at least, at most
_NOTHING = 1e-6  # features that are nearer to each other are the same

# (arrays, images [b, H, W, C] in [0, 1], key) -> a view of each image.
View = Callable[[Any, jax.Array, jax.Array], jax.Array]

_HELP = ("lower the learning rate, use larger batches, or look at the views in "
         "examples.png: weak augmentations leave F nothing to learn")

# LiDAR has no bound: on the quickstart's encoder it was 81 before training and 69 after,
# so a low number alone says nothing.
BOUNDS = {
    # Small encoders had 0.42 to 0.77 after training, with five pre-trainers, and 0.13 to
    # 0.23 before it, when features are a common mean and little else. Features after a
    # ReLU do not reach 1, as their mean is not 0. A collapse gives 0.
    "feature_std": Bound(
        0.1, math.inf,
        "the encoder has collapsed ({}): all images have nearly the same features; "
        + _HELP),
    # The same encoders had 0.35 to 0.5 after training, and 0.2 to 0.3 before it. RankMe is
    # not centred: a collapse of 16 features or more gives less than 0.1.
    "rank_share": Bound(
        0.1, math.inf,
        "the encoder has collapsed to a few dimensions ({}): " + _HELP),
    # 1 is what views of unrelated images have. It was 0.9 to 1.04 before training, and
    # 0.37 after the quickstart's stage 1.
    "alignment_ratio": Bound(
        -math.inf, 0.8,
        "the encoder tells two views of one image apart like two images ({}): it has not "
        "learned what the views share; train longer, or use a weaker recipe"),
    "added_alignment_ratio": Bound(
        -math.inf, 0.8,
        "the encoder tells an image and its added view apart like two images ({}): it "
        "has not learned to overlook what the arm adds; train longer"),
    # 1 is what a collapsed encoder has. A loss within 2 % of it has hardly moved.
    "chance_ratio": Bound(
        -math.inf, 0.98,
        "the loss is that of an encoder with the same features for all images ({}): "
        "nothing was learned, or it has collapsed; lower the learning rate, or train "
        "longer"),
}


def measure(encode: Callable, images: np.ndarray, views: Mapping[str, View],
            arrays: Any, key: jax.Array) -> dict[str, float]:
  """Measures F on a sample of X_p.

  F and the views get CHUNK images at a time. A view is compiled once per process if it
  is always the same function object. What is drawn depends on `key` alone, so that the
  numbers of one training can be compared.

  Args:
    encode: F, images [n, H, W, C] in [0, 1] -> features [n, d], for any n (see
      `chunks.chunked`).
    images: uint8 [n, H, W, C], n >= 2.
    views: the augmentations: HAND_MADE, and ADDED if a re-training arm has one.
    arrays: what the views read, such as G_A's parameters.
    key: of the views' randomness.

  Returns:
    Of F(x):
    "feature_std": spread of the features, see `gauges.feature_std`; 1: even.
    "effective_rank": RankMe, 1 to "dimensions", the smaller one of n and d.
      "rank_share" is the rank over the limit.
    "uniformity": `gauges.uniformity`, <= 0; 0: collapsed.
    Of two hand-made views of each image: "alignment" (`gauges.alignment`, in [0, 4]);
    "alignment_ratio", the same over the mean squared distance of different images: 0 if
    F overlooks what the views change, 1 if it does not know two views of an image from
    two images. "lidar": see `gauges.lidar`, over four to ten views of each image. With
    ten, Σ_w has 9n degrees of freedom; it gets 2d of them, if that is enough.
    Of the added view, G_A(x, z) or what else the arm has: "added_alignment" and
    "added_alignment_ratio", of an image and its view; "added_lidar".
    Ratios are left out if all images have the same features. If a feature is NaN or
    infinite, the first ones are NaN and the others are left out.
  """
  y = encode(images)
  n, d = y.shape
  count = int(np.clip(1 + math.ceil(2 * d / n), *_VIEWS))
  seen = {name: np.stack([
      encode(_views(view, arrays, images, stream(key, f"{name}_{number}")))
      for number in range(count)], axis=1) for name, view in views.items()}
  limit = min(n, d)
  if not all(np.all(np.isfinite(features)) for features in (y, *seen.values())):
    return {"dimensions": float(limit), **dict.fromkeys(
        ("feature_std", "effective_rank", "rank_share"), math.nan)}
  rank, apart = gauges.effective_rank(y), gauges.separation(y)
  measured = {
      "feature_std": gauges.feature_std(y), "effective_rank": rank,
      "dimensions": float(limit), "rank_share": rank / limit,
      "uniformity": gauges.uniformity(y)}
  for name, features in seen.items():
    prefix, other = f"{name}_", y
    if name == HAND_MADE:
      prefix, other = "", features[:, 1]
    alignment = measured[f"{prefix}alignment"] = gauges.alignment(features[:, 0], other)
    if apart > _NOTHING:
      measured[f"{prefix}alignment_ratio"] = alignment / apart
    measured[f"{prefix}lidar"] = gauges.lidar(features)
  return measured


def chance_ratio(losses: Sequence[float], chance: float | None) -> dict[str, float]:
  """The gauge "chance_ratio", if the pre-trainer has one.

  Args:
    losses: the losses that a stage has logged, in order; their last tenth counts.
    chance: see `Pretrainer.chance_loss`.

  Returns:
    {"chance_ratio": mean loss / chance}, or {} without losses or without `chance`.
  """
  if chance is None or not losses:
    return {}
  last = losses[-max(1, len(losses) // 10):]
  return {"chance_ratio": float(np.mean(last)) / chance}


def warnings(measured: Mapping[str, float]) -> list[str]:
  """One sentence per gauge outside its `BOUNDS`; missing gauges are skipped."""
  if math.isnan(measured.get("feature_std", 0)):
    return ["the encoder gives NaN or infinite features: its training has diverged; "
            "lower the learning rate"]
  said = (bound.complaint(name, measured[name])
          for name, bound in BOUNDS.items() if name in measured)
  return [words for words in said if words]


def sentence(measured: Mapping[str, float]) -> str:
  """What `measure` found, on one line; "healthy" if nothing is to be warned of."""
  found = ("features: effective rank {effective_rank:.0f} of {dimensions:.0f}, spread "
           "{feature_std:.2f} of even").format(**measured)
  return found if warnings(measured) else f"{found}; healthy"


def _views(view: View, arrays: Any, images: np.ndarray, key: jax.Array) -> np.ndarray:
  """A view of each image, float32 [n, H, W, C], in chunks."""
  parts, size = [], at_once(CHUNK, images.shape[1:])
  for start in range(0, len(images), size):
    chunk = floats(images[start:start + size])
    # The last chunk is padded: another shape would need another compilation.
    padded = np.resize(chunk, (size, *chunk.shape[1:]))
    seen = _compiled(view)(arrays, padded, jax.random.fold_in(key, start))
    parts.append(np.asarray(seen)[:len(chunk)])
  return np.concatenate(parts)


@functools.cache
def _compiled(view: View) -> Callable:
  """A view; on a CPU, the recipe "handwriting" would otherwise take 8 s to compile."""
  return jit_quickly(view)
