"""The cycle-consistency loss with latents, equation (13)."""

import jax
import jax.numpy as jnp

from augment_gen.run import parallel


def l1(a: jax.Array, b: jax.Array, reduction: str) -> jax.Array:
  """‖a − b‖₁ per example, averaged over the batch.

  NOTE(paper): The paper does not say whether ‖·‖₁ sums or averages the entries. The sum
  (the usual meaning of the norm) gives a 28×28 image 784 times the weight.

  Args:
    a: [B, ...] float32.
    b: [B, ...] float32.
    reduction: "sum" or "mean", applied to the entries of an example.

  Returns:
    Scalar float32.
  """
  distance = jnp.abs(a - b).reshape(a.shape[0], -1)
  per_example = {"sum": jnp.sum, "mean": jnp.mean}[reduction](distance, axis=1)
  return jnp.mean(per_example)


def cycle_loss(
    *, x_f: jax.Array, x_f_cycle: jax.Array | None, x_p: jax.Array,
    x_p_cycle: jax.Array, z: jax.Array, z_cycle: jax.Array, reduction: str,
    z_shown: jax.Array | None = None,
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0),
    latent_slack: float = 0.0,
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """The cycle-consistency loss ℓ_r of (13).

  Source: Hayase et al., (13).

  Args:
    x_f: x̃_f, [B, H, W, C] in [0, 1].
    x_f_cycle: G_A(G_E(x̃_f), G_L(x̃_f)); None leaves the first term out.
    x_p: [B, H, W, C] in [0, 1].
    x_p_cycle: G_E(G_A(x_p, z)).
    z: [B, Z] in [0, 1].
    z_cycle: G_L(G_A(x_p, z)).
    reduction: see `l1`.
    z_shown: weights [B, Z] of the entries in the third term; all 1 in the paper.
    weights: weights of the three terms (f, p, z); all 1 in the paper.
    latent_slack: threshold for the mean error |z − z_cycle| of an entry, averaged over
      the batch. The third term is 0 up to it. The paper has 0.

  Returns:
    loss: scalar float32. Its mean over devices is the loss of the whole batch.
    terms: the three norms, without weights and without the slack.
  """
  shown = jnp.ones_like(z) if z_shown is None else z_shown
  terms = {
      "cycle_f": jnp.zeros(()) if x_f_cycle is None else l1(x_f_cycle, x_f, reduction),
      "cycle_p": l1(x_p_cycle, x_p, reduction),
      "cycle_z": l1(shown * z_cycle, shown * z, reduction),
  }
  allowed = latent_slack * (z[0].size if reduction == "sum" else 1)
  # The threshold applies to the mean over all devices. Otherwise the mean loss over
  # devices would not be the loss of the whole batch.
  beyond = jax.lax.stop_gradient(parallel.mean(terms["cycle_z"]) > allowed)
  counted = terms | {"cycle_z": beyond * (terms["cycle_z"] - allowed)}
  loss = sum(
      w * term for w, term in zip(weights, counted.values(), strict=True))
  return loss, terms
