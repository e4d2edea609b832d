"""P(z|x) over the latents of G_A in re-training."""

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from toy_networks import Linear, UnitHead

from augment_gen.config import MocoConfig, PolicyConfig
from augment_gen.models.heads import ProjectedEncoder
from augment_gen.models.policy import LatentDistribution
from augment_gen.steps import latent_policy, moco, policy, views

SHAPE = (6, 6, 1)
CANDIDATES = jnp.asarray([[0.0], [0.3], [0.9]])
MOCO = MocoConfig(dim=4, queue=16, bn_groups=1, momentum=0.9)
CHANNEL = PolicyConfig(draws=3, batch=4, beta=5.0, width=2)


class Veil(nn.Module):
  """G_A: dims the image by the fraction z."""

  @nn.compact
  def __call__(self, x, z):
    return x * (1 - z[:, :, None, None])


NET = ProjectedEncoder(Linear(), UnitHead())
P = LatentDistribution(3, width=2)


@jax.jit
def plain(frozen, x, key):
  """The second view without a recipe, so that its latent can be recognised."""
  return views.chosen_second(Veil(), P)(frozen, x, key)


def pair(frozen, batch, key):
  return batch["x_p"], plain(frozen, batch["x_p"], key)


def project(state, x):
  return NET.apply({"params": state.query.params,
                    "batch_stats": state.query.batch_stats}, x, train=False)


def set_up():
  tx = optax.sgd(0.1)
  key = jax.random.key(0)
  state = latent_policy.LatentPolicyState(
      step=jnp.zeros((), jnp.int32),
      pretrainer=moco.init(NET, tx, MOCO, SHAPE, key),
      policy=policy.init(P, tx, SHAPE, key))
  moco_step = moco.make_step(NET, tx, MOCO, pair)
  step = latent_policy.make_step(
      project, Veil(), moco_step, policy.make_update(P, tx, CHANNEL, P.size, 10))
  x = np.random.default_rng(0).random((8, *SHAPE)).astype(np.float32)
  return state, step, moco_step, {"x_p": x}


FROZEN = {"augmenter": {}, "candidates": CANDIDATES}


def prefer(state, place):
  """Makes P choose the candidate at `place` almost surely."""
  params = jax.tree.map(lambda a: a, state.policy.params)
  params["score"]["bias"] = jnp.zeros(3).at[place].set(50.0)
  return state.replace(policy=state.policy.replace(params=params))


def test_the_second_view_has_the_latent_that_p_prefers():
  state, _, _, batch = set_up()
  for place, z in enumerate(CANDIDATES[:, 0]):
    params = prefer(state, place).policy.params
    view = plain({**FROZEN, "policy": {"params": params}}, batch["x_p"],
                 jax.random.key(1))
    np.testing.assert_allclose(view, batch["x_p"] * (1 - z), rtol=1e-6)


def test_at_first_all_candidates_are_as_likely():
  state, _, _, _ = set_up()
  x = np.full((3000, *SHAPE), 0.5, np.float32)
  view = plain({**FROZEN, "policy": {"params": state.policy.params}}, x,
               jax.random.key(1))
  values, counts = np.unique(np.asarray(view)[:, 0, 0, 0], return_counts=True)
  np.testing.assert_allclose(values, 0.5 * (1 - CANDIDATES[::-1, 0]), rtol=1e-6)
  assert np.all(np.abs(counts - 1000) < 5 * np.sqrt(1000 * 2 / 3))


def test_f_takes_mocos_step_and_p_its_own():
  state, step, moco_step, batch = set_up()
  key = jax.random.key(5)
  new, metrics = jax.jit(step)(state, FROZEN, batch, key)
  expected, _ = jax.jit(moco_step)(
      state.pretrainer,
      {**FROZEN, "policy": {"params": state.policy.params}}, batch, key)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-8),
               new.pretrainer, expected)
  moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()),
                       new.policy.params, state.policy.params)
  assert max(jax.tree.leaves(moved)) > 0
  assert new.step == 1 and new.pretrainer.step == 1
  assert {"loss", "policy/information", "policy/entropy"} <= set(metrics)


def test_p_learns_to_leave_out_what_hides_the_image():
  """At z = 0.9 all images are almost black and nearly the same."""
  _, _, _, batch = set_up()
  x = batch["x_p"]

  def seen(x, chosen):  # unit vectors; a veil moves them to a common one
    z = CANDIDATES[chosen, 0]
    y = (x - 0.5).reshape(len(x), 1, -1) * (1 - z[..., None]) ** 4
    y = jnp.concatenate([y, jnp.full((*chosen.shape, 1), 0.3)], axis=-1)
    return y / jnp.linalg.norm(y, axis=-1, keepdims=True)

  tx = optax.adam(0.02)
  config = PolicyConfig(draws=3, beta=10.0, entropy_weight=0.1, width=2)
  own = policy.init(P, tx, SHAPE, jax.random.key(0))
  update = jax.jit(
      lambda net, t: policy.make_update(P, tx, config, 3, 10)(
          net, t, x, seen, jax.random.key(t))[0])
  for t in range(60):
    own = update(own, t)
  p = np.exp(jax.jit(P.apply)({"params": own.params}, x))
  assert p[:, 2].mean() < 0.05 and p[:, 0].mean() > 0.5
