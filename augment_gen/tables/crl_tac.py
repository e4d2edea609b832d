"""The poster's tables of CRL-TAC, with the poster's own numbers next to ours."""

from typing import Any

from augment_gen.config import errors
from augment_gen.tables import layout, papers, records, spent, statistics
from augment_gen.tables.results import protocol_words, UNTRAINED

FEATURES = {"head": "Projection head", "f": "f output"}

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

# (method, crops, feature) -> seed -> accuracy in percent.
Cells = dict[tuple[str, str, str], dict[int, float]]


def format_table(results: list[dict[str, Any]], protocol: str, style: str,
                 cost: bool = False) -> str:
  """Formats the tables of each experiment; see `tables.format_table`.

  Source: Koyama et al., Regional MNIST, MNIST.

  The first table has the poster's layout. The second one has every encoder on every kind
  of crop: without an untrained encoder for comparison, our numbers show what P found, not
  what h learned. "*" marks a difference from the untrained encoder.
  """
  parts = []
  for name, found in _by_experiment(results).items():
    text = f"{name}: accuracy in percent; protocol: {protocol_words(found, protocol)}."
    lines = layout.as_notes([text], style)
    for table in _tables(name, found, protocol, cost):
      notes = ["", *table.notes] if table.notes else []
      lines += ["", *table.lines(style), *layout.as_notes(notes, style)]
    parts.append("\n".join(lines))
  return "\n\n".join(parts) + "\n"


def of_results(results: list[dict[str, Any]], protocol: str, cost: bool = False
               ) -> list[layout.Table]:
  """The tables of each experiment: in the poster's layout, of all encoders, and of costs.

  See `tables.format_table` for the arguments.
  """
  return [table for name, found in _by_experiment(results).items()
          for table in _tables(name, found, protocol, cost)]


def cells_by_experiment(results: list[dict[str, Any]], protocol: str) -> dict[str, Cells]:
  """Experiment -> (method, crops, feature) -> seed -> accuracy in percent."""
  return {name: _collect(found, protocol)
          for name, found in _by_experiment(results).items()}


def _tables(name: str, found: list[dict[str, Any]], protocol: str, cost: bool
            ) -> list[layout.Table]:
  cells = _collect(found, protocol)
  return [_poster(name, cells), _all(cells, _crops_encoded(found) + _mass(found)),
          *([_spent(found, protocol)] if cost else [])]


def as_records(results: list[dict[str, Any]], protocol: str) -> list[records.Record]:
  """The numbers of the tables, one record for each cell; see `tables.format_table`."""
  out = []
  for name, found in _by_experiment(results).items():
    cells = _collect(found, protocol)
    for (method, crops, feature), seeds in cells.items():
      rows = [row for result in found for row in result["rows"]
              if (row["method"], row["crops"], row["feature"], row["protocol"]) == (
                  method, crops, feature, protocol)]
      out.append({
          "experiment": name, "method": method, "crops": crops, "feature": feature,
          "protocol": protocol,
          **records.numbers(seeds, _difference(cells, method, crops, feature)),
          **spent.numbers(rows)})
  return out


def _by_experiment(results: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
  """The results by what has tables of its own: an experiment, or a test set of one."""
  found: dict[str, list[dict[str, Any]]] = {}
  for result in results:
    found.setdefault(result["experiment"], []).append(result)
  divided: dict[str, list[dict[str, Any]]] = {}
  for name, of_experiment in found.items():
    tests = list(dict.fromkeys(
        row["test"] for result in of_experiment for row in result["rows"]))
    if len(tests) < 2:
      divided[name] = of_experiment
    for test in tests if len(tests) > 1 else ():
      divided[f"{name}, test {test}"] = [_on(result, test) for result in of_experiment]
  return divided


def _on(result: dict[str, Any], test: str) -> dict[str, Any]:
  """What results say of one test set."""
  policy = {name: said for name, said in result.get("policy", {}).items() if name == test}
  return {**result, "policy": policy,
          "rows": [row for row in result["rows"] if row["test"] == test]}


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
            "another config.experiment")
      seeds[row["seed"]] = row["accuracy"]
  return cells


def _poster(name: str, cells: Cells) -> layout.Table:
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
    # The oracle is told where the content is.
    best = statistics.best({
        title: seeds for title, (method, crops, _) in columns.items()
        if (seeds := cells.get((method, crops, feature))) and crops != "true place"})
    body.append([label, *(
        layout.cell(cells.get((method, crops, feature)),
                    bold=best is not None and title == best[0])
        for title, (method, crops, _) in columns.items())])
    if one_crop:
      body.append([f"{label}, one crop", *(
          layout.cell(cells.get((method, one, feature)) if one else None)
          for method, _, one in columns.values())])
  if reported := papers.reference(name):
    for feature, label in FEATURES.items():
      body.append([f"the poster: {label}", *(
          str(reported.get((title.replace(top, "top-n"), feature), "-"))
          for title in columns)])
  return layout.Table([""] * len(body[0]), body, labels=1)


def _crops_encoded(results: list[dict[str, Any]]) -> list[str]:
  """A line with the crops that each encoder encodes per step, if rows say so."""
  said = {}
  for result in results:
    for row in result["rows"]:
      if "images_per_step" in row:
        forward = row["images_per_step_forward"]
        said[row["method"]] = f"{row['method']} {row['images_per_step']}" + (
            f" (and {forward} more to train P, forward alone)" if forward else "")
  return ["Crops encoded in a training step: " + "; ".join(said.values())
          + "."] if said else []


def _spent(results: list[dict[str, Any]], protocol: str) -> layout.Table:
  """A table of what each encoder's training has cost."""
  rows: dict[str, dict[int, dict[str, Any]]] = {}
  for result in results:
    for row in result["rows"]:
      if row["protocol"] == protocol:  # the rows of an encoder all say the same
        rows.setdefault(row["method"], {})[row["seed"]] = row
  body = [["Encoder", *spent.TITLES]]
  body += [[method, *spent.cells([*of_seeds.values()])]
           for method, of_seeds in rows.items()]
  return layout.Table([""] * len(body[0]), body, labels=1, notes=[spent.NOTE])


def _difference(cells: Cells, method: str, crops: str, feature: str
                ) -> statistics.Difference | None:
  """The difference from an untrained encoder on the same crops, if there is one."""
  ours = cells.get((method, crops, feature))
  untrained = cells.get((UNTRAINED, crops, feature))
  if not ours or not untrained or method == UNTRAINED:
    return None
  return statistics.paired_difference(ours, untrained)


def _mass(results: list[dict[str, Any]]) -> list[str]:
  """A line on where P's mass lies, if results say so."""
  masses = [policy["mass_on_content"] for result in results
            for policy in result.get("policy", {}).values()]
  if not masses:
    return []
  return ["P's mass on crops that show the content: "
          f"{100 * sum(masses) / len(masses):.1f} %, of the worst seed "
          f"{100 * min(masses):.1f} %."]


def _all(cells: Cells, notes: list[str]) -> layout.Table:
  body = [["Encoder", "Crops", *FEATURES.values()]]
  for method, crops in dict.fromkeys((m, c) for m, c, _ in cells):
    body.append([method, crops, *(
        layout.cell(cells.get((method, crops, feature)),
                    _difference(cells, method, crops, feature))
        for feature in FEATURES)])
  return layout.Table([""] * 4, body, labels=2, notes=notes)
