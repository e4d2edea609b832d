"""The page of a run, from a folder that is written here, and in a headless browser."""

import base64
import html
import json
import os
import pathlib
import re
import shutil
import subprocess

import numpy as np
from PIL import Image
import pytest

from augment_gen import __main__ as commands
from augment_gen import config as config_lib
from augment_gen import report
from augment_gen.report import gallery, page, record
from augment_gen.report import html as elements

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync")


def rows(seed, method="MoCo v2", accuracy=50.0, images=1000, **further):
  return [{"method": method, "pretrain_data": "X_p", "train": "D", "test": test,
           "feature": "f", "protocol": protocol, "seed": seed, "accuracy": accuracy,
           "retraining_set": "X_p", "augmentation": "-", "test_images": images, **further}
          for test in "CD" for protocol in ("l2", "knn")]


def write_run(folder, seed=0, gain=20.0, health=None, **files):
  """Writes a run folder as a run of the augmentation generator leaves it."""
  config = config_lib.default_config()
  config.seed = seed
  config.experiment = "EMNIST-Omniglot"
  entry = {"says": "{share} are blurred, σ {range} px", "true": [0.2, 0.6],
           "prior": {"share": 0.5, "quantiles": [0.1, 0.2, 0.3, 0.4, 0.5]},
           "bank": {"share": 0.4, "quantiles": [0.1, 0.2, 0.3, 0.4, 0.5]}}
  points = np.random.default_rng(0).random((3, 20, 2)).tolist()
  contents = {
      "config.json": config_lib.plain(config),
      "results.json": {
          "experiment": "EMNIST-Omniglot", "health": health or {"edit": 0.1},
          "provenance": {"protocols": {"l2": "fa11"}, "data": {}, "config": "c0de"},
          "gauges": {"pretrain": {"feature_std": 0.001}},
          "rows": rows(seed) + rows(seed, "MoCo v2 + G_A", 50 + gain + seed,
                                    augmentation="G_A")},
      "learned.json": {"quantiles": [], "operators": {"blur": {
          "alive": True, "edit": 9.0, "sentence": "Half are <blurred>.",
          "amounts": {"defocus": entry}}}},
      "data.json": {"pretrain": "f00d"},
      "environment.json": [{
          "time": "2026-01-01", "command": "python -m augment_gen.main --config=x & y",
          "commit": "abc", "versions": {"jax": "1.2.3"}, "devices": ["cpu"],
          "seconds": 4000.0, "finished": True}],
      "report/scores.json": {
          "images": 40, "d_f_right": 0.625, "d_f_real": 0.6, "d_f_generated": 0.4,
          "error_median": 0.1, "error_worst": 0.3},
      "report/embedding_map.json": {
          "method": "PCA", "sets": dict(zip(("X_p", "X̃_f", "G_A(X_p)"), points))},
      **files}
  for name, value in contents.items():
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if value is not None:
      path.write_text(json.dumps(value), encoding="utf-8")
  (folder / "metrics.jsonl").write_text("".join(json.dumps(
      {"step": step, "stage": stage, "loss": 1 / step, "generator/cycle_p": 0.1 * step,
       "embedding_std": 0.5}) + "\n" for stage in ("pretrain", "generator")
      for step in (1, 2, 3)), encoding="utf-8")
  (folder / "figures").mkdir(exist_ok=True)
  for name in (*gallery.EXAMPLES, *gallery.GENERATOR, "curves"):
    Image.new("RGB", (1400, 90), "white").save(folder / "figures" / f"{name}.png")
  return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  return write_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def text(run):
  return report.write([run]).read_text(encoding="utf-8")


def plain(text):
  """What a reader sees: without tags and pictures."""
  return html.unescape(re.sub(r"<style.*?</style>|<[^>]*>", " ", text, flags=re.DOTALL))


def test_the_page_has_its_parts_in_order(text):
  headings = re.findall(r"<h([123])[^>]*>(.*?)</h\1>", text)
  assert [words for level, words in headings if level in "12"] == [
      "EMNIST-Omniglot, seed 0", "Verdict", "Results", "Curves", "Gallery", "Settings",
      "Provenance"]
  assert [words for level, words in headings if level == "3"] == [
      "What G_A has learned", "Warnings about encoders", "pretrain", "generator",
      "The images", "The same images and latents over training",
      "G_A under several latents", "Along one line of latents", "Each operator alone",
      "How much of each", "Round trips", "Map of the embeddings",
      "Worst cases of the round trip", "What D_f is surest of", "Fingerprints"]
  for name in re.findall(r'href="#(\w+)"', text):
    assert f'<section id="{name}">' in text


def test_the_page_says_what_the_folder_knows(text):
  seen = plain(text)
  for words in ("The learned augmentation helped: +20.0 points on D\N{NO-BREAK SPACE}→",
                "The generator is healthy", "pretrain: the encoder has collapsed",
                "D_f is right on 62 % of 40 images", "PCA of F(x)", "1.2.3",
                "pip install 'augment_gen[report]'", "1 h 7 min", "f00d", "c0de",
                "fa11",
                "config=x & y"):
    assert words in seen
  assert "the greatest 0.300" in seen
  # What comes from the folder is text, not HTML.
  assert "Half are &lt;blurred&gt;." in text and "<blurred>" not in text


def test_the_table_has_the_papers_numbers_beside_ours(text):
  table = re.search(r"<table>.*?</table>", text[text.index('id="results"'):],
                    re.DOTALL).group()
  lines = [[plain(cell).strip() for cell in re.findall(r"<t[hd][^>]*>.*?</t[hd]>", line)]
           for line in re.findall(r"<tr>.*?</tr>", table)]
  assert lines[1][3:] == ["D → C", "paper", "D → D", "paper"]
  assert lines[2:] == [
      ["MoCo v2", "X_p", "-", "50.0", "3.25", "50.0", "22.97"],
      ["MoCo v2 + G_A", "X_p", "G_A", "70.0", "55.22", "70.0", "64.60"]]


def test_settings_are_those_that_differ(text):
  settings = text[text.index('id="settings"'):text.index('id="provenance"')]
  assert "1 setting differs from" in plain(settings)
  assert re.search(r"experiment</th><td>EMNIST-Omniglot</td><td>Rendered characters",
                   settings)


def test_curves_are_vectors_and_pictures_are_inside(text):
  assert 'aria-label="loss over steps: loss"' in text
  images = re.findall(r'<img src="([^"]{0,30})[^"]*" alt="([^"]*)"', text)
  assert len(images) == len(gallery.EXAMPLES) + len(gallery.GENERATOR)
  assert all(source.startswith("data:image/") and len(alt) > 20 for source, alt in images)
  assert not re.search(r'(src|href)="(?!data:|#)|url\(|@import|<script', text)


def test_an_old_folder_says_what_it_lacks(tmp_path):
  old = write_run(tmp_path / "old", **{
      "results.json": None, "learned.json": None, "environment.json": None,
      "report/scores.json": None, "report/embedding_map.json": None})
  for name in ("over_training", "worst_cases"):
    (old / "figures" / f"{name}.png").unlink()
  config = json.loads((old / "config.json").read_text())
  config["of_older_code"] = 7
  del config["moco"]
  (old / "config.json").write_text(json.dumps(config))
  seen = plain(report.write([old], tmp_path / "page.html").read_text(encoding="utf-8"))
  assert not (old / report.NAME).exists()
  for words in ("Nothing has been evaluated yet", "health of the generator was not",
                "Not in this folder: over_training.png, worst_cases.png, the map of "
                "embeddings", "environment.json is missing", "of_ older_ code"):
    assert words in seen


def test_an_empty_run_has_a_page(tmp_path):
  (tmp_path / "config.json").write_text("{}")
  seen = plain(report.write([tmp_path]).read_text(encoding="utf-8"))
  assert "there are no curves" in seen and "There are no rows yet" in seen


def test_several_runs_have_one_page(run, tmp_path, capsys):
  other = write_run(tmp_path / "other", seed=1)
  out = tmp_path / "both" / "page.html"
  assert commands.main(["report", str(run), str(other), f"--out={out}"]) == 0
  assert capsys.readouterr().out.startswith(f"{out} (")
  text = out.read_text(encoding="utf-8")
  seen = plain(text)
  assert "95 % interval over 2 seeds" in seen and "70.5 ± 0.7 (n=2)" in seen
  assert text.count("What G_A has learned") == 2
  # Each heading below the table stands before its own lines.
  places = [seen.index(words) for words in (
      "Gains over the best control", "less the best control", "Difference to the first",
      "X_p, EMNIST-Omniglot, D → C: +20.50")]
  assert places == sorted(places)
  names = re.findall(r'id="([^"]*)"', text)
  assert len(set(names)) == len(names)


@pytest.mark.parametrize("args, words", [
    (["{run}", "{run}"], "several runs need a file"),
    (["{tmp}/none"], "is no run folder"),
    (["{run}", "--out=/proc/none/page.html"], "cannot be written"),
])
def test_mistakes_end_in_one_line(args, words, run, tmp_path, capsys):
  args = [arg.format(run=run, tmp=tmp_path) for arg in args]
  assert commands.main(["report", *args]) == 2
  error = capsys.readouterr().err
  assert words in error and error.count("\n") == 1


@pytest.mark.parametrize("name", ["learned.json", "results.json", "report/scores.json"])
def test_damaged_files_are_named(name, tmp_path, capsys):
  run = write_run(tmp_path / "run")
  (run / name).write_text("{")
  assert commands.main(["report", str(run)]) == 2
  assert name in capsys.readouterr().err and not (run / report.NAME).exists()


def test_a_damaged_picture_is_said_in_its_place(tmp_path):
  run = write_run(tmp_path / "run")
  (run / "figures" / "latents.png").write_bytes(b"no picture")
  assert "latents.png cannot be read" in page.page([record.read(run)])


def test_pictures_become_small(tmp_path):
  rng = np.random.default_rng(0)
  decode = lambda markup: base64.b64decode(re.search("base64,([^\"]*)", markup).group(1))
  path = tmp_path / "a.png"
  flat = rng.integers(0, 2, (90, 90)).repeat(10, 0).repeat(10, 1)[..., None] * 255
  photo = rng.integers(0, 256, (600, 3000, 3))
  for pixels, exact in ((flat[:50, :50], True), (photo, False)):
    image = np.broadcast_to(pixels, (*pixels.shape[:2], 3)).astype(np.uint8)
    Image.fromarray(image).save(path)
    stored = decode(elements.image(path, "a"))
    (tmp_path / "b").write_bytes(stored)
    shown = np.asarray(Image.open(tmp_path / "b").convert("RGB"))
    assert (shown.shape == image.shape and np.array_equal(shown, image)) == exact
    assert exact or len(stored) < path.stat().st_size / 2


def test_pictures_beyond_what_webp_can_hold(tmp_path):
  path = tmp_path / "a.png"
  noise = np.random.default_rng(0).integers(0, 256, (16400, 40, 3), np.uint8)
  Image.fromarray(noise).save(path)
  markup = elements.image(path, "a")
  assert "image/webp" in markup and 'height="11714"' in markup


def test_text_is_escaped():
  assert elements.tag("p", "a < b", class_="x\"y") == '<p class="x&#34;y">a &lt; b</p>'
  assert elements.bullets([]) == ""
  assert elements.breakable("a.b_<") == "a.<wbr>b_<wbr>&lt;"


def _luminance(colour):
  channels = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
  linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
  return np.dot([0.2126, 0.7152, 0.0722], linear)


def test_text_stands_out_in_both_schemes():
  style = pathlib.Path(page.__file__).with_name("style.css").read_text()
  light, dark = (dict(re.findall(r"--([\w]+): (#\w{6})", block)) for block in
                 re.findall(r":root \{(.*?)\}", style, re.DOTALL))
  assert light.keys() == dark.keys()
  for scheme in (light, dark):
    for ground in ("page", "raised"):
      for name in set(scheme) - {"page", "raised", "grid", "band"}:
        low, high = sorted(_luminance(scheme[n]) for n in (name, ground))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (name, ground)


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the PATH")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_the_page_without_errors_on_phones_and_desktops(
    scheme, text, tmp_path):
  # One start of the browser: a frame for each width. A frame of `srcdoc` may be read.
  frames = "".join(f'<iframe width="{width}" height="800" srcdoc="{html.escape(text)}">'
                   "</iframe>" for width in (375, 1280))
  (tmp_path / "frames.html").write_text(f"""<!DOCTYPE html><meta charset="utf-8">
<body>{frames}<pre id="found"></pre><script>
onload = () => {{
  const found = [...document.querySelectorAll("iframe")].map(frame => {{
    const view = frame.contentWindow, root = view.document.documentElement;
    return {{
      width: view.innerWidth, scroll: root.scrollWidth, inner: root.clientWidth,
      ground: view.getComputedStyle(view.document.body).backgroundColor,
      broken: [...view.document.images].filter(i => i.complete && !i.naturalWidth).length,
      wide: [...view.document.querySelectorAll(".box")].filter(
          box => box.scrollWidth > box.clientWidth).length,
      requests: view.performance.getEntriesByType("resource").map(e => e.name)
          .filter(name => !name.startsWith("data:"))}};
  }});
  document.getElementById("found").textContent = JSON.stringify(found);
}};</script>""", encoding="utf-8")
  done = subprocess.run(
      [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}",
       f"--blink-settings=preferredColorScheme={int(scheme == 'light')}",
       "--enable-logging=stderr", "--window-size=1700,1000", "--dump-dom",
       (tmp_path / "frames.html").as_uri()],
      capture_output=True, text=True, timeout=120, check=True, env=os.environ)
  assert "CONSOLE" not in done.stderr
  found = json.loads(html.unescape(
      re.search(r'<pre id="found">(.*?)</pre>', done.stdout).group(1)))
  assert [frame["width"] for frame in found] == [375, 1280]
  for frame in found:
    assert frame["scroll"] <= frame["inner"]
    assert not frame["requests"] and not frame["broken"]
    assert frame["ground"] == {"light": "rgb(255, 255, 255)",
                               "dark": "rgb(22, 24, 28)"}[scheme]
  assert found[0]["wide"]  # on a phone, tables and sheets scroll in their boxes
