"""The poster's tables of CRL-TAC, with the poster's own numbers next to ours."""

import csv
import io
from typing import Any

import numpy as np

from augment_gen.config import errors
from augment_gen.tables import layout

FEATURES = {"head": "Projection head", "f": "f output"}

_UNTRAINED = "untrained encoder"

_OWN = "SimCLR, own windows"
# Columns, the poster's first: the method of the rows, their crops, and the name of the
# crops for rows of a single crop.
_COLUMNS: dict[str, tuple[str, str, str | None]] = {
    "Ours": ("CRL-TAC", "P", "P, one crop"),
    "Ours (top-n)": ("CRL-TAC", "top-n", "top-1"),
    "SimCLR": ("SimCLR", "uniform", "uniform, one crop"),
    "SimCLR (oracle)": ("SimCLR", "true place", None),
    _OWN: (_OWN, "own uniform", "own uniform, one crop"),
    f"{_OWN} (oracle)": (_OWN, "true place", None)}
# Mean and standard deviation in percent, from "Linear Classification Protocol" in Koyama
# et al.
_POSTER: dict[str, dict[str, tuple[tuple[float, float] | None, ...]]] = {
    "Regional MNIST": {
        "head": ((95.505, 0.23), (95.52, 0.37), (31.56, 0.44), (51.44, 1.1)),
        "f": ((97.29, 0.14), (97.48, 0.12), (45.98, 0.56), (93.54, 0.29))},
    "MNIST": {
        "head": ((96.42, 0.25), (96.74, 0.15), (92.73, 0.44), None),
        "f": ((98.05, 0.06), (98.59, 0.04), (98.06, 0.56), None)},
}

# (method, crops, feature) -> seed -> accuracy in percent.
Cells = dict[tuple[str, str, str], dict[int, float]]


def format_table(results: list[dict[str, Any]], protocol: str,
                 style: str) -> str:
  """Formats the tables of each experiment; see `tables.format_table`.

  Source: Koyama et al., Regional MNIST, MNIST.

  The first table has the poster's layout. The second one has every encoder on every kind
  of crop: without an untrained encoder for comparison, our numbers show what P found, not
  what h learned. "*" marks a difference from the untrained encoder.
  """
  experiments = dict.fromkeys(result["experiment"] for result in results)
  cells = {name: _collect([r for r in results if r["experiment"] == name],
                          protocol) for name in experiments}
  if style == "csv":
    return _as_csv(cells, protocol)
  parts = []
  for name in experiments:
    parts.append([f"{name}: accuracy in percent; protocol: {protocol}.", "",
                  *_poster(name, cells[name], style), "",
                  *_all(cells[name], style),
                  *_costs([r for r in results if r["experiment"] == name])])
  return "\n\n".join("\n".join(lines) for lines in parts) + "\n"


def _collect(results: list[dict[str, Any]], protocol: str) -> Cells:
  cells: Cells = {}
  for result in results:
    for row in result["rows"]:
      if row["protocol"] != protocol:
        continue
      seeds = cells.setdefault(
          (row["method"], row["crops"], row["feature"]), {})
      if row["seed"] in seeds:
        raise errors.UserError(
            f"two results for seed {row['seed']} of '{result['experiment']}': "
            "give each run's folder once; runs with other settings need "
            "another config.experiment, and more than one test set does not "
            "fit in this table")
      seeds[row["seed"]] = row["accuracy"]
  if not cells:
    raise errors.UserError(f"no rows of protocol '{protocol}'")
  return cells


def _poster(name: str, cells: Cells, style: str) -> list[str]:
  """The poster's layout, with additional columns for SimCLR on its own windows."""
  top = next((crops for _, crops, _ in cells
              if crops.startswith("top-") and crops != "top-1"), "top-1")
  kind = lambda crops: top if crops == "top-n" else crops
  columns = {
      title.replace("top-n", top): (method, kind(crops), one)
      for title, (method, crops, one) in _COLUMNS.items()
      if method != _OWN or any(m == method for m, _, _ in cells)}
  one_crop = any(one in {crops for _, crops, _ in cells}
                 for _, _, one in columns.values() if one)
  body = [["", *columns]]
  for feature, label in FEATURES.items():
    body.append([label, *(
        layout.cell(cells.get((method, crops, feature)))
        for method, crops, _ in columns.values())])
    if one_crop:
      body.append([f"{label}, one crop", *(
          layout.cell(cells.get((method, one, feature)) if one else None)
          for method, _, one in columns.values())])
  for feature, label in FEATURES.items():
    if name in _POSTER:
      posters = [*_POSTER[name][feature], *[None] * len(columns)]
      body.append([f"the poster: {label}", *(
          "-" if value is None else f"{value[0]:.1f} ± {value[1]:.1f}"
          for value in posters[:len(columns)])])
  return layout.as_lines([""] * len(body[0]), body, style, labels=1)


def _costs(results: list[dict[str, Any]]) -> list[str]:
  """A line with the crops that each encoder encodes per step, if rows say so."""
  said = {}
  for result in results:
    for row in result["rows"]:
      if "images_per_step" in row:
        forward = row["images_per_step_forward"]
        said[row["method"]] = f"{row['method']} {row['images_per_step']}" + (
            f" (and {forward} more to train P, forward alone)" if forward else "")
  return ["", "Crops encoded in a training step: " + "; ".join(said.values())
          + "."] if said else []


def _all(cells: Cells, style: str) -> list[str]:
  def cell(method: str, crops: str, feature: str) -> str:
    ours = cells.get((method, crops, feature))
    untrained = cells.get((_UNTRAINED, crops, feature))
    difference = (layout.paired_difference(ours, untrained)
                  if ours and untrained and method != _UNTRAINED else None)
    return layout.cell(ours, difference)

  body = [["Encoder", "Crops", *FEATURES.values()]]
  for method, crops in dict.fromkeys((m, c) for m, c, _ in cells):
    body.append([method, crops, *(
        cell(method, crops, feature) for feature in FEATURES)])
  return layout.as_lines([""] * 4, body, style, labels=2)


def _as_csv(cells: dict[str, Cells], protocol: str) -> str:
  out = io.StringIO()
  writer = csv.writer(out, lineterminator="\n")
  writer.writerow(["experiment", "method", "crops", "feature", "protocol",
                   "accuracy", "std", "seeds"])
  for name, of_experiment in cells.items():
    for key, seeds in of_experiment.items():
      values = list(seeds.values())
      std = np.std(values, ddof=1) if len(values) > 1 else ""
      writer.writerow([name, *key, protocol, np.mean(values), std, len(values)])
  return out.getvalue()
