"""The numbers that the two papers report, to stand beside ours.

Hayase et al.: T. Hayase, S. Yasutomi, N. Inoue, "Downstream Augmentation Generation for
Contrastive Learning", Table 1: one run, without a spread.
Koyama et al.: M. Koyama, K. Minami, T. Miyato, Y. Gal, "Contrastive Representation
Learning with Trainable Augmentation Channel", the poster's two tables "Linear
Classification Protocol": mean and standard deviation.
"""

from collections.abc import Mapping
import types
from typing import NamedTuple


class Reported(NamedTuple):
  """A number of a paper.

  Attributes:
    mean: accuracy in percent.
    std: standard deviation in percentage points; None if the paper gives none.
  """
  mean: float
  std: float | None = None

  def __str__(self):
    if self.std is None:
      return f"{self.mean:.2f}"  # as it is printed there
    return f"{self.mean:.1f} ± {self.std:.1f}"


_UNION = "X_p ∪ X̃_f"


def method_name(method: str, retraining_set: str = "X_p") -> str:
  """The method of `reference` that belongs to a row of results.json.

  The reference rows of Table 1 were trained on X_p ∪ X̃_f. They have the method of a
  baseline, and differ from it in the re-training set alone. The paper has no others that
  saw X̃_f in stage 1.
  """
  return f"{method} on {retraining_set}" if "∪" in retraining_set else method


def _table_1(columns: str, numbers: Mapping[str, tuple[float, ...]]
             ) -> dict[tuple[str, str], Reported]:
  return {(method, column): Reported(accuracy) for method, row in numbers.items()
          for column, accuracy in zip(columns.split(", "), row, strict=True)}


def _poster(numbers: Mapping[str, Mapping[str, tuple[float, float]]]
            ) -> dict[tuple[str, str], Reported]:
  return {(method, feature): Reported(*number) for method, row in numbers.items()
          for feature, number in row.items()}


_BASELINE, _OURS = "MoCo v2", "MoCo v2 + G_A"
_REFERENCE = {name: method_name(name, _UNION)
              for name in ("MoCo v2", "SimCLR", "SimSiam", "SwAV")}

_NUMBERS = {
    "EMNIST-Omniglot": _table_1("D → C, D → D", {
        _BASELINE: (3.25, 22.97),
        _OURS: (55.22, 64.60),
        _REFERENCE["MoCo v2"]: (37.97, 76.03)}),
    "ImageNet-DAISO": _table_1("S → R, S → S, R → S, R → R", {
        _BASELINE: (67.45, 94.74, 71.10, 93.99),
        _OURS: (71.91, 94.84, 74.49, 94.16),
        _REFERENCE["MoCo v2"]: (59.20, 93.06, 69.28, 92.08),
        _REFERENCE["SimCLR"]: (54.74, 94.61, 65.20, 94.53),
        _REFERENCE["SimSiam"]: (55.50, 94.85, 66.33, 94.62),
        _REFERENCE["SwAV"]: (55.17, 94.86, 64.98, 94.38)}),
    "Regional MNIST": _poster({
        "Ours": {"head": (95.505, 0.23), "f": (97.29, 0.14)},
        "Ours (top-n)": {"head": (95.52, 0.37), "f": (97.48, 0.12)},
        "SimCLR": {"head": (31.56, 0.44), "f": (45.98, 0.56)},
        "SimCLR (oracle)": {"head": (51.44, 1.1), "f": (93.54, 0.29)}}),
    "MNIST": _poster({
        "Ours": {"head": (96.42, 0.25), "f": (98.05, 0.06)},
        "Ours (top-n)": {"head": (96.74, 0.15), "f": (98.59, 0.04)},
        "SimCLR": {"head": (92.73, 0.44), "f": (98.06, 0.56)}}),
}

_SOURCES = {
    "EMNIST-Omniglot": "Hayase et al., Table 1",
    "ImageNet-DAISO": "Hayase et al., Table 1",
    "Regional MNIST": "Koyama et al., Linear Classification Protocol (Regional MNIST)",
    "MNIST": "Koyama et al., Linear Classification Protocol (MNIST)",
}


def reference(experiment: str) -> Mapping[tuple[str, str], Reported]:
  """The numbers of a paper's experiment.

  Args:
    experiment: "experiment" of a results.json. It has to be a paper's own, such as
      "EMNIST-Omniglot": a stand-in, a development split or a variant of a sweep has
      another name, and no reference.

  Returns:
    (method, column) -> the accuracy in percent; empty if this is no experiment of the
    papers. For Table 1, `method` is `method_name` of a row, such as "MoCo v2 + G_A", and
    `column` is "TRAIN → TEST", such as "D → C". For the poster, `method` is its column,
    "Ours", "Ours (top-n)", "SimCLR" or "SimCLR (oracle)", and `column` is "feature" of a
    row, "f" or "head".
  """
  return types.MappingProxyType(_NUMBERS.get(experiment, {}))


def source(experiment: str) -> str:
  """Where the numbers are from; "" if this is no experiment of the papers."""
  return _SOURCES.get(experiment, "")
