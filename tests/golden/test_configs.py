"""The resolved configs as text, so that a changed preset shows in the diff."""

import json
import pathlib

import pytest

from augment_gen.config.command_line import parse

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = pathlib.Path(__file__).parent / "configs"
CONFIGS = (
    "quickstart.py", "omniglot.py", "omniglot.py:simclr", "omniglot.py:simsiam",
    "omniglot.py:byol", "omniglot.py:swav", "omniglot.py:mnist",
    "omniglot.py:mnist,npz",
    "daiso.py", "daiso.py:room", "daiso.py:operators", "daiso.py:standin",
    "daiso.py:standin,room", "photos.py", "photos.py:grey", "regional_mnist.py",
    "regional_mnist.py:npz", "regional_mnist.py:rendered", "mnist.py")


@pytest.mark.parametrize("config", CONFIGS)
def test_nothing_has_changed_unseen(config, update_golden):
  values = parse(["main.py", f"--config={ROOT}/configs/{config}",
                  "--workdir=unused"]).config_values
  text = json.dumps(values, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
  path = FOLDER / f"{config.replace('.py', '').replace(':', '-')}.json"
  if update_golden:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
  assert path.read_text(encoding="utf-8") == text, (
      f"{config} resolves to other settings than {path.name} holds. If you meant that, "
      "run `pytest tests/golden --update-golden -n 0`, look at the diff, and commit it")
