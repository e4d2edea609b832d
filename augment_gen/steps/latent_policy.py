"""Re-training with a policy P(z|x) over the latents of G_A, combining both papers.

(15) draws z uniformly from the bank Z̃. Here, a CRL-TAC policy learns which latents
suit which image, while F learns from these latents.

NOTE(paper): This is in neither paper. Phase (a) is the step of the pre-trainer, such as
MoCo, instead of (2) itself, so that this arm differs from (15) only in its latents.
"""

from collections.abc import Callable
import dataclasses

from flax import struct
import jax
import jax.numpy as jnp

from augment_gen.run.contracts import State, Step
from augment_gen.run.random import stream
from augment_gen.steps.state import named, NetState


@struct.dataclass
class LatentPolicyState:
  """The state that a step reads and writes."""
  step: jax.Array  # int32
  pretrainer: State  # the pre-trainer's state, with F and its head
  policy: NetState  # η


def make_step(project: Callable, augmenter, pretrain_step: Step, update: Callable,
              ) -> Step:
  """Builds a step: train F with z from P(z|x), then η by (2) on uniform draws of z.

  Args:
    project: `Pretrainer.project`.
    augmenter: G_A, frozen.
    pretrain_step: step of the pre-trainer. Its second view draws z with
      `frozen["policy"]` (`views.chosen_second`).
    update: from `steps.policy.make_update`.

  Returns:
    A step, see `contracts.Step`. `frozen` has "augmenter", and "candidates" [K, Z], the
    latents that P chooses from.
  """
  def step(state: LatentPolicyState, frozen, batch, key):
    pretrained, metrics = pretrain_step(
        state.pretrainer, {**frozen, "policy": {"params": state.policy.params}},
        batch, key)

    def views(x, chosen):
      m = chosen.shape[1]
      z = jnp.take(frozen["candidates"], chosen.reshape(-1), axis=0)
      x_a = augmenter.apply(frozen["augmenter"], jnp.repeat(x, m, axis=0), z)
      return project(pretrained, x_a).reshape(len(x), m, -1)

    policy, of_policy, _, _ = update(
        state.policy, state.step, batch["x_p"], views, stream(key, "channel"))
    state = dataclasses.replace(
        state, step=state.step + 1, pretrainer=pretrained, policy=policy)
    return state, metrics | named("policy", of_policy)

  return step
