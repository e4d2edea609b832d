"""Made-up results files, and tables taken apart."""


def row(method, accuracy, seed, *, test="C", retraining_set="X_p",
        augmentation="-", protocol="l2", train="D"):
  return {"method": method, "pretrain_data": retraining_set, "train": train,
          "test": test, "feature": "f", "protocol": protocol, "seed": seed,
          "accuracy": accuracy, "retraining_set": retraining_set,
          "augmentation": augmentation}


def result(rows, experiment="EMNIST-Omniglot", protocol="p0", data="d0"):
  return {"experiment": experiment, "rows": rows,
          "provenance": {"protocol": protocol, "data": {"finetune": data}}}


def cells_of(table):
  """Splits each line of a table into cells, at double spaces."""
  return [[cell.strip() for cell in line.split("  ") if cell.strip()]
          for line in table.splitlines()]


def write(folder, text):
  folder.mkdir()
  (folder / "results.json").write_text(text, encoding="utf-8")
  return str(folder)
