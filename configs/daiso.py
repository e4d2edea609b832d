r"""ImageNet-DAISO (section 4.1, Table 1 right): a change of light.

Source: Hayase et al., section 4.1.

    python -m augment_gen.main --config=configs/daiso.py \
        --config.data.root=FOLDER --workdir=runs/daiso

X̃_f is X_f^S (spotlight). The test sets are X_t^R (room light) and X_t^S. The variant
`:room` swaps S and R. `:simclr` replaces MoCo v2 by SimCLR with the settings of its
paper. `:operators` has the chain of operators as G_A in place of the paper's U-Nets, with
stage 2 as in configs/photos.py, but without marks.

FOLDER holds imagenet/ (ILSVRC 2012 training images) and daiso/, the images of DAISO-100
with the table of their products and lights, or in folders that say these. data/daiso.py
divides them into the paper's four sets.

`:standin` needs no download: X_p, X̃_f and the tests are pictures of rendered products
(data/products), and everything is small enough for 2 CPU cores. `:standin,room` swaps the
lights there. `:runlocal` and `:standin,runlocal` run every stage for two steps.

    python -m augment_gen.main --config=configs/daiso.py:standin --workdir=runs/standin

The paper reports S→R 67.45 → 71.91 and R→S 71.10 → 74.49. We have not run this size yet.
"""

from augment_gen.config import apply_variants, default_config, presets


def get_config(variant: str = ""):
  config = default_config()
  config.experiment = "ImageNet-DAISO"

  config.data.image_size = 224
  presets.imagenet_colours(config)
  config.data.implicit = "none"  # the light has already changed X̃_f
  config.data.finetune_per_class = 0  # the test sets are given
  config.data.pretrain = "folder:{root}/imagenet?labels=none&convert=1"
  # X̃_f and the two test sets, 40,000 images each, take 17 GiB; X_p is streamed.
  config.data.max_resident_gib = 24.0
  lighting(config, "S")
  config.generator.epochs = 25

  config.encoder.name = "resnet50"
  config.generator.networks.augmenter = "unet"
  config.generator.networks.eliminator = "unet"
  # NOTE(paper): The paper has "an input channel that corresponded to z". We take z as a
  # map, here of 14 × 14.
  config.generator.latent.dim = 14 * 14

  # The true change of light is not known, so there is no oracle.
  config.retrain.arms = "generator,prior,control,random"

  config.evaluate.protocols = "moco,l2,knn"
  return apply_variants(config, variant, {
      "room": room, "simclr": presets.simclr, "operators": operators, "standin": standin,
      "runlocal": runlocal})


def operators(config):
  """G_A as a chain of imaging operators, and the settings that go with it.

  X_p shows other things than X_f, which G_A would bridge by marks, so it has what light,
  lens and sensor do alone, and D_f judges G_A(x_p, z) to the end. A lamp on photographs of
  products was learned so (docs/experiments/029).
  """
  presets.generator_on_photographs(config)
  config.generator.networks.operators = (
      "shading,glare,blur,tone,colour,noise,sharpening,compression")
  config.generator.discriminator.same_content = 0.0


def room(config):
  """X̃_f under room light."""
  lighting(config, "R")
  if config.generator.epochs:
    config.generator.epochs = 28


def lighting(config, light: str):
  """X̃_f under one light and tests under both."""
  lights = {"S": "spotlight", "R": "room"}

  def spec(name: str, part: str) -> str:
    if not is_standin(config):
      return f"daiso:{{root}}/daiso?light={lights[name]}&part={part}"
    per_class = {"finetune": 20, "test": 10}[part]
    return f"products:shop?light={lights[name]}&part={part}&per_class={per_class}"

  config.data.finetune_name = light
  config.data.finetune = spec(light, "finetune")
  others = [name for name in lights if name != light]
  config.data.tests = ",".join(
      f"{name}={spec(name, 'test')}" for name in (*others, light))


def is_standin(config) -> bool:
  return config.data.pretrain.startswith("products:")


def standin(config):
  """Rendered products, a small encoder and few steps, for 2 CPU cores."""
  config.experiment = "stand-in for ImageNet-DAISO"
  config.data.image_size = 64
  config.data.pretrain = "products:world?images=10000"
  lighting(config, config.data.finetune_name)

  config.encoder.name = "resnet18"
  config.encoder.width = 16
  presets.short_pretraining(config, recipe="moco_v2")
  config.moco.queue = 4096
  config.pretrain.epochs = 20
  config.retrain.epochs = 8

  presets.working_generator(config)
  config.generator.epochs = 0
  config.generator.steps = 1500
  config.generator.networks.unet_depth = 2
  presets.edit_logits(config)
  # As in configs/photos.py: "maps" would give D 32 × 32 × 16 inputs per image.
  config.generator.discriminator.features = "stages"

  config.evaluate.protocols = "l2,knn"


def runlocal(config):
  """Runs every stage for two steps on a few small images."""
  rendered = is_standin(config)
  presets.runlocal(config)
  config.data.image_size = 32
  config.data.finetune_per_class = 0
  if rendered:
    config.data.pretrain = "products:world?images=32"
    shop = "products:shop?classes=8"
    config.data.finetune = f"{shop}&light=spotlight&per_class=4"
    config.data.tests = (f"R={shop}&light=room&part=test&per_class=2,"
                         f"S={shop}&light=spotlight&part=test&per_class=2")
  else:
    config.data.finetune = "rendered:scripts?per_class=4&classes=8"
    config.data.tests = (
        "R=rendered:scripts?per_class=2&classes=8&seed=1,"
        "S=rendered:scripts?per_class=2&classes=8&seed=2")
  config.generator.networks.unet_width = 4
  config.generator.networks.unet_depth = 2
  config.generator.latent.dim = 16
