"""Table 1 and the poster's table from results.json files."""

import csv
import io
import json

import made_up_results as made
import numpy as np
import pytest
from scipy import stats

from augment_gen import tables
from augment_gen.config import errors
from augment_gen.tables import augmentation_generator as augmentation
from augment_gen.tables import papers

BASE, OURS = [3.0, 4.0, 3.5], [55.0, 54.0, 56.5]


def _seeds(count=3):
  return [made.result([
      made.row("MoCo v2 + oracle", 60.0 + seed, seed),
      made.row("MoCo v2", 38.0, seed, retraining_set="X_p ∪ X̃_f"),
      made.row("MoCo v2 + control", BASE[seed] + (-1) ** seed, seed),
      made.row("MoCo v2 + G_A", OURS[seed], seed, augmentation="G_A"),
      made.row("MoCo v2", BASE[seed], seed),
      made.row("MoCo v2", 99.0, seed, protocol="knn"),
  ]) for seed in range(count)]


def test_the_papers_layout_and_order():
  lines = made.cells_of(tables.format_table(_seeds(1)))
  assert lines[0] == ["EMNIST-Omniglot"]
  assert lines[1] == ["Method", "Re-training set", "Additional augmentation",
                      "D → C", "paper"]
  assert lines[3:8] == [
      ["MoCo v2", "X_p", "-", "3.0", "3.25"],
      ["MoCo v2 + G_A", "X_p", "G_A", "55.0", "55.22"],
      ["MoCo v2 + control", "X_p", "-", "4.0", "-"],
      ["MoCo v2 + oracle", "X_p", "-", "60.0", "-"],
      ["MoCo v2", "X_p ∪ X̃_f", "-", "38.0", "37.97"]]
  assert lines[9:11] == [["Accuracy in percent; protocol: l2."],
                         ["paper: Hayase et al., Table 1."]]


def test_what_is_no_experiment_of_the_papers_has_no_second_column():
  result = _seeds(1)[0] | {"experiment": "MNIST-Omniglot"}
  text = tables.format_table([result])
  assert "paper" not in text and made.cells_of(text)[3] == ["MoCo v2", "X_p", "-", "3.0"]


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
  line, = [x for x in lines if x.startswith("  MoCo v2 + G_A,")]
  low, high = stats.ttest_rel(OURS, BASE).confidence_interval(0.95)
  assert (f": {difference.mean():+.2f}, 95 % interval [{low:+.2f}, {high:+.2f}] (n=3), "
          in line)
  assert line.endswith(f"p = {p:.2g} *")
  # The differences +1, -1 and +1 are not significant, so they have no mark.
  assert all("*" not in x for x in lines if x.strip().startswith("MoCo v2 + control"))


def _with_controls(seed):
  rows = _seeds()[seed]["rows"] + [
      made.row("MoCo v2 + control, AdaBN", 9.0 + (-1) ** seed, seed),
      made.row("MoCo v2, AdaBN", 7.0, seed),
      made.row("untrained encoder", 6.0 + seed, seed, retraining_set="-"),
      made.row("untrained encoder, AdaBN", 5.0, seed, retraining_set="-"),
      made.row("MoCo v2 + random G_A", 20.0 + 2 * seed, seed),
      made.row("MoCo v2 + random G_A, AdaBN", 10.0, seed),
      made.row("MoCo v2 + G_A, AdaBN", 57.0, seed, augmentation="G_A")]
  for row in rows:
    row["converged"] = row["method"] != "untrained encoder"
  return made.result(rows)


def test_lines_of_other_statistics_stand_below_their_own():
  lines = made.cells_of(tables.format_table([_with_controls(0)]))
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


def _of_pretrainer(name, base, seed):
  rows = [made.row(name, base, seed),
          made.row(f"{name} + G_A", base + 20.0 + seed, seed, augmentation="G_A"),
          made.row(f"{name} + control", base + 1.0, seed),
          made.row("untrained encoder", 6.0, seed, retraining_set="-"),
          made.row("untrained encoder, AdaBN", 5.0, seed, retraining_set="-")]
  return made.result(rows)


def test_pretrainers_share_a_table_and_each_is_compared_with_its_own_rows():
  results = [_of_pretrainer(name, base, seed) for seed in (0, 1)
             for name, base in (("MoCo v2", 40.0), ("BYOL", 10.0))]
  results.append(made.result([made.row(
      "BYOL", 30.0, 0, retraining_set="X_p ∪ X̃_f")]))
  table = tables.format_table(results)
  assert [line[0] for line in made.cells_of(table)[3:12]] == [
      "MoCo v2", "MoCo v2 + G_A", "MoCo v2 + control", "BYOL", "BYOL + G_A",
      "BYOL + control", "untrained encoder", "untrained encoder, AdaBN", "BYOL"]
  # The untrained encoder is the same for both: two seeds, not four results.
  assert "6.0 ± 0.0 (n=2)" in table
  assert "BYOL + G_A less the best control (BYOL + control): +19.50, 95 %" in table
  assert "Difference to the line of the pre-trainer alone" in table
  assert "  BYOL + G_A, X_p, less BYOL, EMNIST-Omniglot, D → C: +20.50, 95 %" in table
  assert "untrained encoder, -, less MoCo v2, " in table


def _after_union(seed, accuracy):
  """A run that saw X̃_f in stage 1, and then trained an arm on X_p."""
  rows = [made.row("MoCo v2", accuracy, seed, retraining_set="X_p ∪ X̃_f"),
          *(made.row(f"MoCo v2 + {kind}", accuracy + more, seed, augmentation=added)
            for kind, more, added in (("G_A", 9.0, "G_A"), ("control", 2.0, "-")))]
  for row in rows:
    row["pretrain_data"] = "X_p ∪ X̃_f"
  return made.result(rows)


def test_what_saw_x_f_in_stage_1_has_rows_of_its_own_in_all_arms():
  results = [result for seed in (0, 1) for result in (
      _of_pretrainer("MoCo v2", 40.0, seed), _after_union(seed, 50.0 + seed))]
  table = tables.format_table(results)
  sets = {tuple(line[:2]) for line in made.cells_of(table)[3:11]}
  assert {("MoCo v2 + G_A", "X_p"), ("MoCo v2 + G_A", "X_p after X_p ∪ X̃_f"),
          ("MoCo v2", "X_p ∪ X̃_f"), ("MoCo v2 + control", "X_p after X_p ∪ X̃_f")} <= sets
  # Each with the controls of its own F.
  gains = [line for line in table.splitlines() if "less the best control" in line]
  assert [("+19.50" in line, "+7.00" in line) for line in gains] == [
      (True, False), (False, True)]
  # The paper's number is that of X_p alone.
  assert papers.method_name("MoCo v2 + G_A", "X_p after X_p ∪ X̃_f") not in {
      method for method, _ in papers.reference("EMNIST-Omniglot")}


@pytest.mark.parametrize("trained", [True, False])
def test_an_encoder_as_loaded_is_a_control_and_the_baseline_if_no_other_is(trained):
  """Without steps of stage 1 there is no row of the pre-trainer alone."""
  results = []
  for seed in (0, 1):
    rows = [made.row("encoder as loaded", 20.0 + seed, seed, retraining_set="-"),
            made.row("MoCo v2 + G_A", 55.0 - seed, seed, augmentation="G_A")]
    results.append(made.result(rows + [made.row("MoCo v2", 10.0, seed)] * trained))
  table = tables.format_table(results)
  methods = [line[0] for line in made.cells_of(table)[3:5 + trained]]
  assert methods == ["MoCo v2"] * trained + ["encoder as loaded", "MoCo v2 + G_A"]
  assert "less the best control (encoder as loaded): +34.00" in table
  (first,) = [line for line in table.splitlines() if line.startswith("  MoCo v2 + G_A,")]
  assert ("+44.50" if trained else "+34.00") in first


def test_other_statistics_are_no_baseline():
  rows = [made.row("MoCo v2, AdaBN", 7.0, 0), made.row("untrained encoder", 6.0, 0),
          made.row("MoCo v2 + G_A", 55.0, 0)]
  more = [{**row, "seed": 1, "accuracy": row["accuracy"] + 1} for row in rows]
  assert "Difference to the first" not in tables.format_table(
      [made.result(rows), made.result(more)])


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
  rows = lambda seed: [made.row("MoCo v2", 3.0 + seed, seed),
                       made.row("MoCo v2 + G_A", 5.0 + seed, seed)]
  table = tables.format_table([made.result(rows(0)), made.result(rows(1))])
  assert "+2.00 (n=2, no spread: interval and p not defined)" in table
  assert " *\n" not in table


def test_several_experiments_and_protocols():
  results = [*_seeds(1), made.result([
      made.row("MoCo v2", 67.45, 0, train="S", test="R"),
      made.row("MoCo v2", 94.74, 0, train="S", test="S")], "ImageNet-DAISO")]
  lines = made.cells_of(tables.format_table(results))
  assert lines[0] == ["EMNIST-Omniglot", "ImageNet-DAISO"]
  assert lines[1][3:] == ["D → C", "paper", "S → R", "paper", "S → S", "paper"]
  assert lines[3][3:] == ["3.0", "3.25", "67.5", "67.45", "94.7", "94.74"]
  assert lines[4][3:] == ["55.0", "55.22", "-", "71.91", "-", "94.84"]
  knn = made.cells_of(tables.format_table(_seeds(1), protocol="knn"))
  assert knn[3][3] == "99.0"
  both = tables.format_table(_seeds(1), protocol="knn,l2")
  assert both == "\n".join([tables.format_table(_seeds(1), protocol="knn"),
                            tables.format_table(_seeds(1), protocol="l2")])
  assert tables.format_table(_seeds(1), protocol="all").count("protocol: ") == 2
  with pytest.raises(errors.UserError, match="'moco'; there are: knn, l2"):
    tables.format_table(_seeds(1), protocol="moco")
  # A result without rows of a protocol has no part in its table.
  assert tables.format_table(results, protocol="knn") == tables.format_table(
      _seeds(1), protocol="knn")


def test_names_stand_over_neighbouring_columns_alone():
  rows = lambda train, test: [made.row("MoCo v2", 50.0, 0, train=train, test=test)]
  results = [made.result(rows("S", "R"), "X"), made.result(rows("D", "C"), "Y"),
             made.result(rows("R", "S"), "X")]
  heading, titles, *_ = tables.format_table(results).splitlines()
  for name, title in (("X", "S → R"), ("Y", "D → C")):
    assert heading.index(name) == titles.index(title)
  assert heading.rindex("X") == titles.index("R → S")
  wide = tables.format_table(
      [made.result(rows("S", "R"), "light=a|b")], style="markdown").splitlines()
  assert r"light=a\|b<br>S → R" in wide[0]


def test_markdown():
  lines = tables.format_table(_seeds(), style="markdown").splitlines()
  assert lines[0] == ("| Method | Re-training set | Additional augmentation | "
                      "EMNIST-Omniglot<br>D → C | EMNIST-Omniglot<br>paper |")
  assert lines[3].startswith("| MoCo v2 + G_A | X_p | G_A | **55.2 ± 1.3 (n=3)")


def test_latex():
  lines = tables.format_table(_seeds(), style="latex").splitlines()
  assert lines[:4] == [r"% \usepackage{booktabs}", r"\begin{tabular}{lllrr}",
                       r"  \toprule",
                       r"   &  &  & \multicolumn{2}{c}{EMNIST-Omniglot} \\"]
  (ours,) = [x for x in lines if x.startswith("  MoCo v2 + $G_{A}$ &")]
  assert r"& $X_{p}$ & $G_{A}$ & \textbf{\boldmath 55.2 $\pm$ 1.3 ($n=3$)$^{*}$} &" in ours
  (union,) = [x for x in lines if r"$X_{p}$ $\cup$ $\tilde{X}_{f}$" in x]
  assert union.endswith(r"\\")
  end = lines.index(r"\end{tabular}")
  assert all(x.startswith("%") or not x for x in lines[end + 1:])  # notes are comments


def _best(table):
  return [line[0] for line in made.cells_of(table)
          if any("(best)" in cell for cell in line)]


def test_bold_only_beyond_the_noise():
  # The oracle, with 60 to 62, is no candidate.
  assert _best(tables.format_table(_seeds())) == ["MoCo v2 + G_A"]
  assert _best(tables.format_table(_seeds(1))) == []
  close = _seeds()
  for result, accuracy in zip(close, (54.0, 55.0, 56.0)):
    (control,) = [r for r in result["rows"] if r["method"] == "MoCo v2 + control"]
    control["accuracy"] = accuracy  # G_A is ahead by 1, -1 and 0.5
  table = tables.format_table(close)
  assert _best(table) == [] and "Best beyond the noise" not in table


def test_costs_are_columns_if_asked_for():
  results = _seeds(2)
  for result in results:
    for row in result["rows"]:
      if row["method"] == "MoCo v2 + G_A":
        row |= {"images_seen": {"pretrain": 1000, "generator": 2000, "total": 3000},
                "flops": {"pretrain": 1e12, "generator": 2e12, "total": 3e12},
                "seconds": {"pretrain": 100, "generator": 200, "total": 300}}
  lines = made.cells_of(tables.format_table(results, cost=True))
  assert lines[1][3:] == ["D → C", "paper", "images seen", "FLOP", "time"]
  assert lines[4][5:] == ["3 k", "3 T", "5 min"]
  assert lines[5][5:] == ["-", "-", "-"]  # a run of older code
  assert "images seen" not in tables.format_table(results)
  (ours,) = [r for r in json.loads(tables.format_table(results, style="json"))
             if r["method"] == "MoCo v2 + G_A"]
  assert (ours["images_seen"], ours["seconds"], ours["paper"]) == (3000, 300, 55.22)


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


def test_command_line(tmp_path, capsys):
  folders = [made.write(tmp_path / str(i), json.dumps(result))
             for i, result in enumerate(_seeds(2))]
  assert tables.main(folders) == 0
  assert capsys.readouterr().out == tables.format_table(_seeds(2))
  assert tables.main([*folders, "--format=csv", "--protocol=knn"]) == 0
  assert "knn,99.0" in capsys.readouterr().out


def test_every_bad_folder_is_named_at_once(tmp_path, capsys):
  (tmp_path / "unfinished").mkdir()
  (tmp_path / "unfinished" / "config.json").write_text("{}")
  (tmp_path / "other").mkdir()
  bad = [str(tmp_path / "missing"), str(tmp_path / "unfinished"), str(tmp_path / "other"),
         made.write(tmp_path / "damaged", '{"experiment": "x", "ro'),
         made.write(tmp_path / "foreign", "[1]"),
         made.write(tmp_path / "partial", json.dumps(made.result([{"method": "m"}])))]
  assert tables.main(bad) == 2
  lines = capsys.readouterr().err.splitlines()
  assert len(lines) == 6 and all(x.startswith("error: ") for x in lines)
  for line, words in zip(lines, ("no folder", "not finished", "no run folder",
                                 "damaged", "no results file", "rows without: accuracy")):
    assert words in line


def test_one_seed_twice_and_empty_results_are_errors(tmp_path, capsys):
  one = made.write(tmp_path / "one", json.dumps(_seeds(1)[0]))
  assert tables.main([one, one]) == 2
  err = capsys.readouterr().err
  assert "two results for seed 0" in err and err.count("\n") == 1
  empty = made.write(tmp_path / "empty", json.dumps(made.result([])))
  assert tables.main([empty]) == 2
  assert "no rows yet" in capsys.readouterr().err


def test_experiments_of_a_sweep_are_compared_on_common_seeds():
  other = [dict(result, experiment="EMNIST-Omniglot, no cycle") for result in _seeds()]
  for result, loss in zip(other, (1.0, 2.0, 3.0)):
    result["rows"] = [{**row, "accuracy": row["accuracy"] - loss} for row in result["rows"]]
  text = tables.format_table([*_seeds(), *other])
  (line,) = [x for x in text.splitlines() if "no cycle less EMNIST-Omniglot:" in x]
  assert line.startswith("  MoCo v2 + G_A, D → C: EMNIST-Omniglot, no cycle less ")
  assert "-2.00, 95 % interval" in line


def test_unhealthy_generators_are_named_and_can_fail_a_command(tmp_path, capsys):
  results = _seeds(2)
  for result in results:
    result["health"] = {"latent_r2": 0.9}
  folders = [made.write(tmp_path / str(seed), json.dumps(result))
             for seed, result in enumerate(results)]
  assert tables.main([*folders, "--check-health"]) == 0
  assert "healthy" not in capsys.readouterr().out
  results[1]["health"]["latent_r2"] = 0.1
  folders[1] = made.write(tmp_path / "sick", json.dumps(results[1]))
  assert tables.main(folders) == 0
  assert ("Not healthy (--check-health says why): the generator of EMNIST-Omniglot, "
          "MoCo v2, seed 1." in capsys.readouterr().out)
  assert tables.main([*folders, "--check-health"]) == 1
  err = capsys.readouterr().err
  assert err.startswith(
      "not healthy: EMNIST-Omniglot, MoCo v2, seed 1: G_A ignores its latents")
  assert err.count("\n") == 1


@pytest.mark.parametrize("name, value, words", [
    ("accuracy", None, "accuracy=None, which is no percentage"),
    ("accuracy", "55", "accuracy='55'"), ("accuracy", float("nan"), "accuracy=nan"),
    ("seed", None, "seed=None"), ("test", None, "test=None")])
def test_values_that_are_none_are_named(tmp_path, capsys, name, value, words):
  result = _seeds(1)[0]
  result["rows"][3][name] = value
  assert tables.main([made.write(tmp_path / "run", json.dumps(result))]) == 2
  err = capsys.readouterr().err
  assert err.count("\n") == 1
  assert "results.json': row 4 of 6 (MoCo v2 + G_A) has" in err and words in err


def test_gains_are_numbers_too():
  first, *_ = augmentation.gains([_with_controls(0)], "l2")
  assert (first.rival, first.best.method) == ("best control", "MoCo v2 + control, AdaBN")
  assert first.accuracies == (OURS[0], 10.0) and first.difference is None
  assert first.points == OURS[0] - 10.0 and str(first) == f"{first.points:+.2f} (one seed)"
