"""The run folder, whose layout other tools rely on.

    config.json       the resolved config, all fields
    data.json         fingerprints of the image sets and of encoder.init (provenance.py)
    environment.json  one entry per start: command, versions, devices, and, once it has
                      ended, its duration and whether it did all that it was to do
    costs.json        what each stage has cost (costs.py)
    metrics.jsonl     one object per line: {"step", "stage", name: value, …}
    learned.json      what a G_A with named latents has learned, in words and numbers
    results.json      {"experiment", "rows": […], "provenance": {…}}
    checkpoints/STAGE/STEP/
    figures/*.png
    report.html       all of this to look at (report/); made from the folder alone
    report/           small files for it that only the images and networks can give
    tensorboard/
    sinks.json        ids of the runs of wandb and MLflow, which a later start goes on with
"""

from collections.abc import Iterable, Iterator
import contextlib
import fcntl
import json
import os
import pathlib
import re
import time
from typing import Any, IO

from augment_gen.config import errors, identity, names, renamed, unread

_METRICS = "metrics.jsonl"
_ENVIRONMENT = "environment.json"
LEARNED = "learned.json"
LOCK = ".lock"  # of the process that writes into a folder


_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def remote_problems(setting: str, path: str | os.PathLike[str]) -> list[str]:
  """One problem if a run's folder is given as the address of a remote store."""
  if not _REMOTE.match(str(path)):
    return []
  return [f"{setting}={path} is an address, and a run is a folder of this "
          "machine's file system: give one (and copy it, or mount the store)"]


def write_json(path: pathlib.Path, value: Any) -> None:
  """Writes a JSON file atomically."""
  partial = path.with_name(path.name + ".partial")
  with open(partial, "w", encoding="utf-8") as f:
    json.dump(value, f, indent=2)
    f.write("\n")
    f.flush()
    os.fsync(f.fileno())
  os.replace(partial, path)


def read_config(folder: str | os.PathLike[str]) -> dict[str, Any]:
  """A run's config, all fields as plain JSON values; `renamed.ADDED` if it is older.

  Raises:
    UserError: the folder has no readable config.
  """
  try:
    values = json.loads(
        (pathlib.Path(folder) / "config.json").read_text(encoding="utf-8"))
    if not isinstance(values, dict):
      raise ValueError("no object")
  except (OSError, ValueError):
    raise errors.UserError(
        f"{folder} is no run folder: there is no readable config.json in it"
    ) from None
  for field, value in renamed.ADDED.items():
    section, _, name = field.partition(".")
    if isinstance(values.get(section), dict):
      values[section].setdefault(name, value)
  return values


def read_metrics(folder: pathlib.Path) -> list[dict[str, Any]]:
  """All lines of a run's metrics.jsonl, without lines that a crash cut off."""
  path = folder / _METRICS
  if not path.exists():
    return []
  lines = []
  for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
    try:
      lines.append(json.loads(line))
    except ValueError:
      continue
  return lines


def last_measured(lines: Iterable[dict[str, Any]], stage: str, prefix: str
                  ) -> dict[str, float]:
  """A stage's last measurements whose names begin with `prefix`, without it."""
  measured: dict[str, float] = {}
  for line in lines:
    if line["stage"] == stage:
      found = {name.removeprefix(prefix): value for name, value in line.items()
               if name.startswith(prefix)}
      measured = found or measured
  return measured


def read_environment(folder: pathlib.Path) -> list[dict[str, Any]]:
  """The starts of a run's command, oldest first; empty if they are not known."""
  try:
    return json.loads((folder / _ENVIRONMENT).read_text(encoding="utf-8"))
  except (FileNotFoundError, ValueError):
    return []


def is_finished(folder: pathlib.Path, values: dict[str, Any]) -> bool:
  """Whether the last start in a folder had this config and did all that it asks for.

  Args:
    folder: a run's folder; need not exist.
    values: all fields of the config, as plain JSON values.
  """
  try:
    theirs = read_config(folder)
    # Results hold the experiment's name, too.
    if (theirs["experiment"], asked(theirs)) != (values["experiment"], asked(values)):
      return False
  except (errors.UserError, KeyError, TypeError):
    return False
  starts = read_environment(folder)
  evaluated = {"all", "evaluate"}.isdisjoint(names(values["stages"])) or (
      folder / "results.json").exists()
  return bool(starts and starts[-1].get("finished") and evaluated)


def lock(folder: pathlib.Path, name: str) -> IO[str]:
  """Takes a folder for this process, until the file that is returned is closed.

  Args:
    folder: an existing folder.
    name: what messages call it.

  Raises:
    UserError: another process has it, or its drive has no locks.
    OSError: it cannot be written.
  """
  file = open(folder / LOCK, "w", encoding="utf-8")
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    file.close()
    raise errors.UserError(f"{name} is in use by another process: wait for it, stop it, or "
                           "choose another folder") from None
  except OSError as error:
    file.close()
    raise errors.UserError(f"{name} lies on a drive without file locks ({error.strerror}): "
                           "choose a folder on another one") from None
  return file


def asked(values: dict[str, Any]) -> Any:
  """What a start computes: the settings that determine it, and the parts chosen."""
  return (identity(values), values["stages"], values["retrain"]["arms"],
          values["tac"]["controls"],
          values["evaluate"] | {
              "protocols": sorted(names(values["evaluate"]["protocols"]))})


def seconds(folder: pathlib.Path) -> float | None:
  """How long all starts in a folder took together; None if that is not known."""
  starts = read_environment(folder)
  if not starts or not all("seconds" in start for start in starts):
    return None
  return sum(start["seconds"] for start in starts)


def check_owner(path: str | os.PathLike[str], config: dict[str, Any]) -> None:
  """Raises UserError unless `path` is free or holds a run with this config."""
  errors.raise_if_any(remote_problems("--workdir", path))
  folder = pathlib.Path(path)
  if folder.exists() and not folder.is_dir():
    raise errors.UserError(f"--workdir={folder} is a file, not a folder")
  if not folder.exists():
    return
  file = folder / "config.json"
  if not file.exists():
    # What a start leaves that was ended before it could write config.json.
    ours = (LOCK, "figures", "config.json.partial")
    if any(p.name not in ours for p in folder.iterdir()):
      raise errors.UserError(
          f"--workdir={folder} is not empty and holds no run: choose a "
          "new folder")
    return
  try:
    theirs = identity(read_config(folder))
  except (errors.UserError, AttributeError):
    theirs = {}
  if not theirs:
    raise errors.UserError(
        f"{file} is damaged: restore it, or choose another --workdir")
  # The section of a pre-trainer that one of the two does not use.
  unused = {*unread(theirs), *unread(config)}
  found = sorted(each for each in differences(theirs, identity(config))
                 if each[0].partition(".")[0] not in unused)
  if found:
    raise errors.UserError(
        f"--workdir={folder} belongs to a run of another config: choose "
        "another folder, or give the same settings; they differ in",
        *(f"  config.{name}: {a!r} there, {b!r} here"
          for name, a, b in found))


class RunFolder:
  """A run's folder, locked by one process at a time.

  Args:
    path: the folder; created if missing.
    config: all fields, as plain JSON values.

  Raises:
    UserError: the path is a file or cannot be written, or the folder belongs to
      another config or seed, holds something else, or is in use.
  """

  def __init__(self, path: str | os.PathLike[str], config: dict[str, Any]):
    self.path = pathlib.Path(path)
    check_owner(self.path, config)
    try:
      self.figures.mkdir(parents=True, exist_ok=True)
      self._lock = lock(self.path, f"--workdir={self.path}")
    except OSError as error:
      raise errors.UserError(
          f"--workdir={self.path} cannot be written: {error.strerror}") from None
    write_json(self.path / "config.json", config)

  def close(self) -> None:
    """Releases the folder for other processes."""
    self._lock.close()

  @property
  def figures(self) -> pathlib.Path:
    return self.path / "figures"

  @property
  def report(self) -> pathlib.Path:
    """For small files that report.html is made from; made when it is needed."""
    return self.path / "report"

  @property
  def metrics_path(self) -> pathlib.Path:
    return self.path / _METRICS

  def checkpoints(self, stage: str) -> pathlib.Path:
    return self.path / "checkpoints" / stage

  def has_drawn(self, stage: str, figures: Iterable[str]) -> bool:
    """Whether all these figures were made of the stage's last checkpoint."""
    return is_newer((self.figures / name for name in figures),
                    self.checkpoints(stage).glob("*"))

  @contextlib.contextmanager
  def start(self, entry: dict[str, Any]) -> Iterator[None]:
    """Records one start of the command in environment.json, and how it ended."""
    before, began, finished = read_environment(self.path), time.monotonic(), False
    write_json(self.path / _ENVIRONMENT, [*before, entry])
    try:
      yield
      finished = True
    finally:
      ended = {"seconds": round(time.monotonic() - began, 1), "finished": finished}
      write_json(self.path / _ENVIRONMENT, [*before, {**entry, **ended}])

  def read_metrics(self) -> list[dict[str, Any]]:
    """See the module's function `read_metrics`."""
    return read_metrics(self.path)

  def append_metrics(self, lines: Iterable[dict[str, Any]]) -> None:
    """Appends lines to metrics.jsonl."""
    with open(self.metrics_path, "a", encoding="utf-8") as f:
      f.writelines(json.dumps(line) + "\n" for line in lines)

  def forget_metrics(self, stage: str, after_step: int) -> None:
    """Drops what a stage logged after the step from which it resumes."""
    if not self.metrics_path.exists():
      return
    keep = [line for line in self.read_metrics()
            if line["stage"] != stage or line["step"] <= after_step]
    partial = self.metrics_path.with_suffix(".partial")
    partial.write_text("".join(json.dumps(line) + "\n" for line in keep),
                       encoding="utf-8")
    os.replace(partial, self.metrics_path)

  def read_results(self) -> dict[str, Any] | None:
    """The contents of results.json, or None if there is none yet."""
    path = self.path / "results.json"
    try:
      results = json.loads(path.read_text(encoding="utf-8"))
      if not (isinstance(results, dict) and isinstance(results.get("rows"), list)
              and isinstance(results.get("provenance"), dict)):
        raise ValueError("no results")
      return results
    except FileNotFoundError:
      return None
    except ValueError:
      raise errors.UserError(
          f"{path} is damaged: delete it, and the evaluation is done again"
      ) from None

  def write_results(self, results: dict[str, Any]) -> None:
    write_json(self.path / "results.json", results)

  def read_learned(self, stage: str) -> dict[str, Any] | None:
    """learned.json, or None if it is not one of the stage's last checkpoint."""
    path = self.path / LEARNED
    if not is_newer([path], self.checkpoints(stage).glob("*")):
      return None
    try:
      return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
      return None

  def write_learned(self, described: dict[str, Any]) -> None:
    """Writes learned.json, the learned augmentation in words and numbers."""
    write_json(self.path / LEARNED, described)


def is_newer(made: Iterable[pathlib.Path], sources: Iterable[pathlib.Path]) -> bool:
  """Whether all files `made` exist, and none of their sources has changed since."""
  try:
    oldest = min(path.stat().st_mtime_ns for path in made)
  except FileNotFoundError:
    return False
  return all(path.stat().st_mtime_ns <= oldest for path in sources)


def differences(a: Any, b: Any, prefix: str = ""):
  """Yields (dotted name, value in a, value in b) where two configs differ."""
  for name in {**a, **b}:
    left, right = a.get(name), b.get(name)
    if isinstance(left, dict) and isinstance(right, dict):
      yield from differences(left, right, f"{prefix}{name}.")
    elif left != right:
      yield f"{prefix}{name}", left, right


