"""Cycle consistency with latents, equation (13)."""

import jax
import jax.numpy as jnp

from augment_gen.run import parallel


def l1(a: jax.Array, b: jax.Array, reduction: str) -> jax.Array:
  """‖a − b‖₁ of each example, averaged over the batch.

  NOTE(paper): whether ‖·‖₁ sums over the entries or averages them is not said.
  The sum (the norm's usual meaning) weighs a 28×28 image 784 times more.

  Args:
    a: [B, ...] float32.
    b: [B, ...] float32.
    reduction: "sum" or "mean" over the entries of an example.

  Returns:
    Scalar float32.
  """
  distance = jnp.abs(a - b).reshape(a.shape[0], -1)
  per_example = {"sum": jnp.sum, "mean": jnp.mean}[reduction](distance, axis=1)
  return jnp.mean(per_example)


def cycle_loss(
    *, x_f: jax.Array, x_f_cycle: jax.Array, x_p: jax.Array,
    x_p_cycle: jax.Array, z: jax.Array, z_cycle: jax.Array, reduction: str,
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0),
    latent_slack: float = 0.0,
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """ℓ_r of (13).

  Args:
    x_f: x̃_f, [B, H, W, C] in [0, 1].
    x_f_cycle: G_A(G_E(x̃_f), G_L(x̃_f)).
    x_p: [B, H, W, C] in [0, 1].
    x_p_cycle: G_E(G_A(x_p, z)).
    z: [B, Z] in [0, 1].
    z_cycle: G_L(G_A(x_p, z)).
    reduction: see `l1`.
    weights: of the three terms; all 1 in the paper.
    latent_slack: mean error |z − z_cycle| of an entry, averaged over the batch,
      up to which the third term is 0; 0 in the paper.

  Returns:
    loss: scalar float32; on several devices, its mean over them is that of the
      whole batch.
    terms: the three norms, unweighted and without the slack.
  """
  terms = {
      "cycle_f": l1(x_f_cycle, x_f, reduction),
      "cycle_p": l1(x_p_cycle, x_p, reduction),
      "cycle_z": l1(z_cycle, z, reduction),
  }
  allowed = latent_slack * (z[0].size if reduction == "sum" else 1)
  # Of all devices' examples, as a mean over devices is to be that of one.
  beyond = jax.lax.stop_gradient(parallel.mean(terms["cycle_z"]) > allowed)
  counted = terms | {"cycle_z": beyond * (terms["cycle_z"] - allowed)}
  loss = sum(
      w * term for w, term in zip(weights, counted.values(), strict=True))
  return loss, terms
