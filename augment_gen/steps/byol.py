"""BYOL (Grill et al. 2020): an online network predicts a slowly moving target network."""

from flax import struct
import jax
import jax.numpy as jnp
import optax

from augment_gen.config import ByolConfig
from augment_gen.losses.cosine import regression
from augment_gen.models.heads import initial_variables, l2_normalize, PredictedEncoder
from augment_gen.run import parallel
from augment_gen.run.contracts import PyTree, Step, Views
from augment_gen.steps.collapse import embedding_std
from augment_gen.steps.state import apply_gradients, EncoderState, named


@struct.dataclass
class ByolState(EncoderState):
  """The state that a BYOL step reads and writes; `net` is the online network θ.

  The target network needs no running statistics: it is only used in training, with the
  statistics of the batch.
  """
  target_params: PyTree  # ξ, of encoder and head


def init(net: PredictedEncoder, tx: optax.GradientTransformation,
         image_shape: tuple[int, int, int], key: jax.Array,
         encoder: PyTree | None = None) -> ByolState:
  """Creates a fresh state; F is random, or has the variables `encoder`.

  NOTE(paper): the target network starts as the online network. The official code draws
  its parameters anew, and says that this makes no noticeable difference.
  """
  images = jnp.zeros((2, *image_shape), jnp.float32)
  variables = initial_variables(net, images, key, encoder)
  # The target needs its own arrays, because the step donates its state.
  return ByolState.create(
      variables, tx, target_params=jax.tree.map(jnp.copy, _followed(variables["params"])))


def _followed(params: PyTree) -> PyTree:
  """The parameters that the target network has, too: all but the predictor's."""
  return {name: part for name, part in params.items() if name != "predictor"}


def momentum_schedule(base: float, steps: int) -> optax.Schedule:
  """τ = 1 − (1 − τ_base) · (cos(πk / K) + 1) / 2 at step k of K (section 3.2)."""
  decay = optax.cosine_decay_schedule(1.0 - base, max(steps, 1))
  return lambda step: 1.0 - decay(step)


def make_step(net: PredictedEncoder, tx: optax.GradientTransformation,
              config: ByolConfig, views: Views, steps: int) -> Step:
  """Builds the step of BYOL's Algorithm 1.

  Source: Grill et al. 2020, Algorithm 1.

  Args:
    net: H∘F and the predictor. As in the official code, the batch norms should span all
      devices but not both views (`norm.EACH_VIEW`).
    tx: optimiser of the online network.
    config: the momentum at the first step.
    views: see `contracts.Views`.
    steps: K, the number of steps of the stage.

  Returns:
    A step, see `contracts.Step`.
  """
  momentum = momentum_schedule(config.momentum, steps)

  def step(state: ByolState, frozen, batch, key):
    images = jnp.concatenate(views(frozen, batch, key))

    # 1. The target network projects both views. No gradient passes through it.
    targets, _ = net.apply(
        {"params": state.target_params, "batch_stats": state.net.batch_stats},
        images, train=True, mutable=["batch_stats"], method="project")

    # 2. The online network learns to predict the projection of the other view.
    def loss_fn(params):
      (z, p), new = net.apply(
          {"params": params, "batch_stats": state.net.batch_stats}, images,
          train=True, mutable=["batch_stats"])
      (p_1, p_2), (target_1, target_2) = jnp.split(p, 2), jnp.split(targets, 2)
      losses = regression(p_1, target_2) + regression(p_2, target_1)
      return jnp.mean(losses), (jnp.split(z, 2)[0], new.get("batch_stats", {}))

    (loss, (z, batch_stats)), grads = jax.value_and_grad(
        loss_fn, has_aux=True)(state.net.params)
    online, norms = apply_gradients(
        state.net, parallel.mean(grads), tx, batch_stats)

    # 3. The target network follows the new online network.
    tau = momentum(state.step)
    target_params = optax.incremental_update(
        _followed(online.params), state.target_params, 1.0 - tau)

    metrics = parallel.mean({
        "loss": loss,
        "momentum": tau,
        "embedding_std": embedding_std(parallel.gather(l2_normalize(z))),
    }) | named("encoder", norms)
    return ByolState(
        step=state.step + 1, net=online, target_params=target_params), metrics

  return step
