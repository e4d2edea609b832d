"""The learned augmentation in words and numbers."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from augment_gen.augment import operators
from augment_gen.augment.implicit import NAMES, TRUE_RANGES
from augment_gen.augment.operators import KNOTS
from augment_gen.evaluate import amounts
from augment_gen.models.operator_chain import OperatorChain, RATE
from augment_gen.models.unet import UNet


@pytest.fixture(scope="module")
def described():
  """A chain in which 3 of 5 parts of the images are blurred, and all are noisy."""
  chain = OperatorChain(operators.chosen(("blur", "noise"), 1))
  x = np.random.default_rng(0).random((64, 12, 12, 1)).astype(np.float32)
  z = np.array(jax.random.uniform(jax.random.key(0), (64, len(chain.latents))))
  z[:, 0] = np.linspace(0, 1, 64)
  bank = np.full((10, z.shape[1]), 0.7, np.float32)
  params = jax.jit(chain.init)(jax.random.key(1), x, z)["params"]
  of = {"blur.defocus": [-1, -0.5, 0, 0.25, 0.64, 1], "noise.read": [0.11] * KNOTS}
  rows = [np.array([*of.get(f"{operator.name}.{a.name}", [-0.1] * KNOTS), 0]) / (
      RATE * a.span)
          for operator in chain.operators for a in operator.amounts if a.strength]
  params = params | {"strengths": jnp.asarray(np.stack(rows), jnp.float32)}
  return amounts.describe(
      chain, params, x, z, x[:10], bank, {"noise.read": (20.0, 30.0)})


def test_amounts_are_in_units_over_the_images_that_they_touch(described):
  blur = described["operators"]["blur"]["amounts"]["defocus"]
  # σ² rises from 0 at z = 0.4 to 1 at z = 1, and the first few are as good as nothing.
  assert 0.45 < blur["prior"]["share"] <= 0.6
  low, *_, high = blur["prior"]["quantiles"]
  assert 0 < low < 0.5 and 0.9 < high <= 1.0  # σ, in pixels
  # At z = 0.7, between 0.25 and 0.64.
  np.testing.assert_allclose(blur["bank"]["quantiles"], np.sqrt(0.445), rtol=1e-3)
  assert blur["bank"]["share"] == 1.0 and blur["true"] is None
  noise = described["operators"]["noise"]["amounts"]["read"]
  np.testing.assert_allclose(noise["prior"]["quantiles"], 28.05, rtol=1e-3)
  assert noise["true"] == [20.0, 30.0]
  motion = described["operators"]["blur"]["amounts"]["motion"]
  assert motion["prior"] == {"share": 0.0, "quantiles": None}


def test_edits_are_in_grey_levels(described):
  # Noise of σ = 28 on uniform images, some of it cut off: its mean |change| is near
  # 28 · sqrt(2 / π) = 22.4.
  assert 17 < described["operators"]["noise"]["edit"] < 22.4
  json.dumps(described)


def test_sentences_say_what_is_alive(described):
  second, first = sorted(amounts.sentences(described))
  assert first.startswith("About 5") and "out of focus, σ 0." in first
  assert "motion" not in first
  assert second == "About 100 % of the images are noisy everywhere, σ 28 grey levels."


def test_an_idle_operator_is_not_alive():
  chain = OperatorChain(operators.chosen(("blur",), 1))
  x, z = np.ones((4, 8, 8, 1), np.float32), np.zeros((4, 3), np.float32)
  params = jax.jit(chain.init)(jax.random.key(1), x, z)["params"]
  found = amounts.describe(chain, params, x, z, x, z)
  assert not found["operators"]["blur"]["alive"] and not amounts.sentences(found)


def test_what_a_residual_adds_is_said():
  chain = OperatorChain(operators.chosen(("blur",), 1), residual=UNet(2, 1, 1, jnp.float32))
  x, z = np.full((4, 8, 8, 1), 0.3, np.float32), np.zeros((4, 3), np.float32)
  params = jax.jit(chain.init)(jax.random.key(1), x, z)["params"]
  idle = amounts.describe(chain, params, x, z, x, z)
  assert not idle["operators"]["residual"]["alive"] and not amounts.sentences(idle)
  # Its last layer is zero at first: with a bias alone, it adds the same everywhere.
  last = params["residual_image"]
  params = params | {"residual_image": jax.tree.map(lambda v: v, last) | {
      "bias": jnp.full_like(last["bias"], 0.12)}}
  found = amounts.describe(chain, params, x, z, x, z)
  np.testing.assert_allclose(found["operators"]["residual"]["edit"], 30.6, rtol=1e-3)
  assert amounts.sentences(found) == [
      "A U-Net changes all images by 31 grey levels on average, in a way that no operator "
      "can say."]


def test_an_amount_that_reads_as_no_change_is_left_out():
  """A contrast of 1.03 is "to 1 of what it was"."""
  chain = OperatorChain(operators.chosen(("tone",), 1))
  x, z = np.full((4, 8, 8, 1), 0.3, np.float32), np.full((4, 4), 0.5, np.float32)
  params = jax.jit(chain.init)(jax.random.key(1), x, z)["params"]
  def sentences(contrast):
    of = {"exposure": -1.0, "contrast": contrast}
    strengths = [np.array([*[of.get(a.name, 0.0)] * KNOTS, 0]) / (RATE * a.span)
                 for a in chain.operators[0].amounts if a.strength]
    return amounts.sentences(amounts.describe(chain, params | {
        "strengths": jnp.asarray(np.stack(strengths), jnp.float32)}, x, z, x, z))
  (sentence,) = sentences(0.2)
  assert "contrast changes" in sentence
  (sentence,) = sentences(0.03)
  assert sentence == "Exposure changes on about 100 % of the images, by -1 stops."


def test_true_ranges_name_amounts_that_exist():
  known = {f"{operator.name}.{a.name}" for operator in operators.CHAIN
           for a in operator.amounts}
  assert set(TRUE_RANGES) == set(NAMES)
  for ranges in TRUE_RANGES.values():
    assert set(ranges) <= known
    assert all(low <= high for low, high in ranges.values())
