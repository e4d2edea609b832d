"""Algorithm 1: the augmentation generator against its discriminators.

Five networks are trained. G_A is one Flax module. G_E and G_L share all layers but the
last and form a second module. D_f and D_p see features of images from the frozen
encoder F (frozen_encoder.py).
"""

import dataclasses
import functools
from typing import Any

from flax import linen as nn
from flax import struct
import jax
from jax import lax
import jax.numpy as jnp
import optax

from augment_gen.augment.learned import draw_latents
from augment_gen.config import DiscriminatorConfig, GeneratorConfig
from augment_gen.losses.adversarial import (
  discriminator_loss,
  generator_loss,
  r1_penalty,
  score_function,
)
from augment_gen.losses.cycle import cycle_loss
from augment_gen.losses.latent import random_directions, sliced_wasserstein
from augment_gen.run import parallel
from augment_gen.run.contracts import Batch, Metrics, Step
from augment_gen.run.forms import jit_quickly
from augment_gen.run.random import example_keys, stream
from augment_gen.steps import frozen_encoder, micro_batches
from augment_gen.steps.frozen_encoder import FrozenEncoder
from augment_gen.steps.state import apply_gradients, named, NetState, update_ema


@struct.dataclass
class Networks:
  """The Flax modules, without parameters.

  Source: Hayase et al., Fig. 2.
  """
  encoder: nn.Module = struct.field(pytree_node=False)  # F
  augmenter: nn.Module = struct.field(pytree_node=False)  # G_A(x, z)
  eliminator: nn.Module = struct.field(pytree_node=False)  # (G_E, G_L)(x)
  discriminator: nn.Module = struct.field(pytree_node=False)  # D_f and D_p
  latent_dim: int = struct.field(pytree_node=False)  # Z


@struct.dataclass
class GeneratorState:
  """The state that a step of Algorithm 1 reads and writes."""
  step: jax.Array  # int32
  augmenter: NetState  # G_A
  eliminator: NetState  # G_E and G_L
  disc_f: NetState  # D_f
  disc_p: NetState  # D_p


GENERATORS = ("augmenter", "eliminator")


def init(nets: Networks, txs: dict[str, optax.GradientTransformation],
         config: GeneratorConfig, image_shape: tuple[int, int, int],
         key: jax.Array) -> GeneratorState:
  """Creates a fresh state; `txs` has one optimiser per network, by field name."""
  x = jnp.zeros((2, *image_shape), jnp.float32)
  z = jnp.zeros((2, nets.latent_dim), jnp.float32)
  y = frozen_encoder.nothing_seen(
      nets.encoder, config.discriminator.features, x)
  inputs = {"augmenter": (nets.augmenter, (x, z)),
            "eliminator": (nets.eliminator, (x,)),
            "disc_f": (nets.discriminator, (y,)),
            "disc_p": (nets.discriminator, (y,))}
  players = {
      name: NetState.create(
          jit_quickly(net.init)(stream(key, f"{name}_init"), *args), txs[name],
          ema=bool(config.networks.ema_decay) and name in GENERATORS)
      for name, (net, args) in inputs.items()}
  return GeneratorState(step=jnp.zeros((), jnp.int32), **players)


def make_step(nets: Networks, txs: dict[str, optax.GradientTransformation],
              config: GeneratorConfig, steps: int) -> Step:
  """Builds one round of Algorithm 1.

  Source: Hayase et al., Algorithm 1.

  Updates:
    1. D_f and D_p minimise (7), with the generated embeddings held fixed.
    2. G_A, G_E and G_L minimise (10), with both discriminators held fixed.

  The updates are simultaneous: both gradients are taken at the same parameters. F is
  never updated.

  Args:
    nets: the networks.
    txs: one optimiser for each player.
    config: of the stage.
    steps: length of the stage, in steps.

  Returns:
    A step, see `contracts.Step`. `frozen["encoder"]` is a `FrozenEncoder`; `batch` has
    "x_p" and "x_f".
  """
  g_loss = functools.partial(_generators_loss, nets, config)
  d_loss = functools.partial(_discriminators_loss, nets, config)

  def step(state: GeneratorState, frozen, batch, key):
    encoder = frozen["encoder"]
    generators = {name: getattr(state, name).params for name in GENERATORS}
    discriminators = {"disc_f": state.disc_f.params, "disc_p": state.disc_p.params}
    # Both gradients use the same parameters and share the forward pass of G.
    (_, (y_a, y_e, g_metrics)), g_grads = jax.value_and_grad(g_loss, has_aux=True)(
        generators, discriminators, encoder, batch, key, state.step / steps)
    (_, d_metrics), d_grads = jax.value_and_grad(d_loss, has_aux=True)(
        discriminators, encoder, batch, lax.stop_gradient(y_a),
        lax.stop_gradient(y_e))

    grads = parallel.mean({**g_grads, **d_grads})
    players, metrics = {}, parallel.mean(
        named("generator", g_metrics) | named("discriminator", d_metrics))
    for name, grad in grads.items():
      player, norms = apply_gradients(getattr(state, name), grad, txs[name])
      players[name] = update_ema(player, config.networks.ema_decay, state.step)
      metrics |= named(name, norms)
    return dataclasses.replace(state, step=state.step + 1, **players), metrics

  return step


def _generators_loss(
    nets: Networks, config: GeneratorConfig, params: dict[str, Any],
    discriminators: dict[str, Any], encoder: FrozenEncoder, batch: Batch,
    key: jax.Array, done: jax.Array,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array, Metrics]]:
  """Computes (10), and the features of the generated images that (7) needs.

  `done` is the share of the stage's steps that lie behind.

  Source: Hayase et al., (10), Fig. 3.
  """
  losses = config.losses
  noisy = functools.partial(_noisy, losses.cycle_noise, key)
  x_p, x_f = batch["x_p"], batch["x_f"]

  def in_parts(function, *arrays):
    return micro_batches.of_size(function, config.micro_batch, *arrays)

  g_a = functools.partial(in_parts, functools.partial(
      nets.augmenter.apply, {"params": params["augmenter"]}, method="with_cost",
      of_two_sided=losses.cost_of_two_sided))
  z = draw_latents(example_keys(key, "latent", len(x_p)), None, nets.latent_dim)
  x_a, cost = g_a(x_p, z)
  # G_A as (13) sees it.
  kept = (lambda tree: tree) if losses.cycle_trains_augmenter else lax.stop_gradient
  # One call for G_E(x̃_f), G_L(x̃_f) and the cycle x, z → G_A → G_E, G_L, so that the
  # networks are compiled once.
  (x_e, x_p_cycle), (z_f, z_cycle) = (jnp.split(out, 2) for out in in_parts(
      lambda x: nets.eliminator.apply({"params": params["eliminator"]}, x),
      jnp.concatenate([noisy(x_f, "noise_f"), noisy(kept(x_a), "noise_a")])))
  shown = nets.augmenter.apply({"params": params["augmenter"]}, z, method="shown")

  judged, z_judged = x_a, z
  if config.discriminator.same_content:
    x_judged, z_judged = _judged_by_d_f(config.discriminator, x_p, z, x_e, key, done)
    judged, cost = g_a(x_judged, z_judged)
  see = frozen_encoder.make_see(nets.encoder, config.discriminator.features)
  y_a, y_e = jnp.split(in_parts(
      functools.partial(frozen_encoder.of_images, see, encoder),
      jnp.concatenate([judged, x_e])), 2)
  # NOTE(paper): (11) prints D_f∘G_A∘F, but only D_f∘F∘G_A has matching types.
  logits = _judge(nets, discriminators["disc_f"], y_a)
  fool_f = generator_loss(logits)
  # D_f alone says how often what is on or off is on. Its price would also pull while D_f
  # knows nothing yet: negatives then die before they are found (docs/experiments/028).
  score = score_function(jax.nn.softplus(-logits), nets.augmenter.apply(
      {"params": params["augmenter"]}, z_judged, method="log_likelihood"))
  fool_p = generator_loss(_judge(nets, discriminators["disc_p"], y_e))

  x_f_cycle = None
  if losses.cycle_f_weight:
    x_f_cycle = in_parts(
        functools.partial(nets.augmenter.apply, {"params": kept(params["augmenter"])}),
        noisy(x_e, "noise_e"), z_f)
  cycle, terms = cycle_loss(
      x_f=x_f, x_f_cycle=x_f_cycle, x_p=x_p, x_p_cycle=x_p_cycle, z=z,
      z_cycle=z_cycle, z_shown=shown,
      reduction=losses.l1_reduction, latent_slack=losses.latent_slack,
      weights=(losses.cycle_f_weight, losses.cycle_p_weight,
               losses.latent_weight))
  bank = _bank_distance(z_f, jnp.mean(shown, axis=0), key)

  # NOTE(paper): In the paper the weights of `bank` and `cost` are 0, all others except λ
  # are 1, nothing is switched on or off, and the cycle trains G_A, too.
  loss = (losses.adversarial_f_weight * (fool_f + score)
          + losses.adversarial_p_weight * fool_p
          + losses.cycle_weight * cycle
          + losses.bank_weight * bank
          + cost_weight(config, done) * jnp.mean(cost))
  metrics = {
      "loss": loss, "adversarial_f": fool_f, "adversarial_p": fool_p, **terms,
      "bank_distance": bank, "cost": jnp.mean(cost),
      "edit_a": jnp.mean(jnp.abs(x_a - x_p)),
      "edit_e": jnp.mean(jnp.abs(x_e - x_f)),
      "latent_error": jnp.mean(jnp.abs(z_cycle - z)),
  } | named("strength", nets.augmenter.apply(
      {"params": params["augmenter"]}, z, method="mean_strengths"))
  return loss, (y_a, y_e, metrics)


def _discriminators_loss(
    nets: Networks, config: GeneratorConfig, params: dict[str, Any],
    encoder: FrozenEncoder, batch: Batch, y_a: jax.Array, y_e: jax.Array,
) -> tuple[jax.Array, Metrics]:
  """Computes (7) = (8) + (9), plus the R1 penalty.

  Source: Hayase et al., (7), Fig. 3.
  """
  see = frozen_encoder.make_see(nets.encoder, config.discriminator.features)
  metrics: Metrics = {}
  total: jax.Array | float = 0.0
  penalty = jnp.zeros(())
  for who, name, y in (("f", "x_f", y_a), ("p", "x_p", y_e)):
    judge = functools.partial(_judge, nets, params[f"disc_{who}"])
    y_real = micro_batches.of_size(
        functools.partial(frozen_encoder.of_real, see, encoder, name),
        config.micro_batch, batch[name], batch["index"][name])
    real, fake = judge(y_real), judge(y)
    loss = discriminator_loss(real, fake)
    if config.discriminator.r1_weight:
      penalty += config.discriminator.r1_weight * r1_penalty(judge, y_real)
    total += loss
    metrics |= {
        f"loss_{who}": loss,
        f"accuracy_{who}": (jnp.mean(real > 0) + jnp.mean(fake < 0)) / 2}
  return total + penalty, metrics | {"penalty": penalty}


def cost_weight(config: GeneratorConfig, done: jax.typing.ArrayLike) -> jax.Array:
  """Computes the weight of the strengths' cost after the share `done` of the steps.

  NOTE(paper): ours. As long as D_f judges G_A(x_p, z), G_A also bridges what X_p and X_f
  differ in beside the augmentation, for example with black lines that thin the strokes of
  digits. Once D_f judges on the same content, these operators gain nothing, but at the
  price at which others could grow at first they don't vanish in time
  (docs/experiments/023).
  """
  start = config.discriminator.same_content_from
  grown = jnp.clip((done - start) / (1 - start), 0.0, 1.0)
  return config.losses.cost_weight * (1 + config.losses.cost_rise * grown)


def _judge(nets: Networks, params: Any, y: jax.Array) -> jax.Array:
  """D(y): features of images [b, D + K] -> logits [b]."""
  return nets.discriminator.apply({"params": params}, y)


def _judged_by_d_f(
    config: DiscriminatorConfig, x_p: jax.Array, z: jax.Array, x_e: jax.Array,
    key: jax.Array, done: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns x and z of the images G_A(x, z) that D_f judges.

  NOTE(paper): (8) has only G_A(x_p, z). X_p and X_f differ in more than the implicit
  augmentation, and D_f makes G_A bridge this difference too, for example by thinning
  digits to the strokes of other characters. G_A(G_E(x̃_f), z) shows the same content as
  x̃_f. At first it says nothing: where G_E still leaves x̃_f as it is, the best G_A is the
  identity, and operators would vanish before G_E has learned to undo them. So a growing
  share of the images takes the place of G_A(x_p, z) once G_E has had time to learn
  (docs/experiments/020). They pass no gradient to G_E, which would otherwise learn to
  leave x̃_f unchanged.
  """
  start = config.same_content_from
  share = config.same_content * jnp.clip(2 * (done - start) / (1 - start), 0.0, 1.0)
  z_e = draw_latents(example_keys(key, "latent_e", len(x_e)), None, z.shape[1])
  own = jax.vmap(jax.random.uniform)(example_keys(key, "judged", len(x_e))) < share
  of_each = lambda a, b: jnp.where(own.reshape(-1, *[1] * (a.ndim - 1)), a, b)
  return of_each(lax.stop_gradient(x_e), x_p), of_each(z_e, z)


def _noisy(strength: float, key: jax.Array, x: jax.Array, name: str) -> jax.Array:
  """Adds noise to images, with a different strength for each image.

  NOTE(paper): The noise between the halves of a cycle is ours. Without it, the first
  half hides what the second half needs in invisible detail (Chu et al. 2017), and
  neither dots nor latents need to be visible to be recovered. All inputs of G_E and G_L
  get noise, with strengths down to almost none. Otherwise the noise would reveal which
  inputs belong to a cycle. G_E and G_L would then learn to remove and read nothing on
  images without noise, and after training they see no others (docs/experiments/012).
  """
  if not strength:
    return x
  def add(x, key):
    strength_key, noise_key = jax.random.split(key)
    std = strength * jax.random.uniform(strength_key)
    return x + std * jax.random.normal(noise_key, x.shape)
  return jax.vmap(add)(x, example_keys(key, name, len(x)))


def _bank_distance(z_f: jax.Array, shown: jax.Array, key: jax.Array) -> jax.Array:
  """Distance between the latents G_L(x̃_f) of all devices and the prior.

  Each latent counts as much as it shows in this device's images, `shown` [Z]. Where G_A
  ignores a latent, G_L cannot know anything of it.

  NOTE(paper): Algorithm 1 draws z from the prior, but re-training draws it from the
  bank of G_L(x̃_f). Nothing in the paper makes the two distributions equal. L1 even
  drives them apart: where z cannot encode the places of dots, an image without dots is
  closer to x̃_f than an image with dots in other places.
  """
  z_f = parallel.gather(z_f)
  z = jax.random.uniform(stream(key, "bank_prior"), z_f.shape)
  shown = parallel.mean(shown)
  return sliced_wasserstein(shown[None] * z_f, shown[None] * z, random_directions(
      stream(key, "bank_directions"), z.shape[1]))
