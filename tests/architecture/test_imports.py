"""Rooms form layers, and a room imports only from the layers below it."""

import ast
import functools
import pathlib
import subprocess
import sys

import augment_gen

ROOT = pathlib.Path(augment_gen.__file__).parent

# The lowest layer comes first. A room may import itself and the layers below it. `run`
# is in a low layer, but `run.session`, which combines everything, is near the top
# (docs/architecture.md).
LAYERS = (
    ("config",),
    ("run",),
    ("augment", "losses"),
    ("data", "models"),
    ("steps",),
    ("evaluate",),
    ("figures", "tables"),
    ("methods", "report"),
    ("run.session", "export"),
    ("transforms",),
    ("main", "sweep", "apply"),
    ("check",),
    ("__main__",),
)
# Imports for type checkers only, not at run time.
TYPES_ONLY = {("run", "data")}


def room_of(module: str) -> str:
  name = module.removeprefix("augment_gen").lstrip(".")
  return "run.session" if name == "run.session" else name.partition(".")[0]


def module_of(path: pathlib.Path) -> str:
  parts = path.relative_to(ROOT.parent).with_suffix("").parts
  return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def imports(path: pathlib.Path) -> tuple[tuple[str, bool], ...]:
  """(imported module, whether only for types) for the imports of a file."""
  return tuple(_imports(path))


def _imports(path: pathlib.Path):
  tree = ast.parse(path.read_text(encoding="utf-8"))
  guarded = {id(node) for outer in ast.walk(tree)
             if isinstance(outer, ast.If) and "TYPE_CHECKING" in ast.dump(outer.test)
             for node in ast.walk(outer)}
  for node in ast.walk(tree):
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
        "augment_gen"):
      for alias in node.names:
        full = f"{node.module}.{alias.name}"
        file = ROOT.parent / pathlib.Path(*full.split("."))
        found = file.with_suffix(".py").exists() or file.is_dir()
        yield (full if found else node.module), id(node) in guarded
    elif isinstance(node, ast.Import):
      for alias in node.names:
        if alias.name.startswith("augment_gen."):
          yield alias.name, id(node) in guarded


def graph() -> dict[str, set[str]]:
  return {module_of(path): {name for name, typed in imports(path) if not typed}
          for path in ROOT.rglob("*.py")}


def test_every_room_has_its_layer_and_nothing_lies_loose():
  rooms = {room for layer in LAYERS for room in layer}
  assert {room_of(module) for module in graph()} - {""} == rooms
  assert {path.name for path in ROOT.glob("*.py")} == {
      "__init__.py", "__main__.py", "main.py"}


def test_nothing_is_imported_upwards_or_across():
  height = {room: number for number, layer in enumerate(LAYERS) for room in layer}
  wrong = []
  for module, imported in graph().items():
    room = room_of(module)
    if not room:  # the package itself: it sets a flag before JAX starts
      continue
    for name in imported:
      other = room_of(name)
      if other not in ("", room) and height[other] >= height[room]:
        wrong.append(f"{module} imports {name}")
  assert not wrong


def test_types_that_are_imported_upwards_are_few():
  found = {(room_of(module_of(path)), room_of(name))
           for path in ROOT.rglob("*.py") for name, typed in imports(path) if typed}
  assert {pair for pair in found if pair[0] != pair[1]} == TYPES_ONLY


def test_modules_form_no_cycle():
  edges, done = graph(), set()

  def visit(module, path):
    assert module not in path, " → ".join([*path[path.index(module):], module])
    if module in done or module not in edges:
      return
    for name in edges[module]:
      # `from augment_gen.methods import building` imports a sibling: no cycle.
      visit(name, [*path, module])
    done.add(module)

  for module in edges:
    visit(module, [])


def test_help_needs_no_jax_and_no_part_of_a_run_needs_tensorflow(tmp_path):
  code = f"""
import sys
from augment_gen import __main__ as commands, main
assert [commands.main([flag]) for flag in ("--help", "--version", "--help=moco")] == [0] * 3
assert main.main(["main.py", "--help"]) == commands.main(["configs"]) == 0
assert not {{"jax", "numpy", "tensorflow"}} & set(sys.modules)

import numpy as np
from augment_gen.data import sources
from augment_gen.config import Config
from augment_gen.run import folder, metrics, sinks
run = folder.RunFolder({str(tmp_path / "run")!r}, {{}})
writer = metrics.MetricWriter(run, sinks.open_all(Config(), {{}}, run))
writer.scalars("pretrain", 1, {{"loss": 1.0}})
writer.image("figure", 1, np.zeros((2, 2, 3), np.uint8))
assert not {{"tensorflow", "tensorflow_datasets"}} & set(sys.modules)
"""
  done = subprocess.run([sys.executable, "-c", code], check=False, text=True,
                        capture_output=True)
  assert done.returncode == 0, done.stderr
