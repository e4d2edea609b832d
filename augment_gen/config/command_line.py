"""The command line: which config, which changes to it, and which folder."""

import dataclasses
import difflib
import os
import shlex
import traceback

from absl import flags
import ml_collections
from ml_collections import config_flags

from augment_gen.config import Config, plain, reference, renamed, shipped, typed
from augment_gen.config.errors import raise_if_any, UserError

USAGE = ("usage: python -m augment_gen.main --config=configs/NAME.py[:variant] "
         "--workdir=DIR [--config.field=value …]")
HELP = f"""{USAGE}

  --config=CONFIG[:variant,…]  what is run: a file, such as configs/quickstart.py,
      or a config of the package by its name, such as quickstart, from any folder;
      `augment-gen configs` lists them, `augment-gen configs NAME` says what its
      variants are, and every one has :runlocal, all stages in two steps each
  --workdir=DIR  the run folder, made if missing; the same command again goes on
      where it was stopped
  --config.FIELD=VALUE  changes a setting, such as --config.seed=1 or
      --config.pretrain.epochs=20. --help=SECTION lists the settings of a section,
      such as pretrain or generator.losses, --helpfull all of them.
      --config.stages=pretrain,generator runs some stages alone
  --multihost  this is one process of several, on TPU pods or clusters

Exit status: 0 done; 2 a mistake, said in one line each; 75 stopped by SIGTERM or
Ctrl-C, and saved (give the same command again); 130 stopped by Ctrl-C at once.

  augment-gen train …  is the same command
  augment-gen tables DIR…  prints the results of runs as a table"""
_HELP_FLAGS = ("h", "help", "helpshort", "helpfull")


@dataclasses.dataclass(frozen=True)
class Options:
  """A parsed command."""
  config: Config
  config_values: dict  # the same, as plain JSON values
  workdir: str
  multihost: bool
  command: str  # as typed, with DIR for the folder


def help_wanted(argv: list[str]) -> str | None:
  """The help text that a command asks for; None if it asks for none."""
  for arg in argv[1:]:
    if _flag_name(arg) not in _HELP_FLAGS:
      continue
    section = arg.partition("=")[2].removeprefix("config.")
    if not section and _flag_name(arg) != "helpfull":
      return HELP
    return reference.section_text(section, asked_by=f"--help={section}")
  return None


def parse(argv: list[str]) -> Options:
  """Parses `argv` (with the program's name first).

  Raises:
    UserError: lists unknown flags and fields, or says what is wrong with the config
      file or a value.
  """
  config_args = [a for a in argv[1:] if _flag_name(a) == "config"]
  if not config_args:
    raise UserError(f"--config is missing; {USAGE}")
  config_file = _with_file(config_args[-1])
  args = [config_file if a in config_args else a for a in argv]
  values = flags.FlagValues()
  config_flags.DEFINE_config_file(
      "config", flag_values=values, sys_argv=args, lock_config=True)
  flags.DEFINE_string("workdir", None, "the run folder", flag_values=values)
  flags.DEFINE_bool(
      "multihost", False, "one process of several, on TPU pods or clusters",
      flag_values=values)
  try:
    # Load the file alone first, so that all misspelt fields are listed at once.
    base = _load(config_file)
    raise_if_any(_unknown_fields(argv, base))
    rest = values(args)[1:]
  except (flags.Error, TypeError, ValueError, AttributeError, KeyError,
          OSError, SyntaxError, ImportError) as error:
    raise UserError(_one_line(error)) from None
  except UserError:
    raise
  except Exception as error:  # a config file is code, and may raise anything
    raise UserError(_of_own_code(error, config_file)) from None
  if rest:
    raise UserError(f"not understood: {' '.join(rest)}; {USAGE}")
  if not values.workdir:
    raise UserError(f"--workdir is missing; {USAGE}")
  config: ml_collections.ConfigDict = values.config
  for stage in (config.pretrain, config.generator):
    stage.from_run = os.path.expanduser(stage.from_run)
  return Options(
      config=typed(config), config_values=plain(config),
      workdir=os.path.expanduser(values.workdir), multihost=values.multihost,
      command=_without_folder(argv))


def _flag_name(arg: str) -> str | None:
  if not arg.startswith("-"):
    return None
  return arg.lstrip("-").partition("=")[0]


def _with_file(arg: str) -> str:
  """`--config=NAME:variant` with the file that it names."""
  flag, _, value = arg.partition("=")
  config, colon, variant = value.partition(":")
  if not config:
    raise UserError("write --config=FILE.py, with an equals sign")
  return f"{flag}={shipped.file_of(config)}{colon}{variant}"


def _load(config_arg: str) -> ml_collections.ConfigDict:
  values = flags.FlagValues()
  argv = ["augment_gen", config_arg]
  config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
  values(argv)
  return values.config


def _unknown_fields(argv: list[str], config: ml_collections.ConfigDict):
  """One line for each override that names no field."""
  fields = list(_field_names(config))
  for arg in argv[1:]:
    name = _flag_name(arg)
    if name is None or not name.startswith("config."):
      continue
    name = name.removeprefix("config.")
    if name in fields:
      continue
    if name.startswith("no") and name[2:] in fields:
      yield (f"config.{name}: to turn a field off, write --noconfig.{name[2:]} or "
             f"--config.{name[2:]}=False")
      continue
    if new := renamed.today(name):
      yield f"config.{name} is now config.{new}"
      continue
    if why := renamed.GONE.get(name):
      yield f"config.{name} is gone: {why}"
      continue
    # The name may be a section, or a field of another section. Suggest fields that end
    # with the same name, then fields with a similar spelling.
    last = name.rpartition(".")[2]
    close = [f for f in fields if f.rpartition(".")[2] == last]
    close += difflib.get_close_matches(name, fields, n=2, cutoff=0.6)
    hint = f"; did you mean config.{close[0]}?" if close else ""
    yield f"config.{name} is no field of the config{hint}"


def _field_names(config: ml_collections.ConfigDict, prefix: str = ""):
  for name, value in config.items():
    if isinstance(value, ml_collections.ConfigDict):
      yield from _field_names(value, f"{prefix}{name}.")
    else:
      yield prefix + name


def _of_own_code(error: Exception, config_arg: str) -> str:
  """What the code of a config file has raised, and in which line."""
  file = config_arg.partition("=")[2].partition(":")[0]
  lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__)
           if os.path.basename(frame.filename) == os.path.basename(file)]
  where = f", line {lines[-1]}" if lines else ""
  return f"{file}{where}: {type(error).__name__}: {error}"


def _one_line(error: Exception) -> str:
  text = " ".join(str(error).split())
  if isinstance(error, flags.Error):
    return text
  return f"{type(error).__name__}: {text}{renamed.hint(text)}"


def _without_folder(argv: list[str]) -> str:
  """The command with DIR for the folder, so that it is the same for every folder."""
  args, skip = [], False
  for arg in argv[1:]:
    if skip:
      skip = False
    elif _flag_name(arg) == "workdir":
      skip = "=" not in arg
    else:
      args.append(arg)
  return shlex.join(
      ["python", "-m", "augment_gen.main", *args, "--workdir=DIR"])
