"""The notebooks: their format, and, if asked for, all their cells in small."""

import ast
import html.parser
import importlib.util
import json
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
BADGE = re.compile(
    r"\[!\[[^\]]*\]\([^)]+\)\]\(https://colab\.research\.google\.com/github/"
    r"([\w.-]+/[\w.-]+)/blob/main/notebooks/([\w-]+\.ipynb)\)")

REPOSITORY = re.compile(r"https://github\.com/([\w.-]+/[\w.-]+)")

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def environment():
  spec = importlib.util.spec_from_file_location(
      "environment", ROOT / "notebooks" / "environment.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def read(path):
  return json.loads(path.read_text(encoding="utf-8"))


def source(cell):
  return "".join(cell["source"])


@each
def test_it_is_a_notebook_without_outputs(path):
  notebook = read(path)
  assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
  cells = notebook["cells"]
  assert len({cell["id"] for cell in cells}) == len(cells)
  for cell in cells:
    if cell["cell_type"] == "code":
      assert cell["outputs"] == [] and cell["execution_count"] is None
      ast.parse(source(cell))
    else:
      assert cell["cell_type"] == "markdown"
  assert path.stat().st_size < 20_000


@each
def test_nbformat_takes_it(path):
  nbformat = pytest.importorskip("nbformat")
  nbformat.validate(nbformat.read(path, as_version=4))


def test_badges_lead_to_the_notebooks_of_one_repository():
  repositories = set()
  for file in ("README.md", "docs/notebooks.md"):
    found = BADGE.findall((ROOT / file).read_text(encoding="utf-8"))
    assert {name for _, name in found} == {path.name for path in NOTEBOOKS}, file
    repositories |= {repository for repository, _ in found}
  for path in NOTEBOOKS:
    [(repository, name)] = BADGE.findall(source(read(path)["cells"][0]))
    assert name == path.name
    text = path.read_text(encoding="utf-8")
    repositories |= {repository, *REPOSITORY.findall(text)}
  assert len(repositories) == 1, "one repository, in README, docs and notebooks"


def test_what_is_missing_is_found(environment):
  everything = environment.missing(lambda name: None)
  assert any(line.startswith(("jax<", "jax>")) for line in everything)
  # All that it needs may be there, but not itself, as in a clone beside a Colab.
  assert environment.missing(
      lambda name: None if name == "augment_gen" else environment._version(name)
  ) == ["augment_gen"]
  old = environment.missing(lambda name: "0.7.2" if name == "jax" else "1000")
  assert [line for line in old if line.startswith("jax")]
  ours = environment.missing()
  assert not [line for line in ours if line.startswith(("jax", "numpy"))]


@pytest.mark.parametrize("there, extra", [
    (["nvidia-smi"], "cuda12"), (["nvidia-smi", "jax-cuda13-plugin"], "cuda13"),
    (["/dev/accel0", "nvidia-smi"], "tpu"), ([], "")])
def test_the_accelerator(environment, there, extra, monkeypatch):
  for name in ("TPU_ACCELERATOR_TYPE", "COLAB_TPU_ADDR"):
    monkeypatch.delenv(name, raising=False)
  monkeypatch.setattr(environment.glob, "glob",
                      lambda pattern: [p for p in there if p[:10] == pattern[:10]])
  monkeypatch.setattr(environment.shutil, "which", lambda name: name in there or None)
  monkeypatch.setattr(environment, "_version", lambda name: "1" if name in there else None)
  assert environment.accelerator() == extra


def test_a_failure_stops_the_notebook_with_the_message(environment, capsys):
  with pytest.raises(RuntimeError, match="2: error: 'tabels' is no command; did"):
    environment.run("tabels")
  assert "error: 'tabels'" in capsys.readouterr().out


def test_a_page_is_framed_as_it_is(environment, tmp_path):
  page = tmp_path / "report.html"
  page.write_text('<p title="a &amp; b">P(T|X) ≥ 0</p>', encoding="utf-8")
  [(name, attributes)] = _tags(environment.framed(str(page)))
  assert name == "iframe" and attributes["srcdoc"] == page.read_text(encoding="utf-8")


def _tags(text):
  found = []
  parser = html.parser.HTMLParser()
  parser.handle_starttag = lambda tag, attributes: found.append((tag, dict(attributes)))
  parser.feed(text)
  return found


@pytest.mark.slow
@each
def test_all_cells_run(path, tmp_path, monkeypatch):
  nbclient, nbformat = map(pytest.importorskip, ("nbclient", "nbformat"))
  notebook = nbformat.read(path, as_version=4)
  [setup] = [cell for cell in notebook.cells if 'VARIANT = ""' in cell.source]
  setup.source = setup.source.replace('VARIANT = ""', 'VARIANT = "runlocal"')
  # A copy of the checkout, so that the runs do not stay in it.
  files = subprocess.run(["git", "ls-files", "augment_gen", "configs", "notebooks",
                          "pyproject.toml", "setup.py", "setup.cfg", "README.md"],
                         cwd=ROOT, check=True, capture_output=True, text=True).stdout
  for name in files.splitlines():
    if (ROOT / name).exists():
      (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
      (tmp_path / name).write_bytes((ROOT / name).read_bytes())
  # The kernel has this Python, whatever kernels are installed.
  spec = tmp_path / "jupyter" / "kernels" / "here"
  spec.mkdir(parents=True)
  (spec / "kernel.json").write_text(json.dumps({
      "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
      "display_name": "here", "language": "python"}))
  monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
  monkeypatch.delenv("PYTHONPATH", raising=False)
  nbclient.NotebookClient(
      notebook, timeout=1800, kernel_name="here",
      resources={"metadata": {"path": str(tmp_path / "notebooks")}}).execute()
  pictures = [output for cell in notebook.cells if cell.cell_type == "code"
              for output in cell.outputs if "image/png" in output.get("data", {})]
  assert len(pictures) >= 3
  [page] = [output["data"]["text/html"] for cell in notebook.cells
            if cell.cell_type == "code" for output in cell.outputs
            if "iframe" in output.get("data", {}).get("text/html", "")]
  assert "Verdict" in page
