"""The command `augment-gen`, also `python -m augment_gen`, with its sub-commands.

Nothing heavy is imported here: a sub-command's module is loaded when it is asked for.
"""

from collections.abc import Sequence
import difflib
import importlib.metadata
import pkgutil
import shlex
import sys

from augment_gen.config.errors import UserError
from augment_gen.run import exits

# Name -> the function `(arguments) -> exit status`, and what it does. A function may
# raise UserError.
COMMANDS = {
    "train": ("augment_gen.main:train",
              "trains and evaluates, or goes on with a run that was stopped"),
    "tables": ("augment_gen.tables:main",
               "prints the results of runs as the papers' tables"),
    "report": ("augment_gen.report:main",
               "writes runs as one HTML page to look at"),
    "sweep": ("augment_gen.sweep:main",
              "runs a config over seeds and settings, and prints the table"),
    "check": ("augment_gen.check:main",
              "says what a training would do, need and take; starts nothing"),
    "augment": ("augment_gen.apply.command_line:augment",
                "writes augmented copies of images, with what a run has learned"),
    "compare": ("augment_gen.apply.command_line:compare",
                "writes a sheet for each image: what G_A and G_E make of it"),
    "embed": ("augment_gen.apply.command_line:embed",
              "writes the features of images"),
    "export": ("augment_gen.apply.command_line:export",
               "writes a run's networks for other programs: StableHLO, safetensors"),
    "configs": ("augment_gen.config.shipped:main",
                "lists what `train --config=NAME` can run"),
    "settings": ("augment_gen.config.reference:main",
                 "lists the settings of a section, or all of them"),
}


def help_text() -> str:
  """The commands, one line each, and where to read on."""
  lines = ["usage: augment-gen COMMAND …", "",
           *(f"  {name:<12}{words}" for name, (_, words) in COMMANDS.items()), "",
           "augment-gen COMMAND --help says more of a command.",
           "augment-gen --help=SECTION lists settings, such as --help=generator.losses.",
           "augment-gen --version", "",
           "A first run, which downloads nothing:", "",
           "  augment-gen train --config=quickstart --workdir=runs/quickstart"]
  return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
  """Runs a sub-command.

  Args:
    argv: what stands behind the program's name; None: that of this process.

  Returns:
    The exit status: 2 for a mistake of the user, otherwise that of the command.
  """
  argv = sys.argv[1:] if argv is None else argv
  command = shlex.join(["augment-gen", *argv])
  return exits.exit_status(lambda: _main(*argv), f"start again with: {command}")


def _main(name: str = "", *args: str) -> int:
  if name in ("-h", "--help", "help"):
    print(help_text())
    return 0
  if name == "--version":
    print("augment-gen", importlib.metadata.version("augment_gen"))
    return 0
  if name.startswith("--help"):  # --help=SECTION, --helpfull
    name, args = "train", (name, *args)
  if name not in COMMANDS:
    close = difflib.get_close_matches(name, COMMANDS, n=1)
    raise UserError(
        (f"'{name}' is no command" if name else "a command is missing")
        + (f"; did you mean {close[0]}?" if close else
           f": write augment-gen COMMAND, one of {', '.join(COMMANDS)}"))
  return pkgutil.resolve_name(COMMANDS[name][0])(args)


if __name__ == "__main__":
  sys.exit(main())
