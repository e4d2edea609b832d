"""The tables of CRL-TAC: the poster's, and all crops under all encoders."""

import csv
import io
import json

import made_up_results as made
import pytest

from augment_gen import tables
from augment_gen.config import errors


def _tac(seed, accuracy=97.0, experiment="Regional MNIST"):
  rows = []
  for method, crops, gain in (
      ("CRL-TAC", "P", 0.0), ("CRL-TAC", "top-4", 0.5),
      ("SimCLR", "uniform", -50.0), ("SimCLR", "true place", -4.0),
      ("untrained encoder", "P", -10.0)):
    for feature, less in (("f", 0.0), ("head", 2.0)):
      rows.append(made.row(method, accuracy + gain - less + seed, seed)
                  | {"crops": crops, "feature": feature})
  return made.result(rows, experiment)


def test_the_posters_layout_with_its_numbers_beside():
  lines = made.cells_of(tables.format_table([_tac(0), _tac(2)]))
  head = lines.index(["Ours", "Ours (top-4)", "SimCLR", "SimCLR (oracle)"])
  assert lines[head + 3] == [
      "f output", "98.0 ± 1.4 (n=2)", "98.5 ± 1.4 (n=2)", "48.0 ± 1.4 (n=2)",
      "94.0 ± 1.4 (n=2)"]
  assert lines[head + 5] == [
      "the poster: f output", "97.3 ± 0.1", "97.5 ± 0.1", "46.0 ± 0.6",
      "93.5 ± 0.3"]
  assert ["untrained encoder", "P", "86.0 ± 1.4 (n=2)",
          "88.0 ± 1.4 (n=2)"] in lines


def test_one_crop_own_windows_and_cost_stand_beside():
  result = _tac(0)
  for method, crops, value in (
      ("CRL-TAC", "P, one crop", 90.0), ("CRL-TAC", "top-1", 91.0),
      ("SimCLR", "uniform, one crop", 20.0),
      ("SimCLR, own windows", "own uniform", 60.0),
      ("SimCLR, own windows", "own uniform, one crop", 30.0),
      ("SimCLR, own windows", "true place", 95.0)):
    for feature in ("f", "head"):
      result["rows"].append(made.row(method, value, 0)
                            | {"crops": crops, "feature": feature})
  for row in result["rows"]:
    ours = row["method"] == "CRL-TAC"
    row |= {"images_per_step": 512, "images_per_step_forward": 1536 * ours}
  text = tables.format_table([result])
  lines = made.cells_of(text)
  head = lines.index([
      "Ours", "Ours (top-4)", "SimCLR", "SimCLR (oracle)", "SimCLR, own windows",
      "SimCLR, own windows (oracle)"])
  assert lines[head + 4] == [
      "f output", "97.0", "97.5", "47.0", "93.0", "60.0", "95.0"]
  assert lines[head + 5] == [
      "f output, one crop", "90.0", "91.0", "20.0", "-", "30.0", "-"]
  assert "CRL-TAC 512 (and 1536 more to train P, forward alone); SimCLR 512" in text


def test_where_p_lies_and_what_was_spent():
  found = [_tac(0), _tac(1)]
  for result, mass in zip(found, (0.9, 0.96)):
    result["policy"] = {"test": {"mass_on_content": mass, "entropy": 3.2}}
    for row in result["rows"]:
      if row["method"] == "CRL-TAC":
        row |= {"images_seen": {"tac": 2048, "total": 2048}}
  text = tables.format_table(found, cost=True)
  assert "on crops that show the content: 93.0 %, of the worst seed 90.0 %." in text
  lines = made.cells_of(text)
  assert ["CRL-TAC", "2.05 k", "-", "-"] in lines and ["SimCLR", "-", "-", "-"] in lines
  (record,) = [r for r in json.loads(tables.format_table(found, style="json"))
               if (r["method"], r["crops"], r["feature"]) == ("CRL-TAC", "P", "f")]
  assert record["images_seen"] == 2048 and record["seeds"] == 2


def test_differences_to_an_untrained_encoder_are_marked():
  found = [_tac(0), _tac(2), _tac(4)]
  for result, noise in zip(found, (0.0, 0.3, -0.2)):
    for row in result["rows"]:
      row["accuracy"] += noise * (row["method"] == "CRL-TAC")
  lines = made.cells_of(tables.format_table(found))
  (ours,) = [line for line in lines if line[:2] == ["CRL-TAC", "P"]]
  assert all(text.endswith(" *") for text in ours[2:])
  (top,) = [line for line in lines if line[:2] == ["CRL-TAC", "top-4"]]
  assert not any("*" in text for text in top)  # there is nothing to compare it with


def test_crops_and_augmentations_are_tables_of_their_own():
  other = made.result([made.row("MoCo v2 + G_A", 55.0, 0)])
  text = tables.format_table([other, _tac(0), _tac(0, experiment="MNIST")])
  assert text.index("MoCo v2 + G_A") < text.index("Regional MNIST: accuracy")
  assert "\nMNIST: accuracy" in text
  with pytest.raises(errors.UserError, match="two results for seed 0"):
    tables.format_table([_tac(0), _tac(0)])


def test_crops_as_csv():
  rows = list(csv.DictReader(io.StringIO(
      tables.format_table([_tac(0), _tac(1)], style="csv"))))
  assert len(rows) == 10
  assert rows[0]["method"] == "CRL-TAC" and rows[0]["crops"] == "P"
  assert float(rows[0]["accuracy"]) == 97.5 and rows[0]["seeds"] == "2"


def test_a_row_of_crops_needs_its_feature(tmp_path, capsys):
  result = _tac(0, accuracy=90.0)
  del result["rows"][1]["feature"]
  assert tables.main([made.write(tmp_path / "run", json.dumps(result))]) == 2
  assert "row 2 of 10 (CRL-TAC) has feature=None" in capsys.readouterr().err


def test_each_test_set_has_tables_of_its_own():
  result = _tac(0)
  other = [row | {"test": "E", "accuracy": row["accuracy"] - 40} for row in result["rows"]]
  both = {**result, "rows": [*result["rows"], *other]}
  text = tables.format_table([both])
  assert "Regional MNIST, test C: accuracy" in text
  assert "Regional MNIST, test E: accuracy" in text
  assert text.count("97.0") >= 1 and text.count("57.0") >= 1
  with pytest.raises(errors.UserError, match="two results for seed 0"):
    tables.format_table([both, both])
