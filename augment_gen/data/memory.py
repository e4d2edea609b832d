"""How much memory the sets of an experiment take."""

from augment_gen import config as config_lib

_GIB = 2**30


def too_large(counts: dict[str, int], data: config_lib.DataConfig,
              copies: int) -> list[str]:
  """Returns one problem if the images exceed the memory limit, else none.

  Args:
    counts: number of images by spec, for the sets known so far.
    data: section `data` of the config.
    copies: number of copies of X_p and X̃_f that training makes.
  """
  gib = data.side**2 * data.channels / _GIB
  parts = {f"'{spec}' with {count} images": count * gib
           for spec, count in counts.items()}
  finetune = counts.get(data.finetune, 0) * gib
  if data.implicit != "none" and finetune:
    parts["X_f beside X̃_f"] = finetune
  # Also of sets that are too large for the devices (data.max_device_gib): whether X_p is
  # streamed must not depend on this limit, because a run could not be resumed.
  trained = sum(counts.get(spec, 0) * gib for spec in {data.pretrain, data.finetune})
  if copies and trained:
    parts[f"{copies} copies for the devices"] = copies * trained
  total = sum(parts.values())
  if total <= data.max_resident_gib:
    return []
  listed = ", ".join(f"{name} {size:.2g}" for name, size in parts.items())
  return [f"the images take {total:.2g} GiB at {data.side} pixels ({listed}), more "
          f"than config.data.max_resident_gib={data.max_resident_gib:g}: sets this "
          "large need streaming, which is for X_p alone (config.data.stream); lower "
          "config.data.image_size, name parts of the sets, or raise the limit if host "
          "and devices have the memory"]
