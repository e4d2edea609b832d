"""Checks the configs of a sweep's runs, in a process of its own.

    echo '[["--config=quickstart", "--workdir=DIR"]]' | python -m augment_gen.sweep.check

The checks ask how many devices there are, which takes hold of them. A sweep that held
the devices would leave none to its runs.
"""

import contextlib
import json
import sys

from augment_gen.config import command_line
from augment_gen.run import parallel, session


def main() -> None:
  """stdin: the arguments of each run; stdout: the problems of each run's config."""
  devices = parallel.make_mesh().size
  with contextlib.redirect_stdout(sys.stderr):  # a config file may print
    parsed = [command_line.parse(["augment-gen", *arguments])
              for arguments in json.load(sys.stdin)]
    found = [session.problems(options.config, devices)
             or list(session.missing_stages(options.config, options.workdir))
             for options in parsed]
  json.dump(found, sys.stdout)


if __name__ == "__main__":
  main()
