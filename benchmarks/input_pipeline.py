"""Speed of reading images from files: our feed, a DataLoader of PyTorch, and tf.data.

  python benchmarks/input_pipeline.py [--folder=FOLDER] [--size=224] [--batch=64]
      [--threads=2] [--rounds=5] [--seconds=8] [--memory]

Without --folder, 2,000 JPEG files of about 500 × 400 pixels, shapes and noise, are made for
the time of the run. Sides:

  feed         ImageFeed on a streamed folder, up to the batch on the host
  simplejpeg   the same with data.jpeg_decoder=simplejpeg
  DataLoader   PIL and torchvision (Resize, CenterCrop), in as many worker processes
  tf.data      TensorFlow's own decoder and resizing, in as many threads
  one core     our decoding alone in one thread, for images/s of one core

The sides take turns, each in a process of its own; the table has medians over the rounds.
All give uint8 batches in a random order. Every block starts reading anew, so that no side
lives on what it read while another had its turn. Needs torch, torchvision, tensorflow, and
augment_gen[jpeg].

--memory reads 100,000 images through the feed instead and prints the resident set, which
must not grow.
"""

import argparse
import os
import pathlib
import tempfile

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from pytorch.turns import Block, measure, Side

_FILES = 2000
_DIFFERENT = 200  # pictures; each lies there several times


def make_files(folder: pathlib.Path) -> None:
  """Fills a folder with JPEG files."""
  rng = np.random.default_rng(0)
  for number in range(_DIFFERENT):
    width, height = ((500, 400), (375, 500), (500, 375))[number % 3]
    coarse = rng.integers(0, 256, (height // 25, width // 25, 3), np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(25):
      x, y, side = (int(rng.integers(0, most)) for most in (width, height, 120))
      colour = tuple(rng.integers(0, 256, 3).tolist())
      (draw.ellipse if rng.random() < 0.5 else draw.rectangle)(
          [x, y, x + side, y + side], fill=colour)
    noisy = np.asarray(image, np.float32) + rng.normal(0, 8, (height, width, 1))
    image = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    path = folder / f"{number:05}.jpg"
    image.filter(ImageFilter.GaussianBlur(0.6)).save(path, quality=85)
    for copy in range(1, _FILES // _DIFFERENT):
      os.link(path, folder / f"{number + copy * _DIFFERENT:05}.jpg")


def _feed(folder: str, size: int, batch: int, threads: int, decoder: str = "pillow"):
  from augment_gen.config import DataConfig
  from augment_gen.data import sources
  from augment_gen.data.feed import ImageFeed

  images = sources.stream(f"folder:{folder}?labels=none", image_size=size, channels=3,
                          jpeg_decoder=decoder)
  return ImageFeed({"x_p": images}, batch, 0, "pretrain", DataConfig(read_threads=threads))


def ours(folder: str, size: int, batch: int, threads: int,
         decoder: str = "pillow") -> Block:
  feed = _feed(folder, size, batch, threads, decoder)
  done = 0

  def run(steps: int) -> None:
    nonlocal done
    for step in range(done, done + steps):
      feed.host_batch(step)
    done += steps
    feed.close()

  return Block(run)


def ours_simplejpeg(folder: str, size: int, batch: int, threads: int) -> Block:
  return ours(folder, size, batch, threads, "simplejpeg")


def one_core(folder: str, size: int, batch: int, threads: int) -> Block:
  del threads
  from augment_gen.data import sources

  images = sources.stream(f"folder:{folder}?labels=none", image_size=size, channels=3)
  rng = np.random.default_rng(0)

  def run(steps: int) -> None:
    for _ in range(steps):
      images.read(rng.integers(0, len(images), batch))

  return Block(run)


def data_loader(folder: str, size: int, batch: int, threads: int) -> Block:
  import torch
  from torchvision.transforms import v2

  change = v2.Compose([v2.Resize(size), v2.CenterCrop(size), v2.PILToTensor()])
  paths = sorted(pathlib.Path(folder).rglob("*.jpg"))

  class Files(torch.utils.data.Dataset):
    def __len__(self):
      return len(paths)

    def __getitem__(self, index):
      return change(Image.open(paths[index]).convert("RGB"))

  loader = torch.utils.data.DataLoader(
      Files(), batch, shuffle=True, num_workers=threads, drop_last=True,
      persistent_workers=True, multiprocessing_context="fork")

  def run(steps: int) -> None:
    batches = iter(loader)
    for _ in range(steps):
      try:
        next(batches)
      except StopIteration:
        batches = iter(loader)
        next(batches)

  return Block(run)


def tf_data(folder: str, size: int, batch: int, threads: int) -> Block:
  import tensorflow as tf

  paths = sorted(map(str, pathlib.Path(folder).rglob("*.jpg")))

  def image(path):
    decoded = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
    sides = tf.cast(tf.shape(decoded)[:2], tf.float32)
    sides = tf.round(sides * size / tf.reduce_min(sides))
    sides = tf.cast(sides, tf.int32)
    resized = tf.image.resize(decoded, sides, antialias=True)
    square = tf.image.resize_with_crop_or_pad(resized, size, size)
    return tf.cast(tf.clip_by_value(tf.round(square), 0, 255), tf.uint8)

  options = tf.data.Options()
  options.threading.private_threadpool_size = threads
  batches = (tf.data.Dataset.from_tensor_slices(paths).shuffle(len(paths)).repeat()
             .map(image, num_parallel_calls=threads, deterministic=False)
             .batch(batch, drop_remainder=True).prefetch(1).with_options(options))

  def run(steps: int) -> None:
    rows = batches.as_numpy_iterator()
    for _ in range(steps):
      next(rows)

  return Block(run)


def memory(folder: str, size: int, batch: int, threads: int) -> None:
  """Prints the resident set while many batches are read."""
  feed = _feed(folder, size, batch, threads)
  status = pathlib.Path("/proc/self/status")
  steps = 100_000 // batch
  for step in range(steps):
    feed.host_batch(step)
    if (step + 1) % (steps // 8) == 0:
      line, = (line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
      resident = int(line.split()[1]) / 1024
      print(f"{(step + 1) * batch} images: {resident:.0f} MiB", flush=True)
  feed.close()


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--folder")
  parser.add_argument("--memory", action="store_true")
  for name, default in (("size", 224), ("batch", 64), ("threads", 2), ("rounds", 5)):
    parser.add_argument(f"--{name}", type=int, default=default)
  parser.add_argument("--seconds", type=float, default=8.0)
  options = parser.parse_args()
  with tempfile.TemporaryDirectory() as made:
    if not options.folder:
      make_files(pathlib.Path(made))
    what = {"folder": options.folder or made, "size": options.size,
            "batch": options.batch, "threads": options.threads}
    if options.memory:
      memory(**what)
      return
    sides = [Side(name, f"input_pipeline:{function}", what) for name, function in (
        ("feed", "ours"), ("simplejpeg", "ours_simplejpeg"),
        ("DataLoader", "data_loader"), ("tf.data", "tf_data"), ("one core", "one_core"))]
    timings = measure(sides, options.rounds, options.seconds, print)
    for side, timing in zip(sides, timings):
      rate = options.batch / timing.median
      print(timing.error or f"{side.name:12} {rate:6.0f} images/s, "
            f"first batch after {timing.first:.1f} s, {timing.memory:.0f} MiB")


if __name__ == "__main__":
  main()
