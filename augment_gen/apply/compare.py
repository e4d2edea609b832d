"""`augment-gen compare`: a sheet for each image, with what G_A and G_E make of it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import pathlib
import sys

import jax
from jax.tree_util import Partial
import numpy as np

from augment_gen.apply import augment, manifest, pictures
from augment_gen.config import Config
from augment_gen.config.errors import UserError
from augment_gen.data import base, decoding, index
from augment_gen.export import runs
from augment_gen.figures import drawing, grid
from augment_gen.models.build import build_augmenter, generator_functions, latent_dim
from augment_gen.models.operator_chain import OperatorChain
from augment_gen.run import runtime

STRENGTHS = (0.5, 1.0)

# (images [n, H, W, C] in [0, 1], latents [n, Z]) -> views.
Function = Callable[[jax.Array | np.ndarray, jax.Array | np.ndarray], jax.Array]


@dataclasses.dataclass(frozen=True)
class Settings:
  """What the command is asked for.

  Attributes:
    run: folder of the run.
    count: latents of each kind.
    seed: of the latents.
    latents: "bank", "prior" or "both": what the latents are drawn from.
    most: images of a folder.
    root: where the images of the run lie now; "" for its config.data.root.
  """
  run: str
  count: int = 4
  seed: int = 0
  latents: str = "both"
  most: int = 16
  root: str = ""


def run(images: Sequence[str], out: str, settings: Settings) -> None:
  """Writes a PNG for each image.

  Args:
    images: image files, and folders of them.
    out: a folder, or for a single image a file that ends in .png.
    settings: see `Settings`.

  Raises:
    UserError: the run, an image or the place for the sheets is not as it must be.
  """
  runtime.keep_compiled_code()
  path = pathlib.Path(settings.run)
  config = runs.config_with_generator(path)
  given = find(images, settings.most)
  places = places_of(list(given), out)
  check_places(images, places.values())
  x = decoded(given, config)
  trained = runs.generator_state(path, config)
  random = np.random.default_rng(settings.seed)
  z: dict[str, np.ndarray] = {}
  if settings.latents != "prior":
    bank = runs.bank_of(path, config, trained, settings.root, "name its folder with "
                        "--root, or show the prior alone with --latents=prior")
    z["bank"] = bank[random.integers(len(bank), size=settings.count)]
  if settings.latents != "bank":
    z["prior"] = random.random((settings.count, latent_dim(config)), np.float32)
  params = trained.augmenter.final_params
  strengths = STRENGTHS if isinstance(build_augmenter(config), OperatorChain) else (1.0,)
  g_a = {
      strength: _without_amounts(augment.function(config, params, strength))
      for strength in strengths}
  g_el = Partial(jax.jit(generator_functions(config)[1]), trained.eliminator.final_params)
  for name, image in x.items():
    place = places[name]
    try:
      place.parent.mkdir(parents=True, exist_ok=True)
      grid.column_sheet(columns := sheet(image, z, g_a, g_el), place, title=_as_title(name),
                        ends=ends(columns))
    except OSError as error:
      raise UserError(f"{place} cannot be written: {error.strerror}") from None
    print(place)


def find(given: Sequence[str], most: int) -> dict[str, pathlib.Path]:
  """The image files that are named, or that lie in folders that are: name -> file.

  Raises:
    UserError: lists what is neither a file nor a folder with images.
  """
  found: dict[str, pathlib.Path] = {}
  problems = []
  for text in given:
    path = base.local_path(text)
    if path.is_file():
      found[path.name if path.name not in found else str(path)] = path
    elif path.is_dir():
      files = index.find(path).images
      if not len(files):
        problems.append(f"folder '{text}' holds no images")
        continue
      for place in base.evenly(len(files), min(len(files), most)):
        name = files.relative(int(place))
        found[name if name not in found else str(files[int(place)])] = files[int(place)]
    else:
      problems.append(f"there is no file or folder '{text}'")
  if problems:
    raise UserError(*problems)
  return found


def places_of(names: Sequence[str], out: str) -> dict[str, pathlib.Path]:
  """Where the sheet of each image goes.

  Raises:
    UserError: several sheets cannot go to one file.
  """
  path = pathlib.Path(out)
  if path.suffix.lower() == ".png" and not path.is_dir():
    if len(names) > 1:
      raise UserError(f"--out={out} is one file, and there are {len(names)} images: name a "
                      "folder")
    return {names[0]: path}
  return {name: path / f"{stem}.png" for name, stem in zip(names, manifest.stems(names))}


def check_places(images: Sequence[str], places: Iterable[pathlib.Path]) -> None:
  """Sheets must not take the place of images, nor lie among them.

  Raises:
    UserError: they would.
  """
  folders = [path for path in map(base.local_path, images) if path.is_dir()]
  files = {path.resolve() for path in map(base.local_path, images) if path.is_file()}
  for place in places:
    for folder in folders:
      pictures.check_apart(folder, place)
    advice = "choose another place for its sheet with --out"
    if place.resolve() in files:
      raise UserError(f"{place} is one of the images: {advice}")
    if place.exists() and place.resolve().parent in {file.parent for file in files}:
      raise UserError(f"{place} lies beside the images already: {advice}")


def decoded(given: Mapping[str, pathlib.Path], config: Config) -> dict[str, np.ndarray]:
  """The pictures in the size and with the channels of the run: float32 in [0, 1], by name.

  Says which files cannot be read, and leaves them out.

  Raises:
    UserError: no file can be read.
  """
  request = base.Request(
      "images", config.data.side, config.data.channels,
      jpeg_decoder=config.data.jpeg_decoder)
  as_run = pictures.how_read(config)
  decoder = decoding.Decoder(
      request, convert=True, white=as_run.pop("max", 0.0), **as_run)
  found, problems = {}, []
  for name, file in given.items():
    # One by one: what a value means is decided for each file, and not over all of them.
    try:
      (image,) = decoding.decode_all([file], decoder).images
      found[name] = image.astype(np.float32) / 255
    except UserError as error:
      reason = error.problems[0].partition(": repair or remove")[0]
      problems.append(f"no sheet of {file}: {reason}")
  if not found:
    raise UserError(*problems)
  for problem in problems:
    print(problem, file=sys.stderr)
  return found


def sheet(image: np.ndarray, z: Mapping[str, np.ndarray], g_a: Mapping[float, Function],
          g_el: Callable) -> list[tuple[str, np.ndarray]]:
  """The columns of an image's sheet; each row of G_A has one latent.

  Args:
    image: x, [H, W, C] in [0, 1].
    z: latents [n, Z] by what they are drawn from, as many of each.
    g_a: G_A by strength; that of strength 1 must be among them.
    g_el: (G_E, G_L), images -> (images, latents).
  """
  # As many as there are latents: another number would need another compilation.
  repeated = np.repeat(image[None], len(next(iter(z.values()))), axis=0)
  x_e, read = g_el(repeated)
  columns = [("$x$", image[None]), ("$G_E(x)$", np.asarray(x_e)[:1]),
             ("$G_A(G_E(x), G_L(x))$", np.asarray(g_a[1.0](x_e, read))[:1])]
  for kind, drawn in z.items():
    columns += [(kind if len(g_a) == 1 else f"{kind}, × {strength:g}",
                 np.asarray(function(repeated, drawn)))
                for strength, function in g_a.items()]
  return columns


def ends(columns: Sequence[tuple[str, np.ndarray]]) -> set[int]:
  """The columns that a wider gap follows: the last of the image, and of each kind of z."""
  kinds = [name.partition(",")[0] for name, _ in columns[3:]]
  return {2} | {3 + place for place, kind in enumerate(kinds[:-1])
                if kind != kinds[place + 1]}


def _as_title(name: str) -> str:
  """A file's name as it is."""
  return drawing.literal(pictures.printable(name))


def _without_amounts(function: augment.Function) -> Function:
  return lambda x, z: function(np.asarray(x), np.asarray(z))[0]
