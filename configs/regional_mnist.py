"""Regional MNIST (Koyama et al.): a digit somewhere on a larger blank canvas.

    python -m augment_gen.main --config=configs/regional_mnist.py \
        --workdir=runs/regional-mnist

The poster, on f: ours 97.29, top-n 97.48, SimCLR 45.98, SimCLR at the true place
93.54; on the projection head 95.51, 95.52, 31.56, 51.44. Variants,
comma-separated:

    npz       digits from {root}/mnist.npz, in place of TFDS
    rendered  rendered Latin characters, with nothing to download
    runlocal  every stage in seconds
"""

from augment_gen.config import apply_variants, default_config, presets


def get_config(variant: str = ""):
  config = default_config()
  presets.crl_tac(config)
  config.experiment = "Regional MNIST"
  # NOTE(paper): the canvas is not given.
  config.data.canvas, config.tac.stride = 112, 4
  # On CRL-TAC's small windows, most of them blank, SimCLR collapses. Chosen for it
  # on a development split: windows of 70 to 98 pixels, which show most of the digit
  # (docs/experiments/015).
  config.tac.simclr.crop, config.tac.simclr.scales = 28, (2.5, 3.0, 3.5)
  return apply_variants(config, variant, {
      "npz": presets.mnist_npz, "rendered": presets.rendered_characters,
      "runlocal": runlocal})


def runlocal(config):
  """Two steps of each stage, on few rendered characters."""
  presets.tac_runlocal(config)
  config.data.image_size, config.data.canvas = 12, 24
