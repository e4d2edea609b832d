r"""All four stages on rendered characters; needs no download.

X_p holds Latin letters and digits, and X_f letters of other scripts, as with EMNIST and
Omniglot in the paper. This config shows that everything runs. It reproduces none of the
paper's numbers.

    python -m augment_gen.main --config=configs/quickstart.py \
        --workdir=runs/quickstart
"""

from augment_gen.config import apply_variants, default_config, presets


def get_config(variant: str = ""):
  config = default_config()
  config.experiment = "Rendered characters"

  config.data.pretrain = "rendered:latin?per_class=200"
  config.data.finetune = "rendered:scripts?per_class=20&classes=200"
  config.data.mean, config.data.std = (0.17,), (0.33,)

  config.encoder.width = 16
  presets.short_pretraining(config)
  config.pretrain.epochs = 8
  config.retrain.epochs = 4
  config.retrain.arms = "generator,control"

  presets.working_generator(config)
  config.generator.epochs = 0
  config.generator.steps = 400

  config.evaluate.protocols = "l2,knn"
  config.log.every_steps = 25
  config.log.checkpoint_every_steps = 250
  return apply_variants(config, variant, {"runlocal": presets.runlocal})
