"""What both sides of a case share: settings, images, features. Needs only NumPy."""

from collections.abc import Sequence
import pathlib

import numpy as np

from augment_gen.config import command_line, Config

_ROOT = pathlib.Path(__file__).parents[2]

# G_A as a U-Net with all terms of the loss, in place of the preset's chain of operators.
UNET: dict[str, object] = {
    "generator.networks.augmenter": "unet", "generator.latent.layout": "learned",
    "generator.latent.dim": 49, "generator.losses.cost_weight": 0.0,
    "generator.losses.cycle_trains_augmenter": True,
    "generator.losses.cycle_f_weight": 0.03, "generator.losses.latent_slack": 0.155}


def read_config(args: Sequence[str]) -> Config:
  """Reads the settings of a case; the path of `--config` starts at the repository."""
  args = [arg.replace("--config=", f"--config={_ROOT}/", 1)
          if arg.startswith("--config=") else arg for arg in args]
  return command_line.parse(["main.py", "--workdir=unused", *args]).config


def pictures(count: int, size: int, channels: int, seed: int) -> np.ndarray:
  """Draws random images with large and small structures, uint8 [N, H, W, C]."""
  random = np.random.default_rng(seed)
  coarse = random.integers(0, 200, (count, -(-size // 4), -(-size // 4), channels))
  coarse = coarse.repeat(4, axis=1).repeat(4, axis=2)[:, :size, :size]
  fine = random.integers(0, 56, (count, size, size, channels))
  return (coarse + fine).astype(np.uint8)


def on_canvas(count: int, size: int, ink: int, seed: int) -> np.ndarray:
  """Puts a random picture of side `ink` somewhere on black, uint8 [N, H, W, 1]."""
  random = np.random.default_rng(seed)
  images = np.zeros((count, size, size, 1), np.uint8)
  for image, picture in zip(images, pictures(count, ink, 1, seed)):
    top, left = random.integers(0, size - ink + 1, 2)
    image[top:top + ink, left:left + ink] = picture
  return images


def classified(count: int, dim: int, classes: int, seed: int,
               ) -> tuple[np.ndarray, np.ndarray]:
  """Draws features that a linear classifier separates mostly.

  The means of the classes do not depend on `seed`, so that another seed gives a test set.

  Returns:
    float32 [n, d] with mean 0 and variance 1 in each dimension, and int32 [n].
  """
  means = np.random.default_rng(0).normal(size=(classes, dim))
  random = np.random.default_rng(seed + 1)
  labels = np.arange(count) % classes
  x = means[labels] + 2.5 * random.normal(size=(count, dim))
  x = (x - x.mean(axis=0)) / x.std(axis=0)
  return x.astype(np.float32), labels.astype(np.int32)


def logistic_objective(x: np.ndarray, labels: np.ndarray, weights: np.ndarray,
                       bias: np.ndarray, strength: float) -> float:
  """Mean cross entropy + strength / 2 · ‖W‖², in float64.

  Args:
    x: [n, d].
    labels: [n] integers.
    weights: [d, c].
    bias: [c], not penalised.
    strength: strength of the penalty.
  """
  weights, bias = np.asarray(weights, np.float64), np.asarray(bias, np.float64)
  losses = []
  for start in range(0, len(x), 4096):
    logits = x[start:start + 4096] @ weights + bias
    logits -= logits.max(axis=1, keepdims=True)
    own = logits[np.arange(len(logits)), labels[start:start + 4096]]
    losses.append(np.log(np.exp(logits).sum(axis=1)) - own)
  return float(np.mean(np.concatenate(losses)) + strength / 2 * np.sum(weights**2))
