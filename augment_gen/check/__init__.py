"""`augment-gen check`: what a training would do, need and take, before it is started.

    augment-gen check --config=photos --config.data.root=FOLDER --workdir=DIR

It takes the command of `augment-gen train`. images.py looks at the pictures, outline.py
builds the stages as shapes, memory.py says what they need, and speed.py runs some steps.
The run folder is neither made nor changed.
"""

import argparse
from collections.abc import Iterator, Sequence
import pathlib
import shutil
import tempfile

_EPILOG = """\
All other flags are those of augment-gen train; --workdir may be left out.

Exit status: 0 the training can be started; 2 something is wrong, said in one line each."""


def main(args: Sequence[str]) -> int:
  """`augment-gen check`; returns the exit status.

  Raises:
    UserError: whatever `augment-gen train` would refuse, and checkpoints that the drive
      has no room for.
  """
  parser = argparse.ArgumentParser(
      prog="augment-gen check", epilog=_EPILOG, allow_abbrev=False,
      formatter_class=argparse.RawDescriptionHelpFormatter,
      description="Says what a training would do, need and take, and what is wrong.")
  parser.add_argument("--quick", action="store_true",
                      help="compiles and measures nothing: no times, no memory of steps")
  parser.add_argument("--sheet", metavar="FILE.png", default="",
                      help="where examples of the images are drawn (a temporary folder)")
  flags, rest = parser.parse_known_args(args)
  # pylint: disable=g-import-not-at-top
  from augment_gen.config import command_line
  with tempfile.TemporaryDirectory() as nowhere:
    known = any(arg.lstrip("-").partition("=")[0] == "workdir" for arg in rest)
    options = command_line.parse(["augment-gen", *rest, *(
        [] if known else [f"--workdir={nowhere}/run"])])
    # Heavy imports wait until the command has been parsed.
    from augment_gen.run import session
    found = session.checked(options)
    sheet = pathlib.Path(flags.sheet or pathlib.Path(
        tempfile.mkdtemp(prefix="augment-gen-check-"), "examples.png"))
    workdir = pathlib.Path(options.workdir) if known else None
    for line in _report(options.config, found, workdir, sheet, flags.quick):
      print(line, flush=True)
  return 0


def _report(config, found, workdir: pathlib.Path | None, sheet: pathlib.Path,
            quick: bool) -> Iterator[str]:
  """The sections, each line as soon as it is known."""
  from augment_gen.check import images, memory, outline, speed
  from augment_gen.config.errors import UserError
  from augment_gen.run import session
  yield session.devices_line(found.mesh)
  yield from _section("images", images.lines(config, found.task, sheet))
  yield from _section("sizes that divide", [
      *outline.divisions(config, found.mesh.size),
      *(f"WARNING: {warning}" for warning in found.warnings)])
  stages = outline.stages(config, found.task, found.mesh.size, workdir)
  yield from _section("memory", memory.lines(config, found.task, stages))
  times: dict[str, speed.Time] = {}
  if quick:
    yield from _section("speed", ["not measured (--quick)"])
  else:
    yield from _section("speed", speed.lines(config, found, stages, times))
  yield from _section("stages", speed.plan(stages, times))
  needed = memory.checkpoint_bytes(config, stages)
  place = workdir or pathlib.Path.cwd()
  free = shutil.disk_usage(next(p for p in (place.absolute(), *place.absolute().parents)
                                if p.exists())).free
  words = (f"checkpoints need up to {memory.size(needed)}, and {memory.size(free)} are "
           f"free at {place}")
  yield from _section("disk", [words])
  if needed > free:
    raise UserError(f"{words}: make room, choose another --workdir, or keep fewer with "
                    "--config.log.keep_checkpoints=1")


def _section(title: str, lines) -> Iterator[str]:
  yield ""
  yield title
  for line in lines:
    yield f"  {line}"
