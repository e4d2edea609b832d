"""TensorBoard reads what a run writes, and nothing of it needs TensorFlow."""

import io
import sys
import types

import numpy as np
from PIL import Image
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from augment_gen.run.folder import RunFolder
from augment_gen.run.metrics import MetricWriter
from augment_gen.run.sinks import Sinks
from augment_gen.run.sinks.event_files import EventFiles


@pytest.fixture(autouse=True)
def readers_without_tensorflow(monkeypatch):
  """TensorBoard's own switch: its readers would import TensorFlow if they find it."""
  monkeypatch.setitem(sys.modules, "tensorboard.compat.notf", types.ModuleType("notf"))


@pytest.fixture(name="events")
def events_fixture(tmp_path):
  """What TensorBoard reads of a folder that a writer writes to, before it is closed."""
  writer = MetricWriter(RunFolder(tmp_path / "run", {}), Sinks(
      {"tensorboard": EventFiles(tmp_path / "run" / "tensorboard")}))
  return writer, lambda: EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()


def test_scalars_have_their_stage_step_and_value(events):
  writer, read = events
  writer.scalars("pretrain", 25, {"loss": 0.5, "lr": np.float32(0.25)})
  writer.scalars("pretrain", 50, {"loss": np.float32(0.125)})
  found = read()
  assert set(found.Tags()["tensors"]) == {"pretrain/loss", "pretrain/lr"}
  assert [(event.step, tensor_util.make_ndarray(event.tensor_proto).item())
          for event in found.Tensors("pretrain/loss")] == [(25, 0.5), (50, 0.125)]
  metadata = found.SummaryMetadata("pretrain/loss")
  assert metadata.plugin_data.plugin_name == "scalars"


@pytest.mark.parametrize("channels", [1, 3])
def test_images_come_back_bit_by_bit(events, channels):
  writer, read = events
  image = np.random.default_rng(0).integers(0, 256, (4, 6, channels), np.uint8)
  writer.image("figure", 7, image)
  found = read()
  assert found.SummaryMetadata("figure").plugin_data.plugin_name == "images"
  event, = found.Tensors("figure")
  width, height, encoded = tensor_util.make_ndarray(event.tensor_proto)
  assert (event.step, int(width), int(height)) == (7, 6, 4)
  read_back = np.asarray(Image.open(io.BytesIO(encoded))).reshape(image.shape)
  np.testing.assert_array_equal(read_back, image)


def test_a_folder_of_two_starts_is_read_as_one(tmp_path):
  for step in (1, 2):
    writer = EventFiles(tmp_path / "made")
    writer.write_scalars(step, {"loss": step})
    writer.close()
  assert len(list((tmp_path / "made").iterdir())) == 2
  found = EventAccumulator(str(tmp_path / "made")).Reload()
  assert [event.step for event in found.Tensors("loss")] == [1, 2]


def test_other_kinds_are_refused(tmp_path):
  with pytest.raises(NotImplementedError, match="only scalars and images"):
    EventFiles(tmp_path).write_texts(1, {"name": "text"})
