"""Pre-trainers as stages of a run, traced: hand-over, re-training, export, checkpoints.

tests/steps has their mathematics, tests/golden a real step of each, and
tests/end_to_end/test_pretrainers.py whole runs.
"""

import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tracing

from augment_gen.config.command_line import parse
from augment_gen.config.pretrainers import SECTIONS
from augment_gen.data.task import load_task
from augment_gen.export import runs
from augment_gen.losses.infonce import infonce
from augment_gen.losses.nt_xent import nt_xent
from augment_gen.losses.swav import swapped_prediction
from augment_gen.methods import building
from augment_gen.methods.augmentation_generator import rules, stages
from augment_gen.methods.pretrainers import pretrainer, PRETRAINERS
from augment_gen.run.checkpoint import Checkpoints
from augment_gen.run.contracts import Plan
from augment_gen.run.random import example_keys
from augment_gen.steps import views
from augment_gen.steps.state import make_schedule

ROOT = pathlib.Path(__file__).parents[2]
METHODS = ("simsiam", "byol", "swav", "supervised")


@functools.cache
def config_of(method, *changes):
  return parse([
      "main.py", f"--config={ROOT}/configs/quickstart.py:runlocal", "--workdir=unused",
      "--config.encoder.blocks=(1,)", f"--config.pretrain.method={method}",
      "--config.supervised.classes=62", "--config.swav.queue=16",
      *(f"--config.{change}" for change in changes)]).config


@functools.cache
def task_of(config):
  return load_task(config.data)


def shapes(tree):
  return jax.tree.map(lambda a: (a.shape, a.dtype), tree)


@pytest.mark.parametrize("method", METHODS)
def test_f_goes_on_to_the_other_stages(method, tmp_path):
  config = config_of(method)
  task, built = task_of(config), pretrainer(config, 1)
  assert list(rules.problems(config, 1)) == []
  assert list(rules.data_problems(config, task)) == []
  before, after, metrics = tracing.traced_step(
      lambda: stages.pretrain(config, task, 1))
  assert shapes(before) == shapes(after)
  assert {*built.show, "loss", "embedding_std", "encoder/grad_norm"} <= metrics.keys()

  # F of the other stages takes the variables, and H∘F gives unit vectors.
  state = tracing.zeros(after)
  x = jnp.zeros((3, 28, 28, 1))
  variables = stages.encoder_variables(config, state)
  features = jax.eval_shape(stages.encode(config), variables, x)
  projected = jax.eval_shape(built.project, state, x)
  assert features.shape[0] == projected.shape[0] == 3
  assert features.shape[1] == config.encoder.width

  # An arm of stage 3 with G_A.
  trained = tracing.zeros(jax.eval_shape(
      lambda: stages.generator(config, task, None).state))
  again, after, _ = tracing.traced_step(
      lambda: stages.retrain(config, task, 1, "prior", state, trained))
  assert shapes(again) == shapes(after) == shapes(before)

  # What is saved can be read, also by `export`, which does not know the stage.
  checkpoints = Checkpoints(tmp_path, keep=1)
  checkpoints.save(1, state)
  like = jax.eval_shape(lambda: runs._pretrainer_state(config, config.retrain))
  assert shapes(checkpoints.restore(like)) == shapes(before)


def test_each_has_a_section_of_settings():
  assert SECTIONS.keys() == PRETRAINERS.keys()
  values = parse(["main.py", "--config=quickstart", "--workdir=unused"]).config_values
  assert all(section in values for section in SECTIONS.values())


def test_one_seed_gives_f_the_same_weights_under_all_pretrainers():
  encoders = []
  for method in ("moco_v2", "simclr", *METHODS):
    built = pretrainer(config_of(method), 1)
    state = built.init(optax.sgd(0.1), jax.random.key(3))
    encoders.append(built.encoder_variables(state))
  for other in encoders[1:]:
    jax.tree.map(np.testing.assert_array_equal, encoders[0], other)


def test_swav_without_a_queue_can_be_saved(tmp_path):
  """Orbax refuses empty arrays."""
  config = config_of("swav", "swav.queue=0", "swav.small_crops=0")
  task = task_of(config)
  _, after, _ = tracing.traced_step(lambda: stages.pretrain(config, task, 1))
  checkpoints = Checkpoints(tmp_path, keep=1)
  checkpoints.save(1, tracing.zeros(after))
  assert checkpoints.restore(after) is not None


@pytest.mark.parametrize("method, changes, words", [
    ("swav", {"swav.queue": 24}, "config.swav.queue=24 is not a multiple"),
    ("swav", {"encoder.name": "convnet"}, "embeds images of one size alone"),
    ("swav", {"swav.small_area_min": 0.5}, "exchange them"),
    ("byol", {"pretrain.batch_size": 1}, "leaves BYOL no other image"),
])
def test_problems_are_named(method, changes, words):
  config = config_of(method, *(f"{name}={value}" for name, value in changes.items()))
  assert any(words in line for line in rules.problems(config, 1))


@pytest.mark.parametrize("queue, method, with_finetune, fitting", [
    (64, "moco_v2", False, 48),  # X_p: 62 images, batches of 16
    (48, "moco_v2", False, None), (64, "moco_v2", True, None),
    (64, "simsiam", False, None)])
def test_a_queue_of_several_keys_of_each_image_is_warned_of(
    queue, method, with_finetune, fitting):
  config = config_of(method, f"moco.queue={queue}",
                     f"pretrain.with_finetune={with_finetune}")
  found = list(rules.data_warnings(config, task_of(config)))
  assert len(found) == (fitting is not None)
  assert all("is more than the 62 images" in line and line.endswith(f"such as {fitting}")
             for line in found)


def test_a_warm_up_as_long_as_its_stage_is_warned_of():
  for warmup, warned in ((0.7, True), (0.1, False)):  # two steps of the three in an epoch
    config = config_of("simsiam", f"pretrain.optimizer.warmup_epochs={warmup}")
    found = list(rules.data_warnings(config, task_of(config)))
    assert len(found) == warned
    assert all(line.startswith("config.pretrain.optimizer.warmup_epochs=0.7 is no shorter")
               for line in found)


def test_the_loss_of_equal_features_is_known():
  """`chance_loss` against the losses of 16 equal embeddings."""
  @jax.jit  # one compilation
  def losses():
    both, own = jnp.eye(8)[jnp.zeros(32, int)], jnp.arange(16)
    z, scores = both[:16], jnp.zeros((2, 16, 64))
    return {
        "moco_v2": infonce(z, z, both, 0.2)[0],
        "simclr": nt_xent(z, both, own, own + 16, 0.5)[0],
        "swav": swapped_prediction(scores, scores + 1 / 64, 0.1)}  # even codes
  expected = losses() | {"supervised": np.log(62)}
  for method, loss in expected.items():
    config = config_of(method, "moco.queue=32", "swav.prototypes=64")
    np.testing.assert_allclose(
        loss, pretrainer(config, 1).chance_loss(16), rtol=1e-5, err_msg=method)
  for method in ("simsiam", "byol"):
    assert pretrainer(config_of(method), 1).chance_loss(16) is None


def test_labels_are_those_of_the_images_in_the_order_of_their_set():
  config = config_of("supervised", "pretrain.with_finetune=True")
  task, method = task_of(config), pretrainer(config, 1)
  # 62 Latin characters, and 8 of other scripts.
  assert any("has 70 classes: set this number" in line
             for line in rules.data_problems(config, task))
  joined = stages.pretrain_images(config, task)
  labels = method.frozen(joined)["labels"]
  assert labels.shape == (len(joined),) and set(np.asarray(labels)) == set(range(70))
  np.testing.assert_array_equal(
      labels[:len(task.pretrain)], method.frozen(task.pretrain)["labels"])
  unlabelled = dataclasses.replace(task, pretrain=dataclasses.replace(
      task.pretrain, labels=None))
  assert any("needs labels" in line for line in rules.data_problems(
      config_of("supervised"), unlabelled))


def plan_of(config, steps=8):
  return Plan(dataclasses.replace(
      config.pretrain.optimizer, name="sgd", momentum=0.5, weight_decay=0.1, lr=1.0,
      schedule="cosine", warmup_epochs=1.0), steps, 2, "crop")


def updates_of(tx, steps=8):
  """The updates of two parts of a network by a constant gradient, [steps] each."""
  params = {part: jnp.full(1, 2.0) for part in ("predictor", "prototypes", "encoder")}
  state, found = tx.init(params), []
  for _ in range(steps):
    updates, state = tx.update(jax.tree.map(jnp.ones_like, params), state, params)
    found.append(updates)
  return jax.tree.map(lambda *values: np.concatenate(values), *found)


def test_the_learning_rate_of_simsiams_predictor_is_fixed():
  config = config_of("simsiam")
  plan = plan_of(config)
  found = updates_of(pretrainer(config, 1).optimizer(plan))
  np.testing.assert_allclose(
      found["encoder"], updates_of(building.optimizer(plan.optimizer, 8, 2))["encoder"])
  plain = optax.chain(optax.add_decayed_weights(0.1), optax.sgd(1.0, momentum=0.5))
  np.testing.assert_allclose(found["predictor"], updates_of(plain)["predictor"], rtol=1e-6)


def test_swavs_prototypes_are_frozen_at_first():
  config = config_of("swav", "swav.freeze_epochs=1.5")  # three steps
  plan = plan_of(config)
  found = updates_of(pretrainer(config, 1).optimizer(plan))
  assert np.all(found["prototypes"][:3] == 0) and np.all(found["encoder"][1:] != 0)
  # Then the rate is that of everything else, and the momentum starts.
  g = 1 + 0.1 * 2
  schedule = make_schedule(plan.optimizer, 8, 2)
  np.testing.assert_allclose(found["prototypes"][3], -schedule(3) * g, rtol=1e-6)
  np.testing.assert_allclose(
      found["prototypes"][4], -schedule(4) * (g + 0.5 * g), rtol=1e-6)
  # Not in stage 3, where they have been trained.
  again = updates_of(pretrainer(config, 1).optimizer(dataclasses.replace(plan, again=True)))
  assert np.all(again["prototypes"][1:] != 0)


def test_small_crops_are_drawn_apart_from_the_views_and_from_each_other():
  x = jnp.ones((4, 2, 2, 1))
  draw = lambda key, image: image[:1] * jax.random.uniform(key)
  small = views.small_crops(draw, 3)({}, {"x_p": x}, jax.random.key(0))
  assert small.shape == (12, 1, 2, 1)
  first = jax.vmap(draw)(example_keys(jax.random.key(0), "view_1", 4), x)
  numbers = np.concatenate([small, first])[:, 0, 0, 0]
  assert len(set(numbers.tolist())) == 16
