"""Errors that a user can mend."""

from collections.abc import Iterable


class UserError(Exception):
  """A mistake in a config, a path or the data: said in words, no traceback.

  Attributes:
    problems: one readable line each: what is wrong, where, and what to do.
  """

  def __init__(self, *problems: str):
    super().__init__("\n".join(problems))
    self.problems = problems


class NonFiniteError(UserError):
  """A loss or a gradient became NaN or infinite."""


class Preempted(Exception):
  """Stopped by SIGTERM or Ctrl-C, and saved: the same command goes on."""


def raise_if_any(problems: Iterable[str]) -> None:
  """Raises one UserError that lists all `problems`, if there are any."""
  problems = tuple(problems)
  if problems:
    raise UserError(*problems)
