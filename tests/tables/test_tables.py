"""Table 1 and the poster's table from results.json files."""

import csv
import io
import json

import numpy as np
import pytest
from scipy import stats

from augment_gen import tables
from augment_gen.config import errors
from augment_gen.tables import augmentation_generator as augmentation

BASE, OURS = [3.0, 4.0, 3.5], [55.0, 54.0, 56.5]


def _row(method, accuracy, seed, *, test="C", retraining_set="X_p",
         augmentation="-", protocol="l2", train="D"):
  return {"method": method, "pretrain_data": retraining_set, "train": train,
          "test": test, "feature": "f", "protocol": protocol, "seed": seed,
          "accuracy": accuracy, "retraining_set": retraining_set,
          "augmentation": augmentation}


def _result(rows, experiment="EMNIST-Omniglot", protocol="p0", data="d0"):
  return {"experiment": experiment, "rows": rows,
          "provenance": {"protocol": protocol, "data": data}}


def _seeds(count=3):
  return [_result([
      _row("MoCo v2 + oracle", 60.0 + seed, seed),
      _row("MoCo v2", 38.0, seed, retraining_set="X_p ∪ X̃_f"),
      _row("MoCo v2 + control", BASE[seed] + (-1) ** seed, seed),
      _row("MoCo v2 + G_A", OURS[seed], seed, augmentation="G_A"),
      _row("MoCo v2", BASE[seed], seed),
      _row("MoCo v2", 99.0, seed, protocol="knn"),
  ]) for seed in range(count)]


def _cells(table):
  """Splits each line of a table into cells, at double spaces."""
  return [[cell.strip() for cell in line.split("  ") if cell.strip()]
          for line in table.splitlines()]


def test_the_papers_layout_and_order():
  lines = _cells(tables.format_table(_seeds(1)))
  assert lines[0] == ["EMNIST-Omniglot"]
  assert lines[1] == ["Method", "Re-training set", "Additional augmentation",
                      "D → C"]
  assert lines[3:8] == [
      ["MoCo v2", "X_p", "-", "3.0"],
      ["MoCo v2 + G_A", "X_p", "G_A", "55.0"],
      ["MoCo v2 + control", "X_p", "-", "4.0"],
      ["MoCo v2 + oracle", "X_p", "-", "60.0"],
      ["MoCo v2", "X_p ∪ X̃_f", "-", "38.0"]]
  assert lines[9] == ["Accuracy in percent; protocol: l2."]


def test_columns_are_aligned():
  lines = tables.format_table(_seeds(1)).splitlines()
  place = lines[1].index("D → C")
  assert lines[0].index("EMNIST") == place
  assert lines[3].index("3.0") == place
  # The combining tilde is a character of width 0.
  assert lines[7].index("38.0") == place + 1


def test_mean_and_sample_std_over_seeds():
  table = tables.format_table(_seeds())
  mean, std = np.mean(OURS), np.std(OURS, ddof=1)
  assert f"{mean:.1f} ± {std:.1f} (n=3) *" in table


def test_paired_differences_and_their_marks():
  lines = tables.format_table(_seeds()).splitlines()
  difference = np.subtract(OURS, BASE)
  p = stats.ttest_rel(OURS, BASE).pvalue
  line, = [x for x in lines if x.startswith("  MoCo v2 + G_A")]
  low, high = stats.ttest_rel(OURS, BASE).confidence_interval(0.95)
  assert line.endswith(
      f"{difference.mean():+.2f}, 95 % interval [{low:+.2f}, {high:+.2f}] (n=3), "
      f"p = {p:.2g} *")
  # The differences +1, -1 and +1 are not significant, so they have no mark.
  assert all("*" not in x for x in lines if "MoCo v2 + control" in x)


def _with_controls(seed):
  rows = _seeds()[seed]["rows"] + [
      _row("MoCo v2 + control, AdaBN", 9.0 + (-1) ** seed, seed),
      _row("MoCo v2, AdaBN", 7.0, seed),
      _row("untrained encoder", 6.0 + seed, seed, retraining_set="-"),
      _row("untrained encoder, AdaBN", 5.0, seed, retraining_set="-"),
      _row("MoCo v2 + random G_A", 20.0 + 2 * seed, seed),
      _row("MoCo v2 + random G_A, AdaBN", 10.0, seed),
      _row("MoCo v2 + G_A, AdaBN", 57.0, seed, augmentation="G_A")]
  for row in rows:
    row["converged"] = row["method"] != "untrained encoder"
  return _result(rows)


def test_lines_of_other_statistics_stand_below_their_own():
  lines = _cells(tables.format_table([_with_controls(0)]))
  methods = [line[0] for line in lines[3:15]]
  assert methods == [
      "MoCo v2", "MoCo v2, AdaBN", "MoCo v2 + G_A", "MoCo v2 + G_A, AdaBN",
      "MoCo v2 + control", "MoCo v2 + control, AdaBN", "MoCo v2 + random G_A",
      "MoCo v2 + random G_A, AdaBN", "MoCo v2 + oracle", "untrained encoder",
      "untrained encoder, AdaBN", "MoCo v2"]


def test_gains_over_the_best_control_and_an_untrained_g_a_lead():
  table = tables.format_table([_with_controls(seed) for seed in range(3)])
  gains = [line for line in table.splitlines() if ": MoCo v2 + G_A less" in line]
  for line, name, method, values in zip(
      gains, ("best control", "untrained G_A", "oracle"),
      ("MoCo v2 + control, AdaBN", "MoCo v2 + random G_A", "MoCo v2 + oracle"),
      ([10, 8, 10], [20, 22, 24], [60, 61, 62]), strict=True):
    gain = np.subtract(OURS, values)
    assert f"the {name} ({method}): {gain.mean():+.2f}, 95 %" in line
  assert table.index(gains[0]) < table.index("Difference to the first line")
  assert "not converged" in table and "too high, of: untrained encoder (" in table
  one = tables.format_table([_with_controls(0)])
  assert "(MoCo v2 + control, AdaBN): +45.00 (one seed)" in one
  assert "*" not in one and "interval" not in one


@pytest.mark.parametrize("trained", [True, False])
def test_an_encoder_as_loaded_is_a_control_and_the_baseline_if_no_other_is(trained):
  """Without steps of stage 1 there is no row of the pre-trainer alone."""
  results = []
  for seed in (0, 1):
    rows = [_row("encoder as loaded", 20.0 + seed, seed, retraining_set="-"),
            _row("MoCo v2 + G_A", 55.0 - seed, seed, augmentation="G_A")]
    results.append(_result(rows + [_row("MoCo v2", 10.0, seed)] * trained))
  table = tables.format_table(results)
  methods = [line[0] for line in _cells(table)[3:5 + trained]]
  assert methods == ["MoCo v2"] * trained + ["encoder as loaded", "MoCo v2 + G_A"]
  assert "less the best control (encoder as loaded): +34.00" in table
  (first,) = [line for line in table.splitlines() if line.startswith("  MoCo v2 + G_A,")]
  assert ("+44.50" if trained else "+34.00") in first


def test_other_statistics_are_no_baseline():
  rows = [_row("MoCo v2, AdaBN", 7.0, 0), _row("untrained encoder", 6.0, 0),
          _row("MoCo v2 + G_A", 55.0, 0)]
  more = [{**row, "seed": 1, "accuracy": row["accuracy"] + 1} for row in rows]
  assert "Difference to the first" not in tables.format_table(
      [_result(rows), _result(more)])


def test_only_common_seeds_are_paired():
  results = _seeds()
  results[0]["rows"] = [r for r in results[0]["rows"]
                        if r["method"] != "MoCo v2 + G_A"]
  results[1]["rows"] = [r for r in results[1]["rows"]
                        if r["method"] != "MoCo v2 + oracle"]
  del results[2]["rows"][0]  # the oracle's row; only seed 0 is left of it
  table = tables.format_table(results)
  difference = np.subtract(OURS, BASE)[1:]
  low, high = stats.ttest_1samp(difference, 0).confidence_interval(0.95)
  assert (f"{difference.mean():+.2f}, 95 % interval [{low:+.2f}, {high:+.2f}] (n=2)"
          in table)
  assert "  MoCo v2 + oracle, " not in table  # one pair allows no test


def test_equal_differences_have_no_p():
  rows = lambda seed: [_row("MoCo v2", 3.0 + seed, seed),
                       _row("MoCo v2 + G_A", 5.0 + seed, seed)]
  table = tables.format_table([_result(rows(0)), _result(rows(1))])
  assert "+2.00 (n=2, no spread: interval and p not defined)" in table
  assert " *\n" not in table


def test_several_experiments_and_protocols():
  results = [*_seeds(1), _result([
      _row("MoCo v2", 67.45, 0, train="S", test="R"),
      _row("MoCo v2", 94.74, 0, train="S", test="S")], "ImageNet-DAISO")]
  lines = _cells(tables.format_table(results))
  assert lines[0] == ["EMNIST-Omniglot", "ImageNet-DAISO"]
  assert lines[1][3:] == ["D → C", "S → R", "S → S"]
  assert lines[3][3:] == ["3.0", "67.5", "94.7"]
  assert lines[4][3:] == ["55.0", "-", "-"]
  knn = _cells(tables.format_table(_seeds(1), protocol="knn"))
  assert knn[3][3:] == ["99.0"]
  with pytest.raises(errors.UserError, match="'moco'; there are: knn, l2"):
    tables.format_table(_seeds(1), protocol="moco")


def test_markdown():
  lines = tables.format_table(_seeds(), style="markdown").splitlines()
  assert lines[0] == ("| Method | Re-training set | Additional augmentation | "
                      "EMNIST-Omniglot<br>D → C |")
  assert lines[3].startswith("| MoCo v2 + G_A | X_p | G_A | 55.2 ± 1.3 (n=3)")


def test_csv_has_the_numbers():
  rows = list(csv.DictReader(io.StringIO(
      tables.format_table(_seeds(), style="csv"))))
  ours, = [r for r in rows if r["method"] == "MoCo v2 + G_A"]
  assert float(ours["accuracy"]) == pytest.approx(np.mean(OURS))
  assert float(ours["std"]) == pytest.approx(np.std(OURS, ddof=1))
  assert float(ours["p"]) == pytest.approx(stats.ttest_rel(OURS, BASE).pvalue)
  assert (ours["seeds"], ours["train"], ours["test"]) == ("3", "D", "C")
  for side, bound in zip(("ci_low", "ci_high"), stats.ttest_rel(
      OURS, BASE).confidence_interval(0.95)):
    assert float(ours[side]) == pytest.approx(bound)


@pytest.mark.parametrize("part, words", [("protocol", "evaluation protocols"),
                                         ("data", "data sets"),
                                         ("encoder_init", "initial weights")])
def test_mixtures_are_said(part, words):
  results = _seeds(2)
  assert "WARNING" not in tables.format_table(results)
  results[1]["provenance"][part] = "other"
  assert f"2 different {words}" in tables.format_table(results)
  # Different experiments may use different protocols or data.
  results[1]["experiment"] = "ImageNet-DAISO"
  assert "WARNING" not in tables.format_table(results)


def _write(folder, text):
  folder.mkdir()
  (folder / "results.json").write_text(text, encoding="utf-8")
  return str(folder)


def test_command_line(tmp_path, capsys):
  folders = [_write(tmp_path / str(i), json.dumps(result))
             for i, result in enumerate(_seeds(2))]
  assert tables.main(folders) == 0
  assert capsys.readouterr().out == tables.format_table(_seeds(2))
  assert tables.main([*folders, "--format=csv", "--protocol=knn"]) == 0
  assert "knn,99.0" in capsys.readouterr().out


def test_every_bad_folder_is_named_at_once(tmp_path, capsys):
  (tmp_path / "unfinished").mkdir()
  bad = [str(tmp_path / "missing"), str(tmp_path / "unfinished"),
         _write(tmp_path / "damaged", '{"experiment": "x", "ro'),
         _write(tmp_path / "foreign", "[1]"),
         _write(tmp_path / "partial", json.dumps(_result([{"method": "m"}])))]
  assert tables.main(bad) == 2
  lines = capsys.readouterr().err.splitlines()
  assert len(lines) == 5 and all(x.startswith("error: ") for x in lines)
  for line, words in zip(lines, ("no folder", "no results.json", "damaged",
                                 "no results file", "rows without: accuracy")):
    assert words in line


def test_one_seed_twice_and_empty_results_are_errors(tmp_path, capsys):
  one = _write(tmp_path / "one", json.dumps(_seeds(1)[0]))
  assert tables.main([one, one]) == 2
  err = capsys.readouterr().err
  assert "two results for seed 0" in err and err.count("\n") == 1
  empty = _write(tmp_path / "empty", json.dumps(_result([])))
  assert tables.main([empty]) == 2
  assert "no rows yet" in capsys.readouterr().err


# --- CRL-TAC -----------------------------------------------------------------


def _tac(seed, accuracy=97.0, experiment="Regional MNIST"):
  rows = []
  for method, crops, gain in (
      ("CRL-TAC", "P", 0.0), ("CRL-TAC", "top-4", 0.5),
      ("SimCLR", "uniform", -50.0), ("SimCLR", "true place", -4.0),
      ("untrained encoder", "P", -10.0)):
    for feature, less in (("f", 0.0), ("head", 2.0)):
      rows.append(_row(method, accuracy + gain - less + seed, seed)
                  | {"crops": crops, "feature": feature})
  return _result(rows, experiment)


def test_the_posters_layout_with_its_numbers_beside():
  lines = _cells(tables.format_table([_tac(0), _tac(2)]))
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
      result["rows"].append(_row(method, value, 0)
                            | {"crops": crops, "feature": feature})
  for row in result["rows"]:
    ours = row["method"] == "CRL-TAC"
    row |= {"images_per_step": 512, "images_per_step_forward": 1536 * ours}
  text = tables.format_table([result])
  lines = _cells(text)
  head = lines.index([
      "Ours", "Ours (top-4)", "SimCLR", "SimCLR (oracle)", "SimCLR, own windows",
      "SimCLR, own windows (oracle)"])
  assert lines[head + 4] == [
      "f output", "97.0", "97.5", "47.0", "93.0", "60.0", "95.0"]
  assert lines[head + 5] == [
      "f output, one crop", "90.0", "91.0", "20.0", "-", "30.0", "-"]
  assert "CRL-TAC 512 (and 1536 more to train P, forward alone); SimCLR 512" in text


def test_differences_to_an_untrained_encoder_are_marked():
  found = [_tac(0), _tac(2), _tac(4)]
  for result, noise in zip(found, (0.0, 0.3, -0.2)):
    for row in result["rows"]:
      row["accuracy"] += noise * (row["method"] == "CRL-TAC")
  lines = _cells(tables.format_table(found))
  (ours,) = [line for line in lines if line[:2] == ["CRL-TAC", "P"]]
  assert all(text.endswith(" *") for text in ours[2:])
  (top,) = [line for line in lines if line[:2] == ["CRL-TAC", "top-4"]]
  assert not any("*" in text for text in top)  # there is nothing to compare it with


def test_crops_and_augmentations_are_tables_of_their_own():
  text = tables.format_table([*_seeds(1), _tac(0), _tac(0, experiment="MNIST")])
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


@pytest.mark.parametrize("name, value, words", [
    ("accuracy", None, "accuracy=None, which is no percentage"),
    ("accuracy", "55", "accuracy='55'"), ("accuracy", float("nan"), "accuracy=nan"),
    ("seed", None, "seed=None"), ("test", None, "test=None")])
def test_values_that_are_none_are_named(tmp_path, capsys, name, value, words):
  result = _seeds(1)[0]
  result["rows"][3][name] = value
  assert tables.main([_write(tmp_path / "run", json.dumps(result))]) == 2
  err = capsys.readouterr().err
  assert err.count("\n") == 1
  assert "results.json': row 4 of 6 (MoCo v2 + G_A) has" in err and words in err


def test_a_row_of_crops_needs_its_feature(tmp_path, capsys):
  result = _tac(0, accuracy=90.0)
  del result["rows"][1]["feature"]
  assert tables.main([_write(tmp_path / "run", json.dumps(result))]) == 2
  assert "row 2 of 10 (CRL-TAC) has feature=None" in capsys.readouterr().err


def test_the_papers_numbers_stand_behind_the_columns_that_have_them():
  table = augmentation.of_results(_seeds(1), "l2", with_paper=True)
  assert table.body[0][3:] == ["D → C", "D → C, the paper"]
  assert {tuple(row[:2]): row[4] for row in table.body[1:]} == {
      ("MoCo v2", "X_p"): "3.25", ("MoCo v2 + G_A", "X_p"): "55.22",
      ("MoCo v2 + control", "X_p"): "-", ("MoCo v2 + oracle", "X_p"): "-",
      ("MoCo v2", "X_p ∪ X̃_f"): "37.97"}
  # A stand-in for the paper's experiment has another name, and no such column.
  other = [{**result, "experiment": "MNIST-Omniglot"} for result in _seeds(1)]
  assert augmentation.of_results(other, "l2", with_paper=True).body[0][3:] == ["D → C"]


def test_gains_are_numbers_too():
  first, *_ = augmentation.gains([_with_controls(0)], "l2")
  assert (first.rival, first.best.method) == ("best control", "MoCo v2 + control, AdaBN")
  assert first.accuracies == (OURS[0], 10.0) and first.difference is None
  assert first.points == OURS[0] - 10.0 and str(first) == f"{first.points:+.2f} (one seed)"
