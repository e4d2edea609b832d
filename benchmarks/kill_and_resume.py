"""Kills a run in every stage, resumes it, and compares it with an undisturbed run.

    python benchmarks/kill_and_resume.py --out=runs/kills -- \
        --config=configs/quickstart.py

This runs the command once undisturbed and once with a SIGKILL in each stage. It exits
with 0 if both results.json and both metrics.jsonl are equal byte for byte.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import time


def last_line(folder: pathlib.Path) -> dict:
  """The newest complete line of metrics.jsonl, or {}."""
  path = folder / "metrics.jsonl"
  lines = path.read_text().splitlines() if path.exists() else []
  for line in reversed(lines):
    try:
      return json.loads(line)
    except ValueError:
      continue
  return {}


def start(args: list[str], folder: pathlib.Path) -> subprocess.Popen:
  log = open(folder.with_suffix(".log"), "a")
  return subprocess.Popen(
      [sys.executable, "-m", "augment_gen.main", *args, f"--workdir={folder}"],
      stdout=log, stderr=subprocess.STDOUT)


def kill_when(args: list[str], folder: pathlib.Path, name: str, due) -> None:
  """Starts the command and kills it as soon as `due()` is true."""
  process = start(args, folder)
  while not due():
    if process.poll() is not None:
      raise SystemExit(f"the run ended (status {process.returncode}) before it "
                       f"could be killed in {name}")
    time.sleep(0.05)
  process.kill()
  process.wait()
  line = last_line(folder)
  print(f"killed in {name}: last logged {line['stage']} step {line['step']}",
        flush=True)


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument("args", nargs="+", help="of augment_gen.main, after --")
  options = parser.parse_args()
  options.out.mkdir(parents=True, exist_ok=True)
  whole, killed = options.out / "whole", options.out / "killed"

  then = time.monotonic()
  if start(options.args, whole).wait():
    raise SystemExit(f"the undisturbed run failed: see {whole}.log")
  print(f"undisturbed: {time.monotonic() - then:.0f} s", flush=True)

  stages = list(dict.fromkeys(
      json.loads(line)["stage"]
      for line in (whole / "metrics.jsonl").read_text().splitlines()))
  for stage in stages:
    steps = [json.loads(line)["step"]
             for line in (whole / "metrics.jsonl").read_text().splitlines()
             if json.loads(line)["stage"] == stage]
    middle = steps[len(steps) // 2]
    kill_when(options.args, killed, stage,
              lambda s=stage, m=middle: last_line(killed).get("stage") == s
              and last_line(killed)["step"] >= m)
  kill_when(options.args, killed, "evaluate",
            lambda: (killed / "results.json").exists())
  if start(options.args, killed).wait():
    raise SystemExit(f"the killed run failed: see {killed}.log")

  equal = True
  for name in ("results.json", "metrics.jsonl"):
    same = (whole / name).read_bytes() == (killed / name).read_bytes()
    print(f"{name}: {'the same bytes' if same else 'DIFFERENT'}")
    equal &= same
  return 0 if equal else 1


if __name__ == "__main__":
  sys.exit(main())
