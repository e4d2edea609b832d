"""The documentation agrees with the code, and its links lead somewhere."""

import ast
import functools
import importlib.util
import pathlib
import re

import pytest

from augment_gen import config as config_lib
from augment_gen.__main__ import COMMANDS
from augment_gen.config import command_line
from augment_gen.run import session

ROOT = pathlib.Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *(
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md",
                             "launch/README.md"))])

each = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def load(name):
  spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def prose(page):
  """The text of a page without its fences, in which other rules hold."""
  text = page.read_text(encoding="utf-8")
  return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(page):
  """The anchors of a page's headings, as GitHub makes them."""
  slugs = set()
  for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    slugs.add(re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", words).strip()))
  return slugs


@each
def test_links_lead_somewhere(page):
  text = re.sub(r"`[^`\n]*`", "", prose(page))
  links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
  for link in links:
    if re.match(r"[a-z]+:", link):
      continue
    target, _, anchor = link.partition("#")
    there = (page.parent / target).resolve() if target else page
    assert there.exists(), f"{link} leads nowhere"
    if anchor and there.suffix == ".md":
      assert anchor in anchors(there), f"{link}: there is no such heading"
    if anchor and there.suffix == ".py":
      assert anchor in objects(), f"{link}: there is no such object"


@functools.cache
def objects():
  """Dotted names of the package's functions, classes and methods."""
  names = set()
  for path in (ROOT / "augment_gen").rglob("*.py"):
    parts = path.relative_to(ROOT).with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def visit(node, prefix):
      for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef):
          names.add(f"{prefix}.{child.name}")
          visit(child, f"{prefix}.{child.name}")
    visit(ast.parse(path.read_text(encoding="utf-8")), module)
  return names


def test_the_map_from_the_papers_to_the_code_is_up_to_date():
  paper_map = load("paper_map")
  assert paper_map.FILE.read_text(encoding="utf-8") == paper_map.as_markdown(), (
      "a docstring's 'Source: …' or a name has changed: "
      "python tools/paper_map.py > docs/paper_to_code.md")


@pytest.mark.parametrize("docstring, found", [
    ("Computes.\n\nSource: Hayase et al., (8), (9); Chen et al. 2020, (1).\n\nArgs:",
     [("Hayase et al.", "(8)"), ("Hayase et al.", "(9)"), ("Chen et al. 2020", "(1)")]),
    ("Computes (8).", [])])
def test_a_source_is_read(docstring, found):
  assert load("paper_map").citations(docstring) == found


@pytest.mark.parametrize("line", ["Hayase et al., (16)", "Hayase, (8)", "Hayase et al."])
def test_an_unknown_source_is_an_error(line):
  with pytest.raises(ValueError, match=re.escape(f"Source: {line}")):
    load("paper_map").citations(f"Computes.\n\nSource: {line}.")


@each
def test_commands_and_settings_exist(page):
  text = page.read_text(encoding="utf-8")
  for command in re.findall(r"augment-gen ([a-z][\w-]*)", text):
    assert command in COMMANDS, command
  if "experiments" in page.parts or page.name == "results.md":
    return  # these name the settings of their time
  for name in re.findall(r"--(?:config\.|set )([a-z]\w*(?:\.\w+)*)", text):
    section = config_lib.default_config()
    for part in name.split("."):
      assert part in section, f"config.{name} does not exist"
      section = section[part]


def test_shown_sources_exist():
  shown = [name for page in PAGES for fence in re.findall(
      r"^```source\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
           for name in fence.split()]
  assert len(shown) > 5
  assert not set(shown) - objects()


def test_messages_of_the_troubleshooting_page_are_those_of_the_code():
  constants = [node.value for path in (ROOT / "augment_gen").rglob("*.py")
               for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
               if isinstance(node, ast.Constant) and isinstance(node.value, str)]
  everything = "\0".join(constants)
  page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
  messages = re.findall(r"^\| `([^`]*)`", page, re.MULTILINE)
  assert len(messages) > 15
  for message in messages:
    for part in re.split(r"\s*…\s*|[().]", message):
      assert part.strip(" ,:;?") in everything, f"no message has '{part}'"


@pytest.fixture(scope="module")
def hooks():
  pytest.importorskip("mkdocs")
  pytest.importorskip("latex2mathml")
  return load("site_hooks")


def test_the_site_shows_code_without_its_docstring(hooks):
  code = hooks.source_of("augment_gen.losses.adversarial.generator_loss")
  assert code.splitlines()[0] == "def generator_loss(fake: jax.Array) -> jax.Array:"
  assert '"""' not in code and "softplus(-fake)" in code
  with pytest.raises(ValueError, match="has no nothing"):
    hooks.source_of("augment_gen.losses.adversarial.nothing")


def test_formulas_become_mathml(hooks):
  made = hooks.on_page_content(
      '<p><span class="arithmatex">\\(x_p\\)</span></p><div class="arithmatex">\\['
      "\\begin{aligned} a &amp;= b \\\\ c &amp;= d \\end{aligned}\\]</div>")
  assert made.count("<math") == 2 and "<msub>" in made
  assert made.count("<mtr>") == 2 and "&" not in re.sub(r"&#\w+;", "", made)


def test_the_config_of_the_guide_can_be_run(tmp_path):
  text = (ROOT / "docs" / "user_guide.md").read_text(encoding="utf-8")
  (example,) = [code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
                if "def get_config" in code]
  (tmp_path / "mine.py").write_text(example, encoding="utf-8")
  options = command_line.parse([
      "augment-gen", f"--config={tmp_path}/mine.py", f"--workdir={tmp_path}/run"])
  assert options.config.generator.steps == 1000
  assert session.problems(options.config, devices=1) == []
  assert list(session.missing_stages(options.config, options.workdir)) == []
