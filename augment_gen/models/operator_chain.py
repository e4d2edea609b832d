"""G_A as a chain of imaging operators whose amounts are learned.

NOTE(paper): The paper's G_A is a function X × Z → X, "inspired by" hand-made
augmentations, each of which has an amount and a random place. Its networks must invent
such functions. Here the functions are given, and their amounts are learned.
"""

from collections.abc import Collection
import functools
from typing import Any, ClassVar

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from augment_gen.augment import learned
from augment_gen.augment.operators import Amount, apply_all, KNOTS, Operator
from augment_gen.models import latent_maps, outputs, unet

# A unit of a parameter is this many spans of its amount. Adam moves every parameter by
# about its learning rate per step: amounts must move faster than weights of networks.
RATE = 5.0
# A unit of a parameter is this much of the log odds that a strength is on.
_GATE_RATE = 40.0
# A strength may sink this many spans below 0, where it leaves an image unchanged.
_SUNK = 0.5
RESIDUAL = "residual"  # what calls and descriptions name it, beside the operators
_RESIDUAL_SPAN = 0.1  # of the mean |change| by the residual
_SUMMARY, _HIDDEN = 4, 32  # side of the summary of an image, units that read it
# A strength above this share of its span is plain to see.
_PLAIN = 0.05

Share = float | jax.Array


class OperatorChain(outputs.Augmenter):
  """G_A: X x Z -> X, for images of any size.

  Source: Hayase et al., (5).

  Each amount of each operator is a piecewise linear quantile function of one latent:
  z uniform on [0, 1] becomes a learned distribution. What is random in space comes from
  a key made of the bits of z, so that G_A(x, z) stays a function of x and z.

  Attributes:
    operators: the chain, in order.
    see_image: whether amounts also depend on x, through a small network's summary.
    residual: a U-Net whose change is added at the end, for what no operator can say; None
      for none.
  """
  operators: tuple[Operator, ...]
  # In its first steps D_f knows nothing, but Adam would move the amounts at full speed.
  warmup_steps: ClassVar[int] = 100
  read_as: ClassVar[str] = "pooled"
  see_image: bool = False
  residual: unet.UNet | None = None

  @property
  def latents(self) -> tuple[str, ...]:
    """Name of every latent, OPERATOR.LATENT, in the order of z."""
    return tuple(dict.fromkeys(self._latent(*pair) for pair in self._all()))

  def bank(self, latents: np.ndarray) -> np.ndarray:
    """See `outputs.Augmenter`; the bank is calibrated, see `learned.calibrated`."""
    return learned.calibrated(latents)

  def _all(self) -> list[tuple[Operator, Amount]]:
    return [(operator, amount) for operator in self.operators
            for amount in operator.amounts]

  def _names(self) -> list[str]:
    return [f"{operator.name}.{amount.name}" for operator, amount in self._all()]

  @staticmethod
  def _latent(operator: Operator, amount: Amount) -> str:
    return f"{operator.name}.{amount.latent or amount.name}"

  def _each(self, field: str) -> np.ndarray:
    """A numeric field of every amount, [amounts]."""
    return np.array([getattr(amount, field) for _, amount in self._all()], np.float32)

  def _quantiles(self) -> jax.Array:
    """The quantile functions [amounts, KNOTS], in the amounts' units."""
    units = (RATE * self._each("span"))[:, None]
    strengths = self._each("strength") > 0
    start = np.stack([_start(amount) for _, amount in self._all()]).astype(np.float32)
    # A column for each knot, and one for a shift of them all, so that what helps where an
    # operator acts also makes it act more often.
    start = np.pad(start, ((0, 0), (0, 1)))
    parts = []
    # Two parameters, so that all strengths can be scaled together (`match_strength`).
    for name, of in (("strengths", strengths), ("qualities", ~strengths)):
      if of.any():  # an empty array cannot be saved
        parts.append(units[of] * self.param(
            name, lambda key, of=of: jnp.asarray(start[of] / units[of])))
    order = np.argsort(np.concatenate([np.flatnonzero(strengths),
                                       np.flatnonzero(~strengths)]))
    parameters = jnp.concatenate(parts)[order]
    rising = _sorted(parameters[:, :-1] + parameters[:, -1:])
    falling = np.array([s[0] > s[-2] for s in start])[:, None]
    return jnp.where(falling, rising[:, ::-1], rising)

  def one_sided(self) -> dict[str, int]:
    """The strengths that can be left out, as 0 is their lower bound.

    Returns:
      By OPERATOR.AMOUNT, how many other amounts, such as an angle, say how it acts.
    """
    return {name: sum(not other.strength and amount.name in other.shown_by
                      for other in operator.amounts)
            for name, (operator, amount) in zip(self._names(), self._all(), strict=True)
            if amount.strength and amount.low == 0}

  def without(self, params: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Parameters with which some of `one_sided` are off."""
    strengths = [pair for pair in zip(self._names(), self._all(), strict=True)
                 if pair[1][1].strength]
    off = np.array([name in names for name, _ in strengths])
    # Far below 0, so that what an image adds (`see_image`) does not turn them on.
    found = {**params, "strengths": np.where(
        off[:, None], np.float32(-100.0), np.asarray(params["strengths"]))}
    if "gates" in params:
      gated = np.array([self._names()[place] in names for place in self._gated()])
      never = np.float32(-1.0)  # log odds of −40
      found["gates"] = np.where(gated, never, np.asarray(params["gates"]))
    return found

  def amounts(self, z: jax.Array, x: jax.Array | None = None, share: Share = 1.0
              ) -> dict[str, jax.Array]:
    """The amounts of every operator, by OPERATOR.AMOUNT.

    Args:
      z: float32 [B, Z] in [0, 1].
      x: [B, H, W, C] in [0, 1]; None for the amounts that do not depend on the image.
      share: factor of all strengths, at least 0; one, or one for each image. Above 1,
        strengths stop at the bounds of their operators. What is on or off stays so: the
        share is a factor of the probability that it is on.

    Returns:
      float32 [B] each, in the units of the operators.
    """
    names = self._names()
    found = self._amounts(z, x, share)
    # The gradient of a split is one concatenation; that of slices is a sum of them all.
    columns = jax.lax.split(found, [1] * len(names), axis=1)
    return {name: column[:, 0] for name, column in zip(names, columns, strict=True)}

  @nn.compact
  def _amounts(self, z: jax.Array, x: jax.Array | None = None, share: Share = 1.0
               ) -> jax.Array:
    """The amounts as an array [B, amounts]."""
    place = z[:, self._latent_of()] * (KNOTS - 1)  # [B, amounts]
    weights = jnp.maximum(0.0, 1.0 - jnp.abs(
        place[..., None] - jnp.arange(KNOTS, dtype=jnp.float32)[None, None]))
    raw = jnp.sum(weights * self._quantiles()[None], axis=-1)
    if self.see_image and x is not None:
      raw += self._each("span")[None] * _Shift(raw.shape[1], name="shift")(x)
    if (gated := self._gated()).size:
      # Their slopes would weaken what should be off or on.
      whole = jax.lax.stop_gradient(raw[:, gated])
      raw = raw.at[:, gated].set(jnp.where(self._on(z, share)[0], whole, 0.0))
    low, high = self._each("low"), self._each("high")
    # Only strengths may sink below their range.
    sunk = self._each("strength") * (low == 0) * _SUNK * self._each("span")
    found = outputs.limit(
        raw, *(jnp.broadcast_to(v, raw.shape) for v in (low - sunk, low, high)))
    if _is_whole(share):
      return found
    weakened = (self._each("strength") > 0) & (self._each("share") == 0)
    return jnp.clip(jnp.where(weakened[None], _times(share, found), found),
                    low[None], high[None])

  def _gated(self) -> np.ndarray:
    """The places of the amounts that are on or off."""
    return np.flatnonzero(self._each("share"))

  def _on(self, z: jax.Array, weaker: Share = 1.0) -> tuple[jax.Array, jax.Array]:
    """Whether they are on, bool [B, gated], and the log odds of it, [gated].

    Where they are weaker, they are on `weaker` times as often.
    """
    share = self._each("share")[self._gated()]
    odds = _GATE_RATE * self.param(
        "gates", lambda key: jnp.asarray(np.log(share / (1 - share)) / _GATE_RATE))
    often = jnp.broadcast_to(jax.nn.sigmoid(odds)[None], (z.shape[0], odds.shape[0]))
    often = often if _is_whole(weaker) else _times(weaker, often)
    return z[:, self._latent_of()[self._gated()]] < often, odds

  @nn.compact
  def log_likelihood(self, z: jax.Array) -> jax.Array:
    """See `outputs.Augmenter`."""
    if not self._gated().size:
      return jnp.zeros(len(z))
    on, odds = self._on(z)
    return jnp.sum(jax.nn.log_sigmoid(jnp.where(on, odds[None], -odds[None])), axis=1)

  def _latent_of(self) -> np.ndarray:
    """The place in z of each amount's latent, int [amounts]."""
    latents = self.latents
    return np.array([latents.index(self._latent(*pair)) for pair in self._all()], int)

  def shown(self, z: jax.Array) -> jax.Array:
    """How plainly each latent shows in G_A(x, z), from 0 to 1: [B, Z] -> [B, Z].

    A latent shows if an amount varies with it, and if the strength through which it
    acts is not 0. Other latents cannot be read off the image.
    """
    plain = lambda change: jnp.minimum(
        jnp.abs(change) / (_PLAIN * self._each("span"))[None], 1.0)
    names = self._names()
    # [strength, amount]: whether the amount is seen through that strength.
    through = np.zeros((len(names), len(names)), np.float32)
    for place, (operator, amount) in enumerate(self._all()):
      for other in amount.shown_by or (amount.name,):
        through[names.index(f"{operator.name}.{other}"), place] = 1
    acting = jnp.minimum(plain(self._amounts(z)) @ through, 1.0)
    # Each latent at the ends of its range.
    ends = self._amounts(jnp.asarray([[0.0], [1.0]]) * jnp.ones((2, z.shape[1])))
    found = plain(ends[1:] - ends[:1]) * acting  # [B, amounts]
    own = self._latent_of()[:, None] == np.arange(z.shape[1])[None]
    return jax.lax.stop_gradient(
        jnp.max(jnp.where(own[None], found[:, :, None], 0.0), axis=1))

  def mean_strengths(self, z: jax.Array) -> dict[str, jax.Array]:
    """See `outputs.Augmenter`: by OPERATOR.AMOUNT, in the operators' units.

    What an image adds is left out.
    """
    found = self.amounts(z)
    return {name: jnp.mean(found[name])
            for name, (_, amount) in zip(self._names(), self._all(), strict=True)
            if amount.strength}

  def with_cost(self, x: jax.Array, z: jax.Array, of_two_sided: float = 1.0
                ) -> tuple[jax.Array, jax.Array]:
    """Returns G_A(x, z) and its cost [B]: all strengths, as shares of their ranges.

    Those with two sides count `of_two_sided` times. A mean |change| of 0.1 by the residual
    costs as much as a strength at its bound.
    """
    prices = self._each("strength") / self._each("span") * np.where(
        self._each("low") < 0, np.float32(of_two_sided), np.float32(1))
    strengths = jnp.sum(jnp.abs(self._amounts(z, x)) * prices[None], axis=1)
    image, residual = self._render(x, z, self.amounts(z, x))
    return image, strengths + residual / _RESIDUAL_SPAN

  def __call__(self, x: jax.Array, z: jax.Array, only: str = "", share: Share = 1.0
               ) -> jax.Array:
    """Adds the implicit augmentation.

    Args:
      x: float32 [B, H, W, C] in [0, 1]; noise in training may exceed this range.
      z: float32 [B, Z] in [0, 1].
      only: name of the one operator to apply, or RESIDUAL; "" for all of them.
      share: factor of all strengths (see `amounts`) and of the residual's change; one, or
        one for each image, [B]. With 0 an image stays as it is.

    Returns:
      float32 [B, H, W, C] in [0, 1].
    """
    return self._render(x, z, self.amounts(z, x, share), only, share)[0]

  @nn.compact
  def _render(self, x: jax.Array, z: jax.Array, amounts: dict[str, jax.Array],
              only: str = "", share: Share = 1.0) -> tuple[jax.Array, jax.Array]:
    """Returns the image, and the mean |change| [B] by the residual."""
    chosen = [operator for operator in self.operators if only in ("", operator.name)]
    image = x.astype(jnp.float32)
    if chosen:
      image = jax.vmap(functools.partial(apply_all, chosen))(
          image, [{amount.name: amounts[f"{operator.name}.{amount.name}"]
                   for amount in operator.amounts} for operator in chosen], keys_of(z))
    residual = jnp.zeros(x.shape[0])
    if self.residual is not None and only in ("", RESIDUAL):
      height, width = x.shape[1:3]
      maps = latent_maps.Pyramid(height, width, name="pyramid")(z - 0.5)
      h = self.residual(jnp.concatenate([jnp.clip(image, 0.0, 1.0), maps], axis=-1))
      change = unet.last_layer(h, x, self.residual.patch, "residual_image",
                               kernel_init=nn.initializers.zeros)
      change = change if _is_whole(share) else _times(share, change)
      image, residual = image + change, jnp.mean(jnp.abs(change), axis=(1, 2, 3))
    return jnp.clip(image, 0.0, 1.0), residual


class _Shift(nn.Module):
  """What an image adds to the raw amounts, in spans: [B, H, W, C] -> [B, count]."""
  count: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    small = latent_maps.area_resize(x, _SUMMARY, _SUMMARY).reshape(x.shape[0], -1)
    # Where all pixels are equal, the root of the variance has no slope.
    std = jnp.sqrt(jnp.var(x, axis=(1, 2)) + 1e-6)
    h = jnp.concatenate([small, std], axis=1) - 0.5
    h = nn.relu(nn.Dense(_HIDDEN, name="summary")(h))
    return nn.Dense(self.count, kernel_init=nn.initializers.zeros, name="amounts")(h)


def _sorted(rows: jax.Array) -> jax.Array:
  """Sorts short rows [n, KNOTS]. `jnp.sort` and its gradient take seconds to compile."""
  index = np.arange(rows.shape[1])
  before = (rows[:, :, None] < rows[:, None, :]) | (
      (rows[:, :, None] == rows[:, None, :]) & (index[:, None] < index[None])[None])
  rank = jnp.sum(before, axis=1)
  return jnp.sum(jnp.where(
      rank[:, :, None] == index[None, None], rows[:, :, None], 0.0), axis=1)


def _is_whole(share: Share) -> bool:
  """Whether nothing is to be multiplied; an array may hold other numbers than 1."""
  return isinstance(share, (int, float)) and share == 1


def _times(share: Share, values: jax.Array) -> jax.Array:
  """values [B, …] times a share, or times one share for each row."""
  share = jnp.asarray(share, jnp.float32)
  return share.reshape(share.shape + (1,) * (values.ndim - share.ndim)) * values


def keys_of(z: jax.Array) -> jax.Array:
  """A typed key for each row of latents [B, Z], made of their bits: [B]."""
  bits = jax.lax.bitcast_convert_type(
      jax.lax.stop_gradient(z).astype(jnp.float32), jnp.uint32)
  # A multiplicative hash. Latents that differ in one bit get other keys.
  odd = 2 * np.random.RandomState(0).randint(
      0, 2**31, z.shape[1], dtype=np.int64).astype(np.uint32) + 1
  mixed = jnp.sum(bits * odd[None], axis=1, dtype=jnp.uint32)
  mixed = (mixed ^ (mixed >> 16)) * jnp.uint32(0x45d9f3b)
  return jax.vmap(jax.random.key)(mixed ^ (mixed >> 16))


def _start(amount: Amount) -> np.ndarray:
  if len(amount.start) == KNOTS:
    return np.asarray(amount.start)
  return np.linspace(amount.start[0], amount.start[-1], KNOTS)
