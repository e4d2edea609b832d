"""All four stages on rendered characters, with nothing to download.

X_p: Latin letters and digits; X_f: letters of other scripts, as EMNIST stands
to Omniglot in the paper. Shows that everything runs; no number of it is the
paper's.

    python -m augment_gen.main --config=configs/quickstart.py \
        --workdir=runs/quickstart
"""

from augment_gen.config import apply_variants, default_config


def get_config(variant: str = ""):
  config = default_config()
  config.experiment = "Rendered characters"

  config.data.pretrain = "rendered:latin?per_class=200"
  config.data.finetune = "rendered:scripts?per_class=20&classes=200"
  config.data.mean, config.data.std = (0.17,), (0.33,)

  config.encoder.width = 16
  config.moco.queue = 4096
  # At 100 steps an epoch the key encoder would never move with 0.999.
  config.moco.momentum = 0.99

  for stage in (config.pretrain, config.retrain):
    stage.recipe = "handwriting"
    stage.batch_size = 128
    stage.optimizer.lr = 0.06
    stage.optimizer.schedule = "cosine"
  config.pretrain.epochs = 8
  config.retrain.epochs = 4

  use_working_generator(config)
  config.generator.epochs = 0
  config.generator.steps = 1500

  config.evaluate.protocols = "l2,knn"
  config.log.every_steps = 25
  config.log.checkpoint_every_steps = 250
  return apply_variants(config, variant, {"runlocal": runlocal})


def use_working_generator(config):
  """Settings under which G_A drew varied dots in rough trials.

  NOTE(paper): the paper has momentum SGD 3e-4 and gives neither λ, Z nor the
  output's form. Its own settings are those of configs/omniglot.py.
  """
  config.generator.batch_size = 128
  config.generator.output = "edit"
  config.generator.l1_reduction = "sum"
  config.generator.cycle_weight = 0.1
  config.generator.latent_weight = 8.0
  config.generator.latent.dim = 16
  config.generator.latent.scale = 8.0
  config.generator.discriminator.standardise = True
  config.generator.optimizer.name = "adam"
  config.generator.optimizer.lr = 2e-4
  config.generator.optimizer.momentum = 0.5  # β1


def runlocal(config):
  """Seconds: two steps of every stage."""
  config.data.pretrain = "rendered:latin?per_class=1"
  config.data.finetune = "rendered:scripts?per_class=6&classes=8"
  config.data.finetune_per_class = 4
  config.encoder.width = 4
  config.moco.queue = 32
  config.moco.bn_groups = 2
  for stage in (config.pretrain, config.generator, config.retrain):
    stage.batch_size = 16
    stage.epochs = 0
    stage.steps = 2
  config.generator.hidden = 16
  config.generator.discriminator.hidden = 16
  config.evaluate.l2_iterations = 3
  config.evaluate.moco_epochs = 2
  config.log.every_steps = 1
  config.log.checkpoint_every_steps = 1
  config.log.figure_images = 4
