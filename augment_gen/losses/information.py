"""I(X; Z) of CRL-TAC, equation (2), estimated from similarities and weights."""

import jax
import jax.numpy as jnp

NUMERATORS = ("information", "jensen")


def information(
    similarity: jax.Array, *, beta: float, log_p: jax.Array | None = None,
    first: jax.Array | int = 0, numerator: str = "information",
    leave_out_self: bool = True,
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Estimates (2) from m transformations of each of N images.

  Source: Koyama et al., (2), Proposition 1.

    I(X; Z) = E_{X,Z} log (E_{T'|X} e^{βS(Z, h(T'(X)))}
                           / E_{T'',X̃} e^{βS(Z, h(T''(X̃)))})

  Transformations drawn from P(T|X) have equal weights. Uniform draws have the weight
  P(t|x) in all three expectations, normalised to sum to 1 over the m draws of an image.
  The gradient then reaches P.

  With equal weights, Z the mean of its distribution (Z = h(T(X))) and Jensen's
  inequality in the numerator, −I is SimCLR's loss minus log(Nm − 1), with temperature
  1/β.

  NOTE(paper): The poster does not say whether T' and T'' may be T itself. Z comes from
  T(X), so T is not an independent draw: h(T(X)) fits Z by construction, and P would
  learn to prefer transformations that resemble no others. We exclude T from both
  expectations. They are then over m − 1 and Nm − 1 draws, and the upper bound is
  log((Nm − 1) / (m − 1)) instead of log N.

  Args:
    similarity: float32 [n, m, N, m], S(Z, h(T'(X̃))) between Z from each transformation
      of n images and each transformation of all N images.
    beta: β > 0.
    log_p: float32 [N, m], log P(t|x) of each transformation, up to a constant per
      image; None for transformations drawn from P(T|X).
    first: index of the first of the n images among the N; the n images are consecutive.
    numerator: "information" for (2) itself; "jensen" for a lower bound, with E log
      instead of log E in the numerator.
    leave_out_self: whether to exclude T from both expectations; needs m ≥ 2.

  Returns:
    I, scalar float32, in nats, and its parts, with I = alignment − uniformity.
    "alignment" is E log of the numerator, ~ −H(Z|X). "uniformity" is E log of the
    denominator, ~ −H(Z). The terms are those of Wang and Isola (2020).

  Raises:
    ValueError: the numerator is unknown, or `leave_out_self` is set and m is 1.
  """
  if numerator not in NUMERATORS:
    raise ValueError(f"numerator '{numerator}' is none of {NUMERATORS}")
  n, m, images, _ = similarity.shape
  if leave_out_self and m < 2:
    raise ValueError("with one transformation per image there is no other to "
                     "compare it with")
  scores = beta * similarity.astype(jnp.float32)
  if log_p is None:
    log_p = jnp.zeros((images, m), jnp.float32)
  log_w = jax.nn.log_softmax(log_p.astype(jnp.float32), axis=-1)
  own_log_w = jax.lax.dynamic_slice_in_dim(log_w, first, n)  # [n, m]

  # Masks: True where a transformation meets itself and is excluded.
  same = jnp.eye(m, dtype=bool) if leave_out_self else jnp.zeros((m, m), bool)
  own = (first + jnp.arange(n))[:, None] == jnp.arange(images)[None]  # [n, N]
  left_out = own[:, None, :, None] & same[None, :, None, :]

  # log E_{T'|X}, over the transformations of the same image.
  within = jnp.take_along_axis(
      scores, (first + jnp.arange(n))[:, None, None, None], axis=2)[:, :, 0]
  weights = jnp.where(same[None], -jnp.inf, own_log_w[:, None])  # [n, m, m]
  weights = jax.nn.log_softmax(weights, axis=-1)
  if numerator == "jensen":
    align = jnp.sum(jnp.exp(weights) * within, axis=-1)
  else:
    align = jax.nn.logsumexp(weights + within, axis=-1)

  # log E_{T'',X̃}, over all transformations of all images.
  weights = jnp.where(left_out, -jnp.inf, log_w[None, None])
  uniform = (jax.nn.logsumexp(weights + scores, axis=(2, 3))
             - jax.nn.logsumexp(weights, axis=(2, 3)))

  # E_{X,Z}: each Z has the weight of the transformation that it comes from.
  mean = lambda values: jnp.mean(
      jnp.sum(jnp.exp(own_log_w) * values, axis=-1))
  alignment, uniformity = mean(align), mean(uniform)
  return alignment - uniformity, {
      "alignment": alignment, "uniformity": uniformity}


def entropy(log_p: jax.Array) -> jax.Array:
  """H(T|X) in nats: float32 log-probabilities [..., K] -> float32 [...].

  Source: Koyama et al., entropy.
  """
  p = jnp.exp(log_p)
  return -jnp.sum(jnp.where(p > 0, p * log_p, 0.0), axis=-1)
