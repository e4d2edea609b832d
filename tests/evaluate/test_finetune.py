"""Fine-tuning of F and a head, against training a head alone."""

import dataclasses
import threading
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from augment_gen.config import Config, errors
from augment_gen.data import base
from augment_gen.evaluate import finetune
from augment_gen.run import parallel

SIDE, CLASSES = 8, 3
CONFIG = Config()
CONFIG = dataclasses.replace(
    CONFIG, seed=3,
    data=dataclasses.replace(CONFIG.data, image_size=SIDE, mean=(0.0,), std=(1.0,)),
    encoder=dataclasses.replace(CONFIG.encoder, name="convnet", width=4, blocks=(1,)),
    evaluate=dataclasses.replace(
        CONFIG.evaluate, batch_size=16, finetune=dataclasses.replace(
            CONFIG.evaluate.finetune, epochs=2.0, batch_size=8, recipe="none")))


def _images(per_class, seed):
  """The class is the row that is bright."""
  rng = np.random.default_rng(seed)
  labels = np.repeat(np.arange(CLASSES, dtype=np.int32), per_class)
  images = rng.integers(0, 60, (len(labels), SIDE, SIDE, 1)).astype(np.uint8)
  for image, label in zip(images, labels):
    image[2 * label:2 * label + 2] += 180
  return base.ImageSet("set", images, labels, ("a", "b", "c"))


TASK = types.SimpleNamespace(
    finetune=_images(8, seed=0), num_classes=CLASSES, tests={"C": _images(10, seed=1)})


def _run(devices=1, **settings):
  config = dataclasses.replace(CONFIG, evaluate=dataclasses.replace(
      CONFIG.evaluate, finetune=dataclasses.replace(
          CONFIG.evaluate.finetune, **settings)))
  return types.SimpleNamespace(
      config=config, task=TASK, terminated=threading.Event(),
      mesh=parallel.make_mesh(jax.devices()[:devices]))


def _fit(encoder, devices=1, **settings):
  """The variables after fine-tuning, and the accuracy on the test set."""
  fitted = finetune.Finetuning(_run(devices, **settings))
  score = fitted("MoCo v2", encoder)
  return score.args[0], score(TASK.tests["C"])


@pytest.fixture(name="encoder", scope="module")
def fixture_encoder():
  """Variables of F as it is initialised."""
  fitted = finetune.Finetuning(_run())
  variables = jax.device_get(fitted._net.init(  # pylint: disable=protected-access
      jax.random.key(7), jnp.zeros((2, SIDE, SIDE, 1)), train=False))
  return {name: tree["encoder"] for name, tree in variables.items() if "encoder" in tree}


def _same(a, b):
  return all(np.array_equal(x, y) for x, y in zip(
      jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_with_an_encoder_rate_of_0_a_head_alone_is_trained(encoder):
  """A slow reference trains the head on features of F in training mode."""
  settings = {"encoder_lr": 0.0, "head_lr": 0.3, "weight_decay": 0.01}
  got, _ = _fit(encoder, **settings)
  assert _same(got["params"]["encoder"], encoder["params"])

  fitted = finetune.Finetuning(_run(**settings))
  module = fitted._net.encoder  # pylint: disable=protected-access
  head = finetune.supervised.init(
      fitted._net, optax.sgd(0.1), (SIDE, SIDE, 1), fitted._key,  # pylint: disable=protected-access
      encoder).net.params["classifier"]
  momentum = jax.tree.map(jnp.zeros_like, head)
  assert fitted.steps == 6
  features = jax.jit(lambda x: module.apply(
      encoder, x, train=True, mutable=["batch_stats"])[0][0])

  @jax.jit
  def slow(head, y, labels):
    def loss(head):
      logits = y @ head["kernel"] + head["bias"][None]
      p = jnp.exp(logits) / jnp.sum(jnp.exp(logits), axis=1, keepdims=True)
      return -jnp.mean(jnp.log(p[np.arange(8), labels]))
    return jax.grad(loss)(head)

  for t in range(6):
    index = fitted._feed.host_batch(t)["index"]["x_f"]  # pylint: disable=protected-access
    x = TASK.finetune.images[index].astype(np.float32) / 255
    grads = jax.tree.map(lambda g, w: g + 0.01 * w, slow(
        head, features(x), TASK.finetune.labels[index]), head)
    momentum = jax.tree.map(lambda m, g: 0.9 * m + g, momentum, grads)
    rate = 0.3 / 2 * (1 + np.cos(np.pi * t / 6))
    head = jax.tree.map(lambda w, m, r=rate: w - r * m, head, momentum)
  for name in ("kernel", "bias"):
    np.testing.assert_allclose(
        got["params"]["classifier"][name], head[name], rtol=2e-4, atol=2e-5)


def test_the_encoder_learns_and_the_row_keeps_its_own(encoder):
  before = jax.tree.map(np.copy, encoder)
  got, accuracy = _fit(encoder, encoder_lr=0.05, epochs=20.0)
  assert _same(encoder, before)
  moved = jax.tree.map(lambda a, b: np.any(a != b), got["params"]["encoder"],
                       encoder["params"])
  assert all(jax.tree.leaves(moved))
  assert not _same(got["batch_stats"]["encoder"], encoder["batch_stats"])
  assert accuracy > 90
  again, _ = _fit(encoder, encoder_lr=0.05, epochs=20.0)
  assert _same(got, again)  # bit by bit


def test_two_devices_give_the_same(encoder):
  one, two = _fit(encoder)[0], _fit(encoder, devices=2)[0]
  for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
    np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5)


def test_a_rate_that_diverges_is_said(encoder):
  with pytest.raises(errors.NonFiniteError, match="fine-tuning of 'MoCo v2': lower"):
    _fit(encoder, head_lr=1e38)


def test_a_stop_is_heard_between_steps(encoder):
  run = _run()
  fitted = finetune.Finetuning(run)
  run.terminated.set()
  with pytest.raises(errors.Preempted, match="in the fine-tuning of MoCo v2"):
    fitted("MoCo v2", encoder)
