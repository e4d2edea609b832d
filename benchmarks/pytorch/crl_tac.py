"""Algorithm 1 of CRL-TAC in PyTorch; compare augment_gen/steps/{crl_tac,policy}.py."""

from collections.abc import Callable, Sequence
import math

import torch
from torch import nn
from torch.nn import functional

from augment_gen.config import Config, PolicyConfig, TacConfig
from pytorch.inputs import on_canvas, read_config
from pytorch.layers import ConvNet, Normalise, optimizer, ProjectedEncoder
from pytorch.running import Setting
from pytorch.turns import Block


class Grid:
  """`augment.crops.CropGrid`: the windows, by scale and then row by row."""

  def __init__(self, side: int, tac: TacConfig):
    self.crop, self.stride = tac.crop, tac.stride
    sides = [round(tac.crop * scale) for scale in tac.scales]
    self.windows = [(window, (side - window) // tac.stride + 1) for window in sides]
    self.size = sum(places**2 for _, places in self.windows)

  def cut(self, images: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """T(X): [B, C, H, W] and int64 [B, m] -> [B · m, C, crop, crop]."""
    batch, draws = chosen.shape
    image = torch.arange(batch, device=images.device).repeat_interleave(draws)
    chosen, first = chosen.flatten(), 0
    out = images.new_empty((batch * draws, images.shape[1], self.crop, self.crop))
    for side, places in self.windows:
      mine = ((chosen >= first) & (chosen < first + places**2)).nonzero()[:, 0]
      place = chosen[mine] - first
      all_windows = images.unfold(2, side, self.stride).unfold(3, side, self.stride)
      crops = all_windows[image[mine], :, place // places, place % places]
      if side != self.crop:
        crops = functional.interpolate(crops, self.crop, mode="bilinear", antialias=True)
      out[mine] = crops
      first += places**2
    return out.contiguous(memory_format=torch.channels_last)


class Policy(nn.Module):
  """`models.policy.CropDistribution`: images -> log P(t|x) [B, K]."""

  def __init__(self, grid: Grid, config: Config):
    super().__init__()
    width, data = config.tac.policy.width, config.data
    self.windows, self.equal = grid.windows, config.tac.scale_mass == "equal"
    self.normalise = Normalise(data.mean, data.std)
    self.stem = nn.Conv2d(data.channels, width // 2, grid.stride, grid.stride)
    for number, (side, _) in enumerate(grid.windows, start=1):
      field = max(side // grid.stride, 1)
      self.add_module(f"window{number}", nn.Conv2d(width // 2, width, field))
      self.add_module(f"around{number}", nn.Conv2d(width, width, 3, padding=1))
      score = nn.Conv2d(width, 1, 1)
      nn.init.zeros_(score.weight)
      nn.init.zeros_(score.bias)
      self.add_module(f"score{number}", score)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    h = functional.relu(self.stem(self.normalise(x)))
    logits = []
    for number, (_, places) in enumerate(self.windows, start=1):
      w = functional.relu(getattr(self, f"window{number}")(h))[:, :, :places, :places]
      w = functional.relu(getattr(self, f"around{number}")(w))
      scores = getattr(self, f"score{number}")(w).flatten(1)
      logits.append(functional.log_softmax(scores, 1) if self.equal else scores)
    return functional.log_softmax(torch.cat(logits, 1), 1)


def information(h: torch.Tensor, beta: float, numerator: str,
                log_p: torch.Tensor | None = None) -> torch.Tensor:
  """I(X; Z) with Z = h(T(X)); T itself is left out of both expectations.

  Args:
    h: float32 [N, m, D], of unit length.
    beta: β.
    numerator: "information" or "jensen".
    log_p: float32 [N, m], log P(t|x); None for draws from P.

  Returns:
    Scalar float32, in nats.
  """
  images, draws, _ = h.shape
  rows = h.flatten(0, 1)
  scores = beta * rows @ rows.T  # [N m, N m]
  log_w = (h.new_full((images, draws), -math.log(draws)) if log_p is None
           else functional.log_softmax(log_p, 1))
  itself = torch.eye(draws, dtype=torch.bool, device=h.device)

  # log E_{T'|X}, over the crops of the same image.
  within = scores.view(images, draws, images, draws).diagonal(dim1=0, dim2=2)
  within = within.permute(2, 0, 1)  # [N, m, m]
  weights = log_w[:, None].masked_fill(itself, -math.inf)
  weights = functional.log_softmax(weights.expand(-1, draws, -1), 2)
  align = ((weights.exp() * within).sum(2) if numerator == "jensen"
           else torch.logsumexp(weights + within, 2))

  # log E_{T'',X̃}, over all crops of all images.
  everything = torch.eye(len(rows), dtype=torch.bool, device=h.device)
  weights = log_w.flatten()[None].expand(len(rows), -1).masked_fill(everything, -math.inf)
  uniform = (torch.logsumexp(weights + scores, 1)
             - torch.logsumexp(weights, 1)).view(images, draws)
  return (log_w.exp() * (align - uniform)).sum(1).mean()


def encoder_loss(encoder: nn.Module, grid: Grid, x: torch.Tensor, chosen: torch.Tensor,
                 config: TacConfig) -> torch.Tensor:
  """The loss of phase (a), for crops [B, m] drawn from P(T|x)."""
  h = encoder(grid.cut(x, chosen)).view(*chosen.shape, -1)
  return -information(h, config.policy.beta, config.numerator)


def policy_loss(policy: nn.Module, x: torch.Tensor, h: torch.Tensor,
                chosen: torch.Tensor, weight: float, config: PolicyConfig,
                ) -> torch.Tensor:
  """The loss of phase (b).

  Args:
    policy: P.
    x: float32 [b, C, H, W] in [0, 1].
    h: float32 [b, m, D], of the crops `chosen`, without gradient.
    chosen: int64 [b, m], uniform draws.
    weight: weight of H(T|X).
    config: section `tac.policy`.

  Returns:
    Scalar float32.
  """
  log_p = policy(x)
  value = information(h, config.beta, config.numerator, log_p.gather(1, chosen))
  entropy = -(log_p.exp() * log_p).sum(1)
  return -(value + weight * entropy.clamp(max=config.entropy_target or math.inf).mean())


def draw(log_p: torch.Tensor, count: int) -> torch.Tensor:
  """Different crops per image by Gumbel top-m: [B, K] -> int64 [B, m]."""
  gumbel = -torch.empty_like(log_p).exponential_().log()
  return (log_p + gumbel).topk(count).indices


def side(config: Sequence[str], device: str, precision: str,
         compiled: bool = False) -> Block:
  """Steps of CRL-TAC, both phases.

  Raises:
    ValueError: the config draws Z, or changes the weight of H(T|X); this side does not.
  """
  settings, setting = read_config(config), Setting(device, precision, compiled)
  tac, data = settings.tac, settings.data
  if tac.policy.z != "mean" or tac.policy.entropy_schedule != "constant":
    raise ValueError("drawn Z and scheduled entropy weights have no PyTorch side")
  torch.manual_seed(0)
  grid = Grid(data.side, tac)
  encoder = setting.place(ProjectedEncoder(
      ConvNet(settings.encoder, data, tac.crop), tac.dim, tac.head))
  policy = setting.place(Policy(grid, settings))
  images = setting.images(on_canvas(
      4 * tac.batch_size, data.side, data.image_size, seed=0))
  return Block(setting.repeat(
      make_step(settings, setting, grid, encoder, policy, images)))


def make_step(config: Config, setting: Setting, grid: Grid, encoder: nn.Module,
              policy: nn.Module, images: torch.Tensor) -> Callable[[], None]:
  """Builds a step on random batches of `images`."""
  tac = config.tac
  tx_encoder = optimizer(encoder.parameters(), tac.optimizer)
  tx_policy = optimizer(policy.parameters(), tac.policy.optimizer)

  def step():
    x = images[torch.randint(len(images), (tac.batch_size,), device=images.device)]
    # (a)
    with setting.cast():
      with torch.no_grad():
        chosen = draw(policy(x).float(), tac.draws)
      loss = encoder_loss(encoder.train(), grid, x, chosen, tac)
    tx_encoder.zero_grad()
    loss.backward()
    tx_encoder.step()
    # (b)
    x = x[:tac.policy.batch or len(x)]
    chosen = draw(torch.zeros((len(x), grid.size), device=x.device), tac.policy.draws)
    with setting.cast():
      with torch.no_grad():
        h = encoder.eval()(grid.cut(x, chosen)).view(*chosen.shape, -1)
      loss = policy_loss(policy, x, h, chosen, tac.policy.entropy_weight, tac.policy)
    tx_policy.zero_grad()
    loss.backward()
    tx_policy.step()
  return step
