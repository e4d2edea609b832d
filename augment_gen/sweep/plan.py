"""The plan of a sweep: its runs, in order, and the stages that they share."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
import dataclasses
import pathlib
import shlex
from typing import Any

from augment_gen.config import command_line, identity
from augment_gen.config.errors import raise_if_any, UserError
from augment_gen.run import takeover
from augment_gen.run.folder import (
  asked,
  check_owner,
  differences,
  is_finished,
  read_config,
  seconds,
)
from augment_gen.run.progress import duration
from augment_gen.sweep import grid
from augment_gen.tables.results import of_pretrainer

_SEED = "{seed}"
_STAGES = {"": "-", "pretrain": "pretrain", "generator": "pretrain, generator"}


@dataclasses.dataclass(frozen=True)
class Run:
  """A run of a sweep.

  Attributes:
    name: its name in the sweep, and that of its folder.
    folder: its folder.
    settings: the arguments of `augment_gen.main`, without those of `sharing`.
    values: all fields of its config, as plain JSON values, without sharing.
    source: name of the run that it takes stages over from; "": none.
    last: the last of these stages, "pretrain" or "generator"; "": none.
    sharing: the arguments that take them over.
    state: "new", "started" or "done".
  """
  name: str
  folder: pathlib.Path
  settings: tuple[str, ...]
  values: dict[str, Any] = dataclasses.field(repr=False)
  source: str = ""
  last: str = ""
  sharing: tuple[str, ...] = ()
  state: str = "new"

  @property
  def arguments(self) -> list[str]:
    """All arguments of `augment_gen.main`."""
    return [*self.settings, *self.sharing]


def make(config: str, overrides: Sequence[str],
         points: Callable[[int], Iterable[grid.Point]], folder: pathlib.Path) -> list[Run]:
  """The runs of a sweep, in order, with their states and what they share.

  Args:
    config: what `--config` names.
    overrides: `--config.FIELD=VALUE` for all runs; "{seed}" in a value is the run's seed.
    points: the config's own seed -> the points of the grid.
    folder: the folder of all runs.

  Raises:
    UserError: settings that no run can have, or a folder of another run.
  """
  common = [f"--config={config}", *overrides]
  base = _parse([*(arg for arg in common if _SEED not in arg), f"--workdir={folder}"])
  drafts, runs, problems = [], [], []
  for point in points(base["seed"]):
    try:
      drafts.append(_draft(point, common, folder))
    except UserError as error:
      problems += [(point.name, problem) for problem in error.problems]
  titled = _need_titles(drafts)
  for draft in drafts:
    try:
      runs.append(_as_run(draft, base["experiment"], titled, folder))
    except UserError as error:
      problems += [(draft.point.name, problem) for problem in error.problems]
  raise_if_any(merged(problems))
  raise_if_any(_repeated(runs))
  return share(runs, lambda run, last: takeover.has_stages(str(run.folder), last))


@dataclasses.dataclass(frozen=True)
class _Draft:
  """A run that has no name in the table yet.

  Attributes:
    point: its point of the grid.
    settings: see `Run`.
    values: all fields of its config.
    without_case: the same without the settings of its case.
  """
  point: grid.Point
  settings: list[str]
  values: dict[str, Any]
  without_case: dict[str, Any]


def _draft(point: grid.Point, common: Sequence[str], folder: pathlib.Path) -> _Draft:
  """A point of the grid, with its config.

  Raises:
    UserError: there can be no such config.
  """

  def settings(fields: Iterable[tuple[str, str]]) -> list[str]:
    own = [f"--config.{name}={value}" for name, value in fields]
    return [*(arg.replace(_SEED, str(point.seed)) for arg in (*common, *own)),
            f"--config.seed={point.seed}", f"--workdir={folder / point.name}"]

  found = settings((*point.of_case, *point.settings))
  values = _parse(found)
  return _Draft(point, found, values,
                _parse(settings(point.settings)) if point.title else values)


def _need_titles(drafts: Sequence[_Draft]) -> bool:
  """Whether the rows of a table do not tell the cases of a sweep apart.

  They do if each case has another pre-trainer, or another set for pre-training, and the
  cases differ in nothing but the settings of stages 1 and 3.
  """
  seen = set()
  for draft in drafts:
    if not draft.point.title:
      continue
    changed = [name for name, _, _ in differences(
        identity(draft.without_case), identity(draft.values))]
    if changed and (set(changed).isdisjoint(grid.ROWS)
                    or not all(map(of_pretrainer, changed))):
      return True
    rows = tuple(draft.values["pretrain"][name.partition(".")[2]] for name in grid.ROWS)
    if (draft.point.seed, draft.point.label, rows) in seen:
      return True
    seen.add((draft.point.seed, draft.point.label, rows))
  return False


def _as_run(draft: _Draft, experiment: str, titled: bool, folder: pathlib.Path) -> Run:
  """The run of a draft, with a name by which the table tells it from others.

  Raises:
    UserError: its folder is another run's, or what it takes over cannot be taken over.
  """
  point, settings, values = draft.point, list(draft.settings), dict(draft.values)
  words = [point.title if titled else "", point.label]
  if any(words):
    # The table takes runs of one experiment for seeds of the same settings.
    values["experiment"] = ", ".join([experiment, *filter(None, words)])
    settings.insert(-1, f"--config.experiment={values['experiment']}")
  check_owner(folder / point.name, values)
  state = _state(folder / point.name, values)
  if state != "done":
    raise_if_any(takeover.problems(
        takeover.still_needed(values, folder / point.name)))
  return Run(point.name, folder / point.name, tuple(settings), values, state=state)


def share(runs: Sequence[Run], has_stages: Callable[[Run, str], bool]) -> list[Run]:
  """Lets runs take stages over from the first run that has the same stages.

  Runs that are done come first. A run that is not done comes before the runs behind it. A
  run that has begun to train goes on as it began.

  Args:
    runs: the runs, in order.
    has_stages: whether a run that is done still has its checkpoints up to a stage.
  """
  done = [run for run in runs if run.state == "done"]
  earlier: list[Run] = []
  shared = []
  for run in runs:
    if run.state == "done":
      shared.append(run)
      continue
    if any((run.folder / "checkpoints").glob("*/[0-9]*")):
      shared.append(_as_before(run, runs))
      earlier.append(run)
      continue
    found = [(other, last) for other in (*done, *earlier)
             if (last := _shared(other, run, has_stages))]
    earlier.append(run)
    if not found:
      shared.append(run)
      continue
    # `max` takes the first of several.
    shared.append(_sharing(run, *max(found, key=lambda pair: pair[1] == "generator")))
  return shared


def _sharing(run: Run, source: Run, last: str) -> Run:
  """The run with the arguments that take stages over."""
  sharing = [f"--config.{last}.from_run={source.folder}"]
  if run.values["pretrain"]["from_run"]:  # the other run has taken it over
    sharing.append("--config.pretrain.from_run=")
  return dataclasses.replace(run, source=source.name, last=last, sharing=tuple(sharing))


def _as_before(run: Run, runs: Sequence[Run]) -> Run:
  """A run that has begun, which takes over what it took over at its last start."""
  values = read_config(run.folder)
  for last in ("generator", "pretrain"):
    for other in runs:
      if values[last]["from_run"] == str(other.folder):
        return _sharing(run, other, last)
  return run


def _shared(other: Run, run: Run, has_stages: Callable[[Run, str], bool]) -> str:
  """The last stage that `run` can take over from `other`; "": none."""
  last = takeover.shared(other.values, run.values)
  if not last or other.state != "done" or has_stages(other, last):
    return last
  # A stage 1 that comes from elsewhere is taken over from there.
  stays = not run.values["pretrain"]["from_run"] and has_stages(other, "pretrain")
  return "pretrain" if stays else ""


def lines(runs: Sequence[Run]) -> Iterator[str]:
  """The plan in words: a table of the runs, and the time that they may take.

  The time of a run is the mean of the finished runs that took over as many stages.
  """
  kinds = _times(runs)
  rows = [("run", "state", "takes over", "from", "time")]
  for run in runs:
    known = kinds.get(run.last)
    rows.append((run.name, run.state, _STAGES[run.last], run.source or "-",
                 "-" if run.state == "done" else duration(known)))
  widths = [max(map(len, column)) for column in zip(*rows)]
  for row in rows:
    yield "  " + "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths)).rstrip()
  left = [run for run in runs if run.state != "done"]
  times = [kinds[run.last] for run in left if run.last in kinds]
  unknown = len(left) - len(times)
  yield ""
  total = duration(sum(times)) if times else "unknown"
  partly = f" for {len(times)} of them, unknown for {unknown}" if times and unknown else ""
  yield (f"{len(runs)} run{'s' * (len(runs) > 1)} in {runs[0].folder.parent}, "
         f"{len(runs) - len(left)} done"
         + (f"; estimated time: {total}{partly}" if left else ""))


def merged(problems: Iterable[tuple[str, str]]) -> list[str]:
  """(run, problem) -> one line for each problem, with the run if it is one run's."""
  runs: dict[str, list[str]] = {}
  for run, problem in problems:
    runs.setdefault(problem, []).append(run)
  return [problem if len(names) > 1 else f"{names[0]}: {problem}"
          for problem, names in runs.items()]


def _parse(settings: list[str]) -> dict[str, Any]:
  return command_line.parse(["augment-gen", *settings]).config_values


def _repeated(runs: Collection[Run]) -> Iterator[str]:
  """One line for each run that has the config or the folder of an earlier one."""
  seen: list[Run] = []
  for run in runs:
    for other in seen:
      if asked(other.values) == asked(run.values) or other.name == run.name:
        yield (f"{other.name} and {run.name} are the same run: "
               f"{shlex.join(run.settings[1:-1])}")
    seen.append(run)


def _state(folder: pathlib.Path, values: dict[str, Any]) -> str:
  if is_finished(folder, values):
    return "done"
  return "started" if (folder / "config.json").exists() else "new"


def _times(runs: Sequence[Run]) -> dict[str, float]:
  """Mean seconds of the finished runs, by the last stage that they took over."""
  times: dict[str, list[float]] = {}
  for run in runs:
    if run.state == "done" and (took := seconds(run.folder)) is not None:
      values = read_config(run.folder)
      last = next((stage for stage in ("generator", "pretrain")
                   if values[stage]["from_run"]), "")
      times.setdefault(last, []).append(took)
  return {last: sum(found) / len(found) for last, found in times.items()}
