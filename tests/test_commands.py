"""The command `augment-gen` and its sub-commands."""

import importlib.metadata
import pkgutil

import pytest

from augment_gen import __main__ as commands
from augment_gen.config import shipped


def run(capsys, *args):
  """The exit status, the output and the errors of a command."""
  try:
    status = commands.main(args)
  except SystemExit as end:  # argparse's --help
    status = end.code
  return status, *capsys.readouterr()


@pytest.mark.parametrize("flag", ["--help", "-h", "help"])
def test_help_names_every_command(flag, capsys):
  status, out, err = run(capsys, flag)
  assert status == 0 and not err
  assert all(f"  {name} " in out for name in commands.COMMANDS)
  assert "--help=SECTION" in out and "--config=quickstart" in out


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_every_command_explains_itself(name, capsys):
  assert callable(pkgutil.resolve_name(commands.COMMANDS[name][0]))
  status, out, err = run(capsys, name, "--help")
  assert status == 0 and not err and out.startswith("usage: ")


def test_version(capsys):
  wanted = f"augment-gen {importlib.metadata.version('augment_gen')}\n"
  assert run(capsys, "--version") == (0, wanted, "")


@pytest.mark.parametrize("args", [("--help=moco",), ("settings", "moco"),
                                  ("train", "--help=moco"), ("settings", "config.moco")])
def test_a_section_can_be_asked_for_in_several_ways(args, capsys):
  status, out, _ = run(capsys, *args)
  assert status == 0 and "--config.moco.queue=65536" in out
  assert "--config.pretrain" not in out


def test_settings_lists_all_of_them(capsys):
  out = run(capsys, "settings")[1]
  assert "--config.seed=0" in out and "--config.generator.losses.cycle_weight" in out


@pytest.mark.parametrize("args, words", [
    ((), "a command is missing: write augment-gen COMMAND, one of train, tables"),
    (("trian",), "'trian' is no command; did you mean train?"),
    (("--config=quickstart",), "'--config=quickstart' is no command: write augment-gen"),
    (("train",), "--config is missing"),
    (("train", "--config=quikstart"), "no file quikstart; did you mean --config=quick"),
    (("train", "--config=/x/y.py"), "no file /x/y.py; the package has: daiso, mnist, "),
    (("tables", "/no/run"), "'/no/run' is no folder"),
    (("settings", "mocco"), "settings mocco: there is no such section; there are: data,"),
    (("--help=mocco",), "--help=mocco: there is no such section; there are: data,"),
    (("configs", "quikstart"), "there is no config 'quikstart'; there are: daiso, mnist"),
])
def test_mistakes_end_in_one_line_and_status_2(args, words, capsys):
  status, out, err = run(capsys, *args)
  assert (status, out) == (2, "")
  assert words in err and err.startswith("error: ") and err.count("\n") == 1


def test_configs_say_what_they_are(capsys):
  out = run(capsys, "configs")[1]
  assert [line.split()[0] for line in out.splitlines()] == shipped.names()
  assert "omniglot        EMNIST-Omniglot (section 4.1" in out
  out = run(capsys, "configs", "omniglot", "daiso")[1]
  assert "mnist     uses MNIST as X_p" in out and "\n\ndaiso: ImageNet-DAISO" in out
  assert "--config=configs/daiso.py \\\n" in out  # a command as it can be copied
