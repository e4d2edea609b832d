r"""Regional MNIST (Koyama et al.): a digit somewhere on a larger blank canvas.

Source: Koyama et al., Regional MNIST.

    python -m augment_gen.main --config=configs/regional_mnist.py \
        --workdir=runs/regional-mnist

The poster reports on f: CRL-TAC 97.29, top-n 97.48, SimCLR 45.98, SimCLR at the true
place 93.54. On the projection head it reports 95.51, 95.52, 31.56 and 51.44. Variants,
comma-separated:

    npz       reads the digits from {root}/mnist.npz instead of TFDS
    rendered  uses rendered Latin characters; needs no download
    runlocal  runs every stage in seconds
"""

from augment_gen.config import apply_variants, default_config, presets


def get_config(variant: str = ""):
  config = default_config()
  presets.crl_tac(config)
  config.experiment = "Regional MNIST"
  # NOTE(paper): The poster does not give the size of the canvas.
  config.data.canvas, config.tac.stride = 112, 4
  # SimCLR collapses on CRL-TAC's small windows, most of which are blank. Windows of 70
  # to 98 pixels show most of the digit. They were chosen for SimCLR on a development
  # split (docs/experiments/015).
  config.tac.simclr.crop, config.tac.simclr.scales = 28, (2.5, 3.0, 3.5)
  return apply_variants(config, variant, {
      "npz": presets.mnist_npz, "rendered": presets.rendered_characters,
      "runlocal": runlocal})


def runlocal(config):
  """Runs every stage for two steps on a few rendered characters."""
  presets.tac_runlocal(config)
  config.data.image_size, config.data.canvas = 12, 24
