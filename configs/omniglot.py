r"""EMNIST-Omniglot (section 4.1, Table 1 left): random dots.

Source: Hayase et al., section 4.1.

    python -m augment_gen.main --config=configs/omniglot.py \
        --workdir=runs/omniglot

The dots are the implicit augmentation. The paper reports D→C 3.25 (MoCo v2) → 55.22
(+ G_A) and D→D 22.97 → 64.60. We have not run this size yet. Variants,
comma-separated:

    mnist     uses MNIST as X_p, and a size for 2 CPU cores (docs/results.md)
    npz       reads both sets from {root}/mnist.npz and {root}/omniglot.npz
    simclr    replaces MoCo v2 by SimCLR with the settings of its paper; name it last.
              Likewise simsiam, byol and swav. With `mnist`, whose settings are for few
              steps, give --config.pretrain.method=simclr instead
    runlocal  runs every stage in seconds on rendered characters

    python -m augment_gen.main --config=configs/omniglot.py:mnist,npz \
        --config.data.root=FOLDER --workdir=runs/mnist-omniglot
"""

from augment_gen.config import apply_variants, default_config, presets


def get_config(variant: str = ""):
  config = default_config()
  config.experiment = "EMNIST-Omniglot"

  config.data.pretrain = "tfds:emnist/byclass:train+test"
  config.data.finetune = "tfds:omniglot:train+test"
  config.data.finetune_per_class = 15  # of 20: 24,345 images, and 8,115 to test on
  config.data.mean, config.data.std = (0.17,), (0.33,)

  # The paper: "The hyper-parameters were the defaults of its official implementation".
  # MocoConfig and PretrainConfig hold these defaults.
  config.generator.epochs = 100
  # The width of the hidden layers is 28·28 + 128 = 912.
  config.generator.latent.dim = 128
  # NOTE(paper): The paper gives no length of re-training. We use MoCo's default.
  config.retrain.epochs = 200
  config.retrain.arms = "generator,prior,control,random,oracle"

  config.evaluate.protocols = "moco,l2,knn"
  return apply_variants(config, variant, {
      "mnist": mnist, "npz": npz, "simclr": presets.simclr,
      "simsiam": presets.simsiam, "byol": presets.byol, "swav": presets.swav,
      "runlocal": presets.runlocal})


def mnist(config):
  """MNIST-Omniglot with a small encoder and few epochs, for 2 CPU cores."""
  config.experiment = "MNIST-Omniglot"
  config.data.pretrain = "tfds:mnist:train"
  config.data.mean, config.data.std = (0.13,), (0.31,)

  config.encoder.width = 32
  presets.short_pretraining(config)
  config.moco.queue = 1024
  config.pretrain.epochs = 8
  config.retrain.epochs = 4

  presets.working_generator(config)
  config.generator.epochs = 0
  config.generator.steps = 1000

  config.evaluate.protocols = "l2,knn"


def npz(config):
  """Reads both sets from NumPy files in a folder."""
  config.data.pretrain = (
      "npz:{root}/mnist.npz?images=x_train&labels=y_train")
  config.data.finetune = (
      "npz:{root}/omniglot.npz?images=image_bits&shape=105x105&labels=label"
      "&classes=character")
