"""The sweeps that the docs give can be run."""

import pathlib
import re
import shlex

import pytest

from augment_gen import sweep
from augment_gen.config import command_line
from augment_gen.run import session

DOCS = pathlib.Path(__file__).parents[2] / "docs"


def commands(page):
  return re.findall(r"^augment-gen sweep (?:.*\\\n)*.*$",
                    (DOCS / page).read_text(encoding="utf-8"), flags=re.MULTILINE)


def by_folder(commands):
  return [pytest.param(command, id=re.search(r"--folder=runs/(\S+)", command)[1])
          for command in commands]


COMMANDS = commands("results.md")


def planned(command, folder):
  words = shlex.split(command.replace("\\\n", " "))[2:]
  words[words.index(next(w for w in words if w.startswith("--folder=")))] = (
      f"--folder={folder}")
  return sweep.planned(*sweep._parser().parse_known_args(words))


def test_there_is_one_for_each_of_the_old_grids():
  assert len(COMMANDS) == 9


@pytest.mark.parametrize("command", by_folder(
    command for command in commands("user_guide.md") if "--config=CONFIG" not in command))
def test_those_of_the_guide(command, tmp_path):
  for run in planned(command, tmp_path):
    config = command_line.parse(["augment-gen", *run.settings]).config
    assert not list(session.missing_stages(config, run.folder)), run.name
    assert all("FOLDER" in line for line in session.problems(config, devices=1))


@pytest.mark.parametrize("command", by_folder(COMMANDS))
def test_its_configs_lack_nothing_but_their_data(command, tmp_path):
  runs = planned(command, tmp_path)
  for seed in {run.values["seed"] for run in runs}:
    of_seed = [run for run in runs if run.values["seed"] == seed]
    # With a G_A, all but the first take stages over, unless stage 1 itself differs.
    for run in of_seed[1:]:
      if run.values["method"] == "augmentation_generator" and (
          not run.values["pretrain"]["with_finetune"]):
        assert run.last, run.name
  for run in runs[:30]:
    config = command_line.parse(["augment-gen", *run.settings]).config
    found = session.problems(config, devices=1)
    assert all("FOLDER" in line for line in found), (run.name, found)
    assert not list(session.missing_stages(config, run.folder)), run.name
    # Settings are chosen on the development split alone.
    assert bool(config.data.development) == any(
        word in command for word in ("others", "ablations"))
