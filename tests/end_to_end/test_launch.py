"""launch/tpu_vm.sh with a fake gcloud."""

import json
import os
import pathlib
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "launch" / "tpu_vm.sh"

# Records its arguments, answers `describe`, and acts as the host for `ssh`.
FAKE_GCLOUD = f"""#!{sys.executable}
import json, os, subprocess, sys
args = sys.argv[1:]
with open(os.environ["CALLS"], "a") as calls:
  calls.write(json.dumps(args) + "\\n")
verb = args[3]
if verb == "describe":
  if os.environ["STATE"] in ("NOT_FOUND", "PERMISSION_DENIED"):
    sys.exit("ERROR: (gcloud) " + os.environ["STATE"] + ": no such resource")
  print("WARNING: this is old", file=sys.stderr)
  print(os.environ["STATE"], flush=True)
  print("Updates are available.", file=sys.stderr)
if verb == "ssh" and "HOST" in os.environ:
  command = next(a for a in args if a.startswith("--command="))[10:]
  sys.exit(subprocess.run(
      ["bash", "-c", command], cwd=os.environ["HOST"],
      env=dict(os.environ, HOME=os.environ["HOST"])).returncode)
if "UNREADY" in os.environ and args[6].startswith("--command=test -e"):
  sys.exit(1)
"""

VM = ["--name=vm-1", "--zone=us-central2-b", "--project=my-project"]
TAIL = VM[1:]
COMMANDS = {
    "create": ["--type=v4-8", "--spot"],
    "setup": ["--prepare=mount '/dev/sdb' /mnt/d"],
    "run": ["--workdir=/mnt/d/run", "--", "--config.seed=1"],
    "resume": ["--type=v4-8", "--workdir=/mnt/d/run"],
    "status": [],
    "logs": ["--workdir=/mnt/d/run", "--follow"],
    "stop": [],
    "delete": ["--yes"],
}


class Cloud:
  """Runs the script with the fake `gcloud` on the PATH."""

  def __init__(self, folder):
    self.calls_file = folder / "calls.jsonl"
    self.host = folder / "host"  # acts as the home folder of the VM
    self.repo = folder / "my repo"
    programs = folder / "bin"
    for path in (self.host / "augment_gen", self.repo / "configs", programs):
      path.mkdir(parents=True)
    (self.repo / "setup.py").touch()
    (self.repo / "configs" / "x.py").touch()
    (programs / "gcloud").write_text(FAKE_GCLOUD)
    (programs / "gcloud").chmod(0o755)
    self.environment = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder), "CALLS": str(self.calls_file),
        "STATE": "PREEMPTED", "REPO": str(self.repo),
        "CONFIG": "configs/x.py:variant",
    }

  def __call__(self, *args, **environment):
    return subprocess.run(
        ["bash", str(SCRIPT), *args], check=False, text=True,
        capture_output=True, timeout=30,
        env={**self.environment, **environment})

  def calls(self):
    if not self.calls_file.exists():
      return []
    return [json.loads(line)
            for line in self.calls_file.read_text().splitlines()]

  def install(self, program):
    """Replaces Python on the host with `program`."""
    python = self.host / "augment_gen_env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!{sys.executable}\n{program}")
    python.chmod(0o755)
    (self.host / "augment_gen_env" / "ready").touch()


@pytest.fixture
def cloud(tmp_path):
  return Cloud(tmp_path)


def printed_calls(text):
  """The gcloud calls that a dry run printed, as lists of arguments."""
  words = shlex.split(text)
  calls = []
  for word in words:
    if word == "gcloud":
      calls.append([])
    else:
      calls[-1].append(word)
  return calls


def test_a_config_may_be_given_by_name(cloud):
  done = cloud("run", "--dry-run", *VM, "--workdir=/a", "--config=x:variant")
  assert done.returncode == 0, done.stderr
  assert "--config=x:variant" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_dry_run_prints_the_calls_and_makes_none(cloud, command):
  flags = VM + COMMANDS[command]
  dry = cloud(command, "--dry-run", *flags)
  assert dry.returncode == 0, dry.stderr
  assert not cloud.calls()
  printed = printed_calls(dry.stdout)
  assert printed

  state = "READY" if command == "status" else "PREEMPTED"
  real = cloud(command, *flags, STATE=state)
  assert real.returncode == 0, real.stderr
  assert cloud.calls() == printed


@pytest.mark.parametrize("command", COMMANDS)
def test_dry_run_needs_no_gcloud(cloud, tmp_path, command):
  programs = tmp_path / "few"
  programs.mkdir()
  for name in ("bash", "sed", "tr", "cat", "dirname"):
    (programs / name).symlink_to(shutil.which(name))
  flags = VM + COMMANDS[command]
  dry = cloud(command, "--dry-run", *flags, PATH=str(programs))
  assert dry.returncode == 0, dry.stderr
  real = cloud(command, *flags, PATH=str(programs))
  assert real.returncode == 2
  assert "gcloud is not on the PATH" in real.stderr


def test_create(cloud):
  disk = "projects/p/zones/z/disks/d"
  cloud("create", *VM, "--type", "v5p-8", "--preemptible", "--data-disk", disk)
  assert cloud.calls() == [[
      "compute", "tpus", "tpu-vm", "create", "vm-1",
      "--accelerator-type=v5p-8", "--version=v2-alpha-tpuv5", "--preemptible",
      f"--data-disk=source={disk},mode=read-write", *TAIL]]


def test_settings_from_the_environment_give_way_to_flags(cloud):
  cloud("create", "--type=v4-16", NAME="vm-2", ZONE="us-east1-d", TYPE="v4-8",
        VERSION="image")
  assert cloud.calls() == [[
      "compute", "tpus", "tpu-vm", "create", "vm-2",
      "--accelerator-type=v4-16", "--version=image", "--zone=us-east1-d"]]


def test_setup_copies_a_checkout_to_all_hosts(cloud):
  cloud("setup", *VM, *COMMANDS["setup"])
  make, copy, prepare, install = cloud.calls()
  names = ("augment_gen", "configs", "pyproject.toml", "setup.py", "setup.cfg", "README.md",
           "LICENSE")
  assert make[3:7] == ["ssh", "vm-1", "--worker=all",
                       "--command=mkdir -p augment_gen"]
  assert copy[3:] == ["scp", "--recurse",
                      *(f"{cloud.repo}/{name}" for name in names),
                      "vm-1:augment_gen/", "--worker=all", *TAIL]
  assert prepare[6] == "--command=mount '/dev/sdb' /mnt/d"
  assert "-e '.[tensorflow]' 'jax[tpu]'" in install[6]


def test_what_setup_copies_is_there():
  names = re.search(r'SOURCES="(.*)"', SCRIPT.read_text()).group(1).split()
  assert [name for name in names if not (ROOT / name).exists()] == []


def test_setup_clones_a_url(cloud):
  url = "https://example.org/a b.git"
  cloud("setup", *VM, "--repo", url)
  clone, install = cloud.calls()
  assert f"git clone --quiet '{url}' augment_gen" in clone[6]
  assert "jax[tpu]" in install[6]


@pytest.mark.parametrize("state,verbs", [
    ("PREEMPTED", "describe delete create ssh scp ssh ssh"),
    ("TERMINATED", "describe delete create ssh scp ssh ssh"),
    ("NOT_FOUND", "describe create ssh scp ssh ssh"),
    ("READY", "describe ssh ssh"),
])
def test_resume_by_state(cloud, state, verbs):
  done = cloud("resume", *VM, *COMMANDS["resume"], STATE=state)
  assert done.returncode == 0, done.stderr
  assert [call[3] for call in cloud.calls()] == verbs.split()
  if "delete" in verbs:
    assert "--quiet" in cloud.calls()[1]
  assert "augment_gen.main" in cloud.calls()[-1][6]


def test_resume_sets_up_what_an_earlier_resume_left_half_done(cloud):
  cloud("resume", *VM, *COMMANDS["resume"], STATE="READY", UNREADY="1")
  verbs = [call[3] for call in cloud.calls()]
  assert verbs == ["describe", "ssh", "ssh", "scp", "ssh", "ssh"]


@pytest.mark.parametrize("state", ["CREATING", "PERMISSION_DENIED"])
def test_resume_touches_nothing_in_an_unclear_state(cloud, state):
  done = cloud("resume", *VM, *COMMANDS["resume"], STATE=state)
  assert done.returncode == 1
  assert state in done.stderr
  assert [call[3] for call in cloud.calls()] == ["describe"]


def test_delete_asks_unless_told(cloud):
  cloud("delete", *VM)
  cloud("delete", *VM, "--yes")
  asks, silent = cloud.calls()
  assert asks[3:] == ["delete", "vm-1", *TAIL]
  assert silent[3:] == ["delete", "vm-1", "--quiet", *TAIL]


@pytest.mark.parametrize("args,message", [
    (["create"], "create needs --name --zone --type"),
    (["create", "--zone=us-east1-d", "--type=v4-8"], "create needs --name (or"),
    (["delete", "--name=vm", "--zone="], "delete needs --zone (or"),
    (["logs", *VM], "logs needs --workdir"),
    (["fly"], "'fly' is no command"),
    (["create", "--colour=red"], "'--colour' is unknown"),
    (["create", "--spot=yes"], "'yes' is unknown"),
    (["create", "--name"], "--name needs a value"),
    (["status", "--name=My_VM", VM[1]], "--name 'My_VM'"),
    (["status", "--name=vm", "--zone=europe"], "--zone 'europe'"),
    (["create", *VM, "--type=v4"], "--type 'v4'"),
    (["create", *VM, "--type=v9-8"], "no image is known for --type v9-8"),
    (["resume", *VM, "--type=v9-8", "--workdir=a"], "no image is known"),
    (["run", *VM, "--workdir=gs://b/run"], "must be a folder"),
    (["run", *VM, "--workdir=~/run"], "must be absolute"),
    (["run", *VM, "--workdir=a", "--config=configs/no.py"], "no such file"),
    (["setup", *VM, "--repo=/nowhere"], "--repo '/nowhere'"),
    (["logs", *VM, "--workdir=a", "--worker=x"], "--worker 'x'"),
    (["stop", *VM, "--", "--config.seed=1"], "stop takes nothing after --"),
])
def test_mistakes_end_in_one_line_and_no_call(cloud, args, message):
  done = cloud(*args)
  assert done.returncode == 2
  assert message in done.stderr
  assert done.stderr.count("\n") == 1
  assert not cloud.calls()


def test_failures_of_gcloud_are_passed_on(cloud):
  # The fake gcloud returns the exit status of the command on the host.
  done = cloud("setup", *VM, "--prepare=exit 7", HOST=str(cloud.host))
  assert done.returncode == 7
  assert len(cloud.calls()) == 3  # nothing is installed after the failure


def test_help(cloud):
  done = cloud("--help")
  assert done.returncode == 0
  for command in COMMANDS:
    assert f"\n  {command} " in done.stdout
    assert cloud(command, "--help").stdout == done.stdout


# What happens on a host -----------------------------------------------------

needs_flock = pytest.mark.skipif(
    not shutil.which("flock"), reason="flock is not on this machine")


def wait_for(condition, seconds=20.0):
  end = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < end, "waited in vain"
    time.sleep(0.02)


@needs_flock
def test_run_hands_arguments_over_unchanged(cloud):
  cloud.install("""
import json, os, sys
with open("seen.json", "w") as f:
  json.dump([sys.argv[1:], os.environ["JAX_PLATFORMS"]], f)
sys.exit(75)
""")
  workdir = f"{cloud.host}/it's a run"
  extra = ["--config.experiment=two  words", "--config.data.tests=a'b\"$HOME",
           "--x=`id`;&|*", "line\nbreak\n", ""]
  done = cloud("run", *VM, "--workdir", workdir, "--", *extra,
               HOST=str(cloud.host))
  assert done.returncode == 0, done.stderr
  log = pathlib.Path(f"{workdir}.logs") / f"{socket.gethostname()}.log"
  wait_for(lambda: log.exists() and "exit status 75" in log.read_text())
  args, platforms = json.loads(
      (cloud.host / "augment_gen" / "seen.json").read_text())
  assert args == ["-m", "augment_gen.main", "--config=configs/x.py:variant",
                  f"--workdir={workdir}", "--multihost", *extra]
  assert platforms == "tpu,cpu"
  assert not pathlib.Path(workdir).exists()  # main accepts only a new folder or a run
  logs = cloud("logs", *VM, "--workdir", workdir, HOST=str(cloud.host))
  assert logs.stdout == "exit status 75\n"


@needs_flock
def test_run_twice_status_and_stop(cloud):
  cloud.install("""
import pathlib, signal, sys, time
def stop(*unused):
  pathlib.Path("saved").touch()
  sys.exit(75)
signal.signal(signal.SIGTERM, stop)
with open("starts", "a") as f:
  f.write("x")
for _ in range(600):
  time.sleep(0.05)
""")
  folder = cloud.host / "augment_gen"
  on_host = {"HOST": str(cloud.host), "STATE": "READY"}
  run = ["run", *VM, "--workdir=run/"]
  assert "not running" in cloud("status", *VM, **on_host).stdout
  assert ": started" in cloud(*run, **on_host).stdout
  wait_for((folder / "starts").exists)
  try:
    assert ": already running" in cloud(*run, **on_host).stdout
    status = cloud("status", *VM, **on_host).stdout
    assert status.startswith("READY\n") and status.endswith(": running\n")
  finally:
    assert ": told to stop" in cloud("stop", *VM, **on_host).stdout
  log = folder / "run.logs" / f"{socket.gethostname()}.log"
  wait_for(lambda: "exit status 75" in log.read_text())
  assert (folder / "saved").exists()
  assert (folder / "starts").read_text() == "x"
  wait_for(lambda: "not running" in cloud("stop", *VM, **on_host).stdout)


@needs_flock
def test_run_before_setup_says_so(cloud):
  done = cloud("run", *VM, "--workdir=run", HOST=str(cloud.host))
  assert done.returncode == 2
  assert "run setup first" in done.stderr
  assert not (cloud.host / "augment_gen" / "run.logs").exists()
