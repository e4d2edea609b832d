"""Small networks on embeddings: heads, predictors, the classifier, the discriminators."""

from collections.abc import Sequence
from typing import Any, Literal

from flax import linen as nn
import jax
import jax.numpy as jnp

from augment_gen.models import norm, products
from augment_gen.run.forms import jit_quickly
from augment_gen.run.random import stream

PyTree = Any

# PyTorch's default for linear layers: uniform within 1 / sqrt(fan_in).
_TORCH_LINEAR = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def l2_normalize(x: jax.Array, epsilon: float = 1e-6) -> jax.Array:
  """Scales the last axis to unit length; [..., D] -> float32 [..., D].

  Vectors shorter than `epsilon` are divided by `epsilon`, so that the zero vector stays
  zero and has a finite gradient.
  """
  x = x.astype(jnp.float32)
  squares = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
  return x * jax.lax.rsqrt(jnp.maximum(squares, epsilon**2))


# `ProjectionHead.hidden` for each value of `config.tac.head`.
HIDDEN = {"mlp": None, "linear": 0}


class ProjectionHead(nn.Module):
  """The projection head H: two layers as in MoCo v2 (Chen et al. 2020), or one.

  Attributes:
    dim: D, the dimension of the projection.
    hidden: units of the hidden layer. None: the dimension of the embedding, as in the
      official MoCo. 0: no hidden layer, so the head is linear.
    dtype: dtype of the hidden layer; parameters and the last layer are float32.
  """
  dim: int = 128
  hidden: int | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, y: jax.Array) -> jax.Array:
    """Projects [B, feature_dim] to float32 [B, D] of unit length."""
    y = y.astype(jnp.float32)
    hidden = y.shape[-1] if self.hidden is None else self.hidden
    if hidden:
      y = nn.relu(products.Dense(
          hidden, kernel_init=_TORCH_LINEAR, dtype=self.dtype, name="hidden")(y))
    y = products.Dense(
        self.dim, kernel_init=_TORCH_LINEAR, dtype=jnp.float32, name="out")(y)
    return l2_normalize(y)


class ProjectedEncoder(nn.Module):
  """H∘F: images [B, H, W, C] in [0, 1] -> unit vectors [B, dim] float32."""
  encoder: nn.Module
  head: nn.Module

  def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
    features, _ = self.encoder(images, train=train)
    return self.head(features)


class NormedPerceptron(nn.Module):
  """A perceptron with batch norm: the heads and predictors of SimSiam, BYOL and SwAV.

  Each hidden layer is a product without bias (batch norm has one), batch norm and ReLU.

  Attributes:
    hidden: units of each hidden layer; 0 stands for the dimension of the input.
    dim: D, the dimension of the output.
    last: what follows the last product: a "bias"; batch norm without scale and bias
      ("norm"); or nothing ("plain").
    dtype: dtype of the hidden layers; parameters, statistics and the last layer are
      float32.
    bn_groups: see `norm.BatchNorm`.
  """
  hidden: tuple[int, ...]
  dim: int
  last: Literal["bias", "norm", "plain"]
  dtype: Any = jnp.float32
  bn_groups: int = norm.ALL_DEVICES

  @nn.compact
  def __call__(self, y: jax.Array, *, train: bool) -> jax.Array:
    """Maps [B, d] to float32 [B, D], of any length."""
    y = y.astype(jnp.float32)
    width = y.shape[-1]
    for index, units in enumerate(self.hidden, start=1):
      y = products.Dense(
          units or width, use_bias=False, kernel_init=_TORCH_LINEAR, dtype=self.dtype,
          name=f"hidden{index}")(y)
      y = nn.relu(norm.BatchNorm(
          groups=self.bn_groups, name=f"norm{index}")(y, train=train))
    y = products.Dense(
        self.dim, use_bias=self.last == "bias", kernel_init=_TORCH_LINEAR,
        dtype=jnp.float32, name="out")(y)
    if self.last == "norm":
      y = norm.BatchNorm(
          groups=self.bn_groups, affine=False, name="out_norm")(y, train=train)
    return y


class PredictedEncoder(nn.Module):
  """H∘F with a predictor behind it, as in SimSiam and BYOL."""
  encoder: nn.Module
  head: nn.Module
  predictor: nn.Module

  def __call__(self, images: jax.Array, *, train: bool
               ) -> tuple[jax.Array, jax.Array]:
    """Maps images [B, H, W, C] in [0, 1] to the projection z and its prediction.

    Both are float32 [B, D], of any length.
    """
    z = self.project(images, train=train)
    return z, self.predictor(z, train=train)

  def project(self, images: jax.Array, *, train: bool) -> jax.Array:
    """The projection z = H(F(x)) alone."""
    features, _ = self.encoder(images, train=train)
    return self.head(features, train=train)


class ViewsEncoder(nn.Module):
  """H∘F of images of several sizes, as SwAV's code has it.

  F sees the images of one size together, H sees all. Batch norms have their statistics
  of what is seen together.
  """
  encoder: nn.Module
  head: nn.Module

  def __call__(self, images: Sequence[jax.Array], *, train: bool) -> jax.Array:
    """Maps images [b_i, H_i, W_i, C] in [0, 1] to unit vectors [Σ b_i, D] float32."""
    features = jnp.concatenate([self.encoder(x, train=train)[0] for x in images])
    return l2_normalize(self.head(features, train=train))


class Classifier(nn.Module):
  """F with a linear layer to the logits of classes."""
  encoder: nn.Module
  classes: int

  def setup(self):
    self.classifier = products.Dense(
        self.classes, kernel_init=_TORCH_LINEAR, dtype=jnp.float32)

  def __call__(self, images: jax.Array, *, train: bool
               ) -> tuple[jax.Array, jax.Array]:
    """Maps images [B, H, W, C] in [0, 1] to F(x) [B, d] and logits [B, K], float32."""
    features = self.embed(images, train=train).astype(jnp.float32)
    return features, self.classifier(features)

  def embed(self, images: jax.Array, *, train: bool) -> jax.Array:
    """The embedding F(x) alone."""
    features, _ = self.encoder(images, train=train)
    return features


def initial_variables(net: nn.Module, images: Any, key: jax.Array,
                      encoder: PyTree | None = None) -> PyTree:
  """The variables of F and what lies on it before training.

  One seed gives F the same weights under all pre-trainers, so that these can be compared.

  Args:
    net: one of these modules, with F as its `encoder`.
    images: what it takes, which gives the shapes.
    key: of the stage; the weights come from a stream of their own.
    encoder: F's variables, `{"params": …, "batch_stats": …}`; None: F is random, too.
  """

  @jit_quickly
  def init(key):
    variables = net.init(key, images, train=False)
    if encoder is None:
      return variables
    # What is dropped here is not computed.
    return {name: {part: tree for part, tree in parts.items() if part != "encoder"}
            for name, parts in variables.items()}

  # Another name would change the weights of every seed.
  variables = init(stream(key, "moco_init"))
  if encoder is None:
    return variables
  # Copies, because steps donate their state.
  return {name: {**variables[name], "encoder": jax.tree.map(jnp.array, own)}
          for name, own in encoder.items()}


class Discriminator(nn.Module):
  """D_f or D_p of (6), without the sigmoid.

  Source: Hayase et al., (6).

  NOTE(paper): The paper does not give the architecture. We use a perceptron with leaky
  ReLUs of slope 0.2, as is common in adversarial training. It has no batch norm, which
  would separate real from generated embeddings by their batch statistics.

  Attributes:
    hidden: units of each layer except the last.
    layers: number of dense layers, including the last.
    dtype: dtype of all layers but the last; parameters and logits are float32.
  """
  hidden: int = 512
  layers: int = 3
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, y: jax.Array) -> jax.Array:
    """Maps features of images [B, D + K] to float32 logits [B]."""
    y = y.astype(jnp.float32)
    for index in range(self.layers - 1):
      y = products.Dense(self.hidden, kernel_init=_TORCH_LINEAR, dtype=self.dtype,
                         name=f"hidden{index + 1}")(y)
      y = nn.leaky_relu(y, 0.2)
    y = products.Dense(1, kernel_init=_TORCH_LINEAR, dtype=jnp.float32, name="out")(y)
    return y.squeeze(-1)
