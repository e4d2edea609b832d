"""Which strengths of a chain nobody misses."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from augment_gen.augment.operators import KNOTS
from augment_gen.config import (
  Config,
  DataConfig,
  EncoderConfig,
  GeneratorConfig,
  NetworksConfig,
)
from augment_gen.data.base import ImageSet
from augment_gen.data.task import Task
from augment_gen.evaluate import amounts as amounts_lib
from augment_gen.evaluate import checkup, needed
from augment_gen.methods.augmentation_generator import stages
from augment_gen.methods.pretrainers import pretrainer
from augment_gen.models.build import build_augmenter
from augment_gen.models.operator_chain import RATE
from augment_gen.steps import generator
from augment_gen.steps.state import NetState

# Noise is what X̃_f has, and warmth. Dots are no harm. Of two blurs, one is enough.
WORTH = {"noise": 0.8, "warmth": 0.3, "dots": -0.01, "lines": 0.02}


def gap(left_out):
  blurs = {"defocus", "motion"} & set(left_out)
  return 0.1 + (0.0, 0.01, 0.3)[len(blurs)] + sum(
      WORTH[name] for name in left_out if name in WORTH)


def test_what_is_not_missed_is_left_out_and_one_of_two_that_do_the_same_is_kept():
  names = dict.fromkeys(["noise", "dots", "lines", "motion", "defocus", "warmth"], 0)
  assert needed.unneeded(names, gap, 0.1) == ["dots", "defocus", "lines"]
  assert needed.unneeded(names, gap, 0.02) == ["dots", "defocus"]
  assert needed.unneeded(names, gap, 9.0) == [
      "dots", "defocus", "motion", "lines", "warmth", "noise"]
  assert needed.unneeded({}, gap) == []
  # A motion also has a direction.
  assert needed.unneeded(names | {"motion": 1}, gap, 0.1) == ["motion", "dots", "lines"]
  # Differences of a hundredth say nothing.
  assert needed.unneeded({"a": 0, "b": 0}, lambda out: (
      0.1 + 0.035 * ("a" in out) + 0.009 * ("b" in out))) == ["b"]
  # Where nobody misses all together, nothing can be said.
  assert needed.unneeded({"a": 0, "b": 0}, lambda out: 0.1 + 0.009 * len(out)) == []


def test_strengths_that_are_left_out_are_0_and_others_stay():
  config = config_of("noise,tone,blur")
  chain = build_augmenter(config)
  x, z = np.full((3, 8, 8, 1), 0.5, np.float32), np.linspace(0, 1, 3 * len(
      chain.latents), dtype=np.float32).reshape(3, -1)
  params = jax.device_get(chain.init(jax.random.key(0), x, z)["params"])
  assert chain.one_sided() == {
      "blur.defocus": 0, "blur.motion": 1, "tone.negative": 0, "noise.read": 0,
      "noise.shot": 0}
  off = ["noise.shot", "tone.negative"]
  without = chain.without(params, off)
  amounts = chain.apply({"params": without}, z, x, method="amounts")
  for name in off:
    np.testing.assert_array_equal(amounts[name], 0)
  before = chain.apply({"params": params}, z, x, method="amounts")
  after = chain.apply({"params": without}, z, x, method="amounts")
  for name in set(before) - set(off):
    np.testing.assert_array_equal(after[name], before[name])
  assert jax.tree.map(np.shape, without) == jax.tree.map(np.shape, params)


def test_strengths_that_are_left_out_are_0_whatever_an_image_adds():
  chain = build_augmenter(config_of("noise,blur", amounts_see_image=True))
  x, z = np.full((3, 8, 8, 1), 0.5, np.float32), np.full((3, len(chain.latents)), 0.7,
                                                         np.float32)
  params = jax.device_get(chain.init(jax.random.key(0), x, z)["params"])
  params["shift"]["amounts"]["bias"] = np.ones_like(params["shift"]["amounts"]["bias"])
  amounts = chain.apply({"params": chain.without(params, ["noise.read"])}, z, x,
                        method="amounts")
  np.testing.assert_array_equal(amounts["noise.read"], 0)
  assert min(amounts["noise.shot"]) > 0


def config_of(operators, **networks):
  return Config(
      data=DataConfig(image_size=12), encoder=EncoderConfig(width=4, blocks=(1, 1)),
      generator=GeneratorConfig(networks=NetworksConfig(
          augmenter="operators", operators=operators, eliminator="perceptron", hidden=8,
          output="edit", **networks)))


@pytest.mark.parametrize("true, other", [
    ("noise.read", "scratches.light"), ("scratches.light", "noise.read")])
def test_what_x_f_has_is_kept(true, other, monkeypatch):
  config = config_of("scratches,noise")
  chain = build_augmenter(config)
  rng = np.random.default_rng(0)
  coarse = rng.random((300, 3, 3, 1)).repeat(4, axis=1).repeat(4, axis=2)
  x, x_f = np.split(coarse.astype(np.float32), 2)
  z = rng.random((150, len(chain.latents)), np.float32)
  params = jax.device_get(jax.jit(chain.init)(jax.random.key(0), x[:2], z[:2])["params"])
  strengths = [f"{o.name}.{a.name}" for o in chain.operators for a in o.amounts
               if a.strength]
  on = {"noise.read": 0.25, "scratches.light": 1.0}  # as shares of their spans
  rows = np.zeros((len(strengths), KNOTS + 1), np.float32)
  for name, share in on.items():
    weak = 0.2 if name == other else 1.0
    rows[strengths.index(name), :KNOTS] = weak * share / RATE
  params = {**params, "strengths": rows}
  seen = chain.apply({"params": chain.without(params, [other])}, x_f, z)
  images = lambda name, x: ImageSet(name, np.rint(255 * np.asarray(x)).astype(np.uint8),
                                    None, ())
  task = Task(images("x_p", x), images("x_f", seen), None, {}, 2, {})
  tx = stages.building.optimizer(config.pretrain.optimizer, 1, 1)
  variables = stages.encoder_variables(
      config, pretrainer(config, 1).init(tx, jax.random.key(1)))
  eliminator = stages.generator_networks(config).eliminator
  state = generator.GeneratorState(
      step=0, augmenter=NetState(params=params, opt_state=()), disc_f=None, disc_p=None,
      eliminator=NetState(params=jax.jit(eliminator.init)(
          jax.random.key(2), x[:2])["params"], opt_state=()))
  def restored(params, images):
    """A perfect G_E: the clean image of the one that an image equals."""
    del params
    away = abs(images[:, None] - task.finetune.images[None] / 255).sum(axis=(2, 3, 4))
    return jnp.asarray(x_f)[away.argmin(axis=1)], z[:len(images)]

  g_a, _ = checkup.generator_functions(config)
  monkeypatch.setattr(checkup, "generator_functions", lambda _: (g_a, restored))
  described = amounts_lib.describe(chain, params, x, z, x_f, z)
  found = checkup._unneeded(config, task, variables, state, described)
  assert other in found and true not in found
  *_, said = amounts_lib.sentences(described | {"unneeded": [other]})
  assert said == f"X̃_f is drawn as well without {other}."
  # With an average of the parameters, that is what is judged.
  averaged = dataclasses.replace(state, augmenter=dataclasses.replace(
      state.augmenter, params=chain.without(params, [true]), ema=params))
  assert checkup._unneeded(config, task, variables, averaged, described) == found
