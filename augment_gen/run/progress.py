"""Progress: a bar in a terminal, plain lines elsewhere."""

from collections.abc import Callable
import sys
import time

from tqdm import tqdm

_PLAIN_EVERY_SECONDS = 10.0
FASTER_READING = (
    "more config.data.read_threads, a faster drive, smaller files or, in a new run, "
    "config.data.jpeg_decoder=simplejpeg may help")
_SLOW_INPUT = 0.1  # share of the time waited for images that is worth doing something


def duration(seconds: float | None) -> str:
  """Seconds in words, such as "2 h 5 min"."""
  if seconds is None:
    return "unknown"
  minutes = round(seconds / 60)
  if minutes < 2:
    return f"{seconds:.0f} s"
  return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _clock(seconds: float) -> str:
  minutes, seconds = divmod(int(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f"{hours}:{minutes:02d}:{seconds:02d}"


class Progress:
  """Shows how far a stage is, how fast it runs, and when it will end.

  Args:
    stage: the stage's name.
    first_step: the step where it (re)starts.
    total_steps: number of steps of the stage.
    images_per_step: number of images per step, to show images/s.
    stream: where to write, as a bar if it is a terminal; None: stderr.
    waited: seconds that the steps have waited for images so far; None if none are read.
  """

  def __init__(self, stage: str, first_step: int, total_steps: int,
               images_per_step: int, stream=None,
               waited: Callable[[], float] | None = None):
    self._stage = stage
    self._total = total_steps
    self._images = images_per_step
    self._stream = stream or sys.stderr
    self._step = first_step
    self._shown = time.monotonic()
    self._waited = waited
    self._compiled: tuple[int, float] | None = None
    self._bar = None
    if self._stream.isatty():
      self._bar = tqdm(total=total_steps, initial=first_step, desc=stage,
                       unit="step", file=self._stream, dynamic_ncols=True)

  def advance(self, step: int) -> None:
    """Records that `step` steps are done."""
    if self._compiled is None:
      # The first step includes compilation, so rates are counted from its end.
      self._compiled = (step, time.monotonic())
    if self._bar is not None:
      self._bar.update(step - self._step)
    self._step = step

  def show(self, values: dict[str, float]) -> None:
    """Shows the latest values, with the rate and the ETA."""
    rate = self.images_per_second()
    text = " ".join(f"{n} {v:.4g}" for n, v in values.items())
    if self._waited is not None:
      text = f"data_wait {self.data_wait():.0%} {text}"
    if self._bar is not None:
      self._bar.set_postfix_str(f"{rate:.0f} images/s {text}")
      return
    now = time.monotonic()
    if now - self._shown < _PLAIN_EVERY_SECONDS and self._step < self._total:
      return
    left = (self._total - self._step) * self._images
    eta = _clock(left / rate) if rate else "?"
    print(f"{self._stage} {self._step}/{self._total} {rate:.0f} images/s "
          f"ETA {eta} {text}", file=self._stream, flush=True)
    self._shown = now

  def images_per_second(self) -> float:
    """Mean rate since the first step ended; 0 before the second step ends."""
    if self._compiled is None:
      return 0.0
    step, then = self._compiled
    elapsed = time.monotonic() - then
    return (self._step - step) * self._images / elapsed if elapsed > 0 else 0.0

  def data_wait(self) -> float:
    """Share of the time since the first step ended in which steps waited for images."""
    if self._compiled is None or self._waited is None:
      return 0.0
    elapsed = time.monotonic() - self._compiled[1]
    return min(1.0, self._waited() / elapsed) if elapsed > 0 else 0.0

  def bottleneck(self) -> str:
    """In words, what limits the speed; "" if no images are read."""
    if self._waited is None:
      return ""
    share = self.data_wait()
    limit = (f"reading limits the speed; {FASTER_READING}" if share > _SLOW_INPUT else
             "the step limits the speed, not reading")
    return f"; the step waited for images {share:.0%} of the time: {limit}"

  def close(self) -> None:
    if self._bar is not None:
      self._bar.close()
