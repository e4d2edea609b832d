"""I(X; Z) of CRL-TAC, equation (2), from similarities and weights."""

import jax
import jax.numpy as jnp

NUMERATORS = ("information", "jensen")


def information(
    similarity: jax.Array, *, beta: float, log_p: jax.Array | None = None,
    first: jax.Array | int = 0, numerator: str = "information",
    leave_out_self: bool = True,
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """An estimate of (2) from m transformations of each of N images.

    I(X; Z) = E_{X,Z} log (E_{T'|X} e^{βS(Z, h(T'(X)))}
                           / E_{T'',X̃} e^{βS(Z, h(T''(X̃)))})

  Transformations drawn from P(T|X) weigh all the same. Uniform draws weigh
  P(t|x), scaled to sum to 1 over the m draws of an image, in all three
  expectations; then the gradient reaches P.

  With uniform draws, Z the mean of its distribution (Z = h(T(X))) and Jensen's
  inequality in the numerator, −I is SimCLR's loss less log(Nm − 1), with
  temperature 1/β.

  NOTE(paper): whether T' and T'' may be T itself is not said. Z comes from
  T(X), so T is no independent draw: h(T(X)) fits Z by itself, and P would come
  to prefer transformations that resemble no others. It is left out of both
  expectations, of which one is then over m − 1 and one over Nm − 1 draws, and
  the ceiling is log((Nm − 1) / (m − 1)), not log N.

  Args:
    similarity: float32 [n, m, N, m], S(Z, h(T'(X̃))) of Z from each
      transformation of n of the images, to each transformation of all N.
    beta: β > 0.
    log_p: float32 [N, m], log P(t|x) of each transformation, up to a constant
      of each image; None: drawn from P(T|X).
    first: which of the N images is the first of the n; these lie in a row.
    numerator: "information", (2) as it is; "jensen", E log in place of log E in
      the numerator: a lower bound.
    leave_out_self: of the two expectations; needs m ≥ 2.

  Returns:
    I, scalar float32, in nats; and its parts, I = alignment − uniformity:
    "alignment", E log of the numerator, ~ −H(Z|X), and "uniformity", E log of
    the denominator, ~ −H(Z) (the terms of Wang and Isola 2020).

  Raises:
    ValueError: an unknown numerator; one transformation and none is left.
  """
  if numerator not in NUMERATORS:
    raise ValueError(f"numerator '{numerator}' is none of {NUMERATORS}")
  n, m, images, _ = similarity.shape
  if leave_out_self and m < 2:
    raise ValueError("with one transformation of each image none is left to "
                     "compare it with")
  scores = beta * similarity.astype(jnp.float32)
  if log_p is None:
    log_p = jnp.zeros((images, m), jnp.float32)
  log_w = jax.nn.log_softmax(log_p.astype(jnp.float32), axis=-1)
  own_log_w = jax.lax.dynamic_slice_in_dim(log_w, first, n)  # [n, m]

  # −inf where a transformation is compared with itself, else 0.
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

  # E_{X,Z}, Z by the transformation that it comes from.
  mean = lambda values: jnp.mean(
      jnp.sum(jnp.exp(own_log_w) * values, axis=-1))
  alignment, uniformity = mean(align), mean(uniform)
  return alignment - uniformity, {
      "alignment": alignment, "uniformity": uniformity}


def entropy(log_p: jax.Array) -> jax.Array:
  """H(T|X): float32 log-probabilities [..., K] -> [...] in nats."""
  p = jnp.exp(log_p)
  return -jnp.sum(jnp.where(p > 0, p * log_p, 0.0), axis=-1)
