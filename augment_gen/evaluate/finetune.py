"""The protocol "finetune": F and a linear head trained together on X̃_f.

It asks what F's weights are worth as a start, where a linear head on frozen features asks
what is already there. The step is that of steps/supervised.py.
"""

from collections.abc import Callable
import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from augment_gen.augment.recipes import recipe
from augment_gen.config import FinetuneConfig, OptimizerConfig
from augment_gen.config.errors import NonFiniteError
from augment_gen.data.base import ImageSet
from augment_gen.data.feed import ImageFeed
from augment_gen.evaluate import features
from augment_gen.models import norm
from augment_gen.models.build import build_encoder
from augment_gen.models.heads import Classifier
from augment_gen.run import parallel, preemption
from augment_gen.run.contracts import Metrics, PyTree, Run
from augment_gen.run.progress import Progress
from augment_gen.run.random import stream
from augment_gen.steps import supervised, views
from augment_gen.steps.state import make_optimizer, make_schedule, with_own_optimizer

# A set of images with labels -> accuracy in percent.
Score = Callable[[ImageSet], float]


class Finetuning:
  """Fine-tunes one encoder after another, with one compiled step.

  All start from the same head and see the same views in the same order: the draws are
  functions of the run's seed. Nothing is saved on the way; a run that is stopped begins
  the encoder at hand again.

  Args:
    run: the run, whose X̃_f and test sets are used.
  """

  def __init__(self, run: Run):
    settings, task = run.config.evaluate.finetune, run.task
    self._run, self._batch_size = run, run.config.evaluate.batch_size
    self._net = Classifier(build_encoder(run.config, norm.ALL_DEVICES), task.num_classes)
    self._feed = ImageFeed({"x_f": task.finetune}, settings.batch_size, run.config.seed,
                           "finetune", run.config.data)
    per_epoch = self._feed.steps_per_epoch["x_f"]
    self.steps = max(1, round(settings.epochs * per_epoch))
    self._tx = optimizer(settings, self.steps)
    self._key = stream(jax.random.key(run.config.seed), "finetune")
    self._step = parallel.map_step(supervised.make_step(
        self._net, self._tx, views.single(recipe(settings.recipe), "x_f"), "x_f"),
        run.mesh, self._feed.fetch)

  def __call__(self, method: str, encoder: PyTree) -> Score:
    """Fine-tunes an encoder.

    Args:
      method: the row's method, for messages.
      encoder: F's variables, which stay as they are.

    Returns:
      What scores the fine-tuned encoder and its head on a set.

    Raises:
      NonFiniteError: the loss became NaN or infinite.
      Preempted: the run is to stop.
    """
    task, mesh = self._run.task, self._run.mesh
    assert task.finetune.labels is not None  # `load_task` refuses unlabelled sets
    state, frozen, resident, key = parallel.replicate((
        supervised.init(self._net, self._tx, task.finetune.shape, self._key, encoder),
        {"labels": jnp.asarray(task.finetune.labels)}, self._feed.resident, self._key),
        mesh)
    with contextlib.closing(self._feed), contextlib.closing(Progress(
        f"fine-tuning of {method}", 0, self.steps, self._feed.batch_size)) as progress:
      for t in range(self.steps):
        host_batch = parallel.shard(self._feed.host_batch(t), mesh)
        state, metrics = self._step(state, frozen, resident, host_batch, key)
        progress.advance(t + 1)
        preemption.leave_if(
            self._run.terminated, f"in the fine-tuning of {method}, which begins again")
        if (t + 1) % self._feed.steps_per_epoch["x_f"] == 0 or t + 1 == self.steps:
          progress.show(_finite(method, metrics))
    variables = jax.device_get(
        {"params": state.net.params, "batch_stats": state.net.batch_stats})
    return functools.partial(self._accuracy, variables)

  def _logits(self, variables: PyTree, images: jax.Array) -> jax.Array:
    return self._net.apply(variables, images, train=False)[1]

  def _accuracy(self, variables: PyTree, images: ImageSet) -> float:
    assert images.labels is not None
    # `==` of bound methods holds for one object, so that this is compiled once.
    logits = features.extract(
        self._logits, variables, images, self._batch_size, self._run.mesh)
    return 100.0 * float(np.mean(np.argmax(logits, axis=1) == images.labels))


def _finite(method: str, metrics: Metrics) -> dict[str, float]:
  """The loss and the accuracy of a step.

  Raises:
    NonFiniteError: the loss is NaN or infinite.
  """
  values = {name: float(metrics[name]) for name in ("loss", "accuracy")}
  if not np.isfinite(values["loss"]):
    raise NonFiniteError(
        f"the loss became NaN or infinite in the fine-tuning of '{method}': lower "
        "config.evaluate.finetune.encoder_lr or head_lr, or leave 'finetune' out of "
        "config.evaluate.protocols")
  return values


def optimizer(settings: FinetuneConfig, steps: int) -> optax.GradientTransformation:
  """SGD with a rate for F and one for the head, both along a cosine."""

  def sgd(lr: float):
    config = OptimizerConfig(
        name="sgd", lr=lr, momentum=settings.momentum,
        weight_decay=settings.weight_decay, schedule="cosine")
    return make_optimizer(config, make_schedule(config, steps, steps))

  return with_own_optimizer("encoder", sgd(settings.encoder_lr), sgd(settings.head_lr))
