"""Algorithm 1: the augmentation generator against its discriminators.

Five networks play: G_A, and G_E with G_L, which share all layers but the last
and so are one Flax module; D_f and D_p, which see what F makes of an image
(frozen_encoder.py). F is frozen.
"""

from collections.abc import Callable
import functools

from flax import linen as nn
from flax import struct
import jax
from jax import lax
import jax.numpy as jnp
import optax

from augment_gen import parallel
from augment_gen.config import GeneratorConfig
from augment_gen.augment.learned import draw_latents
from augment_gen.losses.adversarial import (
    discriminator_loss, generator_loss, r1_penalty)
from augment_gen.losses.cycle import cycle_loss, l1
from augment_gen.losses.latent import random_directions, sliced_wasserstein
from augment_gen.random import example_keys, stream
from augment_gen.steps import frozen_encoder
from augment_gen.steps.state import NetState, apply_gradients, follow, named


@struct.dataclass
class Networks:
  """The modules, pure descriptions."""
  encoder: nn.Module = struct.field(pytree_node=False)  # F
  augmenter: nn.Module = struct.field(pytree_node=False)  # G_A(x, z)
  eliminator: nn.Module = struct.field(pytree_node=False)  # (G_E, G_L)(x)
  discriminator: nn.Module = struct.field(pytree_node=False)  # D_f and D_p


@struct.dataclass
class GeneratorState:
  """Everything that a step of Algorithm 1 reads and writes."""
  step: jax.Array  # int32
  augmenter: NetState  # G_A
  eliminator: NetState  # G_E and G_L
  disc_f: NetState  # D_f
  disc_p: NetState  # D_p


GENERATORS = ("augmenter", "eliminator")


def init(nets: Networks, txs: dict[str, optax.GradientTransformation],
         config: GeneratorConfig, image_shape: tuple[int, int, int],
         key: jax.Array) -> GeneratorState:
  """Fresh players; `txs` has one optimiser a player, by field name."""
  x = jnp.zeros((2, *image_shape), jnp.float32)
  z = jnp.zeros((2, config.latent.dim), jnp.float32)
  y = frozen_encoder.nothing_seen(
      nets.encoder, config.discriminator.features, x)
  inputs = {"augmenter": (nets.augmenter, (x, z)),
            "eliminator": (nets.eliminator, (x,)),
            "disc_f": (nets.discriminator, (y,)),
            "disc_p": (nets.discriminator, (y,))}
  players = {
      name: NetState.create(
          jax.jit(net.init)(stream(key, f"{name}_init"), *args), txs[name],
          averaged=bool(config.average) and name in GENERATORS)
      for name, (net, args) in inputs.items()}
  return GeneratorState(step=jnp.zeros((), jnp.int32), **players)


def make_step(nets: Networks, txs: dict[str, optax.GradientTransformation],
              config: GeneratorConfig) -> Callable:
  """One round of Algorithm 1.

  Who is moved by what:
    1. D_f, D_p by (7), with the generated embeddings held fixed;
    2. G_A, G_E, G_L by (10), with both discriminators held fixed;
    3. all at once: both gradients are taken at the same parameters. F never.

  Returns:
    `step(state, frozen, batch, key) -> (state, metrics)`; `frozen["encoder"]`
    is a `FrozenEncoder`, `batch` has "x_p", "x_f" [b, H, W, C] in [0, 1] and
    "index" with their places in the embeddings.
  """

  see = frozen_encoder.make_see(
      nets.encoder, config.discriminator.features)
  fool_weights = {name: weight for name, weight in (
      ("fool_f", config.fool_f_weight), ("fool_e", config.fool_e_weight)) if weight}

  def discriminate(params, y):
    return nets.discriminator.apply({"params": params}, y)

  def noisy(x, key, name):
    """NOTE(paper): noise between the halves of a cycle is ours. Without it the
    first half hides what the second one needs in detail that nobody sees (Chu
    et al. 2017), and neither dots nor latents need be visible to be recovered.
    Whatever G_E and G_L see has it, of another strength for each image, next to
    none too: else noise tells them whether they see a cycle, and for images
    without, which is all that they see later, they learn to remove and read
    nothing (docs/experiments/012).
    """
    if not config.cycle_noise:
      return x
    def add(x, key):
      strength_key, noise_key = jax.random.split(key)
      std = config.cycle_noise * jax.random.uniform(strength_key)
      return x + std * jax.random.normal(noise_key, x.shape)
    return jax.vmap(add)(x, example_keys(key, name, len(x)))

  def bank_distance(z_f, key):
    """NOTE(paper): Algorithm 1 draws z from the prior, re-training from the
    bank of G_L(x̃_f); nothing in the paper makes these the same. L1 even draws
    them apart: where the places of dots cannot be told by z, no dots at all are
    nearer to x̃_f than dots elsewhere.
    """
    z_f = parallel.gather(z_f)
    z = jax.random.uniform(stream(key, "bank_prior"), z_f.shape)
    return sliced_wasserstein(z_f, z, random_directions(
        stream(key, "bank_directions"), z.shape[1]))

  def identity_loss(g_el, x_p, key):
    """‖G_E(x_p) − x_p‖₁: what is clean is left as it is.

    NOTE(paper): ours, from CycleGAN (Zhu et al. 2017, section 5.2). That G_E
    brightens strokes and G_A dims them as much satisfies every other term, and
    D_p, which knows X_p's strokes alone, decides how far it goes
    (docs/experiments/011).
    """
    if not config.identity_weight:
      return jnp.zeros(())
    x_p_same, _ = g_el(noisy(x_p, key, "noise_i"))
    return l1(x_p_same, x_p, config.l1_reduction)

  def judged_by_d_f(g_a, x_a, x_e, key):
    """One batch of images for each of `fool_weights`.

    NOTE(paper): (8) has G_A(x_p, z) alone, "fool_f". X_p and X_f differ in more
    than the implicit augmentation, and D_f asks G_A to bridge that too: to thin
    digits to the strokes of other characters. G_A(G_E(x̃_f), z), "fool_e", shows
    what x̃_f shows. No gradient reaches G_E, which would learn to leave x̃_f as it
    is. docs/experiments/014 has which of them learns what.
    """
    judged = {"fool_f": x_a}
    if "fool_e" in fool_weights:
      z = draw_latents(
          example_keys(key, "latent_e", len(x_e)), None, config.latent.dim)
      judged["fool_e"] = g_a(lax.stop_gradient(x_e), z)
    return [judged[name] for name in fool_weights]

  def generators_loss(params, disc_f, disc_p, encoder, batch, key):
    """(10); also returns what (7) needs of the generated images."""
    g_a = lambda x, z: nets.augmenter.apply({"params": params["augmenter"]}, x, z)
    g_el = lambda x: nets.eliminator.apply({"params": params["eliminator"]}, x)

    z = draw_latents(example_keys(key, "latent", len(batch["x_p"])), None,
                     config.latent.dim)
    x_a = g_a(batch["x_p"], z)  # G_A(x_p, z)
    # G_E(x̃_f), G_L(x̃_f)
    x_e, z_f = g_el(noisy(batch["x_f"], key, "noise_f"))
    judged = judged_by_d_f(g_a, x_a, x_e, key)
    y = frozen_encoder.of_images(
        see, encoder, jnp.concatenate([*judged, x_e]))
    y_a, y_e = y[:-len(x_e)], y[-len(x_e):]

    x_p_cycle, z_cycle = g_el(noisy(x_a, key, "noise_a"))
    cycle, terms = cycle_loss(
        x_f=batch["x_f"], x_f_cycle=g_a(noisy(x_e, key, "noise_e"), z_f),
        x_p=batch["x_p"], x_p_cycle=x_p_cycle, z=z, z_cycle=z_cycle,
        reduction=config.l1_reduction, latent_slack=config.latent_slack,
        weights=(config.cycle_f_weight, config.cycle_p_weight,
                 config.latent_weight))
    identity = identity_loss(g_el, batch["x_p"], key)
    # NOTE(paper): (11) prints D_f∘G_A∘F; only D_f∘F∘G_A has types that fit.
    fools = {name: generator_loss(discriminate(disc_f, y)) for name, y in zip(
        fool_weights, jnp.split(y_a, len(fool_weights)))}
    fool_p = generator_loss(discriminate(disc_p, y_e))
    bank = bank_distance(z_f, key)
    # NOTE(paper): but for λ, all of these weights are 1 there (of "fool_e",
    # `identity` and `bank` 0).
    loss = (sum(fool_weights[name] * fool for name, fool in fools.items())
            + config.fool_p_weight * fool_p
            + config.cycle_weight * (cycle + config.identity_weight * identity)
            + config.bank_weight * bank)
    metrics = {
        "loss": loss, **fools, "fool_p": fool_p, **terms,
        "identity": identity, "bank_distance": bank,
        "edit_a": jnp.mean(jnp.abs(x_a - batch["x_p"])),
        "edit_e": jnp.mean(jnp.abs(x_e - batch["x_f"])),
        "latent_error": jnp.mean(jnp.abs(z_cycle - z)),
    }
    return loss, (y_a, y_e, metrics)

  def discriminators_loss(params, encoder, batch, y_a, y_e):
    """(7) = (8) + (9), and the penalty."""
    metrics, total, penalty = {}, 0.0, jnp.zeros(())
    for who, name, y in (("f", "x_f", y_a), ("p", "x_p", y_e)):
      judge = functools.partial(discriminate, params[f"disc_{who}"])
      y_real = frozen_encoder.of_real(
          see, encoder, name, batch[name], batch["index"][name])
      real, fake = judge(y_real), judge(y)
      loss = discriminator_loss(real, fake)
      if config.discriminator.r1_weight:
        penalty += config.discriminator.r1_weight * r1_penalty(judge, y_real)
      total += loss
      metrics |= {
          f"loss_{who}": loss,
          f"accuracy_{who}": (jnp.mean(real > 0) + jnp.mean(fake < 0)) / 2}
    return total + penalty, metrics | {"penalty": penalty}

  def step(state: GeneratorState, frozen, batch, key):
    encoder = frozen["encoder"]
    # Both gradients at the same parameters; the forward pass of G is shared.
    (_, (y_a, y_e, g_metrics)), g_grads = jax.value_and_grad(
        generators_loss, has_aux=True)(
            {"augmenter": state.augmenter.params,
             "eliminator": state.eliminator.params},
            state.disc_f.params, state.disc_p.params, encoder, batch, key)
    (_, d_metrics), d_grads = jax.value_and_grad(
        discriminators_loss, has_aux=True)(
            {"disc_f": state.disc_f.params, "disc_p": state.disc_p.params},
            encoder, batch, lax.stop_gradient(y_a), lax.stop_gradient(y_e))

    grads = parallel.mean({**g_grads, **d_grads})
    players, metrics = {}, parallel.mean(
        named("generator", g_metrics) | named("discriminator", d_metrics))
    for name, grad in grads.items():
      player, norms = apply_gradients(getattr(state, name), grad, txs[name])
      players[name] = follow(player, config.average, state.step)
      metrics |= named(name, norms)
    return state.replace(step=state.step + 1, **players), metrics

  return step
