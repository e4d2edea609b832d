"""What all imaging operators have in common.

An operator is a function `(image, amounts, key) -> image` of one float32 image
[H, W, C] in about [0, 1], differentiable in the image and in its amounts. Amounts are
scalars by name. All randomness in space comes from the key, as uniform random numbers. An
operator whose strengths are 0 returns the image unchanged, and the slope along each
strength is not 0 there, so that a strength can be learned from nothing.

Lengths are in pixels of a 28 x 28 image and scale with the shorter side.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

KNOTS = 6  # of a quantile function

Amounts = Mapping[str, jax.Array]
# (image, amounts, u) -> image; u are uniform random numbers on [0, 1).
Function = Callable[[jax.Array, Amounts, jax.Array], jax.Array]
# Shape [H, W, C] of an image -> shape of u.
Draws = Callable[[tuple[int, int, int]], tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Amount:
  """A number that an operator takes, and its distribution before training.

  Attributes:
    name: unique within the operator.
    says: a clause about it; {share} is the share of the images that it touches (for a
      strength) and {range} the range that it takes on them.
    low, high: its bounds.
    start: its quantiles before training, at z = 0, 1/5, …, 1, or the first and the
      last of them. Values of a strength below its lower bound 0 mean that the image is
      left unchanged.
    strength: whether 0 means no effect. Other amounts, such as an angle, say how the
      strengths act.
    latent: the latent that it is a function of; "" for one of its own name.
    shown_by: the strengths that make it visible; () for itself.
    reads: converts it to the unit of `says`.
    colour_only: whether grey images do not have it.
    share: for a strength that is either on or off, the share of the images on which it is
      on before training; 0 for other amounts. It is learned by the score function, because
      nothing lies between on and off.
  """
  name: str
  says: str
  low: float
  high: float
  start: tuple[float, ...]
  strength: bool = True
  latent: str = ""
  shown_by: tuple[str, ...] = ()
  reads: Callable = lambda v: v
  colour_only: bool = False
  share: float = 0.0

  @property
  def span(self) -> float:
    """The length of its range, by which it is normalised."""
    return self.high - self.low


@dataclasses.dataclass(frozen=True)
class Operator:
  """One step of the chain.

  Source: Hayase et al., (3).

  Attributes:
    name: as in `generator.networks.operators`.
    amounts: what it takes.
    function: what it does, given its random numbers.
    draws: how many random numbers it takes; by default none.
    colour_only: whether it needs RGB images.
  """
  name: str
  amounts: tuple[Amount, ...]
  function: Function
  draws: Draws = lambda shape: (0,)
  colour_only: bool = False

  def apply(self, image: jax.Array, amounts: Amounts, key: jax.Array) -> jax.Array:
    """Applies it to one image; see the module's docstring."""
    return self.function(
        image, amounts, jax.random.uniform(key, self.draws(_shape(image))))


def apply_all(chain: Sequence[Operator], image: jax.Array,
              amounts: Sequence[Amounts], key: jax.Array) -> jax.Array:
  """Applies operators in order. One draw for all: each takes seconds to compile."""
  shapes = [operator.draws(_shape(image)) for operator in chain]
  sizes = [math.prod(shape) for shape in shapes]
  u = jnp.split(jax.random.uniform(key, (sum(sizes),)), np.cumsum(sizes)[:-1])
  for operator, its, numbers, shape in zip(chain, amounts, u, shapes, strict=True):
    image = operator.function(image, its, numbers.reshape(shape))
  return image


def _shape(image: jax.Array) -> tuple[int, int, int]:
  height, width, channels = image.shape
  return height, width, channels


def pixel(image: jax.Array) -> float:
  """The side of a pixel of a 28 x 28 image, in pixels of `image`."""
  return min(image.shape[:2]) / 28


def paint(image: jax.Array, cover: jax.Array, tone) -> jax.Array:
  """Paints a grey value over the image, with opacity cover [H, W] in [0, 1]."""
  return image + cover[..., None] * (tone - image)


def presence(number: jax.Array, most: int) -> jax.Array:
  """Opacities [most] of objects of which there are `number`; the last may be partial.

  Where `number` is 0, its slope is that of the first object as it appears.
  """
  index = jnp.arange(most)
  appears = (index == 0) & (number <= 0)
  return jnp.where(appears, number - jax.lax.stop_gradient(number),
                   jnp.clip(number - index, 0.0, 1.0))
