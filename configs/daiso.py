r"""ImageNet-DAISO (section 4.1, Table 1 right): a change of light.

    python -m augment_gen.main --config=configs/daiso.py \
        --config.data.root=FOLDER --workdir=runs/daiso

X̃_f is X_f^S (spotlight). The test sets are X_t^R (room light) and X_t^S. The variant
`:room` swaps S and R. `:simclr` replaces MoCo v2 by SimCLR with the settings of its
paper. FOLDER holds imagenet/ (ILSVRC 2012 training images) and daiso/, the images of
DAISO-100 with the table of their products and lights, or in folders that say these.
data/daiso.py divides them into the paper's four sets.

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
  config.data.pretrain = "folder:{root}/imagenet?labels=none"
  lighting(config, "S", epochs=25)

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
      "room": lambda config: lighting(config, "R", epochs=28),
      "simclr": presets.simclr, "runlocal": runlocal})


def lighting(config, light: str, epochs: int):
  """X̃_f under one light and tests under both; section 4.1 gives the epochs."""
  lights = {"S": "spotlight", "R": "room"}
  quarter = "daiso:{{root}}/daiso?light={}&part={}".format
  config.data.finetune_name = light
  config.data.finetune = quarter(lights[light], "finetune")
  others = [name for name in lights if name != light]
  config.data.tests = ",".join(
      f"{name}={quarter(lights[name], 'test')}" for name in (*others, light))
  config.generator.epochs = epochs


def runlocal(config):
  """Runs every stage for two steps on small rendered RGB images."""
  presets.runlocal(config)
  config.data.image_size = 32
  config.data.finetune = "rendered:scripts?per_class=4&classes=8"
  config.data.finetune_per_class = 0
  config.data.tests = (
      "R=rendered:scripts?per_class=2&classes=8&seed=1,"
      "S=rendered:scripts?per_class=2&classes=8&seed=2")
  config.generator.networks.unet_width = 4
  config.generator.networks.unet_depth = 2
  config.generator.latent.dim = 16
