"""`augment-gen augment`: copies G_A(x, z) of any number of images, as files.

The latents of a copy are a function of the seed, the image's path and the number of the
copy. So a folder that is made in several starts, in another order, or with more copies
is the same, but for rounding of pixels to whole grey levels.
"""

from collections.abc import Callable, Iterator
import concurrent.futures
import dataclasses
import functools
import hashlib
import itertools
import os
import pathlib
import sys

import jax
from jax.tree_util import Partial
import numpy as np
from PIL import Image

from augment_gen.apply import manifest, pictures
from augment_gen.config import Config
from augment_gen.config.errors import UserError
from augment_gen.data import files
from augment_gen.export import draws, runs
from augment_gen.models.build import build_augmenter, latent_dim
from augment_gen.models.operator_chain import OperatorChain
from augment_gen.run import runtime
from augment_gen.run.checkpoint import checksum
from augment_gen.run.progress import Progress

_BATCH = 64  # copies at a time
_COLUMNS = ("file", "source", "draw", "seed", "latent")


@dataclasses.dataclass(frozen=True)
class Settings:
  """What the command is asked for.

  Attributes:
    run: folder of the run.
    copies: of each image.
    seed: of the latents.
    latents: "bank" or "prior".
    strength: factor in [0, 1] of the strengths of a chain of operators.
    root: where the images of the run lie now; "" for its config.data.root.
    on_bad_image: "error" or "skip".
  """
  run: str
  copies: int = 8
  seed: int = 0
  latents: str = "bank"
  strength: float = 1.0
  root: str = ""
  on_bad_image: str = "error"


# (images float32 [b, H, W, C] in [0, 1], latents float32 [b, Z]) -> copies of these
# images, and amounts float32 [b] by name.
Function = Callable[[np.ndarray, np.ndarray], tuple[jax.Array, dict[str, jax.Array]]]


def run(source: str, out: str, settings: Settings) -> None:
  """Writes copies and their table; goes on where an earlier start was stopped.

  Args:
    source: a folder of images, or a spec.
    out: the folder for PNG files in the same tree, manifest.csv and augment.json.
    settings: see `Settings`.

  Raises:
    UserError: the run, the images or the folder are not as they must be.
  """
  runtime.keep_compiled_code()
  path = pathlib.Path(settings.run)
  config = runs.config_with_generator(path)
  if (folder := pictures.folder_of(source, config)) is not None:
    pictures.check_apart(folder, out)
  _check_strength(config, settings.strength)
  trained = runs.generator_state(path, config)
  given = pictures.given(source, config, settings.on_bad_image, labelled=False)
  bank = None
  if settings.latents == "bank":
    bank = runs.bank_of(path, config, trained, settings.root, "name its folder with "
                        "--root, or draw from the prior with --latents=prior")
  params = trained.augmenter.final_params
  table = manifest.Manifest(pathlib.Path(out), {
      "run": settings.run, "augmenter": checksum(params), "seed": settings.seed,
      "latents": settings.latents, "strength": settings.strength,
      "bank": None if bank is None else hashlib.sha256(bank.tobytes()).hexdigest()[:16],
      "source": _place_of(source, config),
  }, [*_COLUMNS, *_names_of_amounts(config)])
  try:
    write_copies(given, pathlib.Path(out), table, functools.partial(
        draws.latents, bank=bank, dim=latent_dim(config)),
        function(config, params, settings.strength), settings)
  finally:
    table.close()


def function(config: Config, params, strength: float) -> Function:
  """G_A with its amounts, compiled for each number of images."""
  augmenter = build_augmenter(config)
  options = {"share": strength} if isinstance(augmenter, OperatorChain) else {}

  def apply(params, x, z):
    amounts = (augmenter.apply({"params": params}, z, x, method="amounts", **options)
               if options else {})
    return augmenter.apply({"params": params}, x, z, **options), amounts

  return Partial(jax.jit(apply), params)


def write_copies(given: pictures.Given, out: pathlib.Path, table: manifest.Manifest,
                 draw: Callable[[int, str, int], np.ndarray], augment: Function,
                 settings: Settings) -> None:
  """Writes those copies that are not there yet.

  Args:
    given: the images.
    out: the folder.
    table: its table.
    draw: (seed, name, number) -> latents float32 [Z].
    augment: see `Function`.
    settings: the number of copies, and the seed.
  """
  stems = manifest.stems(given.names)
  name_of = lambda image, number: manifest.copy_name(stems[image], number)
  # There may be millions: these are made as they are needed.
  missing = lambda: (
      (image, number) for image in range(len(given.names))
      for number in range(settings.copies)
      if (given.names[image], number) not in table.done)
  total, left = len(given.names) * settings.copies, sum(1 for _ in missing())
  if not left:
    print(f"{out}: all {total} copies are there")
    return
  size, done = min(_BATCH, left), total - left
  progress = Progress("augment", done, total, 1)
  groups, ahead = itertools.tee(_groups(missing(), size))
  skipped: set[int] = set()
  with concurrent.futures.ThreadPoolExecutor(files.THREADS) as pool:
    read = given.read(np.unique([image for image, _ in group]) for group in ahead)
    for group, (indices, images) in zip(groups, read):
      place = {index: row for row, index in enumerate(indices.tolist())}
      skipped.update(image for image, _ in group if image not in place)
      pairs = [pair for pair in group if pair[0] in place]
      if pairs:
        x = images[[place[image] for image, _ in pairs]].astype(np.float32) / 255
        z = np.stack([draw(settings.seed, given.names[image], number)
                      for image, number in pairs])
        copies, amounts = _padded(augment, x, z, size)
        names = [name_of(*pair) for pair in pairs]
        list(pool.map(_write, [out / name for name in names], copies))
        table.append(
            {"file": name, "source": given.names[image], "draw": number,
             "seed": settings.seed, "latent": " ".join(map(str, z[row])),
             **{amount: f"{values[row]:.6g}" for amount, values in amounts.items()}}
            for row, (name, (image, number)) in enumerate(zip(names, pairs)))
      done += len(group)
      progress.advance(done)
      progress.show({})
  progress.close()
  if skipped:
    print(f"augment: {len(skipped)} images could not be read and have no copies, such as "
          f"{given.names[min(skipped)]}", file=sys.stderr)


def _groups(pairs: Iterator[tuple[int, int]], size: int
            ) -> Iterator[list[tuple[int, int]]]:
  while group := list(itertools.islice(pairs, size)):
    yield group


def _padded(augment: Function, x: np.ndarray, z: np.ndarray, size: int
            ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
  """Augments up to `size` images. Another number would need another compilation."""
  full = (np.resize(a, (size, *a.shape[1:])) for a in (x, z))
  found, amounts = jax.device_get(augment(*full))
  copies = np.rint(255 * found[:len(x)]).clip(0, 255).astype(np.uint8)
  return copies, amounts


def _write(path: pathlib.Path, image: np.ndarray) -> None:
  """Writes a PNG file, whole or not at all."""
  path.parent.mkdir(parents=True, exist_ok=True)
  partial = path.with_name(path.name + ".partial")
  Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(
      partial, format="PNG")
  os.replace(partial, path)


def _names_of_amounts(config: Config) -> Iterator[str]:
  augmenter = build_augmenter(config)
  if isinstance(augmenter, OperatorChain):
    yield from itertools.chain.from_iterable(
        (f"{operator.name}.{amount.name}" for amount in operator.amounts)
        for operator in augmenter.operators)


def _place_of(source: str, config: Config) -> str:
  """A folder by its full path and its options, however they are written."""
  folder = pictures.folder_of(source, config)
  if folder is None:
    return source
  options = "&".join(f"{name}={value}" for name, value in sorted(
      pictures.options_of(source, config).items()))
  return f"{folder.resolve()}?{options}" if options else str(folder.resolve())


def _check_strength(config: Config, strength: float) -> None:
  if strength != 1 and not isinstance(build_augmenter(config), OperatorChain):
    raise UserError(
        f"--strength={strength:g} is for a chain of operators, whose strengths it scales; "
        f"G_A of this run is a {config.generator.networks.augmenter}, which has none")
