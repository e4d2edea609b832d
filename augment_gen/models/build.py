"""Builds networks from the config."""

from collections.abc import Callable
import functools
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from augment_gen import config as config_lib
from augment_gen.augment import operators
from augment_gen.models import (
  convnet,
  heads,
  latent_maps,
  operator_chain,
  outputs,
  perceptron,
  resnet,
  unet,
)

ENCODERS: dict[str, Callable[..., nn.Module]] = {
    "resnet18": resnet.ResNet18,
    "resnet34": resnet.ResNet34,
    "resnet50": resnet.ResNet50,
    "convnet": convnet.ConvNet,
}

# G_A reads `scale · (z − 1/2)`. NOTE(paper): the paper gives no scale. What these do was
# within the noise (docs/experiments/013).
_LATENT_SCALE = {"square": 2.0, "learned": 8.0}

# `config.precision`: the type of products and maps. Parameters, statistics, last layers
# and losses are float32 in any case.
_DTYPES = {"float32": jnp.float32, "bf16": jnp.bfloat16}


def dtype_of(config: config_lib.Config) -> Any:
  """The type in which networks compute, see `config.precision`."""
  return _DTYPES[config.precision]


def build_encoder(config: config_lib.Config, bn_groups: int = 1) -> nn.Module:
  """Builds the encoder F.

  Args:
    config: sections `encoder` and `data` (for the normalisation of the images), and
      `precision`.
    bn_groups: number of batch-norm groups on *each device*, or `norm.ALL_DEVICES`
      or `norm.EACH_VIEW`.
  """
  encoder, data = config.encoder, config.data
  settings: dict[str, Any] = {"stage_sizes": encoder.blocks} if encoder.blocks else {}
  if encoder.name != "convnet":
    settings |= {"stem": encoder.stem, "remat": config.remat}
  return ENCODERS[encoder.name](
      width=encoder.width, dtype=dtype_of(config), bn_groups=bn_groups,
      mean=data.mean, std=data.std, **settings)


def _unet(config: config_lib.Config) -> outputs.Augmenter:
  networks, layout = config.generator.networks, config.generator.latent.layout
  if layout == "square":
    latent_maps.latent_side(config.generator.latent.dim)
  return unet.UNetAugmenter(
      width=networks.unet_width, depth=networks.unet_depth, patch=networks.unet_patch,
      layout=layout, output=networks.output, marks=latent_maps.MARKS,
      latent_scale=_LATENT_SCALE[layout], dtype=dtype_of(config), remat=config.remat)


def _perceptron(config: config_lib.Config) -> outputs.Augmenter:
  return perceptron.PerceptronAugmenter(
      latent_scale=_LATENT_SCALE[config.generator.latent.layout],
      **_of_perceptrons(config))


def _of_perceptrons(config: config_lib.Config) -> dict[str, Any]:
  networks, data = config.generator.networks, config.data
  return {"image_shape": (data.side, data.side, data.channels),
          "hidden": networks.hidden, "layers": networks.layers,
          "output": networks.output, "dtype": dtype_of(config)}


def _operators(config: config_lib.Config) -> outputs.Augmenter:
  networks = config.generator.networks
  residual = unet.UNet(networks.residual_width, networks.unet_depth, networks.unet_patch,
                       dtype_of(config), config.remat)
  return operator_chain.OperatorChain(
      operators.chosen(config_lib.names(networks.operators), config.data.channels),
      see_image=networks.amounts_see_image,
      residual=residual if networks.residual_width else None)


AUGMENTERS: dict[str, Callable[[config_lib.Config], outputs.Augmenter]] = {
    "unet": _unet,
    "perceptron": _perceptron,
    "operators": _operators,
}


@functools.cache
def build_augmenter(config: config_lib.Config) -> outputs.Augmenter:
  """Builds G_A, `(x, z) -> image`.

  Args:
    config: sections `generator` and `data` (for the shape of the images), and
      `precision`.

  Raises:
    UserError: a U-Net has the "square" layout, but the number of latents is not a
      square number.
  """
  return AUGMENTERS[config.generator.networks.augmenter](config)


def latent_dim(config: config_lib.Config) -> int:
  """Z, the number of latents."""
  return len(build_augmenter(config).latents) or config.generator.latent.dim


def build_eliminator(config: config_lib.Config) -> nn.Module:
  """Builds G_E with G_L, `(x) -> (image, latents)`.

  Args:
    config: see `build_augmenter`.

  Raises:
    UserError: see `build_augmenter`.
  """
  networks, latent = config.generator.networks, config.generator.latent
  dim = latent_dim(config)
  if networks.eliminator == "perceptron":
    return perceptron.PerceptronEliminator(latent_dim=dim, **_of_perceptrons(config))
  layout = build_augmenter(config).read_as or latent.layout
  if layout == "square":
    latent_maps.latent_side(dim)
  return unet.UNetEliminator(
      latent_dim=dim, width=networks.unet_width, depth=networks.unet_depth,
      patch=networks.unet_patch, layout=layout, output=networks.output,
      dtype=dtype_of(config), remat=config.remat)


@functools.cache
def generator_functions(config: config_lib.Config) -> tuple[Callable, Callable]:
  """Returns G_A, and G_E with G_L, as functions of their parameters.

  Equal arguments give the same function objects, so that callers compile them only once
  per process.

  Args:
    config: see `build_augmenter`.

  Returns:
    G_A `(params, x [b, H, W, C], z [b, Z]) -> image`, and G_E with G_L
    `(params, x) -> (image, latents [b, Z])`.

  Raises:
    UserError: see `build_augmenter`.
  """
  augmenter, eliminator = build_augmenter(config), build_eliminator(config)
  return (lambda params, x, z: augmenter.apply({"params": params}, x, z),
          lambda params, x: eliminator.apply({"params": params}, x))


@functools.cache
def weakened_augmenter(config: config_lib.Config) -> Callable | None:
  """Returns G_A with a strength for each image, cached as `generator_functions`.

  Returns:
    `(params, x [b, H, W, C], z [b, Z], strength [b] in [0, 1]) -> image`; None if G_A is
    no chain of operators, and so has no strengths.
  """
  augmenter = build_augmenter(config)
  if not isinstance(augmenter, operator_chain.OperatorChain):
    return None
  return lambda params, x, z, strength: augmenter.apply(
      {"params": params}, x, z, share=strength)


@functools.cache
def shown_latents(config: config_lib.Config) -> Callable:
  """Returns `(G_A's params, z [b, Z]) -> [b, Z]`, see `outputs.Augmenter.shown`."""
  augmenter = build_augmenter(config)
  return jax.jit(lambda params, z: augmenter.apply({"params": params}, z, method="shown"))


def build_discriminator(config: config_lib.Config) -> heads.Discriminator:
  """Builds D_f or D_p, which differ only in their parameters."""
  discriminator = config.generator.discriminator
  return heads.Discriminator(hidden=discriminator.hidden, layers=discriminator.layers,
                             dtype=dtype_of(config))
