"""DAISO-100 in the quarters of Hayase et al.: `daiso:PATH?light=spotlight&part=finetune`.

DAISO-100 has 160,000 images of 100 products with metadata of the lighting. The paper
divides it "equally" into X_f^R, X_t^R, X_f^S and X_t^S: room light or spotlight, for
fine-tuning or for testing. What the products and the lights are is read from

  a table in PATH (CSV, TSV, JSON lines, parquet) with columns for path, product, lighting,
  or the folders' names: LIGHT/PRODUCT/…, PRODUCT/LIGHT/…, or LIGHT_PART/PRODUCT/…

NOTE(paper): The paper does not say how it draws the line between fine-tuning and test
images. We halve the images of each product under each light at random, with a fixed seed.
Folders that are named after the parts, such as room_finetune and room_test, are taken as
they are.

T. Katoh, K. Suzuki, S. Kuramochi, T. Sasaki, H. Kobashi: "Dataset of annotated images of
sundry objects benchmark for performance degradation caused by domain shifts", ICLR 2021
Workshop "Generalization beyond the training distribution in brains and machines".
"""

from collections.abc import Iterator, Sequence
import dataclasses
import functools
import os
import pathlib
import re
from typing import Literal

import numpy as np

from augment_gen.config import errors
from augment_gen.data import files as files_lib
from augment_gen.data import folder, index, metadata, selection, splits

LIGHTS = {"room": frozenset(("r", "room", "roomlight")),
          "spotlight": frozenset(("s", "spot", "spotlight"))}
PARTS = {"finetune": frozenset(("f", "fine", "tuning", "finetune", "finetuning", "train",
                                "training")),
         "test": frozenset(("t", "test", "testing", "val", "validation"))}
# Further words in the names of folders that say no more than a light or a part.
_FILLERS = frozenset(("light", "lighting", "condition", "image", "images", "x"))
_WORDS = frozenset().union(_FILLERS, *LIGHTS.values(), *PARTS.values())
# Usual names of columns, as metadata.Table.usual compares them.
_PRODUCTS = ("label", "product", "productid", "class", "classid", "classname", "category",
             "object", "objectid", "item", "itemid")
_LIGHTINGS = ("lighting", "lightingcondition", "light", "lightcondition", "lightsource",
              "illumination", "illuminationcondition")
_SEED = 0
# The layout and the address of DAISO-100 itself could not be verified: this is the page
# that its authors give for DAISO-10 (github.com/FujitsuResearch/three-approaches-ood).
_ABOUT = ("Katoh et al., \"Dataset of annotated images of sundry objects …\" (ICLR 2021 "
          "workshop), describe DAISO-100; their DAISO-10 is at "
          "http://dataset.jp.fujitsu.com/data/daiso10/index.html")


@dataclasses.dataclass(frozen=True)
class Shots:
  """All images of the set and what is known of each, in the same order.

  Attributes:
    found: the contents of the folder; its images are those of the set.
    products: the class of each.
    lights: "room" or "spotlight", of each.
    parts: "finetune" or "test", of each; () if nothing says.
    notes: lines for the user.
  """
  found: files_lib.Found
  products: tuple[str, ...]
  lights: tuple[str, ...]
  parts: tuple[str, ...] = ()
  notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Daiso(folder.Folder):
  """Options of daiso:PATH, beside those of folder: except where.

  Attributes:
    light: the images under this light.
    part: this half of them.
    lighting: the table's column with the light; if empty, the one with a usual name.
    room: its values that mean room light, as A|B; if empty, those that say so.
    spotlight: likewise.
    classes: number of products that there should be.
  """
  light: Literal["all", "room", "spotlight"] = "all"
  part: Literal["all", "finetune", "test"] = "all"
  lighting: str = ""
  room: str = ""
  spotlight: str = ""
  classes: int = 100

  def problems(self) -> list[str]:
    if not os.path.isdir(self._path()):
      return [f"there is no folder '{self._path()}' with DAISO-100: put its images and "
              f"their table there, or pass --config.data.root=FOLDER. {_ABOUT}"]
    return super().problems()

  def _option_problems(self) -> list[str]:
    if self.where:
      return [f"option where={self.where} is not for daiso: the quarters are of all "
              "images; use light= and part=, or a folder: spec"]
    return []

  @functools.cached_property
  def _selection(self) -> selection.Selection:
    found = index.find(self._path())
    try:
      shots = self._shots(found)
      parts = shots.parts or halves(shots)
      errors.raise_if_any(self._missing(shots, parts))
    except errors.UserError as error:
      return selection.Selection(selection.failed(found, *error.problems))
    class_of = {
        image: product for image, product, light, part in zip(
            shots.found.images, shots.products, shots.lights, parts)
        if self.light in ("all", light) and self.part in ("all", part)}
    chosen = shots.found.with_images(
        tuple(class_of), folders=files_lib.in_order(set(shots.products)))
    return selection.Selection(
        chosen, class_of, (*shots.notes, *_quarters(shots.lights, parts)))

  def _shots(self, found: files_lib.Found) -> Shots:
    """Reads the table, or the names of the folders if there is none.

    Raises:
      UserError: neither says what the images show.
    """
    table = self.metadata or _only_table(self._path())
    return self._from_table(found, table) if table else _from_folders(self._path(), found)

  def _from_table(self, found: files_lib.Found, name: str) -> Shots:
    root = self._path()
    table = metadata.read(root / name)
    product = self.label or table.usual(_PRODUCTS, "the product", "label")
    lighting = self.lighting or table.usual(_LIGHTINGS, "the light", "lighting")
    cells = table.cells(lighting, "option lighting")
    picked = selection.select(
        root, found, selection.Query(name, self.path, product))
    errors.raise_if_any(picked.found.problems[len(found.problems):])

    given = {value: light for light, values in (
        ("room", self.room), ("spotlight", self.spotlight))
        for value in values.split("|") if value}
    light_of = {cell: given.get(cell, "") if given else _only(LIGHTS, cell)
                for cell in set(cells)}
    lights = tuple(light_of[cell] for cell in picked.columns[lighting])
    unknown = files_lib.in_order(cell for cell, light in light_of.items() if not light)
    if unknown and not given:
      raise errors.UserError(
          f"the column '{lighting}' of '{table.path}' has values that mean neither room "
          f"light nor spotlight ({files_lib.some(unknown)}): say which mean what with the "
          "options room=A|B and spotlight=C|D")
    known = [i for i, light in enumerate(lights) if light]
    notes = list(picked.notes)
    if unknown:
      notes.append(f"{len(lights) - len(known)} images under other lights left out: "
                   f"{files_lib.some(unknown)}")
    pick = lambda values: tuple(values[i] for i in known)
    there = picked.found.with_images(pick(picked.found.images))
    return Shots(there, pick(picked.columns[product]), pick(lights), notes=tuple(notes))

  def _missing(self, shots: Shots, parts: Sequence[str]) -> Iterator[str]:
    """What the set lacks, one line each."""
    path, products = self._path(), files_lib.in_order(set(shots.products))
    if empty := [light for light in LIGHTS if light not in shots.lights]:
      yield f"'{path}' has no images under {' or '.join(empty)}. {_ABOUT}"
      return
    if len(products) != self.classes:
      yield (f"'{path}' has {len(products)} products, not {self.classes}: it is not the "
             "whole DAISO-100, or not sorted by products; if that is meant, give the "
             f"option classes={len(products)}. {_ABOUT}")
    there = set(zip(shots.products, shots.lights, parts))
    lacking = [f"{product} ({light}, {part})" for product in products
               for light in LIGHTS for part in PARTS
               if (product, light, part) not in there]
    if lacking:
      yield (f"'{path}' lacks images of {len(lacking)} of {4 * len(products)} combinations "
             f"of product, light and part: {files_lib.some(lacking)}. {_ABOUT}")


def halves(shots: Shots) -> tuple[str, ...]:
  """Halves each product's images under each light: the part of each image.

  The halves depend on the order of the products and on the number of images alone. If
  that is odd, the fine-tuning half has one more.
  """
  order = {name: i for i, name in enumerate(files_lib.in_order(set(shots.products)))}
  labels = np.array([order[product] for product in shots.products])
  lights = np.array(shots.lights)
  parts = np.full(len(labels), "finetune", object)
  for light in set(shots.lights):
    (members,) = np.nonzero(lights == light)
    _, test = splits.holdout(labels[members], 0.5, _SEED)
    parts[members[test]] = "test"
  return tuple(parts)


def _quarters(lights: Sequence[str], parts: Sequence[str]) -> Iterator[str]:
  """A table of the number of images in each quarter, as lines of text."""
  pairs = list(zip(lights, parts))
  counts = {light: [pairs.count((light, part)) for part in PARTS] for light in LIGHTS}
  yield f"{'quarters':<10}" + "".join(f"{part:>10}" for part in PARTS)
  for light, row in counts.items():
    yield f"{light:<10}" + "".join(f"{count:>10}" for count in row)
  if len({count for row in counts.values() for count in row}) > 1:
    yield "WARNING: the paper's quarters are of equal size; these are not"


def _only_table(root: pathlib.Path) -> str:
  """Name of the table right in the folder, or "" if there is none."""
  try:
    entries = sorted(os.listdir(root))
  except OSError as error:
    raise errors.UserError(
        f"folder '{root}' cannot be opened ({error.strerror}): make it readable") from None
  names = [name for name in entries if os.path.isfile(root / name)
           and os.path.splitext(name)[1].lower() in metadata.FORMATS]
  named = [name for name in names if name.lower().startswith("metadata.")]
  if len(named or names) > 1:
    raise errors.UserError(
        f"'{root}' has several tables ({files_lib.some(names)}): say which describes the "
        "images with the option metadata=FILE")
  return next(iter(named or names), "")


def _from_folders(root: pathlib.Path, found: files_lib.Found) -> Shots:
  """Reads product, light and, if given, part from the names of the folders."""
  products, lights, parts, silent = [], [], [], []
  for image in found.images:
    folders = image.relative_to(root).parts[:-1]
    telling = [name for name in folders if _words(name) <= _WORDS]
    others = [name for name in folders if name not in telling]
    light, part = (_only(meanings, " ".join(telling)) for meanings in (LIGHTS, PARTS))
    if not light or not others:
      silent.append(str(image.relative_to(root)))
      continue
    products.append(others[0])
    lights.append(light)
    parts.append(part)
  if silent or not products:
    count = f"of {len(silent)} images, such as {silent[0]}" if silent else "of any image"
    raise errors.UserError(
        f"'{root}' does not say the product and the light {count}: there is neither a "
        f"table ({', '.join(metadata.FORMATS)}) with columns for path, product and "
        f"lighting, nor are there folders like spotlight/PRODUCT. {_ABOUT}")
  if len({bool(part) for part in parts}) > 1:
    raise errors.UserError(
        f"some folders of '{root}' are named after a part (finetune, test), others are "
        "not: name all of them so, or none")
  return Shots(found, tuple(products), tuple(lights), tuple(parts) if all(parts) else ())


@functools.lru_cache(maxsize=4096)
def _words(name: str) -> frozenset[str]:
  return frozenset(re.findall(r"[^\W\d_]+|\d+", name.lower()))


def _only(meanings: dict[str, frozenset[str]], text: str) -> str:
  """The only one of some meanings that words of a text have, or ""."""
  said = [name for name, words in meanings.items() if words & _words(text)]
  return said[0] if len(said) == 1 else ""
