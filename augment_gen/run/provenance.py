"""Where numbers come from: code, command, config, images and initial weights.

No image may change unnoticed between two starts of a run. The folder's data.json holds
the fingerprints of the sets that its checkpoints were trained on, and that of the file
that F's initial weights are from, if there is one. The provenance in
results.json holds those of the sets that its rows were measured on.
"""

from collections.abc import Callable, Iterator, Mapping
import functools
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
from typing import Any

from augment_gen.config import Config, fingerprint, identity
from augment_gen.config.errors import UserError
from augment_gen.run import weight_files
from augment_gen.run.contracts import Run
from augment_gen.run.folder import write_json

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
_FILE = "data.json"
_INIT = "encoder.init"
# (trained stage, JSON values of a config) -> whether the stage depends on X̃_f.
ReadsFinetune = Callable[[str, Mapping[str, Any]], bool]
_NAMES = {"pretrain": "X_p (config.data.pretrain)",
          "finetune": "X̃_f (config.data.finetune)",
          _INIT: "file of initial weights (config.encoder.init)"}
_CONTENTS = {"pretrain": "images", "finetune": "images and labels", _INIT: "file"}


def experiment(config: Config) -> str:
  """The name of the experiment in the table."""
  # Numbers from a development split must not appear next to those from a test set.
  return config.experiment + (
      ", development split" if config.data.development else "")


def of_results(run: Run, protocols: Mapping[str, Any], ends: dict[str, str],
               ) -> dict[str, Any]:
  """The provenance of results.json.

  It contains no time, and only those paths that the command names (data.root,
  encoder.init, pretrain.from_run).

  Args:
    run: the run that measured the results.
    protocols: fingerprints of the evaluation, see `protocol.fingerprints`.
    ends: checksums of the evaluated states, by stage.
  """
  init = read(run.folder.path).get(_INIT)
  return {
      "command": run.command,
      "config": fingerprint(identity(run.config_values)),
      "data": run.task.fingerprints,
      **({"encoder_init": init} if init else {}),
      **protocols,
      "stages": ends,
      "devices": run.devices,
      "platform": run.mesh.devices.flat[0].platform,
      "versions": versions(),
      "commit": commit(),
  }


def fingerprints(config: Config, of_images: Mapping[str, str]) -> dict[str, str]:
  """The fingerprints of all that a run reads.

  Args:
    config: names the file of F's initial weights, if there is one.
    of_images: those of the sets, as in `Task`.
  """
  if not config.encoder.init:
    return dict(of_images)
  return {**of_images, _INIT: weight_files.fingerprint(config.encoder.init)}


def versions() -> dict[str, str]:
  """Versions that can change a number."""
  return {"augment_gen": importlib.metadata.version("augment_gen"),
          "python": platform.python_version(),
          **{name: importlib.metadata.version(name) for name in PACKAGES}}


@functools.cache
def commit() -> str | None:
  """The git commit of the code, with "+" if it has changed since; None outside git.

  Cached, because what counts is the code with which this process started.
  """
  def git(*args):
    return subprocess.run(
        ["git", *args], cwd=pathlib.Path(__file__).parent, check=True,
        capture_output=True, text=True).stdout.strip()
  try:
    # An installed package may lie in somebody else's repository.
    git("ls-files", "--error-unmatch", pathlib.Path(__file__).name)
    changed = git("status", "--porcelain", "--untracked-files=no")
    return git("rev-parse", "HEAD") + ("+" if changed else "")
  except (OSError, subprocess.CalledProcessError):
    return None


def read(folder: str | os.PathLike[str]) -> dict[str, str]:
  """The recorded fingerprints by set; empty if there is no record.

  Raises:
    UserError: the record is damaged.
  """
  path = pathlib.Path(folder) / _FILE
  try:
    record = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(record, dict):
      raise ValueError("no object")
  except (FileNotFoundError, NotADirectoryError):
    return {}
  except (OSError, ValueError) as error:
    raise UserError(
        f"{path} is damaged ({error}): delete it if you know that the images are "
        "those that the run was started with, and it is made anew") from None
  return record


def write(folder: pathlib.Path, fingerprints: Mapping[str, str]) -> None:
  write_json(folder / _FILE, dict(fingerprints))


def problems(folder: str | os.PathLike[str], values: Mapping[str, Any],
             fingerprints: Mapping[str, str], reads_finetune: ReadsFinetune,
             ) -> Iterator[str]:
  """One problem for each set that has changed since stages were trained on it.

  Args:
    folder: the run's folder; need not exist.
    values: all fields of the run's config, as plain JSON values.
    fingerprints: those of today, see the function of this name.
    reads_finetune: that of the run's method.
  """
  root = pathlib.Path(folder) / "checkpoints"
  stages = sorted(path.name for path in root.glob("*")
                  if any(step.name.isdigit() for step in path.glob("*")))
  record = read(folder)
  found = [*_changes(record, fingerprints, stages, values, reads_finetune)]
  if record and stages:
    found += _other_weights(record, fingerprints)
  for name, old, new in found:
    yield (f"--workdir={folder}: {_NAMES[name]} has changed since "
           f"{', '.join(stages)} began: its fingerprint was {old}, and is {new} "
           f"now. Bring the old {_CONTENTS[name]} back, or choose a new --workdir")


def takeover_problems(
    values: Mapping[str, Any], fingerprints: Mapping[str, str],
    reads_finetune: ReadsFinetune) -> Iterator[str]:
  """The same for stages that are to be taken over from another run."""
  for last, stages in (("pretrain", ["pretrain"]),
                       ("generator", ["pretrain", "generator"])):
    source = values[last]["from_run"]
    if not source:
      continue
    record = read(source)
    for name, old, new in (
        *_changes(record, fingerprints, stages, values, reads_finetune),
        *_other_weights(record, fingerprints)):
      yield (f"config.{last}.from_run={source} was trained on another {_NAMES[name]}: "
             f"its fingerprint is {old} there, and {new} here. Use the same "
             f"{_CONTENTS[name]}, or train anew")


def fresh(before: dict[str, Any], known: Mapping[str, str],
          fingerprints: Mapping[str, str], log) -> tuple[dict[str, Any], dict]:
  """Drops rows of an earlier start that were measured on images that have changed.

  Args:
    before: the contents of results.json.
    known: checksums of the states that its rows belong to.
    fingerprints: fingerprints of today's sets.
    log: called with a line for what is dropped.

  Returns:
    The remaining results, and the checksums. If something was dropped, there are no
    checksums, so that each encoder is measured again. Rows of unchanged test sets are
    kept for encoders that this start does not have.
  """
  measured = before["provenance"].get("data", {}) if before["rows"] else {}
  changed = [name for name, old in measured.items()
             if name != "pretrain" and fingerprints.get(name) != old]
  if not changed:
    return before, dict(known)
  if "finetune" in changed:  # every linear head was trained on it
    rows, dropped = [], "all rows"
  else:
    tests = {name.removeprefix("test/") for name in changed}
    rows = [row for row in before["rows"] if row["test"] not in tests]
    dropped = f"the rows of test {', '.join(sorted(tests))}"
  for name in changed:
    log(f"evaluate: {_NAMES.get(name, name)} has changed ({measured[name]} before, "
        f"{fingerprints.get(name)} now): {dropped} of results.json are dropped and "
        "measured anew")
  return {**before, "rows": rows}, {}


def _changes(record: Mapping[str, str], fingerprints: Mapping[str, str],
             stages: list[str], values: Mapping[str, Any],
             reads_finetune: ReadsFinetune) -> Iterator[tuple[str, str, str]]:
  """(set, old, new) of each changed set that the stages depend on."""
  for name in ("pretrain", "finetune"):
    old, new = record.get(name), fingerprints[name]
    if old is None or old == new:
      continue
    if (name == "pretrain" and stages) or any(
        reads_finetune(stage, values) for stage in stages):
      yield name, old, new


def _other_weights(record: Mapping[str, str], fingerprints: Mapping[str, str]
                   ) -> Iterator[tuple[str, str, str]]:
  """The same for F's initial weights, which one of the two may be without."""
  old, new = (prints.get(_INIT, "none") for prints in (record, fingerprints))
  if old != new:
    yield _INIT, old, new
