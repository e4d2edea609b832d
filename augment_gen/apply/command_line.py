"""The commands `augment`, `compare`, `embed` and `export` of `augment-gen`.

Nothing heavy is imported before the arguments are known to be right.
"""

import argparse
from collections.abc import Sequence

from augment_gen.config.errors import UserError

_SOURCE = ("a folder of images (any tree), or a spec such as "
           "'folder:PATH?labels=none&convert=1'")


def augment(args: Sequence[str]) -> int:
  """`augment-gen augment`; returns the exit status."""
  parser = _parser("augment", "Writes augmented copies G_A(x, z) of images as PNG files, "
                   "with manifest.csv. The same command goes on where it was stopped.")
  parser.add_argument("source", metavar="IN", help=_SOURCE)
  parser.add_argument("out", metavar="OUT", help="folder for the copies")
  parser.add_argument("--n", type=int, default=8, help="copies of each image (%(default)s)")
  parser.add_argument("--seed", type=int, default=0, help="of the latents (%(default)s)")
  parser.add_argument(
      "--latents", choices=("bank", "prior"), default="bank",
      help="z of the run's X̃_f, which is read for it, or uniform on [0, 1] (%(default)s)")
  parser.add_argument(
      "--strength", type=float, default=1.0,
      help="factor in [0, 1] of all strengths of a chain of operators (%(default)s)")
  _add_root(parser)
  _add_bad(parser)
  flags = parser.parse_args(args)
  if flags.n < 1:
    raise UserError(f"--n={flags.n} must be at least 1")
  if not 0 <= flags.strength <= 1:
    raise UserError(f"--strength={flags.strength:g} is not in [0, 1]")

  from augment_gen.apply import augment as command
  command.run(flags.source, flags.out, command.Settings(
      flags.run, flags.n, flags.seed, flags.latents, flags.strength, flags.root,
      flags.on_bad_image))
  return 0


def compare(args: Sequence[str]) -> int:
  """`augment-gen compare`; returns the exit status."""
  parser = _parser("compare", "Writes a sheet to look at for each image: G_A(x, z) under "
                   "the same few latents in several strengths, G_E(x), and the round "
                   "trip.", needs_run=False)
  parser.add_argument("run", metavar="RUN", help="the run's folder")
  parser.add_argument(
      "images", nargs="+", metavar="IMAGE",
      help="image files, or folders of them; they are cropped, scaled and converted to "
      "what the run was trained on")
  parser.add_argument(
      "--out", required=True, metavar="OUT",
      help="folder for the sheets, NAME.png for each image; for a single image also a file "
      "that ends in .png")
  parser.add_argument("--n", type=int, default=4, help="latents of each kind (%(default)s)")
  parser.add_argument("--seed", type=int, default=0, help="of the latents (%(default)s)")
  parser.add_argument(
      "--latents", choices=("both", "bank", "prior"), default="both",
      help="z of the run's X̃_f, which is read for it, of the prior, or of both "
      "(%(default)s)")
  parser.add_argument("--max", type=int, default=16,
                      help="images of a folder, spread evenly over it (%(default)s)")
  _add_root(parser)
  flags = parser.parse_args(args)
  for name, least in (("n", 1), ("max", 1), ("seed", 0)):
    if getattr(flags, name) < least:
      raise UserError(f"--{name}={getattr(flags, name)} must be at least {least}")

  from augment_gen.apply import compare as command
  command.run(flags.images, flags.out, command.Settings(
      flags.run, flags.n, flags.seed, flags.latents, flags.max, flags.root))
  return 0


def embed(args: Sequence[str]) -> int:
  """`augment-gen embed`; returns the exit status."""
  parser = _parser("embed", "Writes the features F(x) of images, with their paths and, if "
                   "they lie in one folder for each class, their labels.")
  parser.add_argument("source", metavar="IN", help=_SOURCE)
  parser.add_argument("out", metavar="OUT", help="a file .npz or .parquet")
  _add_stage(parser)
  _add_bad(parser)
  flags = parser.parse_args(args)

  from augment_gen.apply import embed as command
  command.run(flags.source, flags.out, flags.run, flags.stage, flags.on_bad_image)
  return 0


def export(args: Sequence[str]) -> int:
  """`augment-gen export`; returns the exit status."""
  parser = _parser("export", "Writes F, G_A, and G_E with G_L as StableHLO, which JAX runs "
                   "without this package, and as weights.", needs_run=False)
  parser.add_argument("run", metavar="RUN", help="the run's folder")
  parser.add_argument("out", metavar="OUT", help="folder for the files")
  parser.add_argument(
      "--no-bank", dest="bank", action="store_false",
      help="leave out bank.npy, for which the run's X̃_f is read")
  _add_stage(parser)
  _add_root(parser)
  flags = parser.parse_args(args)

  from augment_gen.apply import stablehlo
  stablehlo.run(flags.run, flags.out, flags.stage, flags.bank, flags.root)
  return 0


def _parser(name: str, description: str, needs_run: bool = True
            ) -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(prog=f"augment-gen {name}", description=description)
  if needs_run:
    parser.add_argument("--run", required=True, metavar="RUN",
                        help="folder (--workdir) of a run of the augmentation generator")
  return parser


def _add_stage(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
      "--stage", default="retrain-generator",
      help="the stage that F is taken from: pretrain, or retrain-ARM of any ARM but policy "
      "(%(default)s)")


def _add_root(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
      "--root", default="", metavar="FOLDER",
      help="where the run's images lie now, in place of its config.data.root; or all of "
      "config.data.finetune, such as folder:PATH, if that does not name the root")


def _add_bad(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
      "--on-bad-image", choices=("error", "skip"), default="error",
      help="stop at an image that cannot be read, or leave it out (%(default)s)")
