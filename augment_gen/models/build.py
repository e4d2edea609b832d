"""Builds networks from the config."""

from collections.abc import Callable
import functools
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from augment_gen import config as config_lib
from augment_gen.augment import learned, operators
from augment_gen.models import (
  convnet,
  heads,
  latent_maps,
  operator_chain,
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
    bn_groups: number of batch-norm groups on *each device*, or `norm.ALL_DEVICES`.
  """
  encoder, data = config.encoder, config.data
  settings: dict[str, Any] = {"stage_sizes": encoder.blocks} if encoder.blocks else {}
  if encoder.name != "convnet":
    settings["stem"] = encoder.stem
  return ENCODERS[encoder.name](
      width=encoder.width, dtype=dtype_of(config), bn_groups=bn_groups,
      mean=data.mean, std=data.std, **settings)


def build_generator(config: config_lib.Config) -> tuple[nn.Module, nn.Module]:
  """Builds G_A, and G_E with G_L.

  Args:
    config: sections `generator` and `data` (for the shape of the images), and
      `precision`.

  Returns:
    The augmenter `(x, z) -> image` and the eliminator
    `(x) -> (image, latents)`.

  Raises:
    UserError: a U-Net has the "square" layout, but the number of latents is not a
      square number.
  """
  networks, latent, data = config.generator.networks, config.generator.latent, config.data
  if ("unet" in (networks.augmenter, networks.eliminator)
      and networks.augmenter != "operators" and latent.layout == "square"):
    latent_maps.latent_side(latent.dim)
  sizes: dict[str, dict[str, Any]] = {
      "unet": {"width": networks.unet_width, "depth": networks.unet_depth,
               "layout": latent.layout, "output": networks.output},
      "perceptron": {"image_shape": (data.side, data.side, data.channels),
                     "hidden": networks.hidden, "layers": networks.layers,
                     "output": networks.output}}
  augmenters: dict[str, Callable[..., nn.Module]] = {
      "unet": functools.partial(unet.UNetAugmenter, marks=latent_maps.MARKS),
      "perceptron": perceptron.PerceptronAugmenter}
  eliminators: dict[str, Callable[..., nn.Module]] = {
      "unet": unet.UNetEliminator,
      "perceptron": perceptron.PerceptronEliminator}
  eliminator = eliminators[networks.eliminator]
  dtype = dtype_of(config)
  augmenter: nn.Module
  if networks.augmenter == "operators":
    augmenter = _operator_chain(config)
    sizes["unet"]["layout"] = "pooled"
  else:
    augmenter = augmenters[networks.augmenter](
        latent_scale=_LATENT_SCALE[latent.layout], dtype=dtype,
        **sizes[networks.augmenter])
  return augmenter, eliminator(
      latent_dim=latent_dim(config), dtype=dtype, **sizes[networks.eliminator])


def _operator_chain(config: config_lib.Config) -> operator_chain.OperatorChain:
  networks = config.generator.networks
  residual = unet.UNet(networks.residual_width, networks.unet_depth, dtype_of(config))
  return operator_chain.OperatorChain(
      operators.chosen(config_lib.names(networks.operators), config.data.channels),
      see_image=networks.amounts_see_image,
      residual=residual if networks.residual_width else None)


def latent_dim(config: config_lib.Config) -> int:
  """Z: a chain of operators has as many latents as its amounts need."""
  if config.generator.networks.augmenter == "operators":
    return len(_operator_chain(config).latents)
  return config.generator.latent.dim


@functools.cache
def generator_functions(config: config_lib.Config) -> tuple[Callable, Callable]:
  """Returns the networks of `build_generator` as functions of their parameters.

  Equal arguments give the same function objects, so that callers compile them only once
  per process.

  Args:
    config: see `build_generator`.

  Returns:
    G_A `(params, x [b, H, W, C], z [b, Z]) -> image`, and G_E with G_L
    `(params, x) -> (image, latents [b, Z])`.

  Raises:
    UserError: see `build_generator`.
  """
  augmenter, eliminator = build_generator(config)
  return (lambda params, x, z: augmenter.apply({"params": params}, x, z),
          lambda params, x: eliminator.apply({"params": params}, x))


def bank_of(config: config_lib.Config) -> Callable:
  """Returns the function that makes the bank Z̃ of the latents G_L(x̃), [M, Z]."""
  if config.generator.networks.augmenter == "operators":
    return learned.calibrated
  return lambda latents: latents


@functools.cache
def shown_latents(config: config_lib.Config) -> Callable:
  """Returns `(G_A's params, z [b, Z]) -> [b, Z]`, see `outputs.Augmenter.shown`."""
  augmenter, _ = build_generator(config)
  return jax.jit(lambda params, z: augmenter.apply({"params": params}, z, method="shown"))


def build_discriminator(config: config_lib.Config) -> heads.Discriminator:
  """Builds D_f or D_p, which differ only in their parameters."""
  discriminator = config.generator.discriminator
  return heads.Discriminator(hidden=discriminator.hidden, layers=discriminator.layers,
                             dtype=dtype_of(config))
