"""Is the augmentation generator of Algorithm 1 healthy?

Adversarial training can end with good losses although nothing was learned: G_A copies
its input or draws one pattern, the latents are ignored, the bank G_L(x̃) is far from the
prior, or the cycle hides x in invisible detail. A run with one unhealthy number has not
learned the augmentation, whatever its accuracy. A run that passes all checks may still
have learned another augmentation: look at its figures.
"""

from collections.abc import Callable, Mapping
import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from augment_gen.augment.learned import draw_latents
from augment_gen.evaluate import distances
from augment_gen.evaluate.chunks import chunked, floats
from augment_gen.losses.latent import random_directions, sliced_wasserstein
from augment_gen.run.random import example_keys, stream
from augment_gen.steps import frozen_encoder

CHUNK = 256  # images per forward pass
_NOTHING = 1e-6  # ratios with a smaller denominator are meaningless


class Bound(NamedTuple):
  """The healthy range of a number: low < number < high."""
  low: float
  high: float
  words: str  # what a number outside means, and what helps; {} is the number

  def complaint(self, name: str, value: float) -> str | None:
    """The words for a number outside, or None. NaN is outside all bounds."""
    if self.low < value < self.high:
      return None
    return self.words.format(f"{name} {value:.3g}, healthy {self.range_words}")

  @property
  def range_words(self) -> str:
    """The range, such as "below 0.5" or "0.5 to 2"."""
    return (f"below {self.high:g}" if self.low == -math.inf else
            f"above {self.low:g}" if self.high == math.inf else
            f"{self.low:g} to {self.high:g}")


_BANK_HELP = ("; raise config.generator.losses.bank_weight, or re-train with latents "
              "of the prior (prior in config.retrain.arms)")
_CYCLE_HELP = ("the cycle hides x in G_A(x, z) and so does not bind it; raise "
               "config.generator.losses.cycle_noise")

BOUNDS = {
    # The letters are those in `measure`. (a)
    # Even logits of 0 change black and white pixels by 0.01.
    "edit": Bound(
        0.012, math.inf,
        "G_A is nearly the identity ({}): its views are copies; lower what keeps it from "
        "changing images (config.generator.losses.cost_weight for a chain of operators, "
        "cycle_weight where the cycle trains G_A), or raise config.generator.steps"),
    "edit_ratio": Bound(
        0.5, 2.0,
        "G_A changes images by another amount than the implicit augmentation "
        "({}); if too much, raise config.generator.losses.cost_rise (a chain of operators) "
        "or cycle_weight (where the cycle trains G_A), if too little, lower it or train "
        "longer (config.generator.steps)"),
    "embedding_gap": Bound(
        -math.inf, 0.5,
        "to F, clean images under G_A are still far from X̃_f ({}; 1 if G_A did "
        "nothing): it draws something else; look at round_trips.png, train longer "
        "(config.generator.steps), or change what D_f judges "
        "(config.generator.discriminator.same_content)"),
    # Of 56 pairs of a generator and a change, this bound parts those with an embedding_gap
    # below 0.36 from those above 0.5, but for one (docs/experiments/023).
    "two_sample_gap": Bound(
        -math.inf, 0.16,
        "what G_A draws can still be told from X̃_f ({}): it draws something else; look at "
        "round_trips.png, and train longer (config.generator.steps)"),
    # Of 36 runs with an embedding_gap below 0.33, 35 have 0.54 to 0.84, and one, which
    # draws something else, 0.96. A low number is no proof: four runs with gaps of 0.4 and
    # more have 0.55 to 0.72 (docs/experiments/029).
    "d_f_accuracy": Bound(
        -math.inf, 0.9,
        "to the end of its training, D_f tells what G_A draws from X̃_f ({}; 0.5 is "
        "chance): G_A cannot draw what is there, or X_p shows other things than X_f, and "
        "then G_A draws marks that bridge the difference; look at latents.png, allow G_A "
        "the changes alone that you expect (config.generator.networks.operators), or let "
        "X_p show what X_f shows"),
    # (b)
    "latent_effect": Bound(
        0.1, math.inf,
        "other latents hardly change what G_A draws ({}): all views of an "
        "image look alike. That is right if every x̃ was changed in the same way, such as "
        "to a negative. If not, raise config.generator.losses.cycle_noise"),
    # Chains of operators with gaps of 0.01 to 0.06 had 0.26 to 0.47
    # (docs/experiments/017).
    "latent_r2": Bound(
        0.2, math.inf,
        "G_A ignores its latents ({}): G_L cannot read them off G_A(x, z), the "
        "augmentation does not vary with them; raise "
        "config.generator.losses.latent_weight"),
    # (c)
    "pattern_share": Bound(
        -math.inf, 0.8,
        "G_A draws one fixed pattern on every image ({}), which an encoder "
        "soon overlooks; raise config.generator.losses.latent_weight"),
    # (d)
    "bank_distance": Bound(
        -math.inf, 0.5,
        "the bank G_L(x̃) lies in another part of the latents than the prior "
        "that G_A was trained on ({})" + _BANK_HELP),
    "bank_edit_ratio": Bound(
        0.5, 2.0,
        "latents of the bank G_L(x̃) make far weaker or stronger edits than "
        "those of the prior ({})" + _BANK_HELP),
    "bank_embedding_distance": Bound(
        -math.inf, 0.25,
        "F embeds views with latents of the bank G_L(x̃) elsewhere than those "
        "with latents of the prior, which D_f judged ({})" + _BANK_HELP),
    # If all x̃ were changed equally, there is nothing to follow: 0 is not a fault.
    "bank_follows": Bound(
        -0.1, math.inf,
        "G_A(x, G_L(x̃)) changes its image the less the more x̃ was changed ({}): "
        "G_L reads something else off x̃; train longer "
        "(config.generator.steps), or re-train with latents of the prior (prior "
        "in config.retrain.arms)"),
    # (e)
    # What a blur took is gone, and so is what a dot covered: the same chains had 0.25 to
    # 0.75.
    "cycle_error": Bound(
        -math.inf, 0.8,
        "G_E does not undo G_A ({}; 1 if it did nothing): views may lose what "
        "their image shows; raise config.generator.losses.cycle_p_weight"),
    "elimination_error": Bound(
        -math.inf, 1.0,
        "G_E(x̃) is no nearer to the clean image than x̃ is ({}; 1 if it did "
        "nothing): G_E undoes what G_A draws, which is not what X̃_f has; look at "
        "round_trips.png, and train longer (config.generator.steps)"),
    "probe_gain": Bound(
        0.0, math.inf,
        "G_E makes augmented images no easier for a classifier of clean ones "
        "({}): it leaves the augmentation in, or takes the content out; lower "
        "config.generator.losses.cycle_f_weight or "
        "config.generator.losses.adversarial_p_weight"),
    # (f)
    "cycle_requantised": Bound(
        -math.inf, 1.5,
        "G_E reads grey levels too fine to see ({}): " + _CYCLE_HELP),
    "cycle_blurred": Bound(
        -math.inf, 2.0,
        "G_E reads detail that a slight blur wipes out ({}): " + _CYCLE_HELP),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Probe:
  """A classifier of clean images, and held-out images to test it on.

  Attributes:
    predict: features F(x) [n, d] float32 -> classes [n]; fitted by the caller.
    labels: [n] integers.
    clean: [n, H, W, C] uint8.
    augmented: the same images with the implicit augmentation.
  """
  predict: Callable[[np.ndarray], np.ndarray]
  labels: np.ndarray
  clean: np.ndarray
  augmented: np.ndarray


def measure(
    g_a: Callable, g_el: Callable, encode: Callable, x_p: np.ndarray,
    x_f: np.ndarray, *, key: jax.Array, latent_dim: int,
    x_f_clean: np.ndarray | None = None, x_f_again: np.ndarray | None = None,
    probe: Probe | None = None,
    shown: Callable | None = None, look: Callable | None = None,
    bank_of: Callable = lambda latents: latents,
) -> dict[str, float]:
  """Measures the failures (a) to (f) of Algorithm 1; `BOUNDS` judges them.

  The networks see float32 images and latents in [0, 1], CHUNK at a time, and must treat
  examples independently of each other. Each is compiled once per call, or once per
  process if it is a `jax.tree_util.Partial` (see `chunks.chunked`).
  |·| is the mean over pixels and images. e = G_A(x, z) − x is an edit, with x from
  `x_p`, and z from the prior unless stated otherwise.

  Args:
    g_a: G_A, (x [b, H, W, C], z [b, Z]) -> image.
    g_el: (G_E, G_L), x -> (image, z).
    encode: F, x -> embeddings [b, d].
    x_p: uint8 [n, H, W, C], n >= 2, images of X_p; a few hundred are enough.
    x_f: uint8 [m, H, W, C], m >= 2, images of X̃_f.
    key: key of everything that is drawn here.
    latent_dim: Z.
    x_f_clean: uint8, `x_f` without the implicit augmentation, if known.
    x_f_again: uint8, `x_f_clean` with the implicit augmentation drawn anew, if known.
    probe: for (e), if known.
    shown: how plainly each latent shows in G_A(x, z), z [b, Z] -> [b, Z] in [0, 1];
      None if all do. Latents count as much as they show.
    bank_of: what makes the bank Z̃ of the latents G_L(x̃_f), [m, Z] -> [m, Z].
    look: F and statistics of its stages, x -> [b, d], for "two_sample_gap"; None for F.

  Returns:
    The numbers below, with the healthy range in brackets. Numbers that need clean
    images are left out if there are none. So are ratios whose denominator is nearly 0,
    as for an edit that is exactly 0.
    (a) Identity. "edit": |e|, in [0, 1]. "true_edit": |x̃_f − x_f|. "edit_ratio": "edit"
      over "true_edit", >= 0 [0.5 to 2]. The two use different images: on MNIST and
      Omniglot the true edits themselves have a ratio of 0.93 for dots, 1.0 for gradient
      and blobs, 1.3 for blur and 1.5 for erase. "embedding_gap":
      `distances.paired_frechet` between F(G_A(x_f, z)) and F(x̃_f), over that between
      F(x_f) and F(x̃_f); >= 0, 1 if G_A does nothing [below 0.5]. "two_sample_gap"
      needs no clean images: √("unpaired_gap" · "round_trip_gap") [below 0.16]. Both are
      ratios of a `distances.kernel_distance` to x̃_f, on `look`, to that of x_p:
      "unpaired_gap" is that of G_A(x_p, z), 1 if G_A does nothing. If X_p and X_f differ
      in more than the augmentation, it never comes near 0. "round_trip_gap" is that of
      G_A(G_E(x̃_f), z), which shows what x̃_f shows; it is 0 if G_A and G_E do nothing.
      "d_f_accuracy" is none of this function: the share of images that D_f judges rightly
      in the last quarter of its training [below 0.9].
    (b) z ignored. "latent_effect": |G_A(x, z) − G_A(x, z')| / |e|, >= 0 [above 0.1].
      "true_latent_effect": the same for the implicit augmentation. "latent_r2": R² of
      G_L(G_A(x, z)) for z, <= 1; 0 is the error of guessing 1/2. Each
      latent counts as much as it shows [above 0.2].
    (c) One pattern. "pattern_share": ‖E e‖² / E‖e‖², 1 if all edits are equal, 0 if
      they share nothing. The estimate over the n pairs (x, z) is unbiased and hence at
      times slightly negative [below 0.8]. "true_pattern_share": the same for x̃_f − x_f.
    (d) Bank Z̃ = G_L(x̃_f) unlike the prior. "bank_distance": sliced Wasserstein distance
      between Z̃ and m draws of the prior, over that between the point 1/2 and these
      draws; 0 if Z̃ equals the draws, 1 if it is the point 1/2, more if it is a corner
      [below 0.5; draws of the prior have about 2 / sqrt(m)]. "bank_edit_ratio": |e| with
      z from Z̃, over |e|, >= 0 [0.5 to 2]. "bank_embedding_distance":
      `distances.paired_frechet` between F(G_A(x, Z̃)) and F(G_A(x, z)), over that between
      F(x) and F(G_A(x, z)), >= 0 [below 0.25]. "bank_follows" (Fig. 5): correlation over
      x̃_f of |x̃_f − x_f| with |G_A(x, G_L(x̃_f)) − x|, where x is always the first image
      [above -0.1].
    (e) G_E does not remove the augmentation. "cycle_error": |G_E(G_A(x, z)) − x| / |e|,
      >= 0, 1 if G_E does nothing [below 0.8]. "elimination_error": the same for X̃_f,
      |G_E(x̃_f) − x_f| / |x̃_f − x_f| [below 1]. "probe_clean", "probe_augmented",
      "probe_eliminated": accuracy in percent on clean images, on augmented ones, and on
      G_E of the augmented ones. "probe_gain": "probe_eliminated" minus
      "probe_augmented" [above 0].
    (f) Steganography (Chu et al. 2017). "cycle_requantised": |error of the cycle| with
      G_A(x, z) rounded to 16 grey levels, over |error without rounding| + |change by
      rounding|; >= 0, at most 1 if G_E amplifies nothing [below 1.5]. Without the last
      summand, a better G_E would be penalised more for passing on what rounding
      changed. "cycle_blurred": the same with a Gaussian blur of 0.5 pixels, 3x3
      [below 2].

  Raises:
    ValueError: fewer than two images, or shapes that do not match.
  """
  if min(len(x_p), len(x_f)) < 2:
    raise ValueError(f"{len(x_p)} and {len(x_f)} images: each needs two")
  if x_f_clean is not None and x_f_clean.shape != x_f.shape:
    raise ValueError(f"x_f is {x_f.shape}, but x_f_clean {x_f_clean.shape}")
  g_a, g_el, encode = (chunked(f, CHUNK) for f in (g_a, g_el, encode))
  look = encode if look is None else chunked(look, CHUNK)
  l1 = distances.mean_l1
  x = floats(x_p)

  def latents(name, bank=None, count=len(x)):
    keys = example_keys(key, name, count)
    return np.asarray(draw_latents(keys, bank, latent_dim))

  z = latents("latent")
  x_a = g_a(x, z)
  weight = np.ones_like(z) if shown is None else np.asarray(shown(z))
  x_cycle, z_cycle = g_el(x_a)
  x_e, z_f = g_el(x_f)
  bank = bank_of(z_f)
  x_bank = g_a(x, latents("bank", bank))
  x_round = g_a(x_e, latents("round_trip", count=len(x_e)))
  y, y_a, y_bank = encode(x), encode(x_a), encode(x_bank)
  edit, cycle = l1(x_a, x), l1(x_cycle, x)
  health = {"edit": edit}
  ratios = {
      "latent_error": (np.sum(weight * (z_cycle - z)**2),
                       np.sum(weight * (z - 0.5)**2)),
      "latent_effect": (l1(x_a, g_a(x, latents("other"))), edit),
      "pattern_share": distances.squared_mean(x_a - x),
      "bank_distance": _bank_distances(bank, weight.mean(axis=0), key),
      "bank_edit_ratio": (l1(x_bank, x), edit),
      "bank_embedding_distance": (distances.paired_frechet(y_bank, y_a),
                                  distances.paired_frechet(y, y_a)),
      "cycle_error": (cycle, edit),
      **_two_samples(look, x_a, x_round, x, x_f)}
  for name, changed in (
      ("cycle_requantised", np.round(15 * x_a) / 15),
      ("cycle_blurred", ndimage.gaussian_filter(
          x_a, 0.5, axes=(1, 2), radius=1, mode="nearest"))):
    ratios[name] = l1(g_el(changed)[0], x), cycle + l1(changed, x_a)

  if x_f_clean is not None:
    x_f, clean = floats(x_f), floats(x_f_clean)
    true_edit = health["true_edit"] = l1(x_f, clean)
    ratios |= {"edit_ratio": (edit, true_edit),
               "true_pattern_share": distances.squared_mean(x_f - clean),
               "elimination_error": (l1(x_e, clean), true_edit)}
    if x_f_again is not None:
      ratios["true_latent_effect"] = (l1(floats(x_f_again), x_f), true_edit)
    y_f = encode(x_f)
    x_fa = g_a(clean, latents("latent_f", count=len(clean)))
    ratios["embedding_gap"] = (distances.paired_frechet(encode(x_fa), y_f),
                               distances.paired_frechet(encode(clean), y_f))
    amounts = (_amounts(x_f, clean),
               _amounts(g_a(np.broadcast_to(x[:1], x_f.shape), bank), x[:1]))
    if min(np.std(amounts, axis=1)) > _NOTHING:
      health["bank_follows"] = np.corrcoef(*amounts)[0, 1]
  if probe is not None:
    health |= _try(probe, encode, g_el)
  # Not `>=`: a NaN in the denominator must give NaN.
  health |= {name: part / whole for name, (part, whole) in ratios.items()
             if not whole < _NOTHING}
  if "unpaired_gap" in health:
    # An unbiased estimate of a distance may be slightly negative.
    unpaired, round_trip = (max(health[f"{name}_gap"], 0.0)
                            for name in ("unpaired", "round_trip"))
    health["two_sample_gap"] = math.sqrt(unpaired * round_trip)
  if "latent_error" in health:
    health["latent_r2"] = 1.0 - health.pop("latent_error")
  return {name: float(value) for name, value in health.items()}


def warnings(health: Mapping[str, float]) -> list[str]:
  """One sentence per number outside its `BOUNDS`: what failed, and what helps.

  Missing and moot numbers are skipped. NaN is outside all bounds.

  Args:
    health: from `measure`.
  """
  skipped = moot(health)
  said = [bound.complaint(name, health[name]) for name, bound in BOUNDS.items()
          if name in health and name not in skipped]
  return [words for words in said if words]


def moot(health: Mapping[str, float]) -> set[str]:
  """Names in `BOUNDS` whose ranges say nothing here.

  This is "edit" if there is an "edit_ratio"; "pattern_share" if the implicit augmentation
  itself is one pattern ("true_pattern_share" is out of bounds, too); "latent_effect" if
  the implicit augmentation has no randomness; and "latent_r2" if "latent_effect" is out
  of bounds, as there is nothing to read then.
  """
  out = lambda name, of: name in health and (
      BOUNDS[of].complaint(name, health[name]) is not None)
  return {name for name, is_moot in (
      ("edit", "edit_ratio" in health),
      ("pattern_share", out("true_pattern_share", "pattern_share")),
      ("latent_effect", out("true_latent_effect", "latent_effect")),
      ("latent_r2", out("latent_effect", "latent_effect"))) if is_moot}


def unmeasured(health: Mapping[str, float]) -> list[str]:
  """Names in `BOUNDS` that `measure` left out, so that nothing is known about them."""
  return [name for name in BOUNDS if name not in health]


def _bank_distances(bank: np.ndarray, weight: np.ndarray, key: jax.Array,
                    ) -> tuple[float, float]:
  """Distances of the bank [m, Z], and of the point 1/2, from m draws of the prior.

  Latent i counts `weight[i]`, from 0 to 1.
  """
  prior = jax.random.uniform(stream(key, "prior"), bank.shape)
  lines = random_directions(stream(key, "directions"), bank.shape[1])
  distance = lambda z: float(sliced_wasserstein(
      jnp.asarray(weight[None] * z), jnp.asarray(weight)[None] * prior, lines))
  return distance(bank), distance(np.full_like(bank, 0.5))


def _two_samples(look: Callable, x_a: np.ndarray, x_round: np.ndarray, x_p: np.ndarray,
                 x_f: np.ndarray) -> dict[str, tuple[float, float]]:
  """Kernel distances of G_A(x_p, z), and of G_A(G_E(x̃), z), from x̃; then of x_p from x̃."""
  from_f, whole = _distance_from_f(look, x_p, x_f)
  return {"unpaired_gap": (from_f(x_a), whole), "round_trip_gap": (from_f(x_round), whole)}


def distance_from(look: Callable, x_p: np.ndarray, x_f: np.ndarray
                  ) -> Callable[[np.ndarray], float]:
  """Kernel distance of any images from x̃, over that of x_p, see `measure`."""
  from_f, whole = _distance_from_f(look, x_p, x_f)
  return lambda images: from_f(images) / max(whole, _NOTHING)


def _distance_from_f(look: Callable, x_p: np.ndarray, x_f: np.ndarray
                     ) -> tuple[Callable[[np.ndarray], float], float]:
  """Kernel distance of images from x̃, and that of x_p.

  Features have mean 0 and variance 1 over x_p and x̃_f together, unless they hardly vary
  there. Over x̃_f alone, a feature that is constant on it would hide all others.
  """
  p, f = look(x_p), look(x_f)
  shift, scale = (np.asarray(v)[None] for v in frozen_encoder.standard(
      jnp.asarray(np.concatenate([p, f]))))
  from_f = lambda features: distances.kernel_distance(
      (features - shift) * scale, (f - shift) * scale)
  return lambda images: from_f(look(images)), from_f(p)


def _amounts(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Mean |a − b| of each image, [n]."""
  return np.mean(np.abs(a - b), axis=(1, 2, 3))


def _try(probe: Probe, encode: Callable, g_el: Callable) -> dict[str, float]:
  clean, augmented, eliminated = (
      100.0 * np.mean(probe.predict(encode(images)) == probe.labels)
      for images in (probe.clean, probe.augmented, g_el(probe.augmented)[0]))
  return {"probe_clean": clean, "probe_augmented": augmented,
          "probe_eliminated": eliminated, "probe_gain": eliminated - augmented}
