"""TensorBoard's event files behind clu's `MetricWriter`, without TensorFlow."""

from collections.abc import Mapping
import io
import itertools
import os
import pathlib
import socket
import time
from typing import Any

import numpy as np
from PIL import Image
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.scalar import summary_v2 as scalar_summary
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util import tensor_util

from augment_gen.run.sinks.base import Sink

_numbers = itertools.count()  # tell apart the files that a process opens in one second


class EventFiles(Sink):
  """Writes scalars and images.

  Every instance writes a new file. `tensorboard.summary.writer.EventFileWriter` would
  import TensorFlow wherever that is installed, which takes seconds.

  Args:
    folder: is made if it is missing.
  """

  def __init__(self, folder: str | os.PathLike[str]):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    name = (f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}."
            f"{os.getpid()}.{next(_numbers)}")
    self._records = RecordWriter(open(folder / name, "wb"))
    self._add(file_version="brain.Event:2")

  def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
    """Writes float32 numbers."""
    summary = summary_pb2.Summary()
    for name, value in scalars.items():
      summary.MergeFrom(scalar_summary.scalar_pb(name, np.asarray(value)))
    self._add(step=step, summary=summary)

  def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
    """Writes uint8 images, [H, W, C] or [N, H, W, C], where C is 1 or 3."""
    summary = summary_pb2.Summary()
    for name, batch in images.items():
      batch = np.asarray(batch)
      batch = batch[None] if batch.ndim == 3 else batch
      height, width = batch.shape[1:3]
      # The layout of TensorBoard's images plugin: the size, then the encoded images.
      parts = [str(width).encode(), str(height).encode(), *map(_png, batch)]
      summary.value.add(
          tag=name, tensor=tensor_util.make_tensor_proto(parts),
          metadata=image_metadata.create_summary_metadata(None, None))
    self._add(step=step, summary=summary)

  def flush(self) -> None:
    self._records.flush()

  def close(self, failed: bool = False) -> None:
    del failed  # event files have no place for it
    self._records.close()

  def _add(self, **fields: Any) -> None:
    event = event_pb2.Event(wall_time=time.time(), **fields)
    self._records.write(event.SerializeToString())


def _png(image: np.ndarray) -> bytes:
  """Encodes a uint8 image, [H, W, 1] or [H, W, 3]."""
  stream = io.BytesIO()
  Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(stream, "png")
  return stream.getvalue()
