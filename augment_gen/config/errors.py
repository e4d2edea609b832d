"""Errors that a user can fix, and `Preempted` for a stopped run."""

from collections.abc import Iterable


class UserError(Exception):
  """A mistake in a config, a path or the data; shown in words, without a traceback.

  Attributes:
    problems: one readable line per problem: what is wrong, where, and what to do.
  """

  def __init__(self, *problems: str):
    super().__init__("\n".join(problems))
    self.problems = problems


class NonFiniteError(UserError):
  """A loss or a gradient became NaN or infinite."""


class Preempted(Exception):
  """SIGTERM or Ctrl-C stopped the run, which is saved; the same command resumes it."""


def raise_if_any(problems: Iterable[str]) -> None:
  """Raises one UserError that lists all `problems`, if there are any."""
  problems = tuple(problems)
  if problems:
    raise UserError(*problems)
