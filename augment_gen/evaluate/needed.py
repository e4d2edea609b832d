"""Which strengths of a chain of operators explain something of X̃_f."""

from collections.abc import Callable, Mapping, Sequence

# What all that is left out may be worth, as a share of the strength that is worth most. On
# MNIST-Omniglot, what is not in X̃_f is worth up to 0.19 of it (docs/experiments/028).
SHARE = 0.2
_LEAST = 0.01  # differences of gaps that say nothing, with some hundred images


def unneeded(names: Mapping[str, int], gap: Callable[[Sequence[str]], float],
             share: float = SHARE) -> list[str]:
  """Strengths without which X̃_f is drawn as well as with them.

  Backward elimination. Of two that can stand in for each other, such as defocus and
  motion, the one that needs more amounts to say how it acts is left out, else the one
  that is missed less. Many are left out at once where that does no harm, as each
  comparison takes seconds.

  Args:
    names: strengths that could be left out, with the number of amounts that say how each
      acts.
    gap: how far what is drawn without some of them is from X̃_f.
    share: the gap may rise by this share of what it rises by without the strength that
      is missed most.

  Returns:
    Those to leave out; none if nobody misses all of them together either, since then the
    gap says nothing, as where G_E leaves in x̃ what G_A draws.
  """
  start = gap([])
  if gap(list(names)) - start <= 2 * _LEAST:
    return []
  worth = {name: gap([name]) - start for name in names}
  most = max([share * max(worth.values(), default=0.0), _LEAST])

  def more(out: list[str], candidates: list[str]) -> list[str]:
    if not candidates or gap([*out, *candidates]) - start <= most:
      return [*out, *candidates]
    if len(candidates) == 1:
      return out
    half = len(candidates) // 2
    return more(more(out, candidates[:half]), candidates[half:])

  return more([], sorted((name for name in names if worth[name] <= most),
                         key=lambda name: (-names[name], worth[name], name)))
