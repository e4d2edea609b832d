"""How a command ends: the exit status, and what is said of it."""

from collections.abc import Callable
import errno
import sys

from augment_gen.config.errors import Preempted, UserError
from augment_gen.run import output


def exit_status(start: Callable[[], int | None], then: str) -> int:
  """Runs a command and turns what stops it into a message and an exit status.

  Args:
    start: the command; returns its own exit status, or None for 0.
    then: what a message adds if the command was stopped, such as how to go on.

  Returns:
    The command's status; 2 for mistakes of the user, one line each; 75 if it was stopped
    and has saved its work; 130 for Ctrl-C with nothing to save.
  """
  with output.forgiving():
    try:
      return start() or 0
    except UserError as error:
      for problem in error.problems:
        print(f"error: {problem}", file=sys.stderr)
      return 2
    except Preempted as preempted:
      print(f"{preempted}; {then}", file=sys.stderr)
      return 75
    except OSError as error:
      if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        raise
      place = f" ({error.filename})" if error.filename else ""
      print(f"error: the drive is full{place}: make room; {then}", file=sys.stderr)
      return 2
    except KeyboardInterrupt:
      print(f"stopped by Ctrl-C; {then}", file=sys.stderr)
      return 130
