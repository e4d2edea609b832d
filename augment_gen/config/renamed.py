"""Fields that had another name before, so that an old command says the new one."""

import re

_NETWORKS = ("augmenter", "eliminator", "hidden", "layers", "unet_width", "unet_depth",
             "output")
_LOSSES = ("cycle_weight", "cycle_f_weight", "cycle_p_weight", "latent_weight",
           "latent_slack", "l1_reduction", "cycle_noise",
           "bank_weight")

# Dotted name of old -> of today. A name may be that of a section.
RENAMED = {
    "data.stream_pretrain": "data.stream",
    "log.tensorboard": "log.sinks",
    "pretrain.run": "pretrain.from_run",
    "encoder.dtype": "precision",
    "generator.run": "generator.from_run",
    "generator.average": "generator.networks.ema_decay",
    "generator.fool_f_weight": "generator.losses.adversarial_f_weight",
    "generator.fool_e_weight": "generator.discriminator.same_content",
    "generator.losses.adversarial_e_weight": "generator.discriminator.same_content",
    "generator.fool_p_weight": "generator.losses.adversarial_p_weight",
    "retrain.channel": "retrain.policy",
    "tac.channel": "tac.policy",
    **{f"generator.{name}": f"generator.networks.{name}" for name in _NETWORKS},
    **{f"generator.{name}": f"generator.losses.{name}" for name in _LOSSES},
}


# Fields that are gone, and why.
GONE = {
    **dict.fromkeys(("generator.identity_weight", "generator.losses.identity_weight"),
                    "the term changed nothing beyond the noise (docs/experiments/013)"),
    "generator.marks": "it is now latent_maps.MARKS, for G_A as a U-Net alone",
    "generator.latent.scale": "it follows from generator.latent.layout",
    "generator.discriminator.standardise":
        "it follows from generator.discriminator.features",
}


# Fields that are new -> what runs without them did.
ADDED = {"data.jpeg_decoder": "pillow"}


def today(field: str) -> str | None:
  """The name that a field of old has today; None if it is no field of old."""
  for old, new in RENAMED.items():
    if field == old or field.startswith(f"{old}."):
      return new + field.removeprefix(old)
  return None


def hint(message: str) -> str:
  """What to add to ml_collections' words on a key that a config file may not set."""
  found = re.search(r"[Kk]ey \"?'?(\w+)", message)
  names = [f"config.{old} is now config.{new}" for old, new in RENAMED.items()
           if found and old.rpartition(".")[2] == found[1]]
  return f" ({'; '.join(names)})" if names else ""
