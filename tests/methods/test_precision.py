"""`precision=bf16`: the losses of one step are those of float32 within 3 %."""

import pathlib

import jax
import jax.numpy as jnp
import pytest
from stepping import stage_of, take

from augment_gen.config.command_line import parse

ROOT = pathlib.Path(__file__).parents[2]
# Losses alone: norms of gradients of a batch of 16 differ by more.
LOSSES = {
    "pretrain": ["loss"],
    "generator": ["generator/loss", "generator/adversarial_f", "generator/cycle_p",
                  "discriminator/loss_f", "discriminator/loss_p"],
    "tac": ["encoder/information", "policy/information", "policy/entropy"],
}


def first_step(kind, precision):
  name = "regional_mnist" if kind == "tac" else "quickstart"
  config = parse([
      "main.py", f"--config={ROOT}/configs/{name}.py:runlocal", "--workdir=unused",
      f"--config.precision={precision}", "--config.encoder.blocks=(1,)",
      "--config.generator.networks.unet_width=4"]).config
  state, metrics = take(stage_of(config, kind))
  return state, {name: float(metrics[name]) for name in LOSSES[kind]}


@pytest.mark.parametrize("kind", [
    "pretrain", pytest.param("generator", marks=pytest.mark.slow), "tac"])
def test_losses_of_a_step_agree(kind):
  state, full = first_step(kind, "float32")
  halved_state, halved = first_step(kind, "bf16")
  assert halved == pytest.approx(full, rel=0.03)
  assert halved != full  # the setting does something
  # What is kept is float32: parameters, moments, statistics, queue.
  types = lambda tree: jax.tree.map(lambda leaf: leaf.dtype, tree)
  assert types(halved_state) == types(state)
  assert not any(dtype == jnp.bfloat16 for dtype in jax.tree.leaves(types(state)))
