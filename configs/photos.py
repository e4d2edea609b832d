r"""Your own images: a clean set, and a labelled set under other conditions.

    python -m augment_gen.main --config=configs/photos.py \
        --config.data.root=FOLDER --workdir=runs/photos

FOLDER holds

    clean/            X_p: any tree of images; many, with similar content
    labelled/CLASS/   X̃_f: some images of every class, under the other conditions
    test/CLASS/       test images; for further sets or other names give
                      --config.data.tests=day=folder:{root}/day,night=…

A table can say all this instead (docs/user_guide.md, "Images with a table").

This is a starting point. If clean/ shows what labelled/ shows, 800 steps learn defocus,
under-exposure and a warm lamp at one side (docs/experiments/024 and 027). Look at the
figures, not at the numbers alone. With some thousands of images, raise the epochs. With a
GPU, also raise image_size and choose a larger encoder (encoder.name). `:grey` is for grey
images.
`:runlocal` runs every stage for two steps on rendered characters.
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
  config.data.implicit = "none"  # the conditions have already changed X̃_f
  config.data.on_bad_image = "skip"

  presets.short_pretraining(config, recipe="moco_v2")
  config.moco.queue = 4096
  config.pretrain.epochs = 50
  config.retrain.epochs = 25
  config.retrain.arms = "generator,prior,control,random"

  presets.generator_on_photographs(config)
  # Nobody can tell a dark scene from a dark exposure, so G_E leaves a part of the change
  # in x̃: judged on G_A(G_E(x̃), z), G_A would draw only the rest. X_p shows what X_f
  # shows here (docs/experiments/024).
  config.generator.discriminator.same_content = 0.0

  config.evaluate.protocols = "l2,knn"
  config.evaluate.finetune.batch_size = 64  # X̃_f may be small
  return apply_variants(config, variant, {"grey": grey, "runlocal": runlocal})


def grey(config):
  """Grey images; mean and std are those of ImageNet's images made grey, about."""
  config.data.channels = 1
  config.data.mean, config.data.std = (0.45,), (0.23,)


def runlocal(config):
  """Runs every stage for two steps on small rendered RGB images."""
  presets.runlocal(config)
  config.data.image_size = 32
  config.data.finetune_per_class = 0
  config.data.tests = "test=rendered:scripts?per_class=2&classes=8&seed=1"
