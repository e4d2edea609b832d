"""Phase (b) of CRL-TAC: an update of P, with the encoder held fixed."""

from collections.abc import Callable
import math

from flax import linen as nn
import jax
from jax import lax
import jax.numpy as jnp
import optax

from augment_gen.augment.policy import draw_t, draw_z
from augment_gen.config import PolicyConfig
from augment_gen.losses.information import entropy, information
from augment_gen.run import parallel
from augment_gen.run.forms import jit_quickly
from augment_gen.run.random import example_keys, stream
from augment_gen.steps.state import apply_gradients, NetState


def init(policy: nn.Module, tx: optax.GradientTransformation,
         image_shape: tuple[int, int, int], key: jax.Array) -> NetState:
  """Creates a fresh state of η."""
  x = jnp.zeros((1, *image_shape), jnp.float32)
  variables = jit_quickly(policy.init)(stream(key, "channel_init"), x)
  return NetState.create(variables, tx)


def objective(h: jax.Array, keys: jax.Array, config: PolicyConfig,
              numerator: str, log_p: jax.Array | None = None,
              ) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Estimates (2) for this device's images against those of all devices.

  Source: Koyama et al., (2).

  Args:
    h: [b, m, D] unit vectors, h(T(x)) for m transformations of each image.
    keys: [b] keys for the draws of Z.
    config: β and the kind of Z.
    numerator: see `information`.
    log_p: [b, m], log P(t|x); None for transformations drawn from P.

  Returns:
    I and its parts, see `information`.
  """
  z = draw_z(keys, h, config.beta) if config.z == "drawn" else h
  similarity = jnp.einsum("imd,jkd->imjk", z, parallel.gather(h),
                          precision=lax.Precision.HIGHEST)
  return information(
      similarity, beta=config.beta, numerator=numerator,
      log_p=None if log_p is None else parallel.gather(log_p),
      first=parallel.axis_index() * len(h))


def make_update(policy: nn.Module, tx: optax.GradientTransformation,
                config: PolicyConfig, size: int, steps: int) -> Callable:
  """Builds an update of η by (2), on uniform draws weighted by P(t|x), and by H(T|X).

  Source: Koyama et al., Algorithm 1, entropy.

  NOTE(paper): The poster only mentions an "extra regularization term to increase
  H(T|X)". With a constant weight (0.5), P stayed uniform. With a weight set by a
  controller, P swung between few places and all of them (docs/experiments/007 and 008).
  Here, the entropy of an image counts only up to a target. Above it, nothing pulls P
  towards the uniform distribution.

  Args:
    policy: P, x [b, H, W, C] -> log P(t|x) [b, K].
    tx: optimiser of P.
    config: number of draws, number of images, and the objective.
    size: K, the number of transformations.
    steps: number of steps in the stage, for the schedule of the entropy weight.

  Returns:
    `update(net, step, x, views, key) -> (net, metrics, log_p, x)`. `net` is the state
    of η, and `step` counts the steps of the stage. `views(x, chosen [b, m])` returns
    h [b, m, D], of unit length. The returned `log_p` and `x` belong to the images used.
  """
  most = config.entropy_target or math.inf
  schedule = (optax.constant_schedule(config.entropy_weight)
              if config.entropy_schedule == "constant" else
              optax.linear_schedule(config.entropy_weight, 0.0, steps))

  def loss_fn(params, x, h, chosen, weight, keys):
    log_p = policy.apply({"params": params}, x)
    value, _ = objective(h, keys, config, config.numerator,
                         jnp.take_along_axis(log_p, chosen, axis=1))
    spread = entropy(log_p)
    return -(value + weight * jnp.mean(jnp.minimum(spread, most))), (log_p, {
        "information": value, "entropy": jnp.mean(spread),
        "entropy_weight": weight})

  def update(net: NetState, step, x, views, key):
    if config.batch:  # use the first images of the whole batch, on any number of devices
      x = parallel.own_part(parallel.gather(x)[:config.batch])
    chosen = draw_t(example_keys(key, "uniform_draws", len(x)),
                    jnp.zeros((len(x), size)), config.draws)
    h = views(x, chosen)
    (_, (log_p, metrics)), grads = jax.value_and_grad(loss_fn, has_aux=True)(
        net.params, x, lax.stop_gradient(h), chosen, schedule(step),
        example_keys(key, "uniform_z", len(x)))
    net, norms = apply_gradients(net, parallel.mean(grads), tx)
    return net, parallel.mean(metrics) | norms, log_p, x

  return update
