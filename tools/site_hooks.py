"""What the site has beside the pages of docs/ (mkdocs.yml).

- Pages made from other files of the repository: README.md, CONTRIBUTING.md, configs/ …
- The API reference, a page for each module.
- Links that lead out of docs/, as they must on GitHub, lead to these pages. What has no
  page is copied to the site.
- A fence ```source with the dotted name of an object shows its code.
- Formulas become MathML, which browsers draw without JavaScript, fonts or a network.
"""

import ast
import html
import os
import pathlib
import posixpath
import re
import urllib.parse

from latex2mathml.converter import convert
from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = "augment_gen"
# Files of the repository -> their pages.
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md",
         "CHANGELOG.md": "changelog.md", "launch/README.md": "launch.md"}
FOLDERS = {"configs": "configs/index.md", "launch": "launch.md",
           "notebooks": "notebooks.md", PACKAGE: "reference/index.md"}

_LINK = re.compile(r'(\]\(|\bsrc="|\bhref=")([^)\s"#]+)(?=[)\s"#])')
_SOURCE = re.compile(r"^```source\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_MATH = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_config(config):
  """Adds the API reference, the configs and the experiments to the navigation."""
  results = next(part["Results"] for part in config.nav if "Results" in part)
  results.append({"Log of experiments": ["experiments/README.md", *(
      f"experiments/{path.name}"
      for path in sorted((ROOT / "docs" / "experiments").glob("0*.md")))]})
  reference = next(part["Reference"] for part in config.nav if "Reference" in part)
  reference.append({"Configs": ["configs/index.md", *(
      {path.stem: f"configs/{path.stem}.md"} for path in _configs())]})
  reference.append({"API": _navigation(ROOT / PACKAGE)})
  return config


def on_files(files, config):
  """Adds the pages that are made from other files."""
  def add(page, text):
    files.append(File.generated(config, page, content=text))

  for source, page in PAGES.items():
    files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
  for path in sorted((ROOT / PACKAGE).rglob("*.py")):
    module = module_of(path)
    if path.name != "__main__.py":
      add(page_of(path), _module_page(module, path))
  for path in _configs():
    add(f"configs/{path.stem}.md", _config_page(path))
  add("configs/index.md", "# Configs\n\nFiles of configs/. `augment-gen "
      "configs NAME` says the same.\n\n" + "\n".join(
          f"- [{path.stem}]({path.stem}.md): {_docstring(path).splitlines()[0]}"
          for path in _configs()) + "\n")
  return files


def on_page_markdown(markdown, page, config, files):
  """Shows sources, and turns links out of docs/ into links within the site."""
  source = next((name for name, made in PAGES.items() if made == page.file.src_uri),
                f"docs/{page.file.src_uri}")

  def link(match):
    target = match[2]
    if urllib.parse.urlsplit(target).scheme or target.startswith("/"):
      return match[0]
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    if not (ROOT / path).exists():
      return match[0]  # a page of the site, or a mistake, which mkdocs reports
    there = _place(path, config, files)
    start = posixpath.dirname(page.file.src_uri)
    return match[1] + posixpath.relpath(there, start or ".")

  return _SOURCE.sub(_shown, _LINK.sub(link, markdown))


def on_page_content(content, **_):
  """Turns formulas into MathML."""
  def formula(match):
    display = "block" if match[1] == "div" else "inline"
    # latex2mathml knows the same environment under another name, which GitHub does not.
    tex = html.unescape(match[2]).strip().replace("{aligned}", "{align*}")
    return convert(tex, display=display)
  return _MATH.sub(formula, content)


def module_of(path: pathlib.Path) -> str:
  """augment_gen/losses/cycle.py -> augment_gen.losses.cycle."""
  parts = path.relative_to(ROOT).with_suffix("").parts
  return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def page_of(path: pathlib.Path) -> str:
  """augment_gen/losses/cycle.py -> reference/losses/cycle.md."""
  place = path.relative_to(ROOT / PACKAGE).with_suffix("")
  # A page index.md is that of the folder.
  renamed = {"__init__": "index", "index": "index_py"}
  place = place.with_name(renamed.get(place.name, place.name))
  return f"reference/{place.as_posix()}.md"


def source_of(name: str) -> str:
  """The code of an object, without its docstring, from the left margin.

  Args:
    name: dotted, such as augment_gen.losses.cycle.cycle_loss.

  Raises:
    ValueError: there is no such object.
  """
  parts, path = name.split("."), ROOT
  while parts and (path / parts[0]).is_dir():
    path /= parts.pop(0)
  path = path / f"{parts.pop(0)}.py" if parts else path / "__init__.py"
  if not path.is_file() or not parts:
    raise ValueError(f"{name} is no object of a module")
  text = path.read_text(encoding="utf-8")
  node: ast.AST = ast.parse(text)
  for part in parts:
    found = [n for n in ast.iter_child_nodes(node) if getattr(n, "name", "") == part]
    if not found:
      raise ValueError(f"{name}: {path} has no {part}")
    node = found[0]
  lines = text.splitlines()
  first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
  taken = set()
  if ast.get_docstring(node) is not None:
    words = node.body[0]
    taken = set(range(words.lineno, words.end_lineno + 1))
  kept = [line[node.col_offset:] for number, line in enumerate(lines, 1)
          if first <= number <= node.end_lineno and number not in taken]
  return "\n".join(kept)


def _shown(match) -> str:
  blocks = []
  for name in match[1].split():
    code = source_of(name)
    blocks.append(f'```python title="{name.removeprefix(PACKAGE + ".")}"\n{code}\n```')
  return "\n\n".join(blocks)


def _place(path: str, config, files) -> str:
  """The file of the site for one of the repository."""
  if path.startswith("docs/"):
    inner = path.removeprefix("docs/")
    return f"{inner}/README.md" if (ROOT / path).is_dir() else inner
  full = ROOT / path
  if path in PAGES or path in FOLDERS:
    return PAGES.get(path) or FOLDERS[path]
  if path.startswith(f"{PACKAGE}/"):
    return page_of(full / "__init__.py" if full.is_dir() else full)
  if path.startswith("configs/"):
    return f"configs/{full.stem}.md"
  if full.is_dir():
    raise ValueError(f"a link leads to the folder {path}, which has no page")
  if files.get_file_from_path(path) is None:
    files.append(File.generated(config, path, abs_src_path=str(full)))
  return path


def _configs() -> list[pathlib.Path]:
  return sorted((ROOT / "configs").glob("*.py"))


def _docstring(path: pathlib.Path) -> str:
  return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def _config_page(path: pathlib.Path) -> str:
  code = path.read_text(encoding="utf-8")
  return f'# {path.stem}\n\n```python title="configs/{path.name}"\n{code}```\n'


def _module_page(module: str, path: pathlib.Path) -> str:
  name = module.removeprefix(f"{PACKAGE}.")
  text = f"# {name}\n\n::: {module}\n"
  if path.name == "__init__.py":
    inner = [p for p in _members(path.parent) if p != path]
    text += "\n## Modules\n\n" if inner else ""
    for member in inner:
      file = member / "__init__.py" if member.is_dir() else member
      there = os.path.relpath(page_of(file), os.path.dirname(page_of(path)))
      text += f"- [{member.stem}]({there}): {_docstring(file).partition(chr(10))[0]}\n"
  return text


def _members(folder: pathlib.Path) -> list[pathlib.Path]:
  """The modules and packages of a package."""
  return [path for path in sorted(folder.iterdir())
          if (path.suffix == ".py" or (path / "__init__.py").exists())
          and path.name not in ("__init__.py", "__main__.py")]


def _navigation(folder: pathlib.Path) -> list:
  entries: list = [page_of(folder / "__init__.py")]
  for path in _members(folder):
    entries.append({path.stem: _navigation(path) if path.is_dir() else page_of(path)})
  return entries
