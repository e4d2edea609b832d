"""What a sweep varies, and what its runs are called."""

import pytest

from augment_gen.config.errors import UserError
from augment_gen.sweep import grid


@pytest.mark.parametrize("text, wanted", [
    ("3", [3]), ("0-2", [0, 1, 2]), ("0,2,7-8", [0, 2, 7, 8]), ("4, 1", [4, 1])])
def test_seeds(text, wanted):
  assert grid.seeds(text) == wanted


@pytest.mark.parametrize("text, words", [
    ("", "'' is no seed"), ("0-", "'0-' is no seed"), ("2-0", "'2-0' is no seed"),
    ("a", "like --seeds=0-4"), ("-1", "is no seed"), ("0-2,1", "names seed 1 twice")])
def test_what_is_no_seed(text, words):
  with pytest.raises(UserError, match=words):
    grid.seeds(text)


@pytest.mark.parametrize("text, wanted", [
    ("retrain.order=first,last", ["first", "last"]),
    ("config.retrain.order=first", ["first"]),
    ("retrain.order= first, last", ["first", "last"]),
    ("retrain.order=", [""]),
    ('retrain.order=["generator,prior", "control"]', ["generator,prior", "control"]),
    ("retrain.order=[0.5, [0.10, 1e-4], true]", ["0.5", "0.10,1e-4", "True"]),
    ("retrain.order=folder:a?where=b=c", ["folder:a?where=b=c"])])
def test_values(text, wanted):
  assert grid.values(text) == ("retrain.order", wanted)


@pytest.mark.parametrize("text, words", [
    ("order", "write --set FIELD=VALUE,VALUE"), ("=1", "write --set"),
    ("a=[1", "no JSON list"), ("a=[]", "has no values"), ("a=[null]", "null is no value"),
    ("a=[[[1]]]", "is no value"), ("a=1,2,1", "has the value '1' twice")])
def test_what_is_no_value(text, words):
  with pytest.raises(UserError) as error:
    grid.values(text)
  assert words in str(error.value)


def test_all_combinations_of_one_seed_come_before_the_next_seed():
  points = list(grid.points([("retrain.order", ["first", "last"]),
                             ("generator.losses.cycle_weight", ["1", "10"])], [0, 5]))
  assert [point.name for point in points] == [
      f"order={order},cycle_weight={weight},seed={seed}"
      for seed in (0, 5) for order in ("first", "last") for weight in (1, 10)]
  assert points[-1].seed == 5 and points[-1].label == "order=last, cycle_weight=10"
  assert points[-1].settings == (
      ("retrain.order", "last"), ("generator.losses.cycle_weight", "10"))


def test_seeds_alone_have_no_label():
  assert [(p.name, p.label) for p in grid.points([], [0, 1])] == [
      ("seed=0", ""), ("seed=1", "")]


def test_names_are_as_short_as_they_can_be_told_apart():
  assert grid.short_names(["retrain.optimizer.lr", "pretrain.optimizer.lr",
                           "generator.steps", "seed"]) == {
      "retrain.optimizer.lr": "retrain.optimizer.lr",
      "pretrain.optimizer.lr": "pretrain.optimizer.lr",
      "generator.steps": "steps", "seed": "seed"}
  assert grid.short_names(["a.b", "b"])["b"] == "b"


def test_values_become_words_that_differ():
  assert [grid.word(v) for v in ("last", "1e-4", "", "generator,prior")] == [
      "last", "1e-4", "", "generator+prior"]
  values = ["a,b", "a+b", "a/b", "a b", "a-b", "x" * 40, "x" * 41]
  words = [grid.word(value) for value in values]
  assert len(set(words)) == len(values)
  assert all(set(word) <= set("abx+-0123456789cdef") for word in words)
  assert max(map(len, words)) < 40
  (point,) = grid.points([(f"s.{n}", ["y" * 30]) for n in range(20)], [0])
  assert len(point.name) < 250  # as the longest name of a file


def test_cases():
  assert grid.case("no cycle: a.b=1 config.c='x y' d=") == (
      "no cycle", (("a.b", "1"), ("c", "x y"), ("d", "")))
  assert grid.case("base:") == ("base", ())


@pytest.mark.parametrize("text, words", [
    ("no cycle", "write --case 'NAME: FIELD=VALUE"), (": a=1", "write --case"),
    ("x: a", "write --case"), ("x: =1", "write --case"), ("x: a='1", "No closing"),
    ("x: a=1 a=2", "gives a twice")])
def test_what_is_no_case(text, words):
  with pytest.raises(UserError) as error:
    grid.case(text)
  assert words in str(error.value)


def test_a_case_is_one_more_choice():
  points = list(grid.points([("retrain.order", ["first", "last"])], [0],
                            [("base", ()), ("no cycle", (("a", "1"), ("b", "2")))]))
  assert [(point.title, point.label) for point in points] == [
      ("base", "order=first"), ("base", "order=last"), ("no cycle", "order=first"),
      ("no cycle", "order=last")]
  assert points[3].of_case == (("a", "1"), ("b", "2"))
  assert points[3].settings == (("retrain.order", "last"),)
  assert points[0].name == "base,order=first,seed=0"
  assert len({point.name for point in points}) == 4


def test_what_the_rows_of_a_table_say_is_not_in_the_label():
  varied = [("pretrain.method", ["byol", "swav"]), ("retrain.order", ["first", "last"])]
  assert [point.label for point in grid.points(varied, [0])] == [
      "order=first", "order=last"] * 2
