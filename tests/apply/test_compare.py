"""The command `compare`, with functions in place of trained networks."""

import types

import numpy as np
from PIL import Image
import pytest

from augment_gen.apply import compare
from augment_gen.config import DataConfig
from augment_gen.config.errors import UserError
from augment_gen.figures import grid

CONFIG = types.SimpleNamespace(data=DataConfig(
    image_size=4, channels=1, finetune="folder:{root}/labelled"))


@pytest.fixture
def folder(tmp_path):
  for number in range(5):
    path = tmp_path / "in" / ("x" if number % 2 else "y") / f"{number}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 6), 40 * number, np.uint8)).save(path)
  return tmp_path / "in"


def test_files_and_folders_are_found(folder, tmp_path):
  single = folder / "x" / "1.png"
  assert compare.find([str(single)], 9) == {"1.png": single}
  assert list(compare.find([str(folder)], 9)) == [
      "x/1.png", "x/3.png", "y/0.png", "y/2.png", "y/4.png"]
  assert list(compare.find([str(folder)], 2)) == ["x/1.png", "y/4.png"]  # spread evenly
  # Files of one name do not hide each other.
  (tmp_path / "1.png").write_bytes(single.read_bytes())
  assert len(compare.find([str(single), str(tmp_path / "1.png")], 9)) == 2
  (tmp_path / "empty").mkdir()
  with pytest.raises(UserError) as error:
    compare.find([str(tmp_path / "none"), str(tmp_path / "empty"), str(single)], 9)
  first, second = error.value.problems
  assert "no file or folder" in first and "holds no images" in second


def test_sheets_go_to_a_folder_or_one_to_a_file(tmp_path):
  names = ["a/1.png", "a/1.jpg", "b.png"]
  places = compare.places_of(names, str(tmp_path))
  assert len(set(places.values())) == 3
  assert places["b.png"] == tmp_path / "b.png"
  assert compare.places_of(["b.png"], "x/y.png")["b.png"].as_posix() == "x/y.png"
  with pytest.raises(UserError, match="--out=y.png is one file, and there are 3 images"):
    compare.places_of(names, "y.png")


def test_no_sheet_takes_the_place_of_an_image(folder, tmp_path):
  image = folder / "x" / "1.png"
  images = [str(image)]
  compare.check_places(images, compare.places_of(["1.png"], str(tmp_path)).values())
  for out in (folder / "x", image):
    with pytest.raises(UserError, match="is one of the images"):
      compare.check_places(images, compare.places_of(["1.png"], str(out)).values())
  # Nor that of a picture beside it.
  (folder / "x" / "1.jpg").touch()
  with pytest.raises(UserError, match="1.png lies beside the images already"):
    compare.check_places([str(folder / "x" / "1.jpg")], [image])
  with pytest.raises(UserError, match="lies in .*choose a place elsewhere"):
    compare.check_places([str(folder)], [folder / "sheets" / "1.png"])


def test_names_of_files_are_titles_as_they_are(tmp_path):
  image = np.zeros((1, 8, 8, 1), np.float32)
  for name in ("a$x_$_b.png", "caf\udce9.png"):
    grid.column_sheet([("x", image)], tmp_path / "sheet.png", ends={0},
                      title=compare._as_title(name))


def test_pictures_are_decoded_for_the_run(folder, tmp_path, capsys):
  colour = tmp_path / "c.png"
  Image.new("RGB", (9, 9), (255, 255, 255)).save(colour)
  given = {"a": folder / "x" / "1.png", "b": colour}
  x = compare.decoded(given, CONFIG)
  assert list(x) == ["a", "b"] and x["a"].shape == (4, 4, 1) and x["a"].dtype == np.float32
  np.testing.assert_allclose(x["a"], 40 / 255)
  np.testing.assert_allclose(x["b"], 1)
  bad = tmp_path / "bad.png"
  bad.write_bytes(b"no image")
  with pytest.raises(UserError, match=r"no sheet of .*bad.png: .*bad.png cannot be read"):
    compare.decoded({"bad": bad}, CONFIG)
  assert list(compare.decoded(given | {"bad": bad}, CONFIG)) == ["a", "b"]
  assert "no sheet of" in capsys.readouterr().err


def test_a_sheet_has_every_latent_in_every_strength():
  image = np.full((4, 4, 1), 0.5, np.float32)
  z = {"bank": np.array([[0.1], [0.2]], np.float32),
       "prior": np.array([[0.3], [0.4]], np.float32)}
  shapes = set()

  def views(strength):
    def apply(x, z):
      shapes.add((len(x), len(z)))
      return np.asarray(x) + strength * np.asarray(z)[:, :, None, None]
    return apply

  g_el = lambda x: (0.5 * x, np.full((len(x), 1), 0.01, np.float32))
  columns = compare.sheet(image, z, {s: views(s) for s in compare.STRENGTHS}, g_el)
  assert [name for name, _ in columns] == [
      "$x$", "$G_E(x)$", "$G_A(G_E(x), G_L(x))$", "bank, × 0.5", "bank, × 1",
      "prior, × 0.5", "prior, × 1"]
  value = {name: [round(float(v[0, 0, 0]), 4) for v in part] for name, part in columns}
  assert value["$x$"] == [0.5] and value["$G_E(x)$"] == [0.25]
  assert value["$G_A(G_E(x), G_L(x))$"] == [0.26]
  assert value["bank, × 1"] == [0.6, 0.7] and value["prior, × 0.5"] == [0.65, 0.7]
  assert shapes == {(2, 2)}  # one compilation for each strength
  assert compare.ends(columns) == {2, 4}
  # A network without strengths has one column for each kind.
  columns = compare.sheet(image, z, {1.0: views(1.0)}, g_el)
  assert [name for name, _ in columns][3:] == ["bank", "prior"]
  assert compare.ends(columns) == {2, 3}
