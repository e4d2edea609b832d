"""The numbers that the papers report, in percent, for comparison with ours."""

# Table 1 of Hayase, Yasutomi, Inoue, "Downstream Augmentation Generation for Contrastive
# Learning": experiment -> (train, test) -> (method, training set) -> accuracy. The methods
# are named as in our tables: "MoCov2 + Ours" is "MoCo v2 + G_A".
_BOTH = "X_p ∪ X̃_f"
_PAPER: dict[str, dict[tuple[str, str], dict[tuple[str, str], float]]] = {
    "EMNIST-Omniglot": {
        ("D", "C"): {("MoCo v2", "X_p"): 3.25, ("MoCo v2 + G_A", "X_p"): 55.22,
                     ("MoCo v2", _BOTH): 37.97},
        ("D", "D"): {("MoCo v2", "X_p"): 22.97, ("MoCo v2 + G_A", "X_p"): 64.60,
                     ("MoCo v2", _BOTH): 76.03}},
    "ImageNet-DAISO": {
        ("S", "R"): {("MoCo v2", "X_p"): 67.45, ("MoCo v2 + G_A", "X_p"): 71.91,
                     ("MoCo v2", _BOTH): 59.20, ("SimCLR", _BOTH): 54.74,
                     ("SimSiam", _BOTH): 55.50, ("SwAV", _BOTH): 55.17},
        ("S", "S"): {("MoCo v2", "X_p"): 94.74, ("MoCo v2 + G_A", "X_p"): 94.84,
                     ("MoCo v2", _BOTH): 93.06, ("SimCLR", _BOTH): 94.61,
                     ("SimSiam", _BOTH): 94.85, ("SwAV", _BOTH): 94.86},
        ("R", "S"): {("MoCo v2", "X_p"): 71.10, ("MoCo v2 + G_A", "X_p"): 74.49,
                     ("MoCo v2", _BOTH): 69.28, ("SimCLR", _BOTH): 65.20,
                     ("SimSiam", _BOTH): 66.33, ("SwAV", _BOTH): 64.98},
        ("R", "R"): {("MoCo v2", "X_p"): 93.99, ("MoCo v2 + G_A", "X_p"): 94.16,
                     ("MoCo v2", _BOTH): 92.08, ("SimCLR", _BOTH): 94.53,
                     ("SimSiam", _BOTH): 94.62, ("SwAV", _BOTH): 94.38}}}

# "Linear Classification Protocol" of Koyama, Minami, Miyato, Gal, "Contrastive
# Representation Learning with Trainable Augmentation Channel": experiment -> feature ->
# (mean, standard deviation) of CRL-TAC, CRL-TAC (top-n), SimCLR and SimCLR (oracle).
POSTER: dict[str, dict[str, tuple[tuple[float, float] | None, ...]]] = {
    "Regional MNIST": {
        "head": ((95.505, 0.23), (95.52, 0.37), (31.56, 0.44), (51.44, 1.1)),
        "f": ((97.29, 0.14), (97.48, 0.12), (45.98, 0.56), (93.54, 0.29))},
    "MNIST": {
        "head": ((96.42, 0.25), (96.74, 0.15), (92.73, 0.44), None),
        "f": ((98.05, 0.06), (98.59, 0.04), (98.06, 0.56), None)}}


def of_paper(experiment: str, method: str, training_set: str, train: str, test: str
             ) -> float | None:
  """The paper's accuracy for a row of our table; None if it has none.

  Args:
    experiment: must be one of the paper's; a stand-in has another name.
    method: as in our table, such as "MoCo v2 + G_A".
    training_set: of the encoder, "X_p" or "X_p ∪ X̃_f".
    train: images of the linear head, such as "D".
    test: test images, such as "C".
  """
  return _PAPER.get(experiment, {}).get((train, test), {}).get((method, training_set))
