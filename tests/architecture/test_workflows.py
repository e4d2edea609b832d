"""The workflows of CI are sound, and run on the oldest and the newest Python."""

import pathlib
import re
import tomllib

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.fixture(scope="module")
def project():
  return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def jobs():
  for path in WORKFLOWS:
    yield from yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].items()


def test_every_job_has_a_machine_a_limit_and_steps():
  for name, job in jobs():
    assert job["runs-on"] and job["timeout-minutes"] <= 60, name
    for step in job["steps"]:
      assert ("uses" in step) != ("run" in step), f"{name}: {step}"
      assert set(step) <= {"uses", "run", "with", "name"}, f"{name}: {step}"
      assert re.fullmatch(r"[\w/-]+@v\d+", step.get("uses", "a/b@v1")), f"{name}: {step}"


def test_what_the_commands_name_exists(project):
  commands = [step["run"] for _, job in jobs() for step in job["steps"] if "run" in step]
  extras = {extra for command in commands
            for extras in re.findall(r"\.\[([\w,]+)\]", command)
            for extra in extras.split(",")}
  assert {"dev", "docs", "notebooks", "test"} <= extras
  assert extras <= set(project["optional-dependencies"])
  paths = {path for command in commands
           for path in re.findall(r"(?:\.ci|tests)/[\w./]+", command)}
  assert ".ci/run" in paths
  assert not [path for path in paths if not (ROOT / path).exists()]


def test_ci_runs_the_readme_on_the_oldest_and_the_newest_python(project):
  versions = sorted(tuple(map(int, found[1].split("."))) for line in project["classifiers"]
                     if (found := re.fullmatch(r".* :: (3\.\d+)", line)))
  matrix = dict(jobs())["readme-commands"]["strategy"]["matrix"]["include"]
  assert [tuple(map(int, row["python"].split("."))) for row in matrix] == [
      versions[0], versions[-1]]
  assert (ROOT / matrix[0]["constraint"]).is_file()
