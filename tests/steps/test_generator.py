"""Algorithm 1: which loss updates which network, and by how much."""

import dataclasses
import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from augment_gen.augment.learned import calibrated, draw_latents
from augment_gen.config import (
  Config,
  DataConfig,
  DiscriminatorConfig,
  GeneratorConfig,
  LatentConfig,
  LossesConfig,
  NetworksConfig,
)
from augment_gen.data.base import sample
from augment_gen.data.task import load_task
from augment_gen.losses.latent import random_directions, sliced_wasserstein
from augment_gen.methods.augmentation_generator import stages
from augment_gen.models import outputs
from augment_gen.models.heads import Discriminator
from augment_gen.models.perceptron import PerceptronAugmenter, PerceptronEliminator
from augment_gen.run import parallel
from augment_gen.run.random import example_keys, stream
from augment_gen.steps import frozen_encoder, generator
from augment_gen.steps.pixel_statistics import pixel_statistics
from augment_gen.steps.state import NetState

SHAPE = (3, 3, 1)
LOSSES = LossesConfig(
    cycle_weight=0.3, latent_weight=2.0, cycle_f_weight=0.4, cycle_p_weight=1.5,
    adversarial_p_weight=0.6, cycle_noise=0.1, bank_weight=0.7, l1_reduction="sum")
CONFIG = GeneratorConfig(losses=LOSSES, latent=LatentConfig(dim=4))
OURS = {content: dataclasses.replace(
    CONFIG, losses=dataclasses.replace(
        LOSSES, adversarial_f_weight=weight, latent_slack=0.05),
    discriminator=DiscriminatorConfig(r1_weight=0.8, same_content=share))
        for content, weight, share in (("x_e", 1.2, 1.0), ("both", 0.3, 0.5))}
CONFIGS = pytest.mark.parametrize(
    "config", [GeneratorConfig(latent=LatentConfig(dim=4)), CONFIG,
               *OURS.values()], ids=["paper", "x_p", *OURS])
PLAYERS = ("augmenter", "eliminator", "disc_f", "disc_p")


class Encoder(nn.Module):
  """F: a small nonlinear network."""

  @nn.compact
  def __call__(self, x, *, train):
    assert not train
    return nn.tanh(nn.Dense(5)(x.reshape(len(x), -1))), {}


def networks():
  return generator.Networks(
      encoder=Encoder(),
      augmenter=PerceptronAugmenter(
          image_shape=SHAPE, hidden=7, layers=3, latent_scale=2.0,
          output="edit"),
      eliminator=PerceptronEliminator(
          image_shape=SHAPE, latent_dim=4, hidden=7, layers=3, output="edit"),
      discriminator=Discriminator(hidden=6, layers=2), latent_dim=4)


@functools.cache
def nets_and_txs(lr):
  return networks(), dict.fromkeys(PLAYERS, optax.sgd(lr))


@functools.cache
def encoded():
  """Images of both sets, the variables of F, and what F makes of the images."""
  encoder, rng = nets_and_txs(0.1)[0].encoder, np.random.default_rng(0)
  images = {name: rng.random((8, *SHAPE)).astype(np.float32) for name in ("x_p", "x_f")}
  start = jax.jit(functools.partial(encoder.init, train=False))
  variables = jax.device_get(start(jax.random.key(5), images["x_p"]))
  embed = jax.jit(lambda x: encoder.apply(variables, x, train=False)[0])
  return images, variables, {name: np.asarray(embed(x)) for name, x in images.items()}


@functools.cache
def fresh_state(lr):
  return jax.device_get(generator.init(
      *nets_and_txs(lr), CONFIG, SHAPE, jax.random.key(0)))


def setting(lr=0.1, standardise=True):
  images, variables, embeddings = encoded()
  frozen = {"encoder": frozen_encoder.freeze(
      variables, embeddings, np.zeros((2, 0, 1), np.float32), standardise),
      "images": images}
  return *nets_and_txs(lr), frozen, fresh_state(lr)


def fetch(resident, place):
  return {name: resident[name][i] for name, i in place.items()} | {"index": place}


@pytest.mark.parametrize("trains", [True, False])
@pytest.mark.parametrize("same_content, calls", [(0.0, 1), (1.0, 2)])
def test_g_a_is_called_no_more_often_than_it_must(same_content, calls, trains):
  nets, _, frozen, state = setting()
  config = dataclasses.replace(
      CONFIG, discriminator=DiscriminatorConfig(same_content=same_content),
      losses=dataclasses.replace(
          LOSSES, cycle_f_weight=0.0, cycle_trains_augmenter=trains))
  params = [{name: getattr(state, name).params for name in names}
            for names in (PLAYERS[:2], PLAYERS[2:])]
  found = []

  def count(call, args, kwargs, context):
    found.append((type(context.module).__name__, context.method_name))
    return call(*args, **kwargs)

  with nn.intercept_methods(count):
    jax.eval_shape(lambda key: generator._generators_loss(
        nets, config, *params, frozen["encoder"], encoded()[0], key, 0.9)[0],
        jax.random.key(0))
  assert found.count(("PerceptronAugmenter", "__call__")) == calls


_COMPILED = {}  # steps, which take long to compile, with the networks they are keyed by


def run_step(nets, txs, frozen, state, devices=1, n=8, steps=1, config=CONFIG):
  mesh = parallel.make_mesh(jax.devices()[:devices])
  key = (id(nets), id(txs), config, devices)
  if key not in _COMPILED:
    _COMPILED[key] = (nets, txs, parallel.map_step(
        generator.make_step(nets, txs, config, steps=2), mesh, fetch))
  *_, step = _COMPILED[key]
  order = np.arange(n, dtype=np.int32)
  place = parallel.shard({"x_p": order, "x_f": order[::-1].copy()}, mesh)
  state, frozen = parallel.replicate((state, frozen), mesh)
  for _ in range(steps):
    state, metrics = step(state, frozen, frozen["images"], place, jax.random.key(7))
  return jax.device_get((state, metrics))


def middle(config):
  """The step of two at which D_f judges what `config` says, after its first images."""
  return int(config.discriminator.same_content > 0)


def written_out_losses(nets, frozen, params, n=8, config=CONFIG):
  """Losses (7) and (10) as in the paper, as functions of all players' parameters.

  They include the terms that `config` adds, and are those of the step `middle(config)`.
  """
  enc = frozen["encoder"]
  x_p = jnp.asarray(frozen["images"]["x_p"])
  x_f = jnp.asarray(frozen["images"]["x_f"][::-1].copy())
  key = jax.random.fold_in(jax.random.key(7), middle(config))
  z = draw_latents(example_keys(key, "latent", n), None, 4)

  def big_f(x):
    y = nets.encoder.apply(enc.variables, x, train=False)[0]
    both = jnp.concatenate([enc.embeddings["x_p"], enc.embeddings["x_f"]])
    return (y - both.mean(0)[None]) / (both.std(0)[None] + 1e-6)

  g_a = lambda x, z: nets.augmenter.apply({"params": params["augmenter"]}, x, z)
  g_e = lambda x: nets.eliminator.apply({"params": params["eliminator"]}, x)[0]
  g_l = lambda x: nets.eliminator.apply({"params": params["eliminator"]}, x)[1]
  sigmoid = lambda a: 1 / (1 + jnp.exp(-a))
  d = lambda who, y: sigmoid(nets.discriminator.apply(
      {"params": params[who]}, y))
  log, mean = jnp.log, jnp.mean
  total = config.losses.l1_reduction == "sum"
  l1 = lambda a: mean(jnp.abs(a)) * (a[0].size if total else 1)
  def noise(name):
    """Noise with a random strength for each image."""
    pairs = jax.vmap(jax.random.split)(example_keys(key, name, n))
    strengths = jax.vmap(jax.random.uniform)(pairs[:, 0])
    return config.losses.cycle_noise * strengths[:, None, None, None] * jax.vmap(
        lambda k: jax.random.normal(k, SHAPE))(pairs[:, 1])

  seen_f = x_f + noise("noise_f")
  x_e = jax.lax.stop_gradient(g_e(seen_f))
  z_e = draw_latents(example_keys(key, "latent_e", n), None, 4)
  draws = jnp.stack([jax.random.uniform(k) for k in example_keys(key, "judged", n)])
  judged = jnp.stack([jnp.where(u < config.discriminator.same_content, a_e, a_p)
                      for u, a_e, a_p in zip(draws, g_a(x_e, z_e), g_a(x_p, z))])
  def steepness(who, x):
    slope = jax.grad(lambda y: nets.discriminator.apply(
        {"params": params[who]}, y[None])[0])
    return mean(jnp.sum(jax.vmap(slope)(big_f(x)) ** 2, axis=1)) / 2

  loss_d = (mean(-log(d("disc_f", big_f(x_f))))
            + mean(-log(1 - d("disc_f", big_f(judged))))
            + mean(-log(d("disc_p", big_f(x_p))))
            + mean(-log(1 - d("disc_p", big_f(g_e(seen_f))))))
  if config.discriminator.r1_weight:
    loss_d += config.discriminator.r1_weight * (
        steepness("disc_f", x_f) + steepness("disc_p", x_p))
  seen = g_a(x_p, z) + noise("noise_a")
  loss_r = (
      config.losses.cycle_f_weight * l1(
          g_a(g_e(seen_f) + noise("noise_e"), g_l(seen_f)) - x_f)
      + config.losses.cycle_p_weight * l1(g_e(seen) - x_p)
      + config.losses.latent_weight * jnp.maximum(
          l1(g_l(seen) - z) - (4 if total else 1) * config.losses.latent_slack, 0))
  prior = jax.random.uniform(stream(key, "bank_prior"), (n, 4))
  lines = random_directions(stream(key, "bank_directions"), 4)
  loss_g = (config.losses.adversarial_f_weight * mean(-log(d("disc_f", big_f(judged))))
            + config.losses.adversarial_p_weight * mean(
                -log(d("disc_p", big_f(g_e(seen_f)))))
            + config.losses.cycle_weight * loss_r
            + config.losses.bank_weight * sliced_wasserstein(
                g_l(seen_f), prior, lines))
  return loss_d, loss_g


@functools.cache
def losses_and_slopes(config):
  """Losses (7) and (10), and their gradients, as a jitted function of the parameters."""
  nets, _, frozen, _ = setting()
  def both(params):
    losses = jnp.stack(written_out_losses(nets, frozen, params, config=config))
    return losses, losses
  return jax.jit(jax.jacrev(both, has_aux=True))


@CONFIGS
def test_each_player_receives_the_gradient_of_its_own_loss_and_no_other(config):
  """With SGD, (before − after) / lr is the gradient that was used."""
  lr = 0.1
  nets, txs, frozen, state = setting(lr)
  state = dataclasses.replace(state, step=np.int32(middle(config)))
  before = {name: jax.device_get(getattr(state, name).params)
            for name in PLAYERS}
  slopes, (loss_d, loss_g) = losses_and_slopes(config)(before)
  of_d, of_g = (jax.tree.map(lambda a, i=i: a[i], slopes) for i in range(2))
  # The test is meaningful only if the other loss would also move the player.
  for other, names in ((of_g, ("disc_f", "disc_p")),
                       (of_d, ("augmenter", "eliminator"))):
    for name in names:
      assert max(np.abs(g).max() for g in jax.tree.leaves(other[name])) > 1e-4

  after, metrics = run_step(nets, txs, frozen, state, config=config)
  for name in PLAYERS:
    own = of_d[name] if name.startswith("disc") else of_g[name]
    used = jax.tree.map(lambda a, b: (a - b) / lr, before[name],
                        getattr(after, name).params)
    jax.tree.map(lambda u, o: np.testing.assert_allclose(
        u, o, rtol=1e-3, atol=1e-5), used, own)
    assert all(np.any(np.asarray(g) != 0) for g in jax.tree.leaves(own)), name
  np.testing.assert_allclose(metrics["generator/loss"], loss_g, rtol=1e-5)
  np.testing.assert_allclose(
      metrics["discriminator/loss_f"] + metrics["discriminator/loss_p"]
      + metrics["discriminator/penalty"], loss_d, rtol=1e-5)


@pytest.mark.parametrize("devices, size", [(1, 2), (2, 2)])
def test_micro_batches_change_rounding_alone(devices, size):
  """D_f sees some of both images, and the latents' distance compares the whole batch."""
  config = OURS["both"]
  nets, txs, frozen, state = setting()
  state = dataclasses.replace(state, step=np.int32(middle(config)))
  whole, metrics = run_step(nets, txs, frozen, state, devices, config=config)
  divided, found = run_step(nets, txs, frozen, state, devices, config=dataclasses.replace(
      config, micro_batch=size))
  for a, b in zip(jax.tree.leaves((whole, metrics)), jax.tree.leaves((divided, found)),
                  strict=True):
    np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size, most, loops", [(0, 16, False), (2, 2, True)])
def test_networks_see_no_more_images_at_once(size, most, loops):
  nets, txs, frozen, state = setting()
  batch = {**encoded()[0], "index": {name: jnp.arange(8) for name in ("x_p", "x_f")}}
  seen = []

  def note(call, args, kwargs, context):
    if isinstance(context.module, (Encoder, PerceptronAugmenter, PerceptronEliminator)):
      seen.extend(len(a) for a in args if a.ndim == 4)
    return call(*args, **kwargs)

  step = generator.make_step(
      nets, txs, dataclasses.replace(OURS["both"], micro_batch=size), steps=2)
  with nn.intercept_methods(note):
    jaxpr = jax.make_jaxpr(step)(state, frozen, batch, jax.random.key(0))
  assert max(seen) == most
  assert ("remat" in str(jaxpr)) == loops


def test_average_follows_the_generators_and_moves_nobody():
  config = dataclasses.replace(CONFIG, networks=NetworksConfig(ema_decay=0.9))
  nets, txs, frozen, _ = setting()
  states = [jax.device_get(generator.init(nets, txs, config, SHAPE, jax.random.key(0)))]
  for steps in (1, 2, 3):
    states.append(run_step(nets, txs, frozen, states[0], steps=steps, config=config)[0])
  for name in ("augmenter", "eliminator"):
    expected = getattr(states[0], name).params
    for step, state in enumerate(states[1:]):
      keep = min(0.9, (1 + step) / (10 + step))
      expected = jax.tree.map(lambda old, new: keep * old + (1 - keep) * new,
                              expected, getattr(state, name).params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5),
                 getattr(states[3], name).final_params, expected)
  assert not states[3].disc_f.ema and not states[3].disc_p.ema
  _, _, _, state = setting()
  plain, _ = run_step(nets, txs, frozen, state, steps=3)
  assert plain.augmenter.final_params is plain.augmenter.params
  for name in PLAYERS:
    jax.tree.map(np.testing.assert_array_equal, getattr(plain, name).params,
                 getattr(states[3], name).params)


def test_the_average_is_what_is_used_after_training():
  config = Config(data=DataConfig(image_size=3), generator=dataclasses.replace(
      CONFIG, networks=NetworksConfig(hidden=7, layers=3, output="edit")))
  _, _, _, state = setting()
  zeros = jax.tree.map(jnp.zeros_like, state.eliminator.params)
  averaged = state.replace(
      eliminator=state.eliminator.replace(ema=zeros),
      augmenter=state.augmenter.replace(ema={"marker": 1}))
  images = np.random.default_rng(0).integers(
      0, 256, (5, *SHAPE), dtype=np.uint8)
  np.testing.assert_allclose(  # sigmoid(0), as all weights are 0
      stages.latent_bank(config, images, averaged), 0.5)
  assert np.abs(stages.latent_bank(config, images, state) - 0.5).max() > 1e-3
  _, arrays = stages.second_view(config, None, "prior", averaged)
  assert arrays["augmenter"]["params"] == {"marker": 1}


class Dimmer(outputs.Augmenter):
  """G_A(x, z) = x (1 − a z₀), which shows z₀ where a z₀ > 1/4, at the cost a z₀.

  Something that does nothing is on where z₁ < 1/2, with the log likelihood ± o.
  """

  @nn.compact
  def amount(self, z):
    return self.param("a", lambda key: jnp.full(1, 0.6)) * z[:, 0]

  def __call__(self, x, z):
    self.log_likelihood(z)  # makes its parameter
    return x * (1 - self.amount(z))[:, None, None, None]

  def shown(self, z):
    first = jax.lax.stop_gradient(self.amount(z) > 0.25)
    return jnp.where(jnp.arange(z.shape[1])[None] == 0, first[:, None], 0.5)

  def with_cost(self, x, z, of_two_sided):
    return self(x, z), of_two_sided * self.amount(z)

  @nn.compact
  def log_likelihood(self, z):
    odds = self.param("o", lambda key: jnp.full(1, 0.2))
    return jnp.where(z[:, 1] < 0.5, odds, -odds)


@pytest.mark.parametrize("trains", [True, False])
def test_latents_count_as_they_show_and_strengths_cost(trains):
  losses = dataclasses.replace(
      LOSSES, cost_weight=0.3, cost_of_two_sided=3.0, cycle_trains_augmenter=trains,
      cycle_f_weight=0.0, cycle_noise=0.0, l1_reduction="mean", bank_weight=0.7)
  config = dataclasses.replace(CONFIG, losses=losses)
  nets, txs, frozen, _ = setting()
  nets = dataclasses.replace(nets, augmenter=Dimmer())
  state = generator.init(nets, txs, config, SHAPE, jax.random.key(0))
  before = {name: jax.device_get(getattr(state, name).params) for name in PLAYERS}
  n, enc = 8, frozen["encoder"]
  x_p, x_f = frozen["images"]["x_p"], frozen["images"]["x_f"][::-1].copy()
  key = jax.random.fold_in(jax.random.key(7), 0)
  z = draw_latents(example_keys(key, "latent", n), None, 4)

  def loss(params):
    a, keep = params["augmenter"]["a"], (lambda v: v) if trains else jax.lax.stop_gradient
    dim = lambda a: x_p * (1 - a * z[:, 0])[:, None, None, None]
    g_el = lambda x: nets.eliminator.apply({"params": params["eliminator"]}, x)
    see = lambda x: (nets.encoder.apply(enc.variables, x, train=False)[0]
                     - enc.shift[None]) * enc.scale[None]
    fools = lambda who, x: jax.nn.softplus(-nets.discriminator.apply(
        {"params": before[who]}, see(x)))
    fool = lambda who, x: jnp.mean(fools(who, x))
    # D_f alone judges what is on or off.
    each = jax.lax.stop_gradient(fools("disc_f", dim(a)))
    score = jnp.mean((each - jnp.mean(each)) * jnp.where(
        z[:, 1] < 0.5, params["augmenter"]["o"], -params["augmenter"]["o"]))
    x_e, z_f = g_el(x_f)
    x_cycle, z_cycle = g_el(dim(keep(a)))
    shown = jnp.full((n, 4), 0.5).at[:, 0].set(0.6 * z[:, 0] > 0.25)
    lines = random_directions(stream(key, "bank_directions"), 4)
    prior = jax.random.uniform(stream(key, "bank_prior"), (n, 4))
    mean = shown.mean(axis=0)[None]
    return (fool("disc_f", dim(a)) + score - jax.lax.stop_gradient(score)
            + losses.adversarial_p_weight * fool("disc_p", x_e)
            + losses.cycle_weight * (
                losses.cycle_p_weight * jnp.mean(jnp.abs(x_cycle - x_p))
                + losses.latent_weight * jnp.mean(shown * jnp.abs(z_cycle - z)))
            + losses.bank_weight * sliced_wasserstein(mean * z_f, mean * prior, lines)
            + 0.3 * 3.0 * jnp.mean(a * z[:, 0]))

  value, slopes = jax.jit(jax.value_and_grad(loss))(before)
  after, metrics = run_step(nets, txs, frozen, state, config=config)
  np.testing.assert_allclose(metrics["generator/loss"], value, rtol=1e-5)
  for name in ("augmenter", "eliminator"):
    jax.tree.map(lambda a, b, slope: np.testing.assert_allclose(
        (a - b) / 0.1, slope, rtol=1e-3, atol=1e-5),
        before[name], getattr(after, name).params, slopes[name])


def test_strengths_cost_more_towards_the_end():
  of = functools.partial(
      dataclasses.replace, CONFIG,
      discriminator=DiscriminatorConfig(same_content=1.0, same_content_from=0.25))
  flat, rising = (of(losses=dataclasses.replace(LOSSES, cost_weight=0.2, cost_rise=rise))
                  for rise in (0.0, 4.0))
  for done, expected in ((0.0, 0.2), (0.25, 0.2), (0.625, 0.6), (1.0, 1.0)):
    np.testing.assert_allclose(generator.cost_weight(rising, done), expected, rtol=1e-6)
    np.testing.assert_allclose(generator.cost_weight(flat, done), 0.2, rtol=1e-6)
  # The second of two steps, a third of the way from a quarter to the end.
  nets, txs, frozen, _ = setting()
  nets = dataclasses.replace(nets, augmenter=Dimmer())
  start = lambda: generator.init(nets, txs, flat, SHAPE, jax.random.key(0)).replace(
      step=jnp.ones((), jnp.int32))
  a, b = (run_step(nets, txs, frozen, start(), config=config)[1]
          for config in (flat, rising))
  np.testing.assert_allclose(
      b["generator/loss"] - a["generator/loss"],
      0.2 * 4 * (1 / 3) * a["generator/cost"], rtol=1e-3)


def test_a_calibrated_bank_has_the_marginals_of_the_prior():
  rng = np.random.default_rng(0)
  bank = rng.beta(0.3, 2.0, (40, 3)).astype(np.float32)
  bank[:, 2] = 0.5  # G_L knows nothing of it
  found = calibrated(bank)
  for i in range(3):
    np.testing.assert_allclose(np.sort(found[:, i]), (np.arange(40) + 0.5) / 40, rtol=1e-6)
  # What goes together still does.
  for i in range(2):
    np.testing.assert_array_equal(np.argsort(found[:, i]), np.argsort(bank[:, i]))


def test_equal_latents_of_a_bank_do_not_rise_together():
  bank = np.ones((2000, 3), np.float32)
  bank[::2] = np.random.default_rng(0).random((1000, 3))
  found = calibrated(bank)[1::2]  # those that are 1
  together = np.corrcoef(np.column_stack([found, np.arange(1000)]).T)
  assert np.abs(together - np.eye(4)).max() < 0.15
  np.testing.assert_array_equal(calibrated(bank), calibrated(bank))


def test_updates_are_simultaneous():
  """If D were updated first, G's gradient would differ."""
  nets, txs, frozen, state = setting()
  before = {name: jax.device_get(getattr(state, name).params)
            for name in PLAYERS}
  after, _ = run_step(nets, txs, frozen, state)
  d_first = dict(before, disc_f=after.disc_f.params, disc_p=after.disc_p.params)
  slopes, _ = losses_and_slopes(CONFIG)(d_first)
  late = jax.tree.map(lambda a: a[1], slopes["augmenter"])
  used = jax.tree.map(lambda a, b: (a - b) / 0.1, before["augmenter"],
                      after.augmenter.params)
  gaps = jax.tree.map(lambda u, o: np.abs(u - np.asarray(o)).max(), used, late)
  assert max(jax.tree.leaves(gaps)) > 1e-4


def test_the_encoder_is_untouched():
  nets, txs, frozen, state = setting()
  before = jax.device_get(frozen["encoder"].variables)
  run_step(nets, txs, frozen, state, steps=3)
  jax.tree.map(np.testing.assert_array_equal, before,
               jax.device_get(frozen["encoder"].variables))


def test_what_g_a_puts_out_depends_on_the_latent():
  nets, _, frozen, state = setting()
  x = jnp.asarray(frozen["images"]["x_p"])
  apply = lambda z: nets.augmenter.apply({"params": state.augmenter.params},
                                         x, z)
  assert np.abs(apply(jnp.zeros((8, 4))) - apply(jnp.ones((8, 4)))).max() > 1e-4


@pytest.mark.parametrize(
    "config", [CONFIG,
               # The slack lies between the latent errors of the devices.
               dataclasses.replace(OURS["both"], losses=dataclasses.replace(
                   OURS["both"].losses, latent_slack=0.25))],
    ids=["x_p", "both"])
def test_devices_agree_with_one(config):
  results = [run_step(*setting(), devices=n, steps=3, config=config)
             for n in (1, 8)]
  for a, b in zip(*(jax.tree.leaves(r) for r in results)):
    np.testing.assert_allclose(a, b, rtol=5e-4, atol=2e-5)


def test_embeddings_are_computed_where_they_are_not_cached():
  """As where X_p is streamed."""
  nets, txs, frozen, state = setting()
  cached = run_step(nets, txs, frozen, state)
  frozen["encoder"] = frozen["encoder"].replace(
      embeddings={"x_f": frozen["encoder"].embeddings["x_f"]})
  *_, state = setting()
  computed = run_step(nets, txs, frozen, state)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
               computed, cached)


def test_standardise_brings_embeddings_to_mean_0_and_variance_1():
  _, _, frozen, _ = setting()
  encoder = frozen["encoder"]
  both = np.concatenate([np.asarray(v) for v in encoder.embeddings.values()])
  seen = (both - np.asarray(encoder.shift)) * np.asarray(encoder.scale)
  np.testing.assert_allclose(seen.mean(0), 0, atol=1e-4)
  np.testing.assert_allclose(seen.std(0), 1, atol=1e-3)
  _, _, frozen, _ = setting(standardise=False)
  np.testing.assert_array_equal(frozen["encoder"].scale, 1.0)
  np.testing.assert_array_equal(frozen["encoder"].shift, 0.0)


def test_detail_is_standardised_by_channel_not_by_place():
  rng = np.random.default_rng(0)
  detail = rng.normal((1.0, 5.0), (2.0, 0.3), (50, 9, 2)).astype(np.float32)
  detail[:, 0] = 1.0  # all images are equal at this place
  embeddings = {"x_p": rng.normal(3, 4, (60, 5)).astype(np.float32)}
  frozen = frozen_encoder.freeze({}, embeddings, detail, standardise=True)
  shift, scale = np.asarray(frozen.shift), np.asarray(frozen.scale)
  assert shift.shape == scale.shape == (5 + 9 * 2,)
  channels = ((detail.reshape(50, -1) - shift[5:]) * scale[5:]).reshape(-1, 2)
  np.testing.assert_allclose(channels.mean(0), 0, atol=1e-4)
  np.testing.assert_allclose(channels.std(0), 1, atol=1e-3)
  y = (embeddings["x_p"] - shift[:5]) * scale[:5]
  np.testing.assert_allclose(np.std(y, axis=0), 1, atol=1e-3)


def test_a_sample_stands_for_its_whole_set_in_the_scale():
  """X_p streamed, of which 50 embeddings are known, counts like the 6000 images it has."""
  rng = np.random.default_rng(0)
  x_p, x_f = rng.normal(0, 1, (6000, 3)), rng.normal(3, 0.2, (2000, 3))
  x_p, x_f = x_p.astype(np.float32), x_f.astype(np.float32)
  detail = jnp.zeros((4, 0, 1))
  whole = frozen_encoder.freeze({}, {"x_p": x_p, "x_f": x_f}, detail, True)
  every = frozen_encoder.freeze(
      {}, {"x_f": x_f}, detail, True, [(jnp.asarray(x_p), 6000)])
  np.testing.assert_array_equal(every.scale, whole.scale)
  part = frozen_encoder.freeze(
      {}, {"x_f": x_f}, detail, True, [(jnp.asarray(x_p[:500]), 6000)])
  np.testing.assert_allclose(part.scale, whole.scale, rtol=0.03)
  np.testing.assert_allclose(part.shift, whole.shift, atol=0.1)
  # The mean and variance of the two sets as they are, from the equation.
  mean = (6000 * x_p[:500].mean(0) + 2000 * x_f.mean(0)) / 8000
  var = (6000 * ((x_p[:500] - mean)**2).mean(0) + 2000 * ((x_f - mean)**2).mean(0)) / 8000
  np.testing.assert_allclose(part.shift, mean, rtol=1e-4)
  np.testing.assert_allclose(part.scale, 1 / np.sqrt(var), rtol=1e-4)


@pytest.mark.parametrize("standardise", [True, False])
def test_no_places_give_no_nan(standardise):
  """With --config.debug, any NaN stops the run."""
  y = np.ones((4, 3), np.float32)
  with jax.debug_nans(True):
    frozen = frozen_encoder.freeze(
        {}, {"x_p": y}, jnp.zeros((4, 0, 1)), standardise)
  assert frozen.shift.shape == frozen.scale.shape == (3,)


def test_discriminators_may_see_more_than_the_embedding():
  class TwoStages(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
      h = nn.Conv(2, (1, 1))(x)
      return jnp.max(h, axis=(1, 2)), {"stem_conv": x, "stage1": x, "stage2": h}

  encoder = TwoStages()
  x = np.random.default_rng(1).random((4, *SHAPE)).astype(np.float32)
  variables = encoder.init(jax.random.key(0), x, train=False)
  y, maps = encoder.apply(variables, x, train=False)
  see = lambda features: frozen_encoder.make_see(encoder, features)(variables, x)
  for features in ("embedding", "maps"):
    np.testing.assert_array_equal(see(features)[0], y)
  for features in ("embedding", "stages"):
    assert see(features)[1].shape == (4, 0, 1)
  expected = np.concatenate(
      [y] + [part for name in ("stage1", "stage2") for part in (
          np.mean(maps[name], axis=(1, 2)), np.std(maps[name], axis=(1, 2)))],
      axis=1)
  np.testing.assert_allclose(
      np.asarray(see("stages")[0]), expected, rtol=1e-4, atol=1e-5)
  # Quarters of 3 x 3: the pixels of the middle row and column belong to two each.
  quarters = []
  for rows in ((1, 0.5, 0), (0, 0.5, 1)):
    for cols in ((1, 0.5, 0), (0, 0.5, 1)):
      weights = np.outer(rows, cols) / np.outer(rows, cols).sum()
      quarters.append(lambda h, w=weights: np.einsum("bhwc,hw->bc", h, w))
  expected = [y]
  for name in ("stage1", "stage2"):
    h = np.asarray(maps[name])
    off = np.square(h - h.mean(axis=(1, 2), keepdims=True))
    expected += [quarter(h) for quarter in quarters]
    expected += [np.sqrt(quarter(off) + 1e-6) for quarter in quarters]
  np.testing.assert_allclose(
      np.asarray(see("cells")[0]), np.concatenate(expected, axis=1), rtol=1e-4,
      atol=1e-5)
  np.testing.assert_array_equal(see("maps")[1], x.reshape(4, 9, 1))
  stages, pixels = (np.asarray(see(name)[0]) for name in ("stages", "pixels"))
  added = np.asarray(pixel_statistics(x))
  np.testing.assert_array_equal(pixels[:, -added.shape[1]:], added)
  assert pixels.shape[1] == stages.shape[1] + added.shape[1]
  # A silent channel must not have an infinite gradient.
  slope = jax.grad(lambda x: jnp.sum(
      frozen_encoder.make_see(encoder, "stages")(variables, x)[0]))
  assert np.all(np.isfinite(slope(np.zeros_like(x))))


def test_a_silent_channel_is_not_blown_up():
  """The channel is constant on real images and 0.01 off on a generated one."""
  rng = np.random.default_rng(0)
  y = rng.normal(1, 2, (50, 5)).astype(np.float32)
  y[:, 3] = 0.0
  detail = rng.normal(1, 2, (50, 4, 3)).astype(np.float32)
  detail[..., 1] = 0.5
  frozen = frozen_encoder.freeze({}, {"x_p": y}, detail, standardise=True)
  scale = np.asarray(frozen.scale)
  assert 0.01 * scale.max() < 1
  # The other channels still get variance 1.
  np.testing.assert_allclose(
      scale[[0, 1, 2, 4]], 1 / (y.std(0)[[0, 1, 2, 4]] + 1e-6), rtol=1e-4)


@pytest.mark.parametrize("output", ["image", "edit"])
@pytest.mark.parametrize("order", ["first", "last"])
def test_random_g_a_is_as_strong_on_what_it_is_given(order, output, monkeypatch):
  data = DataConfig(image_size=8, pretrain="rendered:latin?per_class=1",
                    finetune="rendered:scripts?per_class=6&classes=4",
                    finetune_per_class=4)
  config = Config(data=data, generator=GeneratorConfig(
      networks=NetworksConfig(hidden=8, layers=2, output=output),
      latent=LatentConfig(dim=4)))
  config = dataclasses.replace(config, retrain=dataclasses.replace(
      config.retrain, order=order))
  task = load_task(data)
  nets = stages.generator_networks(config)
  x = np.zeros((2, 8, 8, 1), np.float32)
  params = nets.augmenter.init(jax.random.key(1), x, np.zeros((2, 4)))["params"]
  trained = generator.GeneratorState(
      step=0, augmenter=NetState(params=params, opt_state=()),
      eliminator=None, disc_f=None, disc_p=None)
  seen = {}

  def spy(augmenter, fresh, x, z, strength, pieces):
    seen.update(x=x, output=augmenter.output, trained=strength)
    assert pieces == 1  # they are small
    return match_strength(augmenter, fresh, x, z, strength, pieces)

  match_strength = stages.match_strength
  monkeypatch.setattr(stages, "match_strength", spy)
  untrained, fresh = stages.random_augmenter(config, task, trained)
  x = seen["x"]
  resident = sample(task.pretrain, len(x)) / 255
  assert np.allclose(x, resident, atol=1e-6) == (order == "first")
  z = jax.random.uniform(jax.random.key(2), (len(x), 4))
  edit = np.mean(np.abs(untrained.apply({"params": fresh}, x, z) - x))
  assert untrained.output == "edit"
  np.testing.assert_allclose(edit, seen["trained"], rtol=0.3)
