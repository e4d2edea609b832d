"""Configs of the package, by name, from any folder."""

import pathlib

import pytest

from augment_gen.config import shipped
from augment_gen.config.command_line import parse

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize("variant", ["", ":room", ":room,runlocal"])
def test_a_name_is_the_file_with_all_its_variants(variant, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  args = ["--workdir=run", "--config.seed=3"]
  by_name = parse(["main.py", f"--config=daiso{variant}", *args])
  by_file = parse(["main.py", f"--config={ROOT}/configs/daiso.py{variant}", *args])
  assert by_name.config == by_file.config
  assert by_name.config.seed == 3
  assert by_name.config.data.finetune_name == ("R" if variant else "S")
  assert f"--config=daiso{variant} " in by_name.command


def test_a_file_comes_before_a_name(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "mnist").write_text("def get_config(): ...")
  assert shipped.file_of("mnist") == "mnist"


def test_an_installed_package_has_the_configs_inside(tmp_path, monkeypatch):
  # Beside an installed package there may be a folder of that name of somebody else.
  for folder in ("augment_gen/configs", "configs"):
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / f"{folder.replace('/', '_')}.py").touch()
  monkeypatch.setattr(
      shipped, "__file__", str(tmp_path / "augment_gen" / "config" / "shipped.py"))
  assert shipped.names() == ["augment_gen_configs"]


def test_every_config_of_the_checkout_is_named_and_described():
  assert shipped.names() == sorted(path.stem for path in (ROOT / "configs").glob("*.py"))
  assert all(shipped.describe(name) for name in shipped.names())
