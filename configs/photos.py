"""Your own colour images: a clean set, and a labelled one taken otherwise.

    python -m augment_gen.main --config=configs/photos.py \
        --config.data.root=FOLDER --workdir=runs/photos

FOLDER holds

    clean/            any tree of images, X_p: many, of whatever is near
    labelled/CLASS/   X̃_f: some of every class, as the conditions made them
    test/CLASS/       to be tested on; further sets and other names by
                      --config.data.tests=day=folder:{root}/day,night=…

A start to vary from: nothing here was measured on photographs yet. With some
thousands of images raise the epochs; with a GPU, image_size and encoder.name too.
`:runlocal` runs every stage in two steps on rendered characters.
"""

from augment_gen.config import apply_variants, default_config, presets


def get_config(variant: str = ""):
  config = default_config()
  config.experiment = "Photographs"

  config.data.image_size = 64
  presets.imagenet_colours(config)
  config.data.pretrain = "folder:{root}/clean?labels=none"
  config.data.finetune = "folder:{root}/labelled"
  config.data.finetune_name = "labelled"
  config.data.finetune_per_class = 0  # the test set is given
  config.data.tests = "test=folder:{root}/test"
  config.data.implicit = "none"  # X̃_f comes as its conditions made it
  config.data.on_bad_image = "skip"

  presets.short_moco(config, recipe="moco_v2")
  config.moco.queue = 4096
  config.pretrain.epochs = 50
  config.retrain.epochs = 25
  config.retrain.arms = "generator,prior,control,random"

  presets.working_generator(config)
  config.generator.epochs = 0
  config.generator.steps = 3000
  # Changes of photographs are mostly smooth, as light is: D_f judges G_A on clean
  # images of X_p, too. The preset's 0 is for dots (docs/experiments/014).
  config.generator.losses.adversarial_f_weight = 0.5
  config.generator.networks.unet_width = 16
  config.generator.networks.unet_depth = 3  # to see as far as a change of light reaches
  # "maps" would have 32 × 32 × 64 entries an image at D's input.
  config.generator.discriminator.features = "stages"

  config.evaluate.protocols = "l2,knn"
  return apply_variants(config, variant, {"runlocal": runlocal})


def runlocal(config):
  """Every stage in two steps, on small rendered RGB images."""
  presets.runlocal(config)
  config.data.image_size = 32
  config.data.finetune_per_class = 0
  config.data.tests = "test=rendered:scripts?per_class=2&classes=8&seed=1"
