"""MNIST (Koyama et al.): crops of a digit that fills the image.

    python -m augment_gen.main --config=configs/mnist.py --workdir=runs/mnist

The poster, on f: ours 98.05, top-n 98.59, SimCLR 98.06; on the projection head
96.42, 96.74, 92.73. Variants, comma-separated:

    npz       digits from {root}/mnist.npz, in place of TFDS
    rendered  rendered Latin characters, with nothing to download
    runlocal  every stage in seconds
"""

from augment_gen.config import apply_variants, default_config, presets


def get_config(variant: str = ""):
  config = default_config()
  presets.crl_tac(config)
  config.experiment = "MNIST"
  # All crops show something, and P is left near to uniform (H of at most 4.03
  # nats): docs/experiments/008.
  config.tac.stride = 2
  config.tac.steps = 1000
  config.tac.top = 32
  config.tac.policy.draws = 65  # all of them
  config.tac.policy.entropy_target = 3.95
  config.evaluate.l2_strengths = (1e-5, 1e-4)
  config.tac.controls = "simclr,untrained"  # all windows suit SimCLR
  return apply_variants(config, variant, {
      "npz": presets.mnist_npz, "rendered": presets.rendered_characters,
      "runlocal": runlocal})


def runlocal(config):
  """Two steps of each stage, on few rendered characters."""
  presets.tac_runlocal(config)
  config.data.image_size = 16
  config.tac.stride = 2
