"""The command: `python -m augment_gen.main --config=FILE.py --workdir=DIR`.

Exit status:
  0: done.
  2: user error, explained in the message.
  75: stopped by SIGTERM or Ctrl-C after saving; the same command resumes the run.
  130: stopped by Ctrl-C before there was anything to save, or by a second Ctrl-C.
  Any other: a bug in this code.
"""

from collections.abc import Sequence
import shlex
import signal
import sys

from augment_gen.run import exits, preemption


def train(args: Sequence[str]) -> int:
  """`augment-gen train`: the same command; `args` lack the program's name."""
  return main(["augment-gen", *args])


def main(argv: list[str]) -> int:
  """Parses the command, checks everything, runs the experiment."""
  again = shlex.join(["python", "-m", "augment_gen.main", *argv[1:]])
  return exits.exit_status(lambda: _main(argv), f"go on with: {again}")


def _main(argv: list[str]) -> int:
  # pylint: disable=g-import-not-at-top
  # Interrupting the import of compiled code ends in tracebacks or worse.
  with preemption.watch(signal.SIGINT) as interrupted:
    from augment_gen.config import command_line
    if (text := command_line.help_wanted(argv)) is not None:
      print(text)
      return 0
    options = command_line.parse(argv)
    # Heavy imports wait until the command has been parsed.
    from augment_gen.run import session
  if interrupted.is_set():
    raise KeyboardInterrupt
  session.start(options)
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv))
