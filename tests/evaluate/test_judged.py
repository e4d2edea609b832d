"""How single images are judged."""

import types

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_networks

from augment_gen.data.base import ImageSet
from augment_gen.evaluate import judged
from augment_gen.steps import frozen_encoder


class Logit(nn.Module):
  """D: one dense layer."""

  @nn.compact
  def __call__(self, y):
    return nn.Dense(1)(y)[:, 0]


@pytest.fixture
def toy(monkeypatch):
  """A config, an encoder and a state of toy networks."""
  monkeypatch.setattr(judged, "build_encoder", lambda *_, **__: toy_networks.Linear())
  monkeypatch.setattr(judged, "build_discriminator", lambda _: Logit())
  darker = lambda params, x: (0.5 * x, jnp.mean(x, axis=(1, 2)))
  monkeypatch.setattr(judged, "generator_functions", lambda _: (
      lambda params, x, z: jnp.clip(x + params * z[:, :, None, None], 0, 1), darker))
  monkeypatch.setattr(judged, "latent_dim", lambda _: 1)
  monkeypatch.setattr(judged, "build_augmenter", lambda _: types.SimpleNamespace(
      bank=lambda latents: latents / 2))
  judged._judge.cache_clear()
  key = jax.random.key(0)
  variables = toy_networks.Linear().init(key, jnp.zeros((1, 4, 4, 1)), train=False)
  encoder = frozen_encoder.FrozenEncoder(
      variables, {"x_p": jnp.zeros((5, 4))}, jnp.full(4, 0.1), jnp.full(4, 3.0))
  player = lambda n: types.SimpleNamespace(
      params=Logit().init(jax.random.fold_in(key, n), jnp.zeros((1, 4)))["params"])
  other = types.SimpleNamespace(final_params=jnp.float32(0.5))
  state = types.SimpleNamespace(disc_f=player(1), disc_p=player(2), augmenter=other,
                                eliminator=other)
  settings = types.SimpleNamespace(
      discriminator=types.SimpleNamespace(features="embedding"))
  yield types.SimpleNamespace(
      config=Config(seed=0, generator=settings), encoder=encoder, state=state)
  judged._judge.cache_clear()


class Config(types.SimpleNamespace):
  __hash__ = object.__hash__


def test_the_judge_gives_the_probabilities_of_both(toy):
  x = np.random.default_rng(0).random((3, 4, 4, 1)).astype(np.float32)
  d_f, d_p = judged.make_judge(toy.config, toy.encoder, toy.state)(x)
  kernel, bias = (np.asarray(v) for v in (
      toy.encoder.variables["params"]["Dense_0"][n] for n in ("kernel", "bias")))
  y = 3 * (x.reshape(3, -1) @ kernel + bias[None] - 0.1)
  for found, player in ((d_f, toy.state.disc_f), (d_p, toy.state.disc_p)):
    layer = player.params["Dense_0"]
    logits = y @ np.asarray(layer["kernel"])[:, 0] + np.asarray(layer["bias"])
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits)), rtol=1e-4)
  assert not np.allclose(d_f, d_p)


def test_images_of_both_sets_are_judged_with_what_was_made_of_them(toy):
  rng = np.random.default_rng(1)
  part = lambda count: ImageSet(
      "x", rng.integers(0, 256, (count, 4, 4, 1)).astype(np.uint8), None, ())
  task = types.SimpleNamespace(pretrain=part(7), finetune=part(5))
  judge = lambda x: (x.mean(axis=(1, 2, 3)), None)
  found = judged.measure(toy.config, task, toy.state, judge)
  np.testing.assert_allclose(found.x_f, task.finetune.images / np.float32(255))
  np.testing.assert_allclose(found.x_e, 0.5 * found.x_f)
  mean = found.x_f.mean(axis=(1, 2))[:, :, None, None]
  np.testing.assert_allclose(
      found.x_f_cycle, np.clip(0.5 * found.x_f + 0.5 * mean / 2, 0, 1), rtol=1e-5)
  np.testing.assert_allclose(
      found.error, np.abs(found.x_f_cycle - found.x_f).mean(axis=(1, 2, 3)), rtol=1e-5)
  assert found.x_a.shape == found.x.shape and np.all(found.x_a >= found.x)
  np.testing.assert_allclose(found.d_f_x_a, found.x_a.mean(axis=(1, 2, 3)))
  assert len(found.d_f_x_f) == 5
