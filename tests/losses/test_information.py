"""I(X; Z) of CRL-TAC, compared with its equation and with SimCLR."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from augment_gen.losses import information as lib

BETA = 7.0


# Compiled as a whole, which is much faster than one operation at a time.
information = jax.jit(lib.information, static_argnames=(
    "beta", "numerator", "leave_out_self"))


def unit(rng, *shape):
  h = rng.standard_normal(shape)
  return h / np.linalg.norm(h, axis=-1, keepdims=True)


def similarity(z, h):
  return jnp.asarray(np.einsum("imd,jkd->imjk", z, h), jnp.float32)


def slow(z, h, p=None, *, first=0, jensen=False, leave_out_self=True):
  """Equation (2) as loops over Z [n, m, D] and h [N, m, D]."""
  n, m, _ = z.shape
  p = np.ones(h.shape[:2]) if p is None else p
  p = p / p.sum(axis=1, keepdims=True)
  total = 0.0
  for i, t in itertools.product(range(n), range(m)):
    image = first + i
    e = lambda j, s: math.exp(BETA * float(z[i, t] @ h[j, s]))
    inner = [s for s in range(m) if not (leave_out_self and s == t)]
    outer = [(j, s) for j in range(len(h)) for s in range(m)
             if not (leave_out_self and (j, s) == (image, t))]
    weight = sum(p[image, s] for s in inner)
    if jensen:
      top = sum(p[image, s] * math.log(e(image, s)) for s in inner) / weight
    else:
      top = math.log(sum(p[image, s] * e(image, s) for s in inner) / weight)
    bottom = math.log(sum(p[j, s] * e(j, s) for j, s in outer)
                      / sum(p[j, s] for j, s in outer))
    total += p[image, t] * (top - bottom) / n
  return total


@pytest.mark.parametrize("jensen", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("leave_out_self", [False, True])
@pytest.mark.parametrize("drawn", [False, True])
def test_matches_the_equation(jensen, weighted, leave_out_self, drawn):
  rng = np.random.default_rng(0)
  h = unit(rng, 4, 3, 5)
  z = unit(rng, 4, 3, 5) if drawn else h
  p = rng.random((4, 3)) if weighted else None
  # A constant per image does not change P, because weights are normalised.
  log_p = None if p is None else jnp.asarray(
      np.log(p) + rng.standard_normal((4, 1)), jnp.float32)
  value, parts = information(
      similarity(z, h), beta=BETA, log_p=log_p,
      numerator="jensen" if jensen else "information",
      leave_out_self=leave_out_self)
  expected = slow(z, h, p, jensen=jensen, leave_out_self=leave_out_self)
  np.testing.assert_allclose(value, expected, rtol=2e-5)
  np.testing.assert_allclose(
      value, parts["alignment"] - parts["uniformity"], rtol=1e-6)


def test_parts_of_the_images_average_to_the_whole():
  """Each part has the Z of its own images and all of h, as on several devices."""
  rng = np.random.default_rng(1)
  h, p = unit(rng, 6, 2, 4), rng.random((6, 2))
  log_p = jnp.asarray(np.log(p), jnp.float32)
  whole, _ = information(similarity(h, h), beta=BETA, log_p=log_p)
  parts = [information(similarity(h[i:i + 2], h), beta=BETA, log_p=log_p, first=i)[0]
           for i in (0, 2, 4)]
  np.testing.assert_allclose(np.mean(parts), whole, rtol=1e-5)


@pytest.mark.parametrize("m", [2, 4])
def test_with_uniform_p_mean_z_and_jensen_it_is_simclr(m):
  """NT-Xent (Chen et al. 2020, equation 1), averaged over all m − 1 positives."""
  rng = np.random.default_rng(2)
  h = unit(rng, 5, m, 6)
  flat, tau = h.reshape(-1, 6), 1 / BETA
  losses = []
  for i, t in itertools.product(range(5), range(m)):
    a = i * m + t
    others = [math.exp(flat[a] @ flat[k] / tau)
              for k in range(len(flat)) if k != a]
    losses += [-math.log(math.exp(flat[a] @ flat[i * m + s] / tau) / sum(others))
               for s in range(m) if s != t]
  value, _ = information(
      similarity(h, h), beta=BETA, log_p=jnp.zeros((5, m)), numerator="jensen")
  np.testing.assert_allclose(
      -value, np.mean(losses) - math.log(5 * m - 1), rtol=1e-5)


def test_jensen_is_a_lower_bound():
  rng = np.random.default_rng(3)
  for _ in range(20):
    s = similarity(*(unit(rng, 4, 3, 3),) * 2)
    full, low = (information(s, beta=BETA, numerator=name)[0]
                 for name in lib.NUMERATORS)
    assert low < full


def test_no_more_than_the_log_of_the_number_of_images():
  """Perfectly distinguishable images reach the bound; none exceed it."""
  rng = np.random.default_rng(4)
  for weighted in (False, True):
    for beta in (1.0, 50.0):
      s = similarity(*(unit(rng, 6, 3, 2),) * 2)
      log_p = jnp.asarray(rng.standard_normal((6, 3)), jnp.float32)
      kwargs = {"beta": beta, "log_p": log_p if weighted else None}
      value, _ = information(s, leave_out_self=False, **kwargs)
      assert value <= math.log(6) + 1e-5
      if not weighted:
        value, _ = information(s, **kwargs)
        assert value <= math.log((6 * 3 - 1) / (3 - 1)) + 1e-5
  h = np.repeat(np.eye(6)[:, None], 3, axis=1)
  value, _ = information(similarity(h, h), beta=50.0, leave_out_self=False)
  np.testing.assert_allclose(value, math.log(6), rtol=1e-5)
  value, _ = information(similarity(h, h), beta=50.0)
  np.testing.assert_allclose(value, math.log(17 / 2), rtol=1e-5)


def test_parts_are_alignment_and_uniformity_of_wang_and_isola():
  """E‖f(x) − f(y)‖² over positives, and log E e^{−t‖f(x) − f(y)‖²} with t = β/2."""
  rng = np.random.default_rng(5)
  h = unit(rng, 5, 2, 3)
  distance = np.sum(np.square(h[:, :, None, None] - h[None, None]), axis=-1)
  align = np.mean([distance[i, t, i, 1 - t] for i in range(5) for t in (0, 1)])
  uniform = np.mean([
      math.log(np.mean([math.exp(-BETA / 2 * distance[i, t, j, s])
                        for j in range(5) for s in (0, 1) if (j, s) != (i, t)]))
      for i in range(5) for t in (0, 1)])
  _, parts = information(similarity(h, h), beta=BETA, numerator="jensen")
  np.testing.assert_allclose(
      parts["alignment"], BETA * (1 - align / 2), rtol=1e-5)
  np.testing.assert_allclose(parts["uniformity"], BETA + uniform, rtol=1e-5)


def test_safe_where_exponentials_overflow_and_where_p_is_nothing():
  rng = np.random.default_rng(6)
  s = similarity(*(unit(rng, 4, 3, 5),) * 2)
  log_p = jnp.asarray([[0.0, -200.0, -300.0]] * 4, jnp.float32)

  def loss(s, log_p):
    return information(s, beta=500.0, log_p=log_p)[0]

  value, grads = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(s, log_p)
  for array in (value, *grads):
    assert np.all(np.isfinite(array))


def test_p_learns_to_prefer_what_tells_images_apart():
  """Two transformations show the image; the third shows what all images share."""
  h = np.zeros((4, 3, 5))
  h[:, :2] = np.eye(5)[:4, None]
  h[:, 2] = np.eye(5)[4]
  s = similarity(h, h)
  slope = jax.jit(jax.grad(lambda p: information(s, beta=5.0, log_p=p)[0]))(
      jnp.zeros((4, 3)))
  assert np.all(slope[:, :2] > 0) and np.all(slope[:, 2] < 0)


def test_refuses_what_it_cannot_compute():
  s = jnp.zeros((2, 1, 2, 1))
  with pytest.raises(ValueError, match="one transformation"):
    lib.information(s, beta=1.0)
  with pytest.raises(ValueError, match="none of"):
    lib.information(s, beta=1.0, numerator="mean", leave_out_self=False)


def test_entropy():
  log_p = jnp.log(jnp.asarray([[0.25] * 4, [1.0, 0.0, 0.0, 0.0],
                               [0.5, 0.25, 0.25, 0.0]]))
  np.testing.assert_allclose(
      lib.entropy(log_p), [math.log(4), 0.0, 1.5 * math.log(2)], atol=1e-6)
  assert np.all(np.isfinite(jax.grad(
      lambda x: lib.entropy(jax.nn.log_softmax(x)).sum())(
          jnp.asarray([0.0, -500.0]))))
