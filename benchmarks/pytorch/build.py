"""Builds G_A, and G_E with G_L; compare augment_gen/models/build.py."""

from torch import nn

from augment_gen.augment.operators import chosen
from augment_gen.config import Config, names
from augment_gen.models import latent_maps
from pytorch import operators, perceptron, unet
from pytorch.operator_chain import OperatorChain
from pytorch.outputs import Augmenter

_SCALES = {"square": 2.0, "learned": 8.0}  # of latents, at the input of G_A


def build(config: Config) -> tuple[Augmenter, nn.Module, int]:
  """Builds G_A `(x, z) -> image`, G_E with G_L `(x) -> (image, latents)`, and finds Z.

  Raises:
    ValueError: a U-Net has the "square" layout, or the chain of operators has geometry,
      amounts that see the image or a residual, none of which has a PyTorch side.
  """
  networks, latent, data = config.generator.networks, config.generator.latent, config.data
  dim = latent.dim
  layout: str = latent.layout
  shape = (data.channels, data.side, data.side)
  scale = _SCALES[layout]
  sizes = (networks.unet_width, networks.unet_depth, networks.unet_patch, networks.output)
  dense = (networks.hidden, networks.layers, networks.output)
  augmenter: Augmenter
  if networks.augmenter == "operators":
    augmenter = _chain(config)
    layout, dim = "pooled", len(augmenter.latents)
  elif networks.augmenter == "unet":
    augmenter = unet.Augmenter(shape, dim, scale, latent_maps.MARKS, *sizes)
  else:
    augmenter = perceptron.PerceptronAugmenter(shape, dim, scale, *dense)
  if layout == "square" and "unet" in (networks.augmenter, networks.eliminator):
    raise ValueError("U-Nets with square latents have no PyTorch side")
  eliminator: nn.Module = (
      unet.Eliminator(shape, dim, layout, *sizes) if networks.eliminator == "unet" else
      perceptron.PerceptronEliminator(shape, dim, *dense))
  return augmenter, eliminator, dim


def _chain(config: Config) -> OperatorChain:
  networks = config.generator.networks
  chain = chosen(names(networks.operators), config.data.channels)
  if missing := [operator.name for operator in chain
                 if operator.name not in operators.FUNCTIONS]:
    raise ValueError(f"the operator {missing[0]} has no PyTorch side")
  if networks.amounts_see_image or networks.residual_width:
    raise ValueError("amounts that see the image and a residual have no PyTorch side")
  return OperatorChain(chain)
