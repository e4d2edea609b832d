"""Regional MNIST (Koyama et al.): a digit somewhere on a larger blank canvas.

    python -m augment_gen.main --config=configs/regional_mnist.py \
        --workdir=runs/regional-mnist

The poster, on f: ours 97.29, top-n 97.48, SimCLR 45.98, SimCLR at the true place
93.54. Variants, comma-separated:

    npz       digits from {root}/mnist.npz, in place of TFDS
    rendered  rendered Latin characters, with nothing to download
    runlocal  every stage in seconds
"""

from augment_gen import presets
from augment_gen.config import apply_variants, default_config


def get_config(variant: str = ""):
  config = default_config()
  config.method = "tac"
  config.experiment = "Regional MNIST"
  # NOTE(paper): neither the canvas nor the crops are given.
  config.data.canvas = 112
  config.data.pretrain = config.data.finetune = "tfds:mnist:train"
  config.data.tests = "test=tfds:mnist:test"
  config.data.finetune_per_class = 0
  config.data.implicit = "none"
  config.data.finetune_name = "train"
  config.data.mean, config.data.std = (0.13,), (0.31,)

  config.encoder.name = "convnet"
  config.encoder.width = 32

  config.tac.crop, config.tac.stride = 28, 4
  config.tac.uniform_batch = 64
  config.tac.steps = 2000

  config.evaluate.protocols = "l2"
  return apply_variants(config, variant, {
      "npz": presets.mnist_npz, "rendered": presets.rendered_characters,
      "runlocal": runlocal})


def runlocal(config):
  """Two steps of each stage, on few rendered characters."""
  presets.rendered_characters(config)
  config.data.pretrain = config.data.finetune = "rendered:latin?per_class=6"
  config.data.tests = "test=rendered:latin?per_class=1&seed=1"
  config.data.image_size, config.data.canvas = 12, 24
  config.encoder.width = 4
  config.tac.crop, config.tac.stride = 12, 4
  config.tac.batch_size, config.tac.uniform_batch = 16, 8
  config.tac.uniform_draws = 6
  config.tac.steps = 2
  config.evaluate.l2_iterations = 3
  config.log.every_steps = 1
  config.log.checkpoint_every_steps = 1
  config.log.figure_images = 4
