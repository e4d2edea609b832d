"""The PyTorch operators of benchmarks/against_pytorch.py do what ours do."""

import importlib
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from augment_gen.augment.operators import chosen, NAMES

torch = pytest.importorskip("torch")

FOLDER = pathlib.Path(__file__).parents[2] / "benchmarks"
BATCH = 6


@pytest.fixture(name="operators")
def import_operators(monkeypatch):
  monkeypatch.syspath_prepend(FOLDER)
  return importlib.import_module("pytorch.operators")


def examples(operator, shape):
  """Images without black or white, amounts within their bounds, and random numbers.

  Each strength is 0 for a third of the images. At its bounds a clipped number has half a
  slope in JAX and a whole one in PyTorch.
  """
  random = np.random.default_rng(len(operator.name))
  images = random.uniform(0.1, 0.9, (BATCH, *shape)).astype(np.float32)
  amounts = {}
  for amount in operator.amounts:
    values = random.uniform(amount.low, amount.high, BATCH)
    if amount.share:
      values = np.round(values)
    elif amount.strength:
      values[random.permutation(BATCH)[:BATCH // 3]] = 0.0
    amounts[amount.name] = values.astype(np.float32)
  u = random.uniform(size=(BATCH, *operator.draws(shape))).astype(np.float32)
  return images, amounts, u, random.normal(size=images.shape).astype(np.float32)


@pytest.mark.parametrize("name,shape", [
    (name, shape) for shape in ((20, 13, 3), (12, 12, 1)) for name in NAMES
    if name != "geometry" and chosen((name,), shape[2])])
def test_operators(operators, name, shape):
  """The same images, and the same slopes along images and amounts."""
  (operator,) = chosen((name,), shape[2])
  images, amounts, u, weights = examples(operator, shape)

  def ours(images, amounts):
    made = jax.vmap(operator.function)(images, amounts, jnp.asarray(u))
    return jnp.sum(made * weights), made
  (_, made), slopes = jax.jit(jax.value_and_grad(ours, (0, 1), has_aux=True))(
      images, amounts)

  x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().requires_grad_()
  of_chain = {f"{name}.{amount}": torch.from_numpy(values)[:, None, None, None]
              .requires_grad_() for amount, values in amounts.items()}
  out = operators.apply_all(
      [operator], x, of_chain, torch.from_numpy(u.reshape(BATCH, -1)))
  assert out.is_contiguous()
  out = out.permute(0, 2, 3, 1)
  np.testing.assert_allclose(out.detach(), made, atol=2e-5)
  of_image, *of_amounts = torch.autograd.grad(
      (out * torch.from_numpy(weights)).sum(), [x, *of_chain.values()])
  np.testing.assert_allclose(of_image.permute(0, 2, 3, 1), slopes[0], rtol=1e-3, atol=1e-4)
  for amount, slope in zip(amounts, of_amounts):
    largest = np.max(np.abs(slopes[1][amount]))
    assert largest > 0, amount
    np.testing.assert_allclose(slope.flatten(), slopes[1][amount], rtol=1e-3,
                               atol=1e-4 * largest, err_msg=amount)
