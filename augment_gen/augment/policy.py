"""Draws of the augmentation policy of CRL-TAC: of T given X, of Z given T(X)."""

import functools

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

_ANGLES = 4096  # of the table that the angle to the mean is drawn with


def draw_t(keys: jax.Array, log_p: jax.Array, m: int) -> jax.Array:
  """m different transformations for each image, one after the other from P(T|X).

  NOTE(paper): without replacement (Gumbel top-m; Kool et al. 2019), which the
  poster does not say: where P is sharp, draws with replacement are one crop
  over and over, which any encoder finds alike.

  Args:
    keys: [B] typed keys.
    log_p: float32 [B, K], log P(t|x); or zeros, for uniform draws.
    m: at most K.

  Returns:
    int32 [B, m], in the order in which they were drawn.
  """
  gumbel = jax.vmap(lambda key: jax.random.gumbel(key, log_p.shape[1:]))(keys)
  return lax.top_k(log_p + gumbel, m)[1]


def draw_z(keys: jax.Array, h: jax.Array, beta: float) -> jax.Array:
  """Z ~ C_β exp(β S(Z, h)) with S the cosine: von Mises-Fisher about h.

  The angle to the mean does not depend on where the mean lies, so the gradient
  passes through to h.

  Args:
    keys: [B] typed keys.
    h: float32 [B, m, D] of unit length, D ≥ 2.
    beta: concentration, > 0.

  Returns:
    float32 [B, m, D] of unit length.
  """
  cumulative, angles = _angles(float(beta), h.shape[-1])
  keys = jax.vmap(jax.random.split)(keys)
  u = jax.vmap(lambda key: jax.random.uniform(key, h.shape[1:-1]))(keys[:, 0])
  angle = jnp.interp(u, jnp.asarray(cumulative), jnp.asarray(angles))[..., None]
  # A direction at right angles to h, uniform among these.
  side = jax.vmap(lambda key: jax.random.normal(key, h.shape[1:]))(keys[:, 1])
  for _ in range(2):  # the second time takes off what rounding left along h
    side -= jnp.sum(side * h, axis=-1, keepdims=True) * h
    side /= jnp.linalg.norm(side, axis=-1, keepdims=True)
  return jnp.cos(angle) * h + jnp.sin(angle) * side


@functools.lru_cache
def _angles(beta: float, dim: int) -> tuple[np.ndarray, np.ndarray]:
  """The distribution function of the angle, float32 [n] each: values, angles.

  Its density is proportional to e^{β cos φ} sin^{D−2} φ on [0, π]. Only the part
  that holds all but 1e-12 of the largest density is tabulated.
  """
  with np.errstate(divide="ignore"):
    def log_density(angle):
      return beta * np.cos(angle) + (dim - 2) * np.log(np.sin(angle))
    grid = (np.arange(2**16) + 0.5) * np.pi / 2**16
    log_d = log_density(grid)
  inside = grid[log_d > log_d.max() - 27.6]
  half = np.pi / 2**17
  edges = np.linspace(inside[0] - half, inside[-1] + half, _ANGLES)
  log_d = log_density((edges[1:] + edges[:-1]) / 2)
  mass = np.concatenate([[0.0], np.cumsum(np.exp(log_d - log_d.max()))])
  return (mass / mass[-1]).astype(np.float32), edges.astype(np.float32)
