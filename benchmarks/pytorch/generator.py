"""Algorithm 1 in PyTorch; compare augment_gen/steps/generator.py."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses

import torch
from torch import nn
from torch.nn import functional

from augment_gen.config import Config, GeneratorConfig, LossesConfig
from pytorch.build import build
from pytorch.frozen_encoder import freeze, Frozen, see_images, see_real
from pytorch.inputs import pictures, read_config
from pytorch.layers import Discriminator, optimizer
from pytorch.outputs import Augmenter
from pytorch.running import Setting
from pytorch.turns import Block

_DIRECTIONS = 64  # random directions of the distance between bank and prior


@dataclasses.dataclass(frozen=True)
class Networks:
  """The trained networks."""
  augmenter: Augmenter  # G_A(x, z)
  eliminator: nn.Module  # (G_E, G_L)(x)
  disc_f: nn.Module
  disc_p: nn.Module

  def generators(self) -> list[nn.Parameter]:
    return [*self.augmenter.parameters(), *self.eliminator.parameters()]

  def discriminators(self) -> list[nn.Parameter]:
    return [*self.disc_f.parameters(), *self.disc_p.parameters()]


@dataclasses.dataclass(frozen=True)
class Draws:
  """All that a step draws.

  Noise is what is added to images [B, C, H, W]; None if the config has none. The random
  numbers of operators are uniform on [0, 1); G_A draws those that are None.
  """
  z: torch.Tensor  # [B, Z], for G_A(x_p, z)
  z_e: torch.Tensor  # [B, Z], for G_A(G_E(x̃_f), z)
  same: torch.Tensor  # bool [B], whether D_f judges G_A(G_E(x̃_f), z)
  noise_f: torch.Tensor | None  # on x̃_f
  noise_a: torch.Tensor | None  # on G_A(x_p, z)
  noise_e: torch.Tensor | None  # on G_E(x̃_f)
  bank_prior: torch.Tensor  # [B, Z]
  directions: torch.Tensor  # [Z + K, Z]
  u: torch.Tensor | None = None  # [B, K], of the operators, beside z
  u_e: torch.Tensor | None = None  # [B, K], beside z_e


def generators_loss(nets: Networks, config: GeneratorConfig, frozen: Frozen,
                    x_p: torch.Tensor, x_f: torch.Tensor, draws: Draws,
                    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
  """Computes (10).

  Args:
    nets: the networks.
    config: section `generator`.
    frozen: F.
    x_p: float32 [B, C, H, W] in [0, 1].
    x_f: float32 [B, C, H, W] in [0, 1].
    draws: the step's draws.

  Returns:
    The loss, and the features of the generated images for D_f and D_p.
  """
  losses, g_a, g_el = config.losses, nets.augmenter, nets.eliminator
  # G_A as (13) sees it.
  g_a_kept = g_a if losses.cycle_trains_augmenter else _held(g_a)
  x_a = g_a_kept(x_p, draws.z, draws.u)
  # One pass for G_E(x̃_f), G_L(x̃_f) and the cycle x, z → G_A → G_E, G_L.
  (x_e, x_p_cycle), (z_f, z_cycle) = (out.chunk(2) for out in g_el(torch.cat(
      [_add(x_f, draws.noise_f), _add(x_a, draws.noise_a)])))

  judged, z_judged = x_a, draws.z
  if config.discriminator.same_content or not losses.cycle_trains_augmenter:
    x_judged, z_judged, u_judged = _judged_by_d_f(x_p, x_e.detach(), draws)
    judged = g_a(x_judged, z_judged, u_judged)
  y_a, y_e = see_images(
      frozen, config.discriminator.features, torch.cat([judged, x_e])).chunk(2)
  fool_f, fool_p = (functional.softplus(-logits)
                    for logits in (nets.disc_f(y_a), nets.disc_p(y_e)))
  score = _score_function(fool_f.detach(), g_a.log_likelihood(z_judged))
  loss = (losses.adversarial_f_weight * (fool_f.mean() + score)
          + losses.adversarial_p_weight * fool_p.mean()
          + losses.cost_weight * g_a.cost(z_judged).mean())

  shown = g_a.shown(draws.z)
  distance = lambda a, b: _l1(a, b, losses)
  slack = losses.latent_slack * (
      draws.z.shape[1] if losses.l1_reduction == "sum" else 1)
  cycle_z = distance(shown * z_cycle, shown * draws.z)
  cycle = (losses.cycle_p_weight * distance(x_p_cycle, x_p)
           + losses.latent_weight * functional.relu(cycle_z - slack))
  if losses.cycle_f_weight:
    x_f_cycle = g_a_kept(_add(x_e, draws.noise_e), z_f)
    cycle = cycle + losses.cycle_f_weight * distance(x_f_cycle, x_f)
  loss = loss + losses.cycle_weight * cycle
  if losses.bank_weight:
    mean_shown = shown.mean(0)
    loss = loss + losses.bank_weight * sliced_wasserstein(
        mean_shown * z_f, mean_shown * draws.bank_prior, draws.directions)
  return loss, y_a, y_e


def discriminators_loss(nets: Networks, config: GeneratorConfig,
                        real: Mapping[str, torch.Tensor], y_a: torch.Tensor,
                        y_e: torch.Tensor) -> torch.Tensor:
  """Computes (7), and the R1 penalty if the config has one.

  Args:
    nets: the networks.
    config: section `generator`.
    real: features of the real images "x_f" and "x_p", [B, D + K].
    y_a: features of generated images for D_f, without gradient.
    y_e: features of generated images for D_p, without gradient.

  Returns:
    Scalar float32.
  """
  weight = config.discriminator.r1_weight
  total: torch.Tensor | float = 0.0
  for disc, y_real, fake in ((nets.disc_f, real["x_f"], y_a),
                             (nets.disc_p, real["x_p"], y_e)):
    y_real = y_real.detach().requires_grad_(bool(weight))
    logits = disc(y_real)
    total = (total + functional.softplus(-logits).mean()
             + functional.softplus(disc(fake)).mean())
    if weight:
      (slope,) = torch.autograd.grad(logits.sum(), y_real, create_graph=True)
      total = total + weight * slope.square().sum(1).mean() / 2
  return total


def sliced_wasserstein(a: torch.Tensor, b: torch.Tensor, directions: torch.Tensor,
                       ) -> torch.Tensor:
  """Distance between two samples [B, Z], the mean over directions [K, Z]."""
  a, b = ((sample @ directions.T).sort(0).values for sample in (a, b))
  return (a - b).abs().mean()


def _held(module: nn.Module) -> Callable[..., torch.Tensor]:
  """The same function, without gradients along the module's parameters."""
  params = {name: param.detach() for name, param in module.named_parameters()}
  return lambda *inputs: torch.func.functional_call(module, params, inputs)


def _judged_by_d_f(x_p: torch.Tensor, x_e: torch.Tensor, draws: Draws,
                   ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
  """x, z and the random numbers of the images G_A(x, z) that D_f judges."""
  same = draws.same[:, None]
  u = (None if draws.u is None or draws.u_e is None else
       torch.where(same, draws.u_e, draws.u))
  return (torch.where(same[..., None, None], x_e, x_p),
          torch.where(same, draws.z_e, draws.z), u)


def _score_function(each: torch.Tensor, log_likelihood: torch.Tensor) -> torch.Tensor:
  """`adversarial.score_function`: zero, given the losses of images [B]."""
  term = ((each - each.mean()) * log_likelihood).mean()
  return term - term.detach()


def _add(x: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
  return x if noise is None else x + noise


def _l1(a: torch.Tensor, b: torch.Tensor, losses: LossesConfig) -> torch.Tensor:
  distance = (a - b).abs()
  return distance.mean() if losses.l1_reduction == "mean" else distance.sum() / len(a)


def side(config: Sequence[str], device: str, precision: str,
         compiled: bool = False) -> Block:
  """Steps of Algorithm 1."""
  settings, setting = read_config(config), Setting(device, precision, compiled)
  stage, data = settings.generator, settings.data
  torch.manual_seed(0)
  shape = (4 * stage.batch_size, data.side, data.channels)
  sets = {"x_p": setting.images(pictures(*shape, seed=1)),
          "x_f": setting.images(pictures(*shape, seed=2))}
  frozen = freeze(settings, setting, sets)
  augmenter, eliminator, latents = build(settings)
  features = len(frozen.shift)
  nets = Networks(
      setting.place(augmenter), setting.place(eliminator),
      # torch.compile has no second derivatives, which R1 needs.
      *(setting.place(Discriminator(features, stage.discriminator),
                      compile_it=not stage.discriminator.r1_weight) for _ in range(2)))
  return Block(setting.repeat(
      make_step(settings, setting, nets, latents, frozen, sets)))


def draw(config: GeneratorConfig, dim: int, x: torch.Tensor) -> Draws:
  """Draws for a batch of the shape of `x`, and `dim` latents.

  D_f judges as many G_A(G_E(x̃_f), z) as at the end of the stage.
  """
  (batch, channels, height, width), losses = x.shape, config.losses
  uniform = lambda *shape: torch.rand(shape, device=x.device)
  # In channels_last, where `randn_like` takes several times as long.
  normal = lambda: torch.randn(
      batch, height, width, channels, device=x.device).permute(0, 3, 1, 2)
  noise = lambda: (losses.cycle_noise * uniform(batch, 1, 1, 1) * normal()
                   if losses.cycle_noise else None)
  directions = functional.normalize(torch.randn(_DIRECTIONS, dim, device=x.device))
  return Draws(
      uniform(batch, dim), uniform(batch, dim),
      uniform(batch) < config.discriminator.same_content, noise(), noise(),
      noise() if losses.cycle_f_weight else None,
      uniform(batch, dim), torch.cat([torch.eye(dim, device=x.device), directions]))


def make_step(config: Config, setting: Setting, nets: Networks, latents: int,
              frozen: Frozen, sets: Mapping[str, torch.Tensor]) -> Callable[[], None]:
  """Builds a step on random batches of the sets."""
  stage = config.generator
  features = stage.discriminator.features
  generators, discriminators = nets.generators(), nets.discriminators()
  tx = optimizer([*generators, *discriminators], stage.optimizer)
  averages = [param.detach().clone() for param in generators]
  count = 0

  def step():
    nonlocal count
    index = {name: torch.randint(len(images), (stage.batch_size,), device=setting.device)
             for name, images in sets.items()}
    x_p, x_f = (sets[name][index[name]] for name in ("x_p", "x_f"))
    # Both gradients are taken at the same parameters.
    with setting.cast():
      loss, y_a, y_e = generators_loss(
          nets, stage, frozen, x_p, x_f, draw(stage, latents, x_p))
    g_grads = torch.autograd.grad(loss, generators, allow_unused=True)
    with setting.cast():
      real = {name: see_real(frozen, features, x, name, index[name])
              for name, x in (("x_p", x_p), ("x_f", x_f))}
      d_loss = discriminators_loss(nets, stage, real, y_a.detach(), y_e.detach())
    d_grads = torch.autograd.grad(d_loss, discriminators)
    for param, grad in zip([*generators, *discriminators], [*g_grads, *d_grads]):
      param.grad = grad
    tx.step()
    if decay := stage.networks.ema_decay:
      keep = min(decay, (1 + count) / (10 + count))
      torch._foreach_lerp_(averages, [param.detach() for param in generators], 1 - keep)
    count += 1
  return step
