"""Programs against the live functions, with tiny networks."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from augment_gen.apply import stablehlo
from augment_gen.config.command_line import parse
from augment_gen.models import conv, pooling, reductions
from augment_gen.models.build import build_augmenter, build_eliminator, build_encoder
from augment_gen.run import forms

ROOT = pathlib.Path(__file__).parents[2]
X = np.random.default_rng(0).random((3, 8, 8, 3), np.float32)


@pytest.fixture(scope="module")
def config():
  return parse(["main.py", f"--config={ROOT}/configs/quickstart.py", "--workdir=unused",
                *(f"--config.{change}" for change in (
                    "data.image_size=8", "data.channels=3", "encoder.width=4",
                    "encoder.blocks=(1,)", "generator.networks.eliminator=perceptron",
                    "generator.networks.hidden=8",
                    # Random numbers and a Fourier transform.
                    "generator.networks.operators=noise,blur"))]).config


@pytest.fixture(scope="module")
def weights(config):
  """Random weights, by the names of the programs."""
  encoder, g_a, g_el = (build_encoder(config), build_augmenter(config),
                        build_eliminator(config))
  z = np.zeros((3, len(g_a.latents)), np.float32)

  def init(key):
    return {"encoder": encoder.init(key, X, train=False),
            "augmenter": g_a.init(key, X, z)["params"],
            "eliminator": g_el.init(key, X)["params"]}
  random = np.random.default_rng(1)  # drawing them with JAX takes longer to compile
  return jax.tree.map(lambda a: random.uniform(0.02, 0.1, a.shape).astype(np.float32),
                      jax.eval_shape(init, jax.random.key(0)))


def test_programs_do_what_the_functions_do(config, weights, tmp_path):
  stablehlo.write_programs(tmp_path, config, weights)
  functions = stablehlo.programs(config, weights)
  assert sorted(path.stem for path in tmp_path.iterdir()) == sorted(functions)
  for name, (function, shapes) in functions.items():
    # As in the user guide: JAX alone, and NumPy arrays.
    program = jax.export.deserialize(
        bytearray((tmp_path / f"{name}.stablehlo").read_bytes()))
    assert program.platforms == ("cpu", "cuda", "tpu")
    assert [shape[1:] for shape in (a.shape for a in program.in_avals)] == list(shapes)
    random = np.random.default_rng(0)
    args = [X, *(random.random((3, *shape), np.float32) for shape in shapes[1:])]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
                 program.call(*args), jax.jit(function)(*args))
    if name.startswith("augmenter"):
      assert np.abs(program.call(*args) - X).mean() > 0.01


def test_the_description_says_what_goes_in(config):
  found = stablehlo.described(config)
  assert (found["image_size"], found["channels"]) == (8, 3)
  assert found["latent_dim"] == len(found["latent_names"]) > 3
  assert "noise.read" in found["latent_names"]


def test_weights_have_their_paths_as_names(weights):
  found = stablehlo.flat(weights["encoder"])
  assert all("/" in name for name in found)
  assert sum(a.size for a in found.values()) == sum(
      a.size for a in jax.tree.leaves(weights["encoder"]))


def test_forms_for_cpus_are_left_out():
  x = jnp.zeros((2, 64, 4))
  assert jax.default_backend() == "cpu" and forms.for_cpu()
  assert reductions._block(64) > 1
  with forms.plain():
    assert not forms.for_cpu() and reductions._block(64) == 1
    up = str(jax.make_jaxpr(lambda x: conv.UpConv(2).init(jax.random.key(0), x))(
        x.reshape(2, 8, 8, 4)))
    pool = str(jax.make_jaxpr(jax.grad(lambda x: pooling.max_pool_3x3(x).sum()))(
        x.reshape(2, 8, 8, 4)))
  assert "select_and_scatter" in pool and "2,16,16" in up
  assert forms.for_cpu()
