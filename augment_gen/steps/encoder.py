"""What the pre-trainers share that train one network: its first state, and its update."""

from collections.abc import Callable
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
import optax

from augment_gen.models.heads import initial_variables
from augment_gen.run import parallel
from augment_gen.run.contracts import Metrics, PyTree
from augment_gen.steps.state import apply_gradients, EncoderState, named


def init(net: nn.Module, tx: optax.GradientTransformation,
         image_shape: tuple[int, int, int], key: jax.Array,
         encoder: PyTree | None = None) -> EncoderState:
  """Creates a fresh state; F is random, or has the variables `encoder`."""
  images = jnp.zeros((2, *image_shape), jnp.float32)
  return EncoderState.create(initial_variables(net, images, key, encoder), tx)


def update(state: EncoderState, tx: optax.GradientTransformation, loss_fn: Callable,
           *inputs: Any) -> tuple[EncoderState, Metrics]:
  """One step of an optimiser, with gradients and metrics averaged over the devices.

  Args:
    state: the state before.
    tx: optimiser of `state.net`.
    loss_fn: `(params, batch_stats, *inputs) -> (loss, (batch_stats, metrics))`.
    *inputs: further arguments of `loss_fn`.

  Returns:
    The state after, and the metrics, the loss among them.
  """
  (loss, (batch_stats, metrics)), grads = jax.value_and_grad(loss_fn, has_aux=True)(
      state.net.params, state.net.batch_stats, *inputs)
  new, norms = apply_gradients(state.net, parallel.mean(grads), tx, batch_stats)
  metrics = parallel.mean({"loss": loss, **metrics}) | named("encoder", norms)
  return EncoderState(step=state.step + 1, net=new), metrics
