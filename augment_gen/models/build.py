"""From the config's sections to networks."""

from collections.abc import Callable, Iterable
import functools

from flax import linen as nn
import jax.numpy as jnp

from augment_gen import config as config_lib
from augment_gen import errors
from augment_gen.models import convnet
from augment_gen.models import heads
from augment_gen.models import latent_maps
from augment_gen.models import outputs
from augment_gen.models import perceptron
from augment_gen.models import resnet
from augment_gen.models import unet

ENCODERS = {
    "resnet18": resnet.ResNet18,
    "resnet34": resnet.ResNet34,
    "resnet50": resnet.ResNet50,
    "convnet": convnet.ConvNet,
}
DTYPES = ("float32", "bfloat16")
NETWORKS = ("perceptron", "unet")


def build_encoder(
    config: config_lib.EncoderConfig, data: config_lib.DataConfig,
    bn_groups: int = 1,
) -> nn.Module:
  """F.

  Args:
    config: section `encoder`.
    data: section `data`, for the normalisation of the images.
    bn_groups: batch-norm groups on *each device*, or `norm.ALL_DEVICES`.

  Raises:
    UserError: an unknown name, stem or dtype.
  """
  errors.raise_if_any(
      _unknown("encoder.name", config.name, ENCODERS)
      + _unknown("encoder.stem", config.stem, resnet.STEMS)
      + _unknown("encoder.dtype", config.dtype, DTYPES))
  settings = {"stage_sizes": config.blocks} if config.blocks else {}
  if config.name != "convnet":
    settings["stem"] = config.stem
  return ENCODERS[config.name](
      width=config.width, dtype=jnp.dtype(config.dtype), bn_groups=bn_groups,
      mean=data.mean, std=data.std, **settings)


def build_generator(
    config: config_lib.GeneratorConfig, data: config_lib.DataConfig,
) -> tuple[nn.Module, nn.Module]:
  """G_A, and G_E with G_L.

  Args:
    config: section `generator`.
    data: section `data`, for the shape of the images.

  Returns:
    The augmenter `(x, z) -> image` and the eliminator
    `(x) -> (image, latents)`.

  Raises:
    UserError: an unknown kind of network, output or layout, or latents that are
      to be laid out as a square and are none.
  """
  errors.raise_if_any(
      _unknown("generator.augmenter", config.augmenter, NETWORKS)
      + _unknown("generator.eliminator", config.eliminator, NETWORKS)
      + _unknown("generator.output", config.output, outputs.OUTPUTS)
      + _unknown("generator.latent.layout", config.latent.layout,
                 outputs.LAYOUTS))
  latent = config.latent
  if ("unet" in (config.augmenter, config.eliminator)
      and latent.layout == "square"):
    latent_maps.latent_side(latent.dim)
  sizes = {
      "unet": dict(width=config.unet_width, depth=config.unet_depth,
                   layout=latent.layout, output=config.output),
      "perceptron": dict(
          image_shape=(data.side, data.side, data.channels),
          hidden=config.hidden, layers=config.layers, output=config.output)}
  augmenter = {
      "unet": functools.partial(unet.UNetAugmenter, marks=config.marks),
      "perceptron": perceptron.PerceptronAugmenter}[config.augmenter]
  eliminator = {"unet": unet.UNetEliminator,
                "perceptron": perceptron.PerceptronEliminator,
                }[config.eliminator]
  return (augmenter(latent_scale=latent.scale, **sizes[config.augmenter]),
          eliminator(latent_dim=latent.dim, **sizes[config.eliminator]))


@functools.cache
def generator_functions(
    config: config_lib.GeneratorConfig, data: config_lib.DataConfig,
) -> tuple[Callable, Callable]:
  """What `build_generator` builds, as functions of parameters.

  The same functions each time, so that what compiles them does so once a process.

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
  """One of D_f and D_p: the two differ in their parameters alone."""
  return heads.Discriminator(hidden=config.hidden, layers=config.layers)


def _unknown(field: str, value: str, choices: Iterable[str]) -> list[str]:
  if value in choices:
    return []
  return [f"{field} '{value}' is unknown; choose from {', '.join(choices)}"]
