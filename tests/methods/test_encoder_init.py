"""config.encoder.init: what stage 1 starts from, and what is refused or warned of."""

import dataclasses
import json
import pathlib

import jax
import numpy as np
import optax
import pytest

from augment_gen.config.command_line import parse
from augment_gen.config.errors import UserError
from augment_gen.methods import building, encoder_init
from augment_gen.methods.augmentation_generator import method
from augment_gen.methods.pretrainers import pretrainer, PRETRAINERS
from augment_gen.models import torchvision_names
from augment_gen.models.build import build_encoder
from augment_gen.run import session, weight_files

ROOT = pathlib.Path(__file__).parents[2]


def config_of(*changes, name="quickstart"):
  return parse(["main.py", f"--config={ROOT}/configs/{name}.py:runlocal",
                "--workdir=unused", "--config.encoder.blocks=(1,1)",
                *(f"--config.{change}" for change in changes)]).config


def variables_of(config):
  """Random variables of F."""
  random = np.random.default_rng(0)
  like = jax.eval_shape(lambda: build_encoder(config).init(
      jax.random.key(0), np.zeros((1, *building.image_shape(config)), np.float32),
      train=False))
  return jax.tree.map(lambda a: random.uniform(size=a.shape).astype(np.float32), like)


@pytest.fixture(scope="module")
def variables():
  return variables_of(config_of())


@pytest.fixture(scope="module")
def file(variables, tmp_path_factory):
  path = tmp_path_factory.mktemp("weights") / "f.safetensors"
  weight_files.write(path, torchvision_names.to_torchvision(variables), {
      "augment_gen": json.dumps({"mean": [0.17], "std": [0.33]})})
  return path


def assert_same(found, expected):
  assert jax.tree.structure(found) == jax.tree.structure(expected)
  jax.tree.map(np.testing.assert_array_equal, found, expected)


def copies_of_f(trainer, state):
  """F's variables in every network of a state that has them."""
  copies = [trainer.encoder_variables(state)]
  if hasattr(state, "key_params"):
    copies.append({"params": state.key_params["encoder"],
                   "batch_stats": state.key_batch_stats["encoder"]})
  return copies


@pytest.mark.parametrize("name", PRETRAINERS)
def test_every_pre_trainer_starts_from_the_file(name, file, variables):
  config = config_of(f"encoder.init={file}", f"pretrain.method={name}")
  loaded, notes = encoder_init.load(config)
  assert not notes
  assert_same(loaded, variables)
  trainer, key = pretrainer(config, 1), jax.random.key(1)
  state = trainer.init(optax.sgd(0.1), key, loaded)
  plain = trainer.init(optax.sgd(0.1), key)
  copies = copies_of_f(trainer, state)
  assert len(copies) == {"moco_v2": 2, "simclr": 1}.get(name, len(copies))
  for copy in copies:
    assert_same(copy, variables)
  # All else is as it would be without the file.
  replace = lambda tree: jax.tree.map_with_path(
      lambda path, a: None if "'encoder'" in jax.tree_util.keystr(path) else a, tree)
  assert_same(replace(state), replace(plain))
  # The step donates its state: nothing in it may be shared.
  pointers = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(state)]
  assert len(set(pointers)) == len(pointers)


def test_nothing_is_loaded_without_a_file():
  assert encoder_init.load(config_of()) is None


@pytest.mark.parametrize("changes, words", [
    (["encoder.width=8"], r"encoder\.init=FILE holds another network than F\. of another"),
    (["encoder.stem=small"], r"conv1\.weight \[4, 1, 7, 7\] instead of \[4, 1, 3, 3\]"),
    (["encoder.name=convnet"], r"encoder\.init=FILE is for a ResNet"),
    (["encoder.init=none.npz"], r"^config\.encoder\.init=none\.npz: there is no such"),
    (["pretrain.steps=0", "encoder.init="], "give either epochs or steps"),
    (["pretrain.epochs=3"], "give either epochs or steps"),
    (["generator.steps=0"], r"config\.generator: give either epochs or steps"),
    (["pretrain.steps=0"], None), ([], None)])
def test_mistakes_are_said_before_anything_is_compiled(changes, words, file):
  found = session.problems(config_of(f"encoder.init={file}", *changes), 1)
  if words is None:
    assert not found
  else:
    (line,) = found
    with pytest.raises(UserError, match=words):
      raise UserError(line.replace(str(file), "FILE"))


def test_rows_say_that_f_was_loaded():
  trained = config_of("encoder.init=FILE")
  rows = method.rows(trained, "MoCo v2")
  assert rows["untrained"][0] == "encoder as loaded" and rows["pretrain"][0] == "MoCo v2"
  trained_on = lambda name, config: tuple(method._trained_on(name, config).values())
  assert trained_on("untrained", trained) == ("encoder.init", "-")
  assert trained_on("pretrain", trained) == ("encoder.init, X_p", "X_p")
  # One encoder has one row.
  as_it_is = config_of("encoder.init=FILE", "pretrain.steps=0")
  rows = method.rows(as_it_is, "MoCo v2")
  assert "untrained" not in rows and rows["pretrain"][0] == "encoder as loaded"
  assert rows["generator"][0] == "MoCo v2 + G_A"
  assert trained_on("pretrain", as_it_is) == ("encoder.init", "-")
  assert trained_on("generator", as_it_is) == ("encoder.init", "X_p")


def test_crl_tac_starts_from_random_weights(file):
  (line,) = session.problems(config_of(f"encoder.init={file}", name="mnist"), 1)
  assert "start from random weights" in line


@pytest.mark.parametrize("written, changes, warned", [
    ({}, [], "weights of ImageNet need config.data.mean=(0.449,) and std=(0.226,)"),
    ({}, ["data.mean=(0.45,)", "data.std=(0.225,)"], None),
    ({"augment_gen": "damaged"}, [], "weights of ImageNet"),
    ({"augment_gen": '{"mean": [0.17, 0.17], "std": [0.33]}'}, [], None),
    ({"augment_gen": '{"mean": [0.5], "std": [0.33]}'}, [],
     "was trained with config.data.mean=(0.5,) and std=(0.33,); this run has (0.17,)")])
def test_another_normalisation_is_warned_of(
    written, changes, warned, variables, tmp_path):
  weight_files.write(
      tmp_path / "w.safetensors", torchvision_names.to_torchvision(variables), written)
  _, notes = encoder_init.load(
      config_of(f"encoder.init={tmp_path}/w.safetensors", *changes))
  assert len(notes) == (warned is not None)
  if warned:
    assert notes[0].startswith("WARNING: ") and warned in notes[0]


def test_colour_weights_of_imagenet_for_grey_images(tmp_path):
  config = config_of()
  colour = dataclasses.replace(config, data=dataclasses.replace(config.data, channels=3))
  weight_files.write(tmp_path / "w.safetensors", torchvision_names.to_torchvision(
      variables_of(colour)), {})
  _, (summed, normalised) = encoder_init.load(
      config_of(f"encoder.init={tmp_path}/w.safetensors"))
  assert "summed over" in summed and "ImageNet" in normalised
