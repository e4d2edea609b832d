"""Builds networks from sections of the config."""

from collections.abc import Callable
import functools
from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from augment_gen import config as config_lib
from augment_gen.models import convnet, heads, latent_maps, perceptron, resnet, unet

ENCODERS: dict[str, Callable[..., nn.Module]] = {
    "resnet18": resnet.ResNet18,
    "resnet34": resnet.ResNet34,
    "resnet50": resnet.ResNet50,
    "convnet": convnet.ConvNet,
}

# G_A reads `scale · (z − 1/2)`. NOTE(paper): the paper gives no scale. What these do was
# within the noise (docs/experiments/013).
_LATENT_SCALE = {"square": 2.0, "learned": 8.0}


def build_encoder(
    config: config_lib.EncoderConfig, data: config_lib.DataConfig,
    bn_groups: int = 1,
) -> nn.Module:
  """Builds the encoder F.

  Args:
    config: section `encoder`.
    data: section `data`, for the normalisation of the images.
    bn_groups: number of batch-norm groups on *each device*, or `norm.ALL_DEVICES`.
  """
  settings: dict[str, Any] = {"stage_sizes": config.blocks} if config.blocks else {}
  if config.name != "convnet":
    settings["stem"] = config.stem
  return ENCODERS[config.name](
      width=config.width, dtype=jnp.dtype(config.dtype), bn_groups=bn_groups,
      mean=data.mean, std=data.std, **settings)


def build_generator(
    config: config_lib.GeneratorConfig, data: config_lib.DataConfig,
) -> tuple[nn.Module, nn.Module]:
  """Builds G_A, and G_E with G_L.

  Args:
    config: section `generator`.
    data: section `data`, for the shape of the images.

  Returns:
    The augmenter `(x, z) -> image` and the eliminator
    `(x) -> (image, latents)`.

  Raises:
    UserError: a U-Net has the "square" layout, but the number of latents is not a
      square number.
  """
  networks, latent = config.networks, config.latent
  if ("unet" in (networks.augmenter, networks.eliminator)
      and latent.layout == "square"):
    latent_maps.latent_side(latent.dim)
  sizes: dict[str, dict[str, Any]] = {
      "unet": {"width": networks.unet_width, "depth": networks.unet_depth,
               "layout": latent.layout, "output": networks.output},
      "perceptron": {"image_shape": (data.side, data.side, data.channels),
                     "hidden": networks.hidden, "layers": networks.layers,
                     "output": networks.output}}
  augmenters: dict[str, Callable[..., nn.Module]] = {
      "unet": functools.partial(unet.UNetAugmenter, marks=config.marks),
      "perceptron": perceptron.PerceptronAugmenter}
  eliminators: dict[str, Callable[..., nn.Module]] = {
      "unet": unet.UNetEliminator,
      "perceptron": perceptron.PerceptronEliminator}
  augmenter = augmenters[networks.augmenter]
  eliminator = eliminators[networks.eliminator]
  return (augmenter(latent_scale=_LATENT_SCALE[latent.layout], **sizes[networks.augmenter]),
          eliminator(latent_dim=latent.dim, **sizes[networks.eliminator]))


@functools.cache
def generator_functions(
    config: config_lib.GeneratorConfig, data: config_lib.DataConfig,
) -> tuple[Callable, Callable]:
  """Returns the networks of `build_generator` as functions of their parameters.

  Equal arguments give the same function objects, so that callers compile them only once
  per process.

  Args:
    config: section `generator`.
    data: section `data`, for the shape of the images.

  Returns:
    G_A `(params, x [b, H, W, C], z [b, Z]) -> image`, and G_E with G_L
    `(params, x) -> (image, latents [b, Z])`.

  Raises:
    UserError: see `build_generator`.
  """
  augmenter, eliminator = build_generator(config, data)
  return (lambda params, x, z: augmenter.apply({"params": params}, x, z),
          lambda params, x: eliminator.apply({"params": params}, x))


def build_discriminator(
    config: config_lib.DiscriminatorConfig) -> heads.Discriminator:
  """Builds D_f or D_p, which differ only in their parameters."""
  return heads.Discriminator(hidden=config.hidden, layers=config.layers)
