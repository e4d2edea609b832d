"""Folders whose table says which images belong to the set, and what they show."""

import numpy as np
import pictured
import pytest

from augment_gen.config import errors
from augment_gen.data import sources


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return pictured.write(tmp_path_factory.mktemp("tables") / "set")


def _load(folder, options="", **kwargs):
  return sources.load(f"folder:{folder}?metadata=m.csv{options}", image_size=4, channels=1,
                      **kwargs)


def _numbers(images):
  """Which pictures a set holds."""
  return (images.images[:, 0, 0, 0] // 10).tolist()


def test_labels_come_from_a_column(folder):
  images = _load(folder, "&label=product")
  assert _numbers(images) == list(range(12))
  # Whole numbers are sorted by value.
  assert images.class_names == ("9", "10")
  assert images.labels.tolist() == [1] * 6 + [0] * 6
  assert images.origins.tolist() == [
      str(folder / "images" / f"{number:02}.png") for number in range(12)]
  # The table itself is not among the files that were passed over.
  assert (images.passed_over, images.notes) == (0, ())


def test_strings_are_labels_too(folder):
  images = _load(folder, "&label=light")
  assert images.class_names == ("room", "spot")
  assert images.labels.tolist() == [0, 0, 0, 1, 1, 1] * 2


def test_where_selects_rows(folder):
  images = _load(folder, "&label=product&where=light=spot")
  assert _numbers(images) == [3, 4, 5, 9, 10, 11]
  assert images.labels.tolist() == [1, 1, 1, 0, 0, 0]
  assert images.notes == ("6 of 12 rows of m.csv selected: light=spot",)
  # All parts must hold; "|" stands between values of one column.
  spec = "&where=light=spot|room;camera=b;product=9"
  assert _numbers(_load(folder, spec)) == [7, 9, 11]
  assert sources.count(f"folder:{folder}?metadata=m.csv{spec}") == 3


def test_without_a_label_the_folders_are_the_classes(folder):
  images = _load(folder, "&where=light=room")
  assert images.class_names == ("images",) and len(images) == 6
  assert _load(folder, "&labels=none").labels is None


def test_selected_images_are_streamed(folder):
  images = sources.stream(f"folder:{folder}?metadata=m.csv&where=camera=a", image_size=4,
                          channels=1)
  assert len(images) == 6
  assert images.read(np.array([1, 5]))[:, 0, 0, 0].tolist() == [20, 100]


def test_special_characters_are_written_as_in_urls(tmp_path):
  folder = pictured.write(tmp_path / "set")
  pictured.table(folder, "m.csv", header="file_name,product,light & lamp,camera",
                 leave_out=(0,), more=["images/00.png,10,\"a,b;c|d=50%\",a"])
  spec = f"folder:{folder}?metadata=m.csv&where=light %26 lamp=a%2Cb%3Bc%7Cd%3D50%25"
  assert sources.count(spec) == 1
  whole = f"folder:{folder}?label=product&metadata=m.csv"
  assert sources.narrowed(whole, "light & lamp", "a,b;c|d=50%").endswith(
      "?label=product&metadata=m.csv&where=light %26 lamp=a%2Cb%3Bc%7Cd%3D50%25")
  narrowed = sources.narrowed(
      f"{whole}&where=camera=a", "light & lamp", "a,b;c|d=50%")
  assert sources.count(narrowed) == 1 and "where=camera=a;light" in narrowed


def test_paths_may_be_relative_to_the_table_or_absolute(tmp_path):
  folder = pictured.write(tmp_path / "set")
  (folder / "tables").mkdir()
  names = ["../images/03.png", "..\\images\\04.png", str(folder / "images" / "05.png"),
           "images/06.png", "./images/07.png"]
  (folder / "tables" / "m.csv").write_text("\n".join(["x", *names]))
  spec = f"folder:{folder}?metadata=tables/m.csv&path=x"
  assert sources.check(spec) == []
  assert _numbers(sources.load(spec, image_size=4, channels=1)) == [3, 4, 5, 6, 7]
  # An absolute table, and a folder that is reached by a link.
  (tmp_path / "link").symlink_to(folder)
  spec = f"folder:{tmp_path}/link?metadata={folder}/tables/m.csv&path=x"
  assert sources.count(spec) == 5


def test_a_path_that_may_mean_two_files(tmp_path):
  folder = pictured.write(tmp_path / "set")
  pictured.write(folder / "camera")
  (folder / "camera" / "m.csv").write_text("x\nimages/03.png\n")
  problem, = sources.check(f"folder:{folder}?metadata=camera/m.csv&path=x&labels=none")
  assert "'images/03.png' may be 'images/03.png' or 'camera/images/03.png'" in problem
  assert sources.count(f"folder:{folder}/camera?metadata=m.csv&path=x&labels=none") == 1


def test_accents_of_two_characters_are_those_of_one(tmp_path):
  one, two = "caf\u00e9.png", "cafe\u0301.png"
  folder = pictured.write(tmp_path / "set")
  (folder / "images" / "00.png").rename(folder / "images" / one)
  (folder / "m.csv").write_text(f"path\nimages/{two}\nimages/01.png\n")
  assert _numbers(_load(folder, "&labels=none")) == [1, 0]


def test_a_path_too_long_for_a_file_is_missing(tmp_path):
  folder = pictured.write(tmp_path / "set")
  (folder / "m.csv").write_text("path\n" + "x" * 300 + "\n")
  problem, = sources.check(f"folder:{folder}?metadata=m.csv")
  assert "1 of 1 files" in problem and "are missing" in problem


def test_images_that_the_table_does_not_name_are_passed_over(folder):
  pictured.table(folder, "less.csv", leave_out=(2, 5))
  images = sources.load(f"folder:{folder}?metadata=less.csv&label=product&where=camera=a",
                        image_size=4, channels=1)
  assert _numbers(images) == [0, 4, 6, 8, 10]
  # The other table, m.csv, is a file that was passed over as well.
  assert images.passed_over == 3
  assert images.notes[-1] == ("2 images that less.csv does not name are among the files "
                              "passed over: images/02.png, images/05.png")
  (folder / "less.csv").unlink()


def test_an_image_that_only_the_table_finds(tmp_path):
  """A search for images leaves hidden folders out; a table that names them does not."""
  folder = pictured.write(tmp_path / "set")
  (folder / "images").rename(folder / ".images")
  text = (folder / "m.csv").read_text()
  (folder / "m.csv").write_text(text.replace("images/", ".images/"))
  assert _numbers(_load(folder, "&label=product&where=camera=b")) == [1, 3, 5, 7, 9, 11]
  (folder / ".images" / "03.png").write_text("no image")
  with pytest.raises(errors.UserError, match="03.png cannot be read"):
    _load(folder, "&label=product")


@pytest.mark.parametrize("options,words", [
    ("metadata=m.csv&label=kind",
     ["no column 'kind' (option label)", "it has: file_name, product, light, camera"]),
    ("metadata=m.csv&path=name", ["no column 'name' (option path)"]),
    ("metadata=m.csv&where=lamp=x", ["no column 'lamp' (option where)"]),
    ("metadata=m.csv&where=light=day",
     ["no 'day' in the column 'light'", "it has: room, spot"]),
    ("metadata=m.csv&where=light", ["'light' is not COLUMN=VALUE", "A|B"]),
    ("metadata=none.csv", ["there is no table"]),
    ("label=product", ["label=product needs a table", "metadata=FILE"]),
    ("where=light=room", ["where=light=room needs a table"]),
    ("metadata=m.csv&label=product&labels=none", ["contradict each other"]),
])
def test_problems_of_the_options(folder, options, words):
  problem, = sources.check(f"folder:{folder}?{options}")
  assert all(word in problem for word in words), problem


@pytest.mark.parametrize("header,lines,words", [
    ("name,product", ["images/00.png,1"],
     ["no column for the paths of the images", "path=COLUMN", "it has: name, product"]),
    ("path,product", [], ["has no rows"]),
    ("path,product", ["images/00.png,1", "images/20.png,1", "images/21.png,2"],
     ["2 of 3 files that", "are missing", "the first: 'images/20.png'"]),
    ("path,product", ["../00.png,1", "images/01.png,1", "/elsewhere/x.png,1"],
     ["names 2 files outside the folder", "'../00.png'"]),
    ("path,product", ["images/00.png,1", "./images/00.png,2", "images/01.png,1"],
     ["names 1 files more than once", "'images/00.png'"]),
    ("path,product", ["images/00.png,", "images/01.png,1", "images/02.png,"],
     ["no 'product' (option label) for 2 images", "the first: images/00.png"]),
    ("path,product", [",1", "images/01.png,1"], ["gives no path in 1 rows"]),
])
def test_problems_of_the_rows(folder, header, lines, words):
  (folder / "bad.csv").write_text("\n".join([header, *lines]) + "\n")
  label = "&label=product" if "product)" in words[0] or "'product'" in words[0] else ""
  problem, = sources.check(f"folder:{folder}?metadata=bad.csv{label}")
  assert all(word in problem for word in words), problem
  (folder / "bad.csv").unlink()


def test_no_row_has_all_that_is_asked(folder):
  (folder / "odd.csv").write_text("path,a,b\nimages/00.png,1,2\nimages/01.png,2,1\n")
  problem, = sources.check(f"folder:{folder}?metadata=odd.csv&where=a=1;b=1")
  assert "has no row with all of where=a=1;b=1" in problem
  (folder / "odd.csv").unlink()


def test_a_class_of_which_nothing_can_be_read(tmp_path):
  folder = pictured.write(tmp_path / "set")
  (folder / "images" / "12.png").write_bytes(b"")
  pictured.table(folder, "m.csv", more=["images/12.png,lamp,room,a"])
  with pytest.raises(errors.UserError, match="^class 'lamp' holds no image that can be"):
    _load(folder, "&label=product", on_bad_image="skip")
