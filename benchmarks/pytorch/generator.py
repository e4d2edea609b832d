"""Algorithm 1 in PyTorch; compare augment_gen/steps/{generator,frozen_encoder}.py."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses

import torch
from torch import nn
from torch.nn import functional

from augment_gen.config import Config, GeneratorConfig, LossesConfig
from pytorch import unet
from pytorch.inputs import pictures, read_config
from pytorch.layers import Discriminator, flatten, optimizer, ResNet
from pytorch.running import Setting
from pytorch.turns import Block

_DIRECTIONS = 64  # random directions of the distance between bank and prior


@dataclasses.dataclass(frozen=True)
class Networks:
  """The trained networks."""
  augmenter: nn.Module  # G_A(x, z)
  eliminator: nn.Module  # (G_E, G_L)(x)
  disc_f: nn.Module
  disc_p: nn.Module

  def generators(self) -> list[nn.Parameter]:
    return [*self.augmenter.parameters(), *self.eliminator.parameters()]

  def discriminators(self) -> list[nn.Parameter]:
    return [*self.disc_f.parameters(), *self.disc_p.parameters()]


@dataclasses.dataclass(frozen=True)
class Frozen:
  """F in inference mode, and the embeddings of the real images."""
  encoder: nn.Module
  embeddings: Mapping[str, torch.Tensor]  # "x_p" [N, D] and "x_f" [M, D]
  shift: torch.Tensor  # [D + K]
  scale: torch.Tensor  # [D + K]


@dataclasses.dataclass(frozen=True)
class Draws:
  """All that a step draws.

  Noise is what is added to images [B, C, H, W]; None if the config has none.
  """
  z: torch.Tensor  # [B, Z], for G_A(x_p, z)
  z_e: torch.Tensor  # [B, Z], for G_A(G_E(x̃_f), z)
  same: torch.Tensor  # bool [B], whether D_f judges G_A(G_E(x̃_f), z)
  noise_f: torch.Tensor | None  # on x̃_f
  noise_a: torch.Tensor | None  # on G_A(x_p, z)
  noise_e: torch.Tensor | None  # on G_E(x̃_f)
  bank_prior: torch.Tensor  # [B, Z]
  directions: torch.Tensor  # [Z + K, Z]


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
  x_a = g_a(x_p, draws.z)
  x_e, z_f = g_el(_add(x_f, draws.noise_f))

  judged = x_a
  if config.discriminator.same_content:
    judged = torch.where(draws.same[:, None, None, None],
                         g_a(x_e.detach(), draws.z_e), x_a)
  y_a, y_e = _to_scale(frozen, *see(
      frozen.encoder, config.discriminator.features, torch.cat([judged, x_e]))).chunk(2)
  fool = lambda logits: functional.softplus(-logits).mean()
  loss = (losses.adversarial_f_weight * fool(nets.disc_f(y_a))
          + losses.adversarial_p_weight * fool(nets.disc_p(y_e)))

  x_p_cycle, z_cycle = g_el(_add(x_a, draws.noise_a))
  x_f_cycle = g_a(_add(x_e, draws.noise_e), z_f)
  distance = lambda a, b: _l1(a, b, losses)
  slack = losses.latent_slack * (
      draws.z.shape[1] if losses.l1_reduction == "sum" else 1)
  cycle_z = distance(z_cycle, draws.z)
  cycle = (losses.cycle_f_weight * distance(x_f_cycle, x_f)
           + losses.cycle_p_weight * distance(x_p_cycle, x_p)
           + losses.latent_weight * functional.relu(cycle_z - slack))
  loss = loss + losses.cycle_weight * cycle
  if losses.bank_weight:
    loss = loss + losses.bank_weight * sliced_wasserstein(
        z_f, draws.bank_prior, draws.directions)
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


def see(encoder: nn.Module, features: str, x: torch.Tensor,
        ) -> tuple[torch.Tensor, torch.Tensor]:
  """`frozen_encoder.make_see`: images -> y [b, D] and detail [b, K]."""
  y, maps = encoder(x)
  if features == "stages":
    parts = [y]
    for name in sorted(name for name in maps if name.startswith("stage")):
      variance, mean = torch.var_mean(maps[name], (2, 3), correction=0)
      parts += [mean, torch.sqrt(variance + 1e-6)]
    y = torch.cat(parts, 1)
  detail = flatten(maps["stem_conv"]) if features == "maps" else y[:, :0]
  return y, detail


@torch.no_grad()
def see_real(frozen: Frozen, features: str, x: torch.Tensor, name: str,
             index: torch.Tensor) -> torch.Tensor:
  """Features of real images [b, D + K]; the embeddings are those of `frozen`."""
  y = frozen.embeddings[name][index]
  detail = flatten(frozen.encoder.stem(x)) if features == "maps" else y[:, :0]
  return _to_scale(frozen, y, detail)


def sliced_wasserstein(a: torch.Tensor, b: torch.Tensor, directions: torch.Tensor,
                       ) -> torch.Tensor:
  """Distance between two samples [B, Z], the mean over directions [K, Z]."""
  a, b = ((sample @ directions.T).sort(0).values for sample in (a, b))
  return (a - b).abs().mean()


def _add(x: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
  return x if noise is None else x + noise


def _l1(a: torch.Tensor, b: torch.Tensor, losses: LossesConfig) -> torch.Tensor:
  distance = (a - b).abs()
  return distance.mean() if losses.l1_reduction == "mean" else distance.sum() / len(a)


def _to_scale(frozen: Frozen, y: torch.Tensor, detail: torch.Tensor) -> torch.Tensor:
  return (torch.cat([y, detail], 1) - frozen.shift) * frozen.scale


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
  augmenter, eliminator = unet.build(settings)
  features = len(frozen.shift)
  nets = Networks(
      setting.place(augmenter), setting.place(eliminator),
      # torch.compile has no second derivatives, which R1 needs.
      *(setting.place(Discriminator(features, stage.discriminator),
                      compile_it=not stage.discriminator.r1_weight) for _ in range(2)))
  return Block(setting.repeat(make_step(settings, setting, nets, frozen, sets)))


@torch.no_grad()
def freeze(config: Config, setting: Setting, sets: Mapping[str, torch.Tensor]) -> Frozen:
  """Freezes a random F, and embeds the sets once."""
  features = config.generator.discriminator.features
  encoder = setting.place(ResNet(config.encoder, config.data).eval().requires_grad_(False))
  embeddings, details = {}, []
  for name, images in sets.items():
    parts = [see(encoder, features, batch) for batch in images.split(64)]
    embeddings[name] = torch.cat([y for y, _ in parts])
    details.append(parts[0][1])
  y, detail = torch.cat(list(embeddings.values())), torch.cat(details)
  scales = []
  for values, groups in ((y, y.shape[1]), (detail, config.encoder.width)):
    if features == "embedding" or not values.shape[1]:
      scales.append((torch.zeros_like(values[0]), torch.ones_like(values[0])))
      continue
    rows = values.reshape(-1, groups)
    repeats = values.shape[1] // groups
    scales.append((rows.mean(0).repeat(repeats), 1 / (rows.std(0) + 1e-6).repeat(repeats)))
  return Frozen(encoder, embeddings, *(torch.cat(parts) for parts in zip(*scales)))


def draw(config: GeneratorConfig, x: torch.Tensor) -> Draws:
  """Draws for a batch of the shape of `x`."""
  batch, dim, strength = len(x), config.latent.dim, config.losses.cycle_noise
  uniform = lambda *shape: torch.rand(shape, device=x.device)
  noise = lambda: (
      strength * uniform(batch, 1, 1, 1) * torch.randn_like(x) if strength else None)
  directions = functional.normalize(torch.randn(_DIRECTIONS, dim, device=x.device))
  return Draws(
      uniform(batch, dim), uniform(batch, dim),
      uniform(batch) < config.discriminator.same_content, noise(), noise(), noise(),
      uniform(batch, dim), torch.cat([torch.eye(dim, device=x.device), directions]))


def make_step(config: Config, setting: Setting, nets: Networks, frozen: Frozen,
              sets: Mapping[str, torch.Tensor]) -> Callable[[], None]:
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
          nets, stage, frozen, x_p, x_f, draw(stage, x_p))
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
