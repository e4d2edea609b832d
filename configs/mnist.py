"""MNIST (Koyama et al.): crops of a digit that fills the image.

Source: Koyama et al., MNIST.

    python -m augment_gen.main --config=configs/mnist.py --workdir=runs/mnist

The poster reports on f: CRL-TAC 98.05, top-n 98.59, SimCLR 98.06. On the projection
head it reports 96.42, 96.74 and 92.73. Variants, comma-separated:

    npz       reads the digits from {root}/mnist.npz instead of TFDS
    rendered  uses rendered Latin characters; needs no download
    runlocal  runs every stage in seconds
"""

from augment_gen.config import apply_variants, default_config, presets


def get_config(variant: str = ""):
  config = default_config()
  presets.crl_tac(config)
  config.experiment = "MNIST"
  # All crops show something, so the entropy target keeps P nearly uniform. H is at most
  # 4.03 nats (docs/experiments/008).
  config.tac.stride = 2
  config.tac.steps = 1000
  config.tac.top = 32
  config.tac.policy.draws = 65  # all crops of the grid
  config.tac.policy.entropy_target = 3.95
  config.evaluate.l2_strengths = (1e-5, 1e-4)
  config.tac.controls = "simclr,untrained"  # every window suits SimCLR
  return apply_variants(config, variant, {
      "npz": presets.mnist_npz, "rendered": presets.rendered_characters,
      "runlocal": runlocal})


def runlocal(config):
  """Runs every stage for two steps on a few rendered characters."""
  presets.tac_runlocal(config)
  config.data.image_size = 16
  config.tac.stride = 2
