"""Which code is which equation, figure or table of the papers: docs/paper_to_code.md.

    python tools/paper_map.py > docs/paper_to_code.md

The map is read off the docstrings. A line of its own says what an object is made from:

    Source: Hayase et al., (8), (9); Chen et al. 2020, (1).

Its items are the keys of `PAPERS`, so that a mistake in a line is noticed.
"""

import ast
from collections.abc import Iterator
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[1]
FILE = ROOT / "docs" / "paper_to_code.md"

# Paper -> item -> what it is. What stands in no code is a (what it is, why) pair.
PAPERS: dict[str, dict[str, str | tuple[str, str]]] = {
    "Hayase et al.": {
        "(1)": "F: X → Y, the encoder",
        "(2)": "InfoNCE",
        "(3)": "g_a: X × Z_a → X, a hand-made augmentation",
        "(4)": ("c μ_f ≤ μ_p", "an assumption about the data: X_p shows what X_f shows"),
        "(5)": "G_A: X × Z → X",
        "(6)": "D_f, D_p: Y → [0, 1]",
        "(7)": "loss of both discriminators",
        "(8)": "loss of D_f",
        "(9)": "loss of D_p",
        "(10)": "loss of G_A, G_E and G_L",
        "(11)": "adversarial loss of G_A",
        "(12)": "adversarial loss of G_E",
        "(13)": "cycle consistency with recovery of the latent",
        "(14)": ("a bound by (4)", "the reason for (15), not computed"),
        "(15)": "re-training of F",
        "Algorithm 1": "training of the augmentation generator",
        "Fig. 1": "the implicit augmentation",
        "Fig. 2": "the modules G_A, G_E and G_L",
        "Fig. 3": "the forward paths of the losses",
        "Fig. 4": "example images",
        "Fig. 5": "images under several latents",
        "Table 1": "accuracies",
        "section 4.1": "settings of the experiments",
    },
    "Koyama et al.": {
        "(2)": "I(X; Z)",
        "Proposition 1": "the distribution of Z, and SimCLR as a special case",
        "Algorithm 1": "alternating updates of h and P(T|X)",
        "entropy": "the term that raises H(T|X)",
        "P(T|X)": "figure of the trained P(T|X)",
        "instances": "figure of 200 representations",
        "circle": "figure of two-dimensional representations",
        "Regional MNIST": "data and table",
        "MNIST": "data and table",
    },
    "He et al. 2020": {"(2)": "MoCo: momentum update of the key encoder",
                       "Algorithm 1": "MoCo: a step"},
    "Chen et al. 2020": {"(1)": "SimCLR: NT-Xent", "Algorithm 1": "SimCLR: a step"},
    "Chen & He 2021": {"(1)": "SimSiam: negative cosine similarity",
                       "Algorithm 1": "SimSiam: a step"},
    "Grill et al. 2020": {"(2)": "BYOL: regression of the target",
                          "Algorithm 1": "BYOL: a step"},
    "Caron et al. 2020": {"(2)": "SwAV: swapped prediction",
                          "(5)": "SwAV: codes by Sinkhorn-Knopp",
                          "(6)": "SwAV: multi-crop"},
}
TITLES = {
    "Hayase et al.": "Augmentation generator",
    "Koyama et al.": "CRL-TAC"}
REFERENCES = {
    "Hayase et al.": "T. Hayase, S. Yasutomi, N. Inoue: *Downstream Augmentation "
                     "Generation for Contrastive Learning.*",
    "Koyama et al.": "M. Koyama, K. Minami, T. Miyato, Y. Gal: *Contrastive Representation "
                     "Learning with Trainable Augmentation Channel*, 2021.",
    "He et al. 2020": "K. He, H. Fan, Y. Wu, S. Xie, R. Girshick: *Momentum Contrast for "
                      "Unsupervised Visual Representation Learning*, CVPR 2020. MoCo v2: "
                      "X. Chen, H. Fan, R. Girshick, K. He: *Improved Baselines with "
                      "Momentum Contrastive Learning*, 2020.",
    "Chen et al. 2020": "T. Chen, S. Kornblith, M. Norouzi, G. Hinton: *A Simple Framework "
                        "for Contrastive Learning of Visual Representations*, ICML 2020.",
    "Chen & He 2021": "X. Chen, K. He: *Exploring Simple Siamese Representation Learning*, "
                      "CVPR 2021.",
    "Grill et al. 2020": "J.-B. Grill et al.: *Bootstrap Your Own Latent*, NeurIPS 2020.",
    "Caron et al. 2020": "M. Caron et al.: *Unsupervised Learning of Visual Features by "
                         "Contrasting Cluster Assignments*, NeurIPS 2020.",
}
_SOURCE = re.compile(r"^\s*Source: (.*?)\.$", re.MULTILINE | re.DOTALL)


def citations(docstring: str) -> list[tuple[str, str]]:
  """The (paper, item) pairs of a docstring's line "Source: …".

  Raises:
    ValueError: the line names no known paper or item.
  """
  found = []
  for line in _SOURCE.findall(docstring):
    for part in re.split(r";\s+", line):
      paper, *items = re.split(r",\s+", part)
      for item in items or [""]:
        if item not in PAPERS.get(paper, {}):
          raise ValueError(f"'Source: {part}': '{paper}, {item}' is not in "
                           "tools/paper_map.py")
        found.append((paper, item))
  return found


def objects() -> Iterator[tuple[str, pathlib.Path, str]]:
  """(dotted name, file, docstring) of all that has a docstring, in the order of names."""
  for path in sorted([*(ROOT / "augment_gen").rglob("*.py"),
                      *(ROOT / "configs").glob("*.py")]):
    parts = path.relative_to(ROOT).with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield from ((name, path, words) for name, words in _inside(tree, module) if words)


def _inside(node: ast.AST, name: str) -> Iterator[tuple[str, str | None]]:
  if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
    yield name, ast.get_docstring(node)
    for child in node.body:
      if isinstance(child, ast.ClassDef | ast.FunctionDef):
        yield from _inside(child, f"{name}.{child.name}")


def as_markdown() -> str:
  """docs/paper_to_code.md.

  Raises:
    ValueError: a docstring names an unknown item; an item without a reason has no code.
  """
  found: dict[tuple[str, str], list[str]] = {}
  for name, path, words in objects():
    for key in citations(words):
      found.setdefault(key, []).append(_link(name, path))
  lines = ["# From the papers to the code", "",
           "`python tools/paper_map.py` makes this page from the lines `Source: …` of "
           "the docstrings. A test checks that it is up to date, and that nothing is "
           "missing. `git grep 'NOTE(paper)'` lists where the papers leave something "
           "open, and where the code deviates from them.", ""]
  rest = []
  for paper, items in PAPERS.items():
    rows = []
    for item, meaning in items.items():
      code = "<br>".join(found.get((paper, item), []))
      if not code and isinstance(meaning, str):
        raise ValueError(f"no docstring has the source {paper}, {item}")
      what, why = (meaning, "") if isinstance(meaning, str) else meaning
      rows.append([cell.replace("|", "\\|")
                   for cell in (item, what, code or f"– ({why})")])
    if paper in TITLES:
      lines += [f"## {TITLES[paper]}", "", *_table(["", "what it is", "code"], rows), ""]
    else:
      rest += [(f"{paper}, {item}", *cells) for item, *cells in rows]
  lines += ["## Pre-trainers", "", *_table(["", "what it is", "code"], rest), "",
            "## References", ""]
  lines += [f"- {paper}: {words}" for paper, words in REFERENCES.items()]
  return "\n".join(lines) + "\n"


def _table(header: list[str], rows: list) -> list[str]:
  return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def _link(name: str, path: pathlib.Path) -> str:
  shown = f"`{name.removeprefix('augment_gen.')}`"
  # Names that begin with _ have no entry of their own in the API reference.
  public = name.startswith("augment_gen") and not any(
      part.startswith("_") for part in name.split("."))
  return (f"[{shown}](../{path.relative_to(ROOT).as_posix()}"
          f"{'#' + name if public else ''})")


if __name__ == "__main__":
  print(as_markdown(), end="")
