"""Conversion of config files to typed sections and back."""

from collections.abc import Callable, Mapping
import dataclasses
import hashlib
import json
from typing import Any

import ml_collections

from augment_gen.config import errors, pretrainers
from augment_gen.config.schema import Config


def default_config() -> ml_collections.ConfigDict:
  """All fields with their defaults, type-safe, locked."""
  return ml_collections.ConfigDict(dataclasses.asdict(Config())).lock()


def apply_variants(
    config: ml_collections.ConfigDict, variant: str,
    known: Mapping[str, Callable[[ml_collections.ConfigDict], None]],
) -> ml_collections.ConfigDict:
  """Applies the comma-separated names of `--config=FILE.py:variant` in order."""
  names = [name for name in variant.split(",") if name]
  errors.raise_if_any(
      f"config variant '{name}' is unknown; this file has: {', '.join(known)}"
      for name in names if name not in known)
  for name in names:
    known[name](config)
  return config


def typed(config: ml_collections.ConfigDict) -> Config:
  """Converts a ConfigDict to the dataclasses of schema.py.

  Raises:
    UserError: names every field that is missing or unknown.
  """
  problems: list[str] = []

  def build(cls, values, path):
    fields = {f.name: f for f in dataclasses.fields(cls)}
    problems.extend(f"config.{path}{n} is unknown"
                    for n in values if n not in fields)
    kwargs = {}
    for name, field in fields.items():
      if name not in values:
        problems.append(f"config.{path}{name} is missing")
      elif dataclasses.is_dataclass(field.type):
        kwargs[name] = build(field.type, values[name], f"{path}{name}.")
      else:
        value = values[name]
        kwargs[name] = tuple(value) if isinstance(value, (list, tuple)) else value
    return cls(**kwargs)

  result = build(Config, config, "")
  errors.raise_if_any(problems)
  return result


def plain(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """All fields as JSON values, as config.json holds them."""
  return json.loads(config.to_json())


# Fields and sections that do not determine the results: they choose how much is computed
# or written, how fast images are read, or how much of a device's memory is used (which
# changes rounding at most), or name a run to take stages over from.
WITHOUT_EFFECT = (
    "stages", "log", "debug", "profile_steps", "remat",
    "pretrain.from_run", "pretrain.micro_batch", "generator.from_run",
    "generator.micro_batch", "retrain.arms", "retrain.micro_batch", "tac.controls",
    # Rows with other settings are measured anew (evaluate/protocol.py: `fresh`).
    "evaluate", "data.max_device_gib",
    # Files that cannot be read have ended the run, or there were none.
    "data.on_bad_image", "data.read_threads", "data.read_ahead_gib", "experiment")


def unread(values: Mapping[str, Any]) -> tuple[str, ...]:
  """Sections of a config (from `plain`) that its run does not read."""
  if values.get("method") == "crl_tac":
    return ("pretrain", "generator", "retrain", *pretrainers.SECTIONS.values())
  method = values.get("pretrain", {}).get("method")
  return ("tac", *(section for name, section in pretrainers.SECTIONS.items()
                   if name != method))


def identity(values: Mapping[str, Any]) -> dict[str, Any]:
  """The part of a config (from `plain`) that determines the results.

  It leaves out `WITHOUT_EFFECT` and what is `unread`. A run may be continued with other
  values of these.
  """
  left_out = {*WITHOUT_EFFECT, *unread(values)}

  def kept(values, prefix=""):
    return {name: kept(value, f"{prefix}{name}.") if isinstance(value, Mapping) else value
            for name, value in values.items() if prefix + name not in left_out}

  return kept(values)


def fingerprint(values: Any) -> str:
  """A short, stable hash of JSON values."""
  text = json.dumps(values, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:16]
