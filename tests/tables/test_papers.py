"""The papers' numbers, as they are printed there."""

import pytest

from augment_gen.config import command_line
from augment_gen.tables import papers


def test_table_1():
  omniglot = papers.reference("EMNIST-Omniglot")
  assert omniglot["MoCo v2", "D → C"] == (3.25, None)
  assert omniglot["MoCo v2 + G_A", "D → D"].mean == 64.60
  # The reference rows have the baseline's method, but were trained on X_p ∪ X̃_f.
  assert omniglot[papers.method_name("MoCo v2", "X_p ∪ X̃_f"), "D → D"].mean == 76.03
  daiso = papers.reference("ImageNet-DAISO")
  assert daiso["MoCo v2 + G_A", "R → S"].mean == 74.49
  assert daiso["SwAV on X_p ∪ X̃_f", "R → R"].mean == 94.38
  assert papers.source("ImageNet-DAISO") == "Hayase et al., Table 1"


def test_the_posters_tables():
  poster = papers.reference("Regional MNIST")
  assert poster["Ours", "head"] == (95.505, 0.23)
  assert str(poster["SimCLR (oracle)", "f"]) == "93.5 ± 0.3"
  assert ("SimCLR (oracle)", "f") not in papers.reference("MNIST")


@pytest.mark.parametrize("experiment", [
    "stand-in for ImageNet-DAISO", "EMNIST-Omniglot, development split",
    "EMNIST-Omniglot, order=last", ""])
def test_what_is_not_the_papers_has_no_reference(experiment):
  assert not papers.reference(experiment) and not papers.source(experiment)


@pytest.mark.parametrize("config", ["omniglot", "daiso", "regional_mnist", "mnist"])
def test_the_configs_have_the_papers_names(config):
  values = command_line.parse(
      ["main.py", f"--config={config}", "--workdir=/x", "--config.data.root=/x"]).config
  assert papers.reference(values.experiment)
