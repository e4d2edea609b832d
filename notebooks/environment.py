"""Where a notebook's commands run, and how it talks to a trained G_A.

In Colab, augment_gen must not change the packages of the notebook's own Python, and must
use Colab's JAX, with its GPU or TPU, if that is new enough. So commands run in processes
of another Python. This is the notebook's own if nothing is missing there. Otherwise it is
a virtual environment that sees the packages that are installed, and that has what is
missing or too old beside them.

    import environment
    environment.prepare()
    environment.run("train", "--config=quickstart", "--workdir=runs/quickstart")
"""

import base64
from collections.abc import Callable, Mapping
import glob
import html
from importlib import metadata
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[1]
_VENV = ROOT / ".venv-notebook"
_python = sys.executable


def accelerator() -> str:
  """The extra of JAX that this machine needs: "tpu", "cuda12", "cuda13", or ""."""
  if (os.environ.get("TPU_ACCELERATOR_TYPE") or os.environ.get("COLAB_TPU_ADDR")
      or glob.glob("/dev/accel[0-9]*") or glob.glob("/dev/vfio/[0-9]*")):
    return "tpu"
  if not shutil.which("nvidia-smi"):
    return ""
  return "cuda13" if _version("jax-cuda13-plugin") else "cuda12"


def missing(version_of: Callable[[str], str | None] | None = None) -> list[str]:
  """augment_gen and its requirements, as far as an environment does not have them.

  Args:
    version_of: the version of an installed package, None if it is not there; by default
      in this Python.
  """
  from packaging import requirements  # Jupyter's kernel brings it
  version_of = version_of or _version
  with open(ROOT / "pyproject.toml", "rb") as file:
    needed = [requirements.Requirement(line)
              for line in tomllib.load(file)["project"]["dependencies"]]
  return ([] if version_of("augment_gen") else ["augment_gen"]) + [
      str(one) for one in needed if not (have := version_of(one.name))
      or not one.specifier.contains(have, prereleases=True)]


def prepare() -> None:
  """Finds or makes the Python that commands run in, and says which devices it has.

  Raises:
    RuntimeError: the installation failed; the message is its last line.
  """
  global _python
  extra = accelerator()
  if lacking := missing():
    print(f"installing {', '.join(lacking)} into {_VENV}; this Python stays as it is")
    _python = str(_VENV / "bin" / "python")
    # Colab's Python has no ensurepip, so its own pip installs into the environment.
    _call(sys.executable, "-m", "venv", "--system-site-packages", "--without-pip", _VENV)
    _call(sys.executable, "-m", "pip", f"--python={_python}", "install", "--quiet",
          "-e", ROOT, f"jax[{extra}]" if extra else "jax")
  _call(_python, "-c", "import jax; print('JAX', jax.__version__, 'on', jax.devices())")


def run(*arguments: str) -> None:
  """Runs `augment-gen ARGUMENTS` and shows what it prints, as it comes.

  Raises:
    RuntimeError: it failed; the message is its last line.
  """
  print("$ augment-gen", *arguments)
  _call(_python, "-m", "augment_gen", *arguments)


def framed(page: str, height: int = 900) -> str:
  """A page as HTML for a cell's output; in a frame, so that its styles stay its own."""
  text = html.escape(pathlib.Path(page).read_text(encoding="utf-8"))
  return (f'<iframe srcdoc="{text}" width="100%" height="{height}" frameborder="0">'
          "</iframe>")


def sentences(run_folder: str) -> list[str]:
  """What a run's chain of operators has learned, in words, the strongest first."""
  return [words for _, words in _alive(run_folder)]


class Augmenter:
  """G_A of a run, in a process of its own (learned.py), on a few images.

  Attributes:
    names: the latents that show, those of the strongest operators first.
  """

  def __init__(self, run_folder: str, images: str = "", count: int = 4):
    """Loads G_A.

    Args:
      run_folder: of a run with G_A.
      images: a folder, or a spec of images; "": the run's own X_p.
      count: number of images.

    Raises:
      RuntimeError: G_A or the images cannot be read; the reason is in the output.
    """
    self._process = subprocess.Popen(
        [_python, str(ROOT / "notebooks" / "learned.py"), run_folder, images, str(count)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        env=_environment())
    names = json.loads(self._answer())
    order = [operator for operator, _ in _alive(run_folder)]
    alive = [name for name in names if _operator(name) in order]
    self.names = sorted(alive, key=lambda name: order.index(_operator(name))) or names

  def picture(self, latents: Mapping[str, float]) -> bytes:
    """A PNG with the images above G_A(x, z).

    Args:
      latents: values in [0, 1] by name; the others are 0.5, the middle of the prior.
    """
    print(json.dumps(dict(latents)), file=self._process.stdin, flush=True)
    return base64.b64decode(self._answer())

  def close(self) -> None:
    """Ends the process."""
    self._process.stdin.close()
    self._process.wait()

  def _answer(self) -> str:
    line = self._process.stdout.readline()
    if not line:
      raise RuntimeError(f"G_A could not be applied (exit status {self._process.wait()})")
    return line


def _alive(run_folder: str) -> list[tuple[str, str]]:
  """(operator, sentence) of the operators that change images, the strongest first."""
  path = ROOT / run_folder / "learned.json"
  if not path.exists():  # G_A is no chain of operators
    return []
  operators = json.loads(path.read_text(encoding="utf-8"))["operators"]
  alive = [(name, found) for name, found in operators.items() if found["alive"]]
  return [(name, found["sentence"])
          for name, found in sorted(alive, key=lambda pair: -pair[1]["edit"])]


def _operator(latent: str) -> str:
  return latent.partition(".")[0]


def _version(package: str) -> str | None:
  try:
    return metadata.version(package)
  except metadata.PackageNotFoundError:
    return None


def _environment() -> dict[str, str]:
  # Colab sets PYTHONPATH for its own packages.
  path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
  return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1",
          "MPLBACKEND": "Agg"}  # a notebook's backend is of no use in other processes


def _call(*command: str | pathlib.Path) -> None:
  """Runs a command in the checkout, and shows its output line by line."""
  last = ""
  with subprocess.Popen(list(map(str, command)), cwd=ROOT, env=_environment(), text=True,
                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
    assert process.stdout is not None
    try:
      for line in process.stdout:
        print(line, end="")
        last = line.strip() or last
    except KeyboardInterrupt:  # the run saves itself
      process.terminate()
      raise
  if process.returncode:
    raise RuntimeError(f"exit status {process.returncode}: {last}")
