"""CRL-TAC's step, compared with finite differences of (2), on one or more devices."""

import dataclasses
import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from toy_networks import Linear, UnitHead

from augment_gen.augment.crops import CropGrid
from augment_gen.augment.policy import draw_t, draw_z
from augment_gen.config import PolicyConfig, TacConfig
from augment_gen.losses.information import entropy, information
from augment_gen.models.convnet import ConvNet
from augment_gen.models.heads import ProjectedEncoder, ProjectionHead
from augment_gen.models.policy import CropDistribution
from augment_gen.run import parallel
from augment_gen.run.random import example_keys
from augment_gen.steps import crl_tac as tac

GRID = CropGrid(image_size=6, crop=3, stride=1)  # 16 windows
CHANNEL = PolicyConfig(beta=4.0, draws=5, entropy_weight=0.3)
CONFIG = TacConfig(crop=3, stride=1, draws=3, policy=CHANNEL)
RATE = 0.1


class Scores(nn.Module):
  """P(T|X) from one dense layer."""

  @nn.compact
  def __call__(self, x):
    return jax.nn.log_softmax(nn.Dense(GRID.size)(x.reshape(len(x), -1)))


NETS = tac.Networks(encoder=ProjectedEncoder(Linear(), UnitHead()),
                    policy=Scores(), grid=GRID)
TXS = {"encoder": optax.sgd(RATE), "policy": optax.sgd(RATE)}


def images(n=8, seed=0):
  return np.random.default_rng(seed).random((n, 6, 6, 1)).astype(np.float32)


def with_channel(config=CONFIG, **changes):
  return dataclasses.replace(
      config, policy=dataclasses.replace(config.policy, **changes))


@functools.cache
def fresh_state():
  return jax.device_get(tac.init(NETS, TXS, (6, 6, 1), jax.random.key(0)))


@functools.cache
def compiled(config, learned, devices):
  mesh = parallel.make_mesh(jax.devices()[:devices])
  return mesh, parallel.map_step(
      tac.make_step(NETS, TXS, config, learned, steps=10), mesh,
      lambda resident, x: {"x_p": x})


@functools.cache
def one_step(config=CONFIG, learned=True, devices=1, number=0):
  """The states before and after step `number`, and its metrics."""
  before = fresh_state()
  before = before.replace(step=before.step + number)
  mesh, step = compiled(config, learned, devices)
  after, metrics = step(
      parallel.replicate(before, mesh), {}, {}, parallel.shard(images(), mesh),
      parallel.replicate(jax.random.key(7), mesh))
  return before, jax.device_get(after), jax.device_get(metrics)


STEP_KEY = jax.random.fold_in(jax.random.key(7), 0)


def moved_by(before, after):
  """The gradient that SGD used."""
  return jax.tree.map(lambda a, b: (a - b) / RATE, before, after)


def assert_is_gradient(f, params, slope, places=6, atol=1e-3):
  """Asserts by finite differences that `slope` is the gradient of f: params -> scalar."""
  leaves, tree = jax.tree.flatten(params)
  slopes = jax.tree.leaves(slope)
  rng, f = np.random.default_rng(1), jax.jit(f)
  for number, leaf in enumerate(leaves):
    for _ in range(places):
      at = tuple(rng.integers(leaf.shape))
      values = []
      for sign in (1, -1):
        changed = [np.array(a) for a in leaves]
        changed[number][at] += sign * 1e-2
        values.append(float(f(jax.tree.unflatten(tree, changed))))
      np.testing.assert_allclose(
          slopes[number][at], (values[0] - values[1]) / 2e-2,
          rtol=0.02, atol=atol)


def similarity(z, h):
  return jnp.einsum("imd,jkd->imjk", z, h)


def encode(params, chosen, x):
  crops = np.stack([
      np.stack([x[i, t // 4:t // 4 + 3, t % 4:t % 4 + 3] for t in row])
      for i, row in enumerate(np.asarray(chosen))])
  h = NETS.encoder.apply({"params": params}, crops.reshape(-1, 3, 3, 1),
                         train=True)
  return h.reshape(*chosen.shape, -1)


@pytest.mark.parametrize("numerator", ["information", "jensen"])
@pytest.mark.parametrize("z_kind", ["mean", "drawn"])
@pytest.mark.parametrize("learned", [True, False])
def test_phase_a_follows_the_slope_of_the_objective(numerator, z_kind, learned):
  config = with_channel(
      dataclasses.replace(CONFIG, numerator=numerator), z=z_kind)
  before, after, metrics = one_step(config, learned)
  x = images()
  log_p = NETS.policy.apply({"params": before.policy.params}, x)
  chosen = draw_t(example_keys(STEP_KEY, "crops", 8),
                  log_p if learned else jnp.zeros_like(log_p), 3)

  def loss(params):
    h = encode(params, chosen, x)
    z = h
    if z_kind == "drawn":
      z = draw_z(example_keys(STEP_KEY, "z", 8), h, config.policy.beta)
    return -information(similarity(z, h), beta=4.0, numerator=numerator)[0]

  assert_is_gradient(
      loss, before.encoder.params,
      moved_by(before.encoder.params, after.encoder.params))
  np.testing.assert_allclose(
      metrics["encoder/information"], -loss(before.encoder.params), rtol=1e-4)


@pytest.mark.parametrize("numerator, images_used", [
    ("information", 8), ("jensen", 8), ("information", 4)])
def test_phase_b_follows_information_and_entropy(numerator, images_used):
  config = with_channel(
      numerator=numerator, batch=images_used if images_used < 8 else 0)
  before, after, metrics = one_step(config)
  x = images()[:images_used]
  chosen = draw_t(example_keys(STEP_KEY, "uniform_draws", len(x)),
                  jnp.zeros((len(x), GRID.size)), 5)
  h = encode(after.encoder.params, chosen, x)  # with θ after phase (a)

  def loss(params):
    log_p = NETS.policy.apply({"params": params}, x)
    value, _ = information(
        similarity(h, h), beta=4.0, numerator=numerator,
        log_p=jnp.take_along_axis(log_p, chosen, axis=1))
    return -value - 0.3 * entropy(log_p).mean()

  assert_is_gradient(
      loss, before.policy.params,
      moved_by(before.policy.params, after.policy.params))
  np.testing.assert_allclose(
      metrics["policy/information"]
      + 0.3 * metrics["policy/entropy"], -loss(before.policy.params),
      rtol=1e-4)


def test_uniform_p_is_left_alone():
  before, after, metrics = one_step(learned=False)
  jax.tree.map(np.testing.assert_array_equal, before.policy, after.policy)
  assert not any(name.startswith("policy/") for name in metrics)


@pytest.mark.parametrize("devices, changes", [
    (2, {}), (8, {}), (2, {"z": "drawn"}), (2, {"batch": 4})])
def test_several_devices_do_what_one_does(devices, changes):
  config = with_channel(**changes)
  _, one, metrics_one = one_step(config)
  _, many, metrics_many = one_step(config, devices=devices)
  close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
  jax.tree.map(close, one, many)
  jax.tree.map(close, metrics_one, metrics_many)


def test_entropy_counts_up_to_the_target():
  before, plain, _ = one_step()
  log_p = NETS.policy.apply({"params": before.policy.params}, images())
  target = float(np.median(entropy(log_p)))

  def excess(params):
    """The entropy above the target, which counts only without a target."""
    log_p = NETS.policy.apply({"params": params}, images())
    return 0.3 * jnp.maximum(entropy(log_p) - target, 0.0).mean()

  _, held, metrics = one_step(with_channel(entropy_target=target))
  assert_is_gradient(
      excess, before.policy.params,
      moved_by(plain.policy.params, held.policy.params), atol=1e-4)
  np.testing.assert_allclose(
      metrics["policy/entropy"], entropy(log_p).mean(), rtol=1e-5)


def test_weight_of_entropy_follows_its_schedule():
  """In the third of 10 steps, 0.8 of the weight is left."""
  def third_step(**changes):
    return one_step(with_channel(**changes), number=2)[1:]

  falling, metrics = third_step(entropy_schedule="linear")
  lighter, _ = third_step(entropy_weight=0.3 * 0.8)
  full, _ = third_step()
  weights = lambda state: state.policy.params["Dense_0"]["kernel"]
  np.testing.assert_allclose(weights(falling), weights(lighter), rtol=1e-6)
  assert np.abs(weights(falling) - weights(full)).max() > 1e-6
  np.testing.assert_allclose(
      metrics["policy/entropy_weight"], 0.3 * 0.8, rtol=1e-6)


def test_p_finds_what_is_not_blank():
  """Each image shows its own pattern at a random place on black."""
  rng = np.random.default_rng(0)
  x = np.zeros((16, 12, 12, 1), np.float32)
  for image in x:
    top, left = rng.integers(9, size=2)
    image[top:top + 4, left:left + 4, 0] = rng.random((4, 4)) > 0.5
  grid = CropGrid(image_size=12, crop=4, stride=1)
  config = TacConfig(crop=4, stride=1, policy=PolicyConfig(
      beta=12.0, draws=24, entropy_weight=0.05))
  nets = tac.Networks(
      encoder=ProjectedEncoder(ConvNet((1, 1), width=16), ProjectionHead(16)),
      policy=CropDistribution(grid, width=16), grid=grid)
  txs = {name: optax.adam(3e-3) for name in ("encoder", "policy")}
  state = tac.init(nets, txs, (12, 12, 1), jax.random.key(0))
  step = jax.jit(tac.make_step(nets, txs, config, learned=True, steps=200))
  shown = []
  for t in range(200):
    state, metrics = step(
        state, {}, {"x_p": x}, jax.random.fold_in(jax.random.key(1), t))
    shown.append(float(metrics["policy/mass_on_content"]))
  assert shown[0] < 0.2 and np.mean(shown[-10:]) > 0.5
