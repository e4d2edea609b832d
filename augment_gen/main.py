"""The command: `python -m augment_gen.main --config=FILE.py --workdir=DIR`.

Exit status: 0 done; 2 a mistake of the user's, said in words; 75 stopped by
SIGTERM after saving (give the same command again); other: a fault of ours.
"""

import shlex
import sys

from augment_gen import command_line
from augment_gen.errors import Preempted, UserError


def main(argv: list[str]) -> int:
  """Parses the command, checks everything, runs the experiment."""
  try:
    options = command_line.parse(argv)
    # Heavy imports wait until the command has been understood.
    from augment_gen import session  # pylint: disable=g-import-not-at-top
    session.start(options)
  except UserError as error:
    for problem in error.problems:
      print(f"error: {problem}", file=sys.stderr)
    return 2
  except Preempted as preempted:
    print(f"{preempted}; go on with: {shlex.join(argv)}", file=sys.stderr)
    return 75
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv))
