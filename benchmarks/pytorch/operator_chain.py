"""G_A as a chain of operators; compare augment_gen/models/operator_chain.py."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from augment_gen.augment.operators import Amount, KNOTS, Operator
from pytorch import operators
from pytorch.outputs import Augmenter

_RATE, _GATE_RATE = 5.0, 40.0
_SUNK = 0.5
_PLAIN = 0.05


class _Limit(torch.autograd.Function):
  """`operator_chain.limit`: raw amounts [B, n] and bounds [n] -> amounts in bounds."""

  @staticmethod
  def forward(raw, floor, low, high):
    return torch.clamp(raw, low, high)

  @staticmethod
  def setup_context(ctx, inputs, output):
    raw, floor, _, high = inputs
    ctx.save_for_backward(raw, floor, high)

  @staticmethod
  def backward(ctx, slope):
    raw, floor, high = ctx.saved_tensors
    outward = ((raw <= floor) & (slope > 0)) | ((raw >= high) & (slope < 0))
    return torch.where(outward, 0.0, slope), None, None, None


class OperatorChain(Augmenter):
  """G_A: X x Z -> X."""

  def __init__(self, chain: Sequence[Operator]):
    super().__init__()
    self.chain = tuple(chain)
    pairs = [(operator, amount) for operator in chain for amount in operator.amounts]
    self.names = [f"{operator.name}.{amount.name}" for operator, amount in pairs]
    latents = [f"{operator.name}.{amount.latent or amount.name}"
               for operator, amount in pairs]
    self.latents = tuple(dict.fromkeys(latents))
    self._buffer("latent_of", [self.latents.index(name) for name in latents])
    each = {field: np.array([getattr(amount, field) for _, amount in pairs], np.float32)
            for field in ("low", "high", "span", "strength", "share")}
    for name in ("low", "high", "span", "strength"):
      self._buffer(name, each[name])
    sinks = each["strength"] * (each["low"] == 0)
    self._buffer("floor", each["low"] - _SUNK * sinks * each["span"])
    seen_by = [{f"{operator.name}.{name}" for name in amount.shown_by or (amount.name,)}
               for operator, amount in pairs]
    self._buffer("through", np.array(
        [[name in strengths for strengths in seen_by] for name in self.names], np.float32))
    self._make_parameters([amount for _, amount in pairs], each)

  def _make_parameters(self, amounts: Sequence[Amount], each: dict[str, np.ndarray],
                       ) -> None:
    """Makes the quantile functions, and the log odds of what is on or off."""
    start = np.stack([_start(amount) for amount in amounts]).astype(np.float32)
    self._buffer("falling", start[:, :1] > start[:, -1:])
    units = _RATE * each["span"][:, None]
    start = np.pad(start / units, ((0, 0), (0, 1)))  # a shift of all knots
    strong = each["strength"] > 0
    self.strengths = nn.Parameter(torch.from_numpy(start[strong]))
    self.qualities = nn.Parameter(torch.from_numpy(start[~strong]))
    order = np.concatenate([np.flatnonzero(strong), np.flatnonzero(~strong)])
    self._buffer("order", np.argsort(order))
    self._buffer("units", units)
    self._buffer("gated", np.flatnonzero(each["share"]))
    if len(self.gated):
      share = each["share"][each["share"] > 0]
      self.gates = nn.Parameter(
          torch.from_numpy(np.log(share / (1 - share)) / _GATE_RATE))

  def _buffer(self, name: str, values) -> None:
    self.register_buffer(name, torch.from_numpy(np.array(values)), persistent=False)

  def forward(self, x: torch.Tensor, z: torch.Tensor, u: torch.Tensor | None = None,
              ) -> torch.Tensor:
    """Adds the implicit augmentation; see `outputs.Augmenter` and `operators.apply_all`.

    Returns:
      float32 [B, C, H, W] in [0, 1], in channels_last.
    """
    # As ours, in float32 whatever the precision of networks is.
    with torch.autocast(x.device.type, enabled=False):
      amounts = dict(zip(self.names, self._amounts(z)[..., None, None, None].unbind(1)))
      image = operators.apply_all(self.chain, x.float().contiguous(), amounts, u)
      return image.clamp(0, 1).contiguous(memory_format=torch.channels_last)

  def _amounts(self, z: torch.Tensor) -> torch.Tensor:
    """The amounts of each z, [B, Z] -> [B, amounts]."""
    knots = self.units * torch.cat([self.strengths, self.qualities])[self.order]
    knots = (knots[:, :-1] + knots[:, -1:]).sort(dim=1, stable=True).values
    knots = torch.where(self.falling, knots.flip(1), knots)
    place = z[:, self.latent_of] * (KNOTS - 1)
    index = torch.arange(KNOTS, device=z.device, dtype=z.dtype)
    weights = functional.relu(1 - (place[..., None] - index).abs())
    raw = (weights * knots).sum(-1)
    if len(self.gated):
      # Their slopes would weaken what should be off or on.
      whole = torch.where(self._on(z), raw[:, self.gated].detach(), 0.0)
      raw = raw.index_copy(1, self.gated, whole)
    return _Limit.apply(raw, self.floor, self.low, self.high)

  def _on(self, z: torch.Tensor) -> torch.Tensor:
    """Whether the gated amounts are on, bool [B, gated]."""
    return z[:, self.latent_of[self.gated]] < torch.sigmoid(_GATE_RATE * self.gates)

  def log_likelihood(self, z: torch.Tensor) -> torch.Tensor:
    if not len(self.gated):
      return super().log_likelihood(z)
    odds = _GATE_RATE * self.gates
    return functional.logsigmoid(torch.where(self._on(z), odds, -odds)).sum(1)

  def cost(self, z: torch.Tensor) -> torch.Tensor:
    amounts = self._amounts(z)
    # In JAX |x| has slope 1 at 0, which makes strengths sink that are off already.
    sizes = torch.where(amounts < 0, -amounts, amounts)
    return (sizes * self.strength / self.span).sum(1)

  @torch.no_grad()
  def shown(self, z: torch.Tensor) -> torch.Tensor:
    plain = lambda change: (change.abs() / (_PLAIN * self.span)).clamp_max(1)
    ends = torch.zeros_like(z[:2])
    ends[1] = 1
    first, last = self._amounts(ends)
    acting = (plain(self._amounts(z)) @ self.through).clamp_max(1)
    return torch.zeros_like(z).scatter_reduce(
        1, self.latent_of.expand(len(z), -1), plain(last - first) * acting, "amax")


def _start(amount: Amount) -> np.ndarray:
  """The quantiles of an amount before training, [KNOTS]."""
  if len(amount.start) == KNOTS:
    return np.asarray(amount.start)
  return np.linspace(amount.start[0], amount.start[-1], KNOTS)
