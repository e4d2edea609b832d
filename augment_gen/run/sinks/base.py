"""clu's interface of metric writers, for scalars and images."""

import importlib.util
import pathlib
from typing import Any


def _clu_interface() -> Any:
  """The module `clu.metric_writers.interface`, loaded without its package.

  The package imports TensorFlow for a writer that we do not use. For the same reason
  clu's `MultiWriter` is out of reach.
  """
  clu = importlib.util.find_spec("clu")
  assert clu is not None and clu.submodule_search_locations
  path = pathlib.Path(clu.submodule_search_locations[0], "metric_writers/interface.py")
  spec = importlib.util.spec_from_file_location(f"{__name__}.clu", path)
  assert spec is not None and spec.loader is not None
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


_Interface: Any = _clu_interface().MetricWriter


class Sink(_Interface):
  """A `clu.metric_writers.MetricWriter` whose other kinds are left to choice."""

  def close(self, failed: bool = False) -> None:
    """Ends the run there, as one that failed if an error ended it here."""
    raise NotImplementedError

  def _unsupported(self, *args: Any, **kwargs: Any) -> None:
    raise NotImplementedError("only scalars and images are written to sinks")

  write_summaries = write_videos = write_audios = _unsupported
  write_texts = write_histograms = write_hparams = _unsupported
