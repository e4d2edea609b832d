"""The commands `augment` and `embed`, with functions in place of trained networks."""

import csv
import json
import types

import numpy as np
from PIL import Image
import pytest

from augment_gen import config as config_lib
from augment_gen.apply import augment, command_line, embed, manifest, pictures
from augment_gen.config import DataConfig
from augment_gen.config.errors import UserError
from augment_gen.export import draws, runs

CONFIG = types.SimpleNamespace(data=DataConfig(
    image_size=4, channels=1, finetune="folder:{root}/labelled"))
SQUASHED = types.SimpleNamespace(data=DataConfig(
    image_size=4, channels=1, finetune="folder:x?resize=squash&max=255&labels=folders"))
COLUMNS = [*augment._COLUMNS, "tone.gamma", "blur.defocus"]


@pytest.fixture
def folder(tmp_path):
  """Two classes of three and two grey pictures, of which two share a stem."""
  for number, name in enumerate(("cats/a.png", "cats/b.bmp", "cats/b.png",
                                 "dogs/x/c.png", "dogs/d.png")):
    path = tmp_path / "in" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 6), 20 + 40 * number, np.uint8)).save(path)
  return tmp_path / "in"


def given(folder, labelled=False, bad="error"):
  return pictures.given(str(folder), CONFIG, bad, labelled)


def brighter(x, z):
  """A G_A: adds the first latent, as far as it goes."""
  # Sorted by name, as what comes out of `jax.jit`, and not in the order of the columns.
  return np.clip(x + z[:, :1, None, None], 0, 1), {
      "blur.defocus": -z[:, 0], "tone.gamma": 2 * z[:, 0]}


def copies(folder, out, count, seed=0, function=brighter, bad="error"):
  """Makes copies as the command does. Returns the rows of the table by file."""
  table = manifest.Manifest(out, {"run": "r", "seed": seed}, COLUMNS)
  augment.write_copies(
      given(folder, bad=bad), out, table,
      lambda seed, name, number: draws.latents(seed, name, number, None, 3),
      function, augment.Settings("r", copies=count, seed=seed))
  table.close()
  with open(out / "manifest.csv", newline="") as file:
    rows = list(csv.DictReader(file))
  found = {row["file"]: row for row in rows}
  assert len(found) == len(rows)
  return found


def test_copies_have_the_tree_of_the_images_and_a_table(folder, tmp_path):
  rows = copies(folder, tmp_path / "out", 2)
  files = {str(path.relative_to(tmp_path / "out")): path
           for path in (tmp_path / "out").rglob("*.png")}
  assert set(rows) == set(files) == {f"{stem}-{number:02}.png" for number in range(2)
      for stem in ("cats/a", "cats/b.bmp", "cats/b.png", "dogs/x/c", "dogs/d")}
  for name, row in rows.items():
    z = np.array(row["latent"].split(), np.float32)
    # The text is the number itself, bit by bit.
    np.testing.assert_array_equal(
        z, draws.latents(0, row["source"], int(row["draw"]), None, 3))
    assert row["seed"] == "0" and float(row["tone.gamma"]) == pytest.approx(2 * z[0], 1e-4)
    assert float(row["blur.defocus"]) == pytest.approx(-z[0], 1e-4)
    image = np.asarray(Image.open(folder / row["source"])).astype(np.float32)[:, 1:5]
    wanted = np.rint(np.clip(image + 255 * z[0], 0, 255))
    assert np.abs(np.asarray(Image.open(files[name])) - wanted).max() <= 1


def test_what_is_there_is_kept_and_more_copies_change_none(folder, tmp_path, monkeypatch):
  monkeypatch.setattr(augment, "_BATCH", 3)
  out, calls = tmp_path / "out", []

  def stops(x, z):
    if len(calls) == 2:
      raise KeyboardInterrupt
    calls.append(len(x))
    return brighter(x, z)

  with pytest.raises(KeyboardInterrupt):
    copies(folder, out, 2, function=stops)
  table = out / "manifest.csv"
  text = table.read_text()
  table.write_text(text[:-3])  # a crash, in the last number
  (out / "cats" / "a-00.png").unlink()
  times = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")
           if path.name != "b.png-01.png"}
  assert len(times) == 4
  rows = copies(folder, out, 2)
  assert len(rows) == 10 and text.splitlines()[-1] in table.read_text().splitlines()
  assert {path: path.stat().st_mtime_ns for path in times} == times

  copies(folder, tmp_path / "whole", 3)
  pixels = lambda path: np.asarray(Image.open(path)).tolist()
  for path in out.rglob("*.png"):
    assert pixels(path) == pixels(tmp_path / "whole" / path.relative_to(out))


def test_images_that_come_later_change_no_names(folder, tmp_path):
  before = copies(folder, tmp_path / "out", 1)
  Image.new("L", (4, 4)).save(folder / "cats" / "a.bmp")  # another of the same stem
  after = copies(folder, tmp_path / "out", 1)
  assert set(after) - set(before) == {"cats/a.bmp-00.png"}
  assert [row["source"] for row in after.values()].count("cats/a.png") == 1


def test_two_starts_do_not_share_a_folder(tmp_path):
  table = manifest.Manifest(tmp_path / "out", {}, COLUMNS)
  with pytest.raises(UserError, match="out is in use by another process"):
    manifest.Manifest(tmp_path / "out", {}, COLUMNS)
  table.close()
  manifest.Manifest(tmp_path / "out", {}, COLUMNS).close()


def test_a_folder_of_other_settings_or_other_files_is_refused(folder, tmp_path):
  copies(folder, tmp_path / "out", 1)
  with pytest.raises(UserError, match="other settings .seed: 0 there, 1 here"):
    copies(folder, tmp_path / "out", 1, seed=1)
  with pytest.raises(UserError, match="holds other files"):
    manifest.Manifest(folder, {}, COLUMNS)
  with pytest.raises(UserError, match="would include what is written"):
    pictures.check_apart(folder, str(folder / "out"))


def test_the_source_of_a_folder_is_its_path_with_its_options(folder, tmp_path, monkeypatch):
  place = lambda text: augment._place_of(text, CONFIG)
  monkeypatch.chdir(tmp_path)
  plain = str(folder.resolve())
  for text in ("in", str(folder), "folder:in", "folder:in?labels=none&resize=crop"):
    assert place(text) == plain, text
  squashed = place("folder:in?resize=squash&max=4095")
  assert squashed == place("folder:in/?max=4095&resize=squash") != plain
  assert place("npz:x.npz?images=a") == "npz:x.npz?images=a"
  # A plain folder is read as the run's own images were.
  assert augment._place_of("in", SQUASHED) == f"{plain}?max=255.0&resize=squash"
  assert augment._place_of("folder:in", SQUASHED) == plain


def test_a_plain_folder_is_read_as_the_images_of_the_run(tmp_path):
  image = np.zeros((4, 8), np.uint8)
  image[:, :2] = 200  # outside the centre
  (tmp_path / "in").mkdir()
  Image.fromarray(image).save(tmp_path / "in" / "a.png")
  read = lambda text, config: pictures.given(text, config, "error", False).images.read(
      np.array([0])).max()
  assert read(str(tmp_path / "in"), CONFIG) == 0
  assert read(str(tmp_path / "in"), SQUASHED) > 100
  assert read(f"folder:{tmp_path}/in?labels=none", SQUASHED) == 0


def test_bad_images_stop_the_command_or_have_no_copies(folder, tmp_path, capsys):
  (folder / "cats" / "a.png").write_bytes(b"no image")
  with pytest.raises(UserError, match="--on-bad-image=skip"):
    given(folder)
  rows = copies(folder, tmp_path / "out", 1, bad="skip")
  assert len(rows) == 4 and "cats/a-00.png" not in rows
  assert "1 images could not be read" in capsys.readouterr().err


def test_images_of_other_channels_get_advice_that_helps(folder):
  Image.new("RGB", (4, 4), (250, 0, 0)).save(folder / "dogs" / "d.png")
  with pytest.raises(UserError, match=r"folder:PATH\?convert=1") as error:
    given(folder)
  assert "--config" not in str(error.value)
  assert len(pictures.given(f"folder:{folder}?labels=none&convert=1", CONFIG, "error",
                            True).names) == 5
  for text, words in ((str(folder / "cats" / "a.png"), "is a file"),
                      (str(folder / "none"), "there is no folder")):
    with pytest.raises(UserError, match=words):
      given(text)


def test_latents_are_a_function_of_seed_image_and_copy():
  drawn = [draws.latents(seed, name, number, None, 2) for seed in (0, 1)
           for name in ("a", "a/b") for number in (0, 1)]
  assert len({z.tobytes() for z in drawn}) == 8
  np.testing.assert_array_equal(draws.latents(1, "a/b", 1, None, 2), drawn[-1])
  many = np.stack([draws.latents(0, str(n), 0, None, 2) for n in range(1000)])
  assert many.dtype == np.float32
  np.testing.assert_allclose(many.mean(axis=0), 0.5, atol=0.05)
  bank = np.arange(12, dtype=np.float32).reshape(4, 3)
  rows = np.stack([draws.latents(0, str(n), 0, bank, 3) for n in range(100)])
  np.testing.assert_array_equal(np.unique(rows, axis=0), bank)


def test_no_two_images_share_the_names_of_their_copies():
  names = ["a.png", "A.jpg", "a.png.gif", "b.png", "d/b.png", "../b.tif", "0003"]
  assert manifest.stems(names) == [
      "a.png", "A.jpg", "a.png.gif", "b", "d/b", "up/b", "0003"]


def test_features_of_readable_images_with_classes(folder, tmp_path, monkeypatch):
  monkeypatch.setattr(embed, "_BATCH", 2)
  (folder / "cats" / "b.png").write_bytes(b"no image")
  found = given(folder, labelled=True, bad="skip")
  encode = lambda x: x.mean(axis=(1, 2)) * np.ones((1, 3), np.float32)
  indices, features = embed.encode_all(found, encode)
  np.testing.assert_array_equal(indices, [0, 1, 3, 4])
  np.testing.assert_allclose(
      255 * features, np.array([20, 60, 180, 140])[:, None] * np.ones((1, 3)), atol=1e-3)
  columns = {"features": features, "paths": np.array([found.names[i] for i in indices]),
             "labels": found.labels[indices], "class_names": np.array(found.class_names)}
  embed.write(tmp_path / "f.npz", columns)
  with np.load(tmp_path / "f.npz") as stored:
    assert stored["paths"].tolist() == [
        "cats/a.png", "cats/b.bmp", "dogs/d.png", "dogs/x/c.png"]
    assert stored["class_names"][stored["labels"]].tolist() == ["cats"] * 2 + ["dogs"] * 2
    assert stored["features"].dtype == np.float32
  parquet = pytest.importorskip("pyarrow.parquet")
  embed.write(tmp_path / "f.parquet", columns)
  rows = parquet.read_table(tmp_path / "f.parquet").to_pylist()
  assert rows[2]["class"] == "dogs" and rows[2]["label"] == 1
  assert rows[2]["path"] == "dogs/d.png" and len(rows[2]["features"]) == 3
  assert sorted(path.name for path in tmp_path.iterdir()) == ["f.npz", "f.parquet", "in"]


def test_loose_images_have_no_labels(folder, capsys):
  assert given(folder, labelled=True).labels is not None
  Image.new("L", (4, 4)).save(folder / "loose.png")
  assert given(folder, labelled=True).labels is None
  assert "without labels: " in (said := capsys.readouterr().err) and "loose.png" in said


@pytest.mark.parametrize("command, args, words", [
    (command_line.augment, ["in", "out", "--run=r", "--n=0"], "at least 1"),
    (command_line.augment, ["in", "out", "--run=r", "--strength=2"], "not in"),
    (command_line.embed, ["in", "out.txt", "--run=r"], "does not end in .npz or .parquet"),
    (command_line.embed, ["in", "no/out.npz", "--run=r"], "there is no folder no"),
    (command_line.compare, ["r", "in", "--out=o", "--seed=-1"], "--seed=-1 must be at"),
    (command_line.export, ["no", "out"], "no is no run folder")])
def test_mistakes_take_one_line(command, args, words):
  with pytest.raises(UserError, match=words) as error:
    command(args)
  assert len(error.value.problems) == 1


def test_only_a_chain_has_strengths(monkeypatch):
  monkeypatch.setattr(augment, "build_augmenter", lambda config: object())
  config = types.SimpleNamespace(generator=types.SimpleNamespace(
      networks=types.SimpleNamespace(augmenter="unet")))
  augment._check_strength(config, 1.0)
  with pytest.raises(UserError, match="G_A of this run is a unet"):
    augment._check_strength(config, 0.5)


def test_a_bank_of_other_images_is_refused(tmp_path, monkeypatch):
  images = types.SimpleNamespace(name="npz:x", fingerprint="new")
  data = config_lib.DataConfig(root="old")
  monkeypatch.setattr(runs, "load_finetune", lambda data: images)
  monkeypatch.setattr(runs.stages, "latent_bank", lambda *args: args)
  config = types.SimpleNamespace(data=data)
  assert runs.bank_of(tmp_path, config, "state", "", "prior") == (config, images, "state")
  with pytest.raises(UserError, match="no root to replace: give such a spec"):
    runs.bank_of(tmp_path, config, "state", "elsewhere", "prior")
  rooted = types.SimpleNamespace(data=DataConfig(finetune="folder:{root}/a", root="old"))
  seen = []
  monkeypatch.setattr(runs, "load_finetune", lambda data: seen.append(data) or images)
  for root in ("new", "folder:there"):
    runs.bank_of(tmp_path, rooted, "state", root, "prior")
  assert [(data.root, data.finetune) for data in seen] == [
      ("new", "folder:{root}/a"), ("old", "folder:there")]
  (tmp_path / "data.json").write_text('{"finetune": "old"}')
  with pytest.raises(UserError, match="its fingerprint was old, and is new now"):
    runs.bank_of(tmp_path, config, "state", "", "prior")


def test_a_stage_that_is_not_finished_is_said(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(runs.Checkpoints, "restore", lambda self, like: "state")
  for done, warned in ((400, False), (3, True)):
    costs = {"generator": {"steps": done, "of": 400}}
    (tmp_path / "costs.json").write_text(json.dumps(costs))
    assert runs._newest(tmp_path, "generator", lambda: np.zeros(1)) == "state"
    said = capsys.readouterr().err
    assert ("is not finished: this is its step 3 of 400" in said) == warned
