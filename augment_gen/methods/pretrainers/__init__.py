"""The pre-trainers, which train F on pairs of views, by config.pretrain.method."""

from augment_gen.config import Config
from augment_gen.methods.pretrainers import byol, moco, simclr, simsiam, supervised, swav
from augment_gen.run.contracts import Pretrainer

PRETRAINERS: dict[str, type[Pretrainer]] = {
    "moco_v2": moco.MocoV2,
    "simclr": simclr.Simclr,
    "simsiam": simsiam.Simsiam,
    "byol": byol.Byol,
    "swav": swav.Swav,
    "supervised": supervised.Supervised,
}


def pretrainer(config: Config, devices: int) -> Pretrainer:
  """The pre-trainer that a config names."""
  return PRETRAINERS[config.pretrain.method](config, devices)
