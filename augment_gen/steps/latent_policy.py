"""Re-training where the two papers meet: P(z|x) over the latents of G_A.

(15) draws z uniformly from the bank Z̃. Here a policy of CRL-TAC learns which
latents suit which image, while F learns from them.

NOTE(paper): in neither paper. Phase (a) is MoCo's step, not (2) itself, so that
the arm differs from (15) in its latents alone.
"""

from collections.abc import Callable

from flax import struct
import jax
import jax.numpy as jnp

from augment_gen.run.contracts import State, Step
from augment_gen.run.random import stream
from augment_gen.steps.state import named, NetState


@struct.dataclass
class LatentPolicyState:
  """Everything that a step reads and writes."""
  step: jax.Array  # int32
  pretrainer: State  # F, its head, and what else the pre-trainer has
  policy: NetState  # η


def make_step(project: Callable, augmenter, pretrain_step: Step, update: Callable,
              ) -> Step:
  """The pre-trainer's step with z from P(z|x), then η by (2) of uniformly drawn z.

  Args:
    project: `Pretrainer.project`.
    augmenter: G_A, frozen.
    pretrain_step: of the pre-trainer, whose second view draws z by
      `frozen["policy"]` (`views.chosen_second`).
    update: of `steps.policy`.

  Returns:
    See `contracts.Step`; `frozen` has "augmenter", and "candidates" [K, Z], the latents
    that P chooses from.
  """
  def step(state: LatentPolicyState, frozen, batch, key):
    pretrained, metrics = pretrain_step(
        state.pretrainer, {**frozen, "policy": {"params": state.policy.params}},
        batch, stream(key, "moco"))

    def views(x, chosen):
      m = chosen.shape[1]
      z = jnp.take(frozen["candidates"], chosen.reshape(-1), axis=0)
      x_a = augmenter.apply(frozen["augmenter"], jnp.repeat(x, m, axis=0), z)
      return project(pretrained, x_a).reshape(len(x), m, -1)

    policy, of_policy, _, _ = update(
        state.policy, state.step, batch["x_p"], views, stream(key, "channel"))
    state = state.replace(
        step=state.step + 1, pretrainer=pretrained, policy=policy)
    return state, metrics | named("policy", of_policy)

  return step
