"""DAISO-100 in the paper's quarters, from a table or from the names of folders."""

import numpy as np
from PIL import Image
import pytest

from augment_gen.config import errors
from augment_gen.data import sources

COUNT = 4  # images of each product under each light
PRODUCTS = ("brush", "cup", "pen")


def _write(root, name_of, products=PRODUCTS, lights=("room", "spotlight")):
  """Pictures whose grey value is 50 under room light and 200 under the spotlight."""
  names = []
  for product in products:
    for light in lights:
      for number in range(COUNT):
        path = root / name_of(product, light, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 50 if light == "room" else 200).save(path)
        names.append((str(path.relative_to(root)), product, light))
  return names


@pytest.fixture(scope="module")
def tabled(tmp_path_factory):
  root = tmp_path_factory.mktemp("daiso")
  names = _write(root, lambda product, light, number: f"all/{product}{light}{number}.png")
  words = {"room": "Room light", "spotlight": "SPOT"}
  (root / "metadata.csv").write_text("\n".join([
      "File Name,Object ID,Lighting-Condition",
      *(f"{path},{product},{words[light]}" for path, product, light in names)]))
  return root


def _load(root, options="", classes=3):
  return sources.load(f"daiso:{root}?classes={classes}{options}", image_size=4, channels=1)


def _quarters(root, classes=3):
  return {(light, part): _load(root, f"&light={light}&part={part}", classes)
          for light in ("room", "spotlight") for part in ("finetune", "test")}


def _check_quarters(quarters):
  """Four sets of equal size, each with all products, which share no file."""
  for (light, _), images in quarters.items():
    assert images.class_names == PRODUCTS
    assert images.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert set(images.images.ravel()) == {50 if light == "room" else 200}
  files = np.concatenate([images.origins for images in quarters.values()])
  assert len(set(files)) == 4 * len(PRODUCTS) * COUNT / 2


def test_quarters_of_a_table(tabled):
  quarters = _quarters(tabled)
  _check_quarters(quarters)
  again = _quarters(tabled)
  assert all(again[name].fingerprint == images.fingerprint
             and again[name].origins.tolist() == images.origins.tolist()
             for name, images in quarters.items())
  assert len(_load(tabled)) == 24 and len(_load(tabled, "&light=room")) == 12


def test_the_quarters_are_counted(tabled):
  assert _load(tabled, "&light=room&part=test").notes == (
      "quarters    finetune      test",
      "room               6         6",
      "spotlight          6         6")


@pytest.mark.parametrize("name", [
    "{light}/{product}/{n}.png", "{product}/{light}/deep/{n}.png",
    "images/{light} light/{product}/{n}.png"])
def test_quarters_of_folders(tmp_path, name):
  _write(tmp_path, lambda product, light, number: name.format(
      product=product, light=light, n=number))
  _check_quarters(_quarters(tmp_path))


def test_folders_that_are_named_after_the_parts(tmp_path):
  _write(tmp_path, lambda product, light, number:
         f"{light}_{'test' if number % 2 else 'finetune'}/{product}/{number}.png")
  quarters = _quarters(tmp_path)
  _check_quarters(quarters)
  for (light, part), images in quarters.items():
    assert all(f"/{light}_{part}/" in file for file in images.origins)


def test_other_words_for_the_lights(tmp_path):
  names = _write(tmp_path, lambda product, light, number: f"{product}{light}{number}.png",
                 lights=("room", "spotlight", "dusk"))
  codes = {"room": "0", "spotlight": "1", "dusk": "2"}
  (tmp_path / "m.tsv").write_text("\n".join(["img\tkind\tlamp", *(
      f"{path}\t{product}\t{codes[light]}" for path, product, light in names)]))
  columns = "&label=kind&lighting=lamp"
  problem, = sources.check(f"daiso:{tmp_path}?classes=3{columns}")
  assert "neither room light nor spotlight (0, 1, 2)" in problem and "room=A|B" in problem
  images = _load(tmp_path, f"{columns}&room=0&spotlight=1")
  assert len(images) == 24
  assert images.notes[0] == "12 images under other lights left out: 2"
  problem, = sources.check(f"daiso:{tmp_path}?classes=3")
  assert "no column for the product" in problem and "label=COLUMN" in problem


def test_quarters_of_unequal_size_are_announced(tmp_path):
  _write(tmp_path, lambda product, light, number: f"{light}/{product}/{number}.png")
  (tmp_path / "room/pen/3.png").unlink()
  assert _load(tmp_path).notes[-1].startswith("WARNING: the paper's quarters are of equal")


def _folders(product, light, number):
  return f"{light}/{product}/{number}.png"


@pytest.mark.parametrize("products,lights,options,words", [
    (PRODUCTS, ("room", "spotlight"), "", ["has 3 products, not 100", "classes=3"]),
    (PRODUCTS, ("room",), "?classes=3", ["no images under spotlight"]),
    (PRODUCTS, ("lit",), "?classes=3", [
        "does not say the product and the light of 12 images", "neither a table",
        "spotlight/PRODUCT"]),
    ((), (), "", ["does not say the product and the light of any image"]),
])
def test_what_is_missing_is_said(tmp_path, products, lights, options, words):
  _write(tmp_path, _folders, products, lights)
  problem, = sources.check(f"daiso:{tmp_path}{options}")
  assert all(word in problem for word in [*words, "Katoh et al."]), problem
  with pytest.raises(errors.UserError):
    sources.load(f"daiso:{tmp_path}{options}", image_size=4, channels=1)


def test_a_product_without_images_under_a_light(tmp_path):
  _write(tmp_path, _folders)
  for number in range(COUNT):
    (tmp_path / f"spotlight/cup/{number}.png").unlink()
  problem, = sources.check(f"daiso:{tmp_path}?classes=3")
  assert ("lacks images of 2 of 12 combinations of product, light and part: "
          "cup (spotlight, finetune), cup (spotlight, test)") in problem


def test_other_problems(tabled, tmp_path):
  problem, = sources.check(f"daiso:{tmp_path}/nowhere")
  assert "no folder" in problem and "Katoh" in problem
  problem, = sources.check(f"daiso:{tabled}?classes=3&where=light=x")
  assert "where=light=x is not for daiso" in problem
  (tmp_path / "a.csv").write_text("path\n")
  (tmp_path / "b.csv").write_text("path\n")
  problem, = sources.check(f"daiso:{tmp_path}")
  assert "several tables (a.csv, b.csv)" in problem and "metadata=FILE" in problem
  (tmp_path / "a.csv").unlink()
  (tmp_path / "b.csv").unlink()
  _write(tmp_path, _folders)
  _write(tmp_path, lambda product, light, number: f"{light}_test/{product}/{number}.png")
  problem, = sources.check(f"daiso:{tmp_path}?classes=3")
  assert "named after a part" in problem
