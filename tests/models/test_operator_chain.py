"""Tests of G_A as a chain of operators."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from augment_gen.augment import operators
from augment_gen.augment.learned import match_strength
from augment_gen.augment.operators import KNOTS
from augment_gen.models.operator_chain import keys_of, OperatorChain, RATE
from augment_gen.models.unet import UNet


def _chain(*names: str, channels: int = 1) -> OperatorChain:
  return OperatorChain(operators.chosen(names or operators.NAMES, channels))


def _inputs(chain: OperatorChain, count: int = 4, side: int = 16, channels: int = 1):
  rng = np.random.default_rng(0)
  x = rng.random((count, side, side, channels), np.float32)
  z = rng.random((count, len(chain.latents)), np.float32)
  params = jax.device_get(jax.jit(chain.init)(jax.random.key(2), x, z))
  return jnp.asarray(x), jnp.asarray(z), params


def _apply(chain: OperatorChain, **kwargs):
  return jax.jit(functools.partial(chain.apply, **kwargs))


def _fixed(chain: OperatorChain, params, **amounts: float):
  """Parameters with which these strengths, OPERATOR__AMOUNT, are constant, others off."""
  strengths = {f"{operator.name}__{a.name}": a for operator in chain.operators
               for a in operator.amounts if a.strength}
  assert set(amounts) <= set(strengths)
  rows = [np.append(np.full(KNOTS, amounts.get(name, 0.0) / (RATE * a.span)), 0)
          for name, a in strengths.items()]
  always = {name: np.ones_like(odds) for name, odds in params["params"].items()
            if name == "gates"}  # log odds of 40
  return {"params": params["params"] | always | {
      "strengths": np.stack(rows).astype(np.float32)}}


def test_it_is_a_function_of_x_and_z():
  chain = _chain()
  x, z, params = _inputs(chain)
  apply = jax.jit(chain.apply)
  whole = apply(params, x, z)
  assert whole.shape == x.shape and whole.dtype == jnp.float32
  assert whole.min() >= 0 and whole.max() <= 1
  np.testing.assert_array_equal(apply(params, x, z), whole)
  # Each image by itself, whatever else is in the batch.
  order = np.array([2, 0, 3, 1])
  np.testing.assert_allclose(apply(params, x[order], z[order]), whole[order], atol=1e-5)


def test_strengths_cost_their_share_of_the_range():
  """An exposure of −2 of 8 stops, a quarter, which has two sides; 0.3 of black lines."""
  chain = _chain("tone", "raster")
  x, z, params = _inputs(chain)
  params = _fixed(chain, params, tone__exposure=-2.0, raster__dark=0.3)
  apply = _apply(chain, method="with_cost")
  np.testing.assert_allclose(apply(params, x, z)[1], 0.25 + 0.3, rtol=1e-5)
  image, cost = _apply(chain, method="with_cost", of_two_sided=4.0)(params, x, z)
  np.testing.assert_allclose(cost, 4 * 0.25 + 0.3, rtol=1e-5)
  np.testing.assert_allclose(image, apply(params, x, z)[0], atol=1e-6)


def test_other_latents_draw_other_patterns():
  chain = _chain("noise", "specks")
  x, z, params = _inputs(chain)
  strong = _fixed(chain, params, noise__read=0.2)
  apply = _apply(chain)
  same, other = (np.asarray(apply(strong, x, z)) for z in (z, z.at[:, 0].add(1e-6)))
  changed = np.mean(np.abs(same - other), axis=(1, 2, 3))
  assert (changed > 0.05).all()


def test_keys_differ_in_every_bit_of_the_latents():
  z = np.random.default_rng(0).random((500, 7), np.float32)
  near = np.concatenate([z, np.nextafter(z, np.float32(2)), z[:, ::-1]])
  data = np.asarray(jax.random.key_data(jax.jit(keys_of)(near)))
  assert len(np.unique(data, axis=0)) == len(near)


@pytest.mark.parametrize("channels", [1, 3])
def test_amounts_start_as_they_say(channels):
  chain = _chain(channels=channels)
  _, z, params = _inputs(chain, count=6, channels=channels)
  z = np.tile(np.linspace(0, 1, 6, dtype=np.float32)[:, None], z.shape[1])
  found = _apply(chain, method="amounts")(params, z)
  for operator in chain.operators:
    for a in operator.amounts:
      start = np.linspace(*a.start, 6) if len(a.start) == 2 else a.start
      if a.share:
        start = np.where(np.linspace(0, 1, 6) < a.share, start, 0.0)
      np.testing.assert_allclose(found[f"{operator.name}.{a.name}"],
                                 np.clip(start, a.low, a.high), atol=1e-5)


def test_amounts_are_quantile_functions():
  """They rise, and are linear between knots, whatever the parameters are."""
  chain = _chain("tone", "blur")
  _, z, params = _inputs(chain)
  rng = np.random.default_rng(3)
  params = jax.tree.map(lambda a: rng.permuted(a, axis=-1), params)
  z = np.tile(np.linspace(0, 1, 51, dtype=np.float32)[:, None], z.shape[1])
  for name, values in _apply(chain, method="amounts")(params, z).items():
    if name == "tone.negative":  # on or off
      continue
    values = np.asarray(values)
    assert (np.diff(values) >= -1e-6).all(), name
    if name == "tone.contrast" and values[0] > -0.95 and values[-1] < 1.5:  # not cut off
      between = np.interp(np.linspace(0, 1, 51), np.linspace(0, 1, 6), values[::10])
      np.testing.assert_allclose(values, between, atol=1e-5)


def test_an_amount_that_is_on_or_off_is_on_with_its_own_probability():
  chain = _chain("tone", "glare")
  z = np.random.default_rng(0).random((4000, len(chain.latents)), np.float32)
  *_, params = _inputs(chain)
  amounts = jax.jit(functools.partial(chain.apply, method="amounts"))
  likely = jax.jit(jax.value_and_grad(lambda params, z: chain.apply(
      params, z, method="log_likelihood").mean()))
  for odds, share in ((None, 0.3), (0.05, 1 / (1 + np.exp(-2.0)))):
    if odds is not None:
      params = {"params": params["params"] | {"gates": np.float32([odds])}}
    negative = np.asarray(amounts(params, z)["tone.negative"])
    assert set(np.unique(negative)) == {0.0, 1.0}
    assert negative.mean() == pytest.approx(share, abs=0.02)
    np.testing.assert_array_equal(
        negative > 0, z[:, chain.latents.index("tone.negative")] < share)
    value, slope = likely(params, z)
    on = negative.mean()
    np.testing.assert_allclose(
        value, on * np.log(share) + (1 - on) * np.log(1 - share), rtol=1e-4)
    # Along the log odds, d log p = on − share; the parameter is a fortieth of them.
    np.testing.assert_allclose(slope["params"]["gates"], [40 * (on - share)], atol=1e-3)
    assert not np.any(slope["params"]["strengths"])
  # What else the amounts follow does not blur it.
  seeing = OperatorChain(chain.operators, see_image=True)
  x = jnp.ones((50, 4, 4, 1))
  shift = jax.jit(seeing.init)(jax.random.key(0), x, z[:50])["params"]["shift"]
  moved = {"params": params["params"] | {"shift": jax.tree.map(lambda a: a + 0.1, shift)}}
  found = seeing.apply(moved, z[:50], x, method="amounts")["tone.negative"]
  assert np.all(np.asarray(found)[negative[:50] == 0] == 0)
  # What is on keeps its strength: its slope would lead through plain grey.
  darkness = jax.jit(jax.grad(lambda params: chain.apply(
      params, jnp.ones((50, 4, 4, 1)), z[:50]).mean()))(params)["params"]
  rows = [a.name for operator in chain.operators for a in operator.amounts if a.strength]
  assert not np.any(darkness["strengths"][rows.index("negative")])
  assert np.any(darkness["strengths"][rows.index("contrast")])


def test_operators_without_strength_leave_the_image_alone():
  chain = _chain()
  x, z, params = _inputs(chain)
  np.testing.assert_allclose(
      jax.jit(chain.apply)(_fixed(chain, params), x, z), x, atol=5e-3)


def test_one_operator_alone():
  chain, noise = _chain("blur", "tone"), _chain("tone")
  x, z, params = _inputs(chain)
  fixed = _fixed(chain, params, blur__defocus=2.0, tone__negative=1.0)
  np.testing.assert_allclose(
      _apply(chain, only="tone")(fixed, x, z), 1 - x, atol=1e-5)
  assert noise.latents == (
      "tone.exposure", "tone.gamma", "tone.contrast", "tone.negative")


@pytest.mark.parametrize("name", ["noise", "tone", "sharpening"])
def test_an_operator_that_has_strengths_alone_has_no_empty_parameters(name):
  chain = _chain(name)
  shapes = jax.eval_shape(
      chain.init, jax.random.key(0), jnp.zeros((1, 8, 8, 1)),
      jnp.zeros((1, len(chain.latents))))
  assert all(leaf.size for leaf in jax.tree.leaves(shapes))  # Orbax saves none


def test_latents_show_only_where_they_act():
  chain = _chain("glare", "blur", "tone")
  _, z, params = _inputs(chain)
  apply = _apply(chain, method="shown")
  shown = lambda params: dict(zip(
      chain.latents, np.asarray(apply(params, z)).T, strict=True))
  off = shown(_fixed(chain, params))
  assert all((values == 0).all() for values in off.values())
  # A constant strength cannot be read, but the direction that it has can.
  glare = shown(_fixed(chain, params, glare__strength=0.5))
  assert (glare["glare.turns"] == 1).all()
  assert all((v == 0).all() for name, v in glare.items() if name not in (
      "glare.turns", "glare.evenness"))
  start = shown(params)
  assert 0 < start["blur.defocus"].mean() < 1


def test_mean_strengths_are_those_of_the_batch():
  chain = _chain("glare", "tone")
  _, z, params = _inputs(chain)
  found = _apply(chain, method="mean_strengths")(
      _fixed(chain, params, tone__exposure=-1.5, glare__strength=0.5), z)
  assert set(found) == {"glare.strength", "tone.exposure", "tone.gamma", "tone.contrast",
                        "tone.negative"}
  expected = dict.fromkeys(found, 0.0) | {"tone.exposure": -1.5, "glare.strength": 0.5}
  for name, value in expected.items():
    np.testing.assert_allclose(found[name], value, atol=1e-6, err_msg=name)
  amounts = _apply(chain, method="amounts")(params, z)
  np.testing.assert_allclose(
      _apply(chain, method="mean_strengths")(params, z)["tone.gamma"],
      amounts["tone.gamma"].mean(), rtol=1e-6)


def test_an_untrained_chain_is_brought_to_a_strength():
  chain = _chain("specks", "glare", "tone")
  x, z, params = _inputs(chain, count=32)
  apply = _apply(chain)
  for strength in (0.01, 0.1):
    matched = match_strength(chain, params["params"], x, z, strength)
    edit = np.mean(np.abs(np.asarray(apply({"params": matched}, x, z)) - x))
    np.testing.assert_allclose(edit, strength, rtol=0.05)


def test_a_known_change_is_learned_from_its_pictures():
  """Quantiles of the true amounts are found by gradient descent on matched images."""
  chain = _chain("glare", "tone")
  x, z, params = _inputs(chain, count=16)
  # No slope reaches the share of negatives.
  params = {"params": params["params"] | {"gates": np.float32([-1])}}
  target = _apply(chain)(_fixed(chain, params, tone__contrast=-0.4), x, z)
  loss = jax.jit(lambda params: jnp.mean(jnp.square(chain.apply(params, x, z) - target)))
  step = jax.jit(lambda params: jax.tree.map(
      lambda p, g: p - 2e-3 * jnp.sign(g), params, jax.grad(loss)(params)))
  first = loss(params)
  for _ in range(150):
    params = step(params)
  assert loss(params) < 0.05 * first
  # Light and gamma explain a part of it.
  contrast = _apply(chain, method="amounts")(params, z)["tone.contrast"]
  assert contrast.min() > -0.5 and contrast.max() < -0.1


def test_a_share_of_a_negative_is_as_many_negatives_fewer():
  chain = _chain("tone")
  x, _, params = _inputs(chain)
  z = np.random.default_rng(0).random((2000, len(chain.latents)), np.float32)
  fixed = _fixed(chain, params, tone__negative=1.0)
  odds = jnp.full_like(params["params"]["gates"], 1 / 40)  # log odds of 1
  fixed = {"params": fixed["params"] | {"gates": odds}}
  amounts = lambda share: np.asarray(
      _apply(chain, method="amounts")(fixed, z, None, share)["tone.negative"])
  whole, half = amounts(1.0), amounts(0.5)
  assert set(np.unique(half)) == set(np.unique(whole)) == {0.0, 1.0}
  p = 1 / (1 + np.exp(-1))
  assert whole.mean() == pytest.approx(p, abs=0.03)
  assert half.mean() == pytest.approx(p / 2, abs=0.03)
  assert (half <= whole).all()  # the same images, as far as they stay
  shares = np.repeat([0.0, 1.0], 1000).astype(np.float32)
  np.testing.assert_array_equal(amounts(shares), np.where(shares > 0, whole, 0))
  image = np.asarray(_apply(chain)(fixed, jnp.repeat(x[:1], 9, axis=0), z[:9], share=0.5))
  assert (image.std(axis=(1, 2, 3)) > 0.1).all()  # no grey between


def test_a_share_scales_strengths_and_residual_alone():
  light = operators.Operator("light", (
      operators.Amount("gain", "", -0.5, 0.5, (-0.4, 0.4)),
      operators.Amount("power", "", 1.0, 2.0, (1.0, 2.0), strength=False)),
      lambda image, amounts, u: image + amounts["gain"] * amounts["power"] * image)
  chain = OperatorChain((light,), see_image=True, residual=UNet(2, 1, 1, jnp.float32))
  x = jnp.linspace(0.2, 0.4, 2 * 4 * 4).reshape(2, 4, 4, 1)
  z = jnp.asarray([[0.9, 0.7], [0.2, 0.4]])

  @jax.jit
  def applied(variables):
    return [(chain.apply(variables, x, z, share=share),
             chain.apply(variables, z, x, share, method="amounts"))
            for share in (1.0, 0.5, 0.0, 3.0)]

  (whole, of_whole), (half, of_half), (none, of_none), (more, of_more) = applied(
      jax.tree.map(lambda a: jnp.full(a.shape, 0.02), jax.eval_shape(
          chain.init, jax.random.key(0), x, z)))
  assert (of_whole["light.gain"] > 0.05).all() and (whole > x + 0.02).all()
  np.testing.assert_allclose(of_half["light.gain"], of_whole["light.gain"] / 2, rtol=1e-6)
  np.testing.assert_array_equal(of_none["light.gain"], 0)
  for of in (of_half, of_none):
    np.testing.assert_array_equal(of["light.power"], of_whole["light.power"])
  np.testing.assert_allclose(none, x, atol=1e-7)
  # Above 1, strengths stop at their bound, 0.5.
  np.testing.assert_allclose(
      of_more["light.gain"], np.minimum(3 * of_whole["light.gain"], 0.5), rtol=1e-6)
  assert (of_more["light.gain"] == 0.5).any() and (more > whole).all()
  # The residual is added to an image that has changed less.
  np.testing.assert_allclose(half - x, (whole - x) / 2, atol=2e-3)
