"""Draws for the augmentation policy of CRL-TAC: T given X, and Z given T(X)."""

import functools

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

_ANGLES = 4096  # size of the table for drawing the angle to the mean


def draw_t(keys: jax.Array, log_p: jax.Array, m: int) -> jax.Array:
  """Draws m different transformations per image, one after the other, from P(T|X).

  Source: Koyama et al., Algorithm 1.

  NOTE(paper): We draw without replacement (Gumbel top-m; Kool et al. 2019), which the
  poster does not specify. If P is sharp, draws with replacement repeat the same crop,
  and any encoder gives equal crops equal embeddings.

  Args:
    keys: [B] typed keys.
    log_p: float32 [B, K], log P(t|x); zeros for uniform draws.
    m: number of draws, at most K.

  Returns:
    int32 [B, m], in the order of the draws.
  """
  gumbel = jax.vmap(lambda key: jax.random.gumbel(key, log_p.shape[1:]))(keys)
  return lax.top_k(log_p + gumbel, m)[1]


def draw_z(keys: jax.Array, h: jax.Array, beta: float) -> jax.Array:
  """Draws Z ~ C_β exp(β S(Z, h)), S the cosine: von Mises-Fisher about h.

  Source: Koyama et al., Proposition 1.

  The angle to the mean does not depend on the mean, so the gradient passes to h.

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
  # A direction orthogonal to h, drawn uniformly.
  side = jax.vmap(lambda key: jax.random.normal(key, h.shape[1:]))(keys[:, 1])
  for _ in range(2):  # the second pass removes what rounding left along h
    side -= jnp.sum(side * h, axis=-1, keepdims=True) * h
    side /= jnp.linalg.norm(side, axis=-1, keepdims=True)
  return jnp.cos(angle) * h + jnp.sin(angle) * side


@functools.lru_cache
def _angles(beta: float, dim: int) -> tuple[np.ndarray, np.ndarray]:
  """The distribution function of the angle, as values and angles, float32 [n] each.

  Its density is proportional to e^{β cos φ} sin^{D−2} φ on [0, π]. The table only covers
  angles whose density is above 1e-12 of the largest one.
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
