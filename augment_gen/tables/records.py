"""The numbers of tables for other programs: CSV and JSON."""

from collections.abc import Sequence
import csv
import io
import json
from typing import Any

import numpy as np

from augment_gen.tables.statistics import bootstrap_interval, Difference, Seeds

STYLES = ("csv", "json")
Record = dict[str, Any]


def numbers(seeds: Seeds, difference: Difference | None) -> Record:
  """The statistics of one cell; None where they are not defined.

  Returns:
    "accuracy" (mean, percent), "std" (sample), "seeds" (their number), "low" and "high"
    (95 % bootstrap interval of the mean over seeds), and of the difference: "difference",
    "ci_low", "ci_high" (95 %, Student's t), "boot_low", "boot_high", "p" (t-test).
  """
  values = list(seeds.values())
  low, high = bootstrap_interval(values)
  record = {"accuracy": float(np.mean(values)),
            "std": float(np.std(values, ddof=1)) if len(values) > 1 else None,
            "seeds": len(values), "low": low, "high": high}
  fields = ("difference", "ci_low", "ci_high", "boot_low", "boot_high", "p")
  compared = [None] * len(fields) if difference is None else [
      difference.mean, *difference.interval, *difference.bootstrap, difference.p]
  return {name: None if value is None or np.isnan(value) else value
          for name, value in (record | dict(zip(fields, compared))).items()}


def as_text(records: Sequence[Record], style: str) -> str:
  """Records as "csv" or "json", one line for each record.

  In CSV, records with other fields come below a header of their own.
  """
  if style == "json":
    lines = ",\n".join("  " + json.dumps(r, ensure_ascii=False) for r in records)
    return f"[\n{lines}\n]\n"
  parts: dict[tuple[str, ...], list[Record]] = {}
  for record in records:
    parts.setdefault(tuple(record), []).append(record)
  return "\n".join(_csv(fields, part) for fields, part in parts.items())


def _csv(fields: tuple[str, ...], records: Sequence[Record]) -> str:
  out = io.StringIO()
  writer = csv.DictWriter(out, fields, lineterminator="\n")
  writer.writeheader()
  writer.writerows(records)
  return out.getvalue()
