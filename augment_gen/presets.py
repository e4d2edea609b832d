"""Groups of settings that several configs share."""

import ml_collections


def working_generator(config: ml_collections.ConfigDict) -> None:
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


def short_moco(config: ml_collections.ConfigDict) -> None:
  """MoCo for a thousand steps in place of a million.

  NOTE(paper): with the official settings the embeddings, nearly all alike at
  first, are still so after a thousand steps: SGD spreads them too slowly, and a
  long queue of keys from a moving key encoder rewards moving on rather than
  telling images apart. docs/experiments/ has the trials.
  """
  config.moco.queue = 512
  config.moco.momentum = 0.99
  config.moco.bn_groups = 2
  for stage in (config.pretrain, config.retrain):
    stage.recipe = "handwriting"
    stage.batch_size = 128
    stage.optimizer.name = "adam"
    stage.optimizer.lr = 1e-3
    stage.optimizer.weight_decay = 0.0
    stage.optimizer.schedule = "cosine"


def runlocal(config: ml_collections.ConfigDict) -> None:
  """Two steps of every stage, on few rendered characters: seconds on a CPU."""
  config.data.pretrain = "rendered:latin?per_class=1"
  config.data.finetune = "rendered:scripts?per_class=6&classes=8"
  config.data.finetune_per_class = 4
  config.encoder.width = 4
  config.encoder.blocks = (1, 1, 1)  # what takes the time is compiling
  config.moco.queue = 32
  config.moco.bn_groups = 8
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
