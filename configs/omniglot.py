"""EMNIST-Omniglot (section 4.1, Table 1 left): random dots as implicit change.

    python -m augment_gen.main --config=configs/omniglot.py \
        --workdir=runs/omniglot

The paper: D→C 3.25 (MoCo v2) → 55.22 (+ G_A), D→D 22.97 → 64.60. Not yet run at
this size here. Variants, comma-separated:

    mnist     MNIST as X_p, and a size for 2 CPU cores (see README.md)
    npz       both sets from {root}/mnist.npz and {root}/omniglot.npz
    simclr    SimCLR with the settings of its paper, in place of MoCo v2
    runlocal  every stage in seconds, on rendered characters

    python -m augment_gen.main --config=configs/omniglot.py:mnist,npz \
        --config.data.root=FOLDER --workdir=runs/mnist-omniglot
"""

from augment_gen.config import apply_variants, default_config, presets


def get_config(variant: str = ""):
  config = default_config()
  config.experiment = "EMNIST-Omniglot"

  config.data.pretrain = "tfds:emnist/byclass:train+test"
  config.data.finetune = "tfds:omniglot:train+test"
  config.data.finetune_per_class = 15  # of 20: 24,345 and 8,115 images
  config.data.mean, config.data.std = (0.17,), (0.33,)

  # "The hyper-parameters were the defaults of its official implementation":
  # MocoConfig and PretrainConfig hold these.
  config.generator.epochs = 100
  # 28·28 + 128 = 912, the width of the hidden layers.
  config.generator.latent.dim = 128
  # NOTE(paper): the length of re-training is not given; MoCo's default.
  config.retrain.epochs = 200
  config.retrain.arms = "generator,prior,control,random,oracle"

  config.evaluate.protocols = "moco,l2,knn"
  return apply_variants(config, variant, {
      "mnist": mnist, "npz": npz, "simclr": presets.simclr,
      "runlocal": presets.runlocal})


def mnist(config):
  """MNIST-Omniglot with a small encoder and few epochs, for 2 CPU cores."""
  config.experiment = "MNIST-Omniglot"
  config.data.pretrain = "tfds:mnist:train"
  config.data.mean, config.data.std = (0.13,), (0.31,)

  config.encoder.width = 32
  presets.short_moco(config)
  config.moco.queue = 1024
  config.pretrain.epochs = 8
  config.retrain.epochs = 4

  presets.working_generator(config)
  config.generator.epochs = 0
  config.generator.steps = 1000

  config.evaluate.protocols = "l2,knn"


def npz(config):
  """Sets that lie in a folder as NumPy files."""
  config.data.pretrain = (
      "npz:{root}/mnist.npz?images=x_train&labels=y_train")
  config.data.finetune = (
      "npz:{root}/omniglot.npz?images=image_bits&shape=105x105&labels=label"
      "&classes=character")
