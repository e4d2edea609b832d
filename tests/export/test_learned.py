"""Exports as functions: the same as the chain that they were made from, or one line."""

import json
import os
import pickle
import shutil

import exported
from exported import X
import numpy as np
import pytest

from augment_gen import export
from augment_gen.config.errors import UserError
from augment_gen.export import draws, learned, programs

FLOATS = X.astype(np.float32) / 255


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  return exported.write(tmp_path_factory.mktemp("export") / "made")


@pytest.fixture(scope="module")
def loaded(made):
  return export.load(made.folder)


def drawn(made, seed, count, bank=True):
  return np.stack([draws.latents(seed, str(i), 0, made.bank if bank else None,
                                 made.bank.shape[1]) for i in range(count)])


@pytest.mark.parametrize("strength", [1.0, 0.5])
@pytest.mark.parametrize("bank", [True, False])
def test_it_does_what_the_chain_does(made, loaded, strength, bank):
  wanted = made.original(FLOATS, drawn(made, 3, 5, bank), strength)
  found = loaded(FLOATS, 3, strength=strength, latents="bank" if bank else "prior")
  np.testing.assert_allclose(found, wanted, atol=1e-4)
  assert np.abs(found - FLOATS).max() > 0.05
  np.testing.assert_allclose(
      loaded.augment(X, drawn(made, 3, 5, bank), strength), wanted, atol=1e-4)
  grey = loaded(X, 3, strength=strength, latents="bank" if bank else "prior")
  assert grey.dtype == np.uint8
  assert np.abs(grey - 255 * np.asarray(wanted)).max() < 0.51
  wide = loaded(X.astype(np.int32), 3, strength=strength,
                latents="bank" if bank else "prior")
  assert wide.dtype == np.int32
  np.testing.assert_array_equal(wide, grey)


def test_seeds_choose_latents_and_p_the_images(loaded):
  np.testing.assert_array_equal(loaded(X, 1), loaded(X, 1))
  assert (loaded(X, 1) != loaded(X, 2)).any(axis=(1, 2, 3)).all()
  np.testing.assert_array_equal(loaded(X[0], 1), loaded(X, 1)[0])  # one image alone
  np.testing.assert_array_equal(loaded(X, 1, p=0), X)
  np.testing.assert_array_equal(loaded(X, 1, strength=0), X)
  many = np.resize(X, (200, *X.shape[1:]))
  changed = (loaded(many, 5, p=0.3) != many).any(axis=(1, 2, 3))
  assert 0.2 < changed.mean() < 0.4
  np.testing.assert_array_equal(loaded(many, 5, p=0.3)[changed], loaded(many, 5)[changed])


def test_any_number_of_images_in_few_sizes():
  seen = set()

  def double(x, missing):
    assert missing is None
    seen.add(len(x))
    return 2 * x
  for count in (1, 3, 64, 65, 200):
    x = np.arange(count, dtype=np.float32)
    np.testing.assert_array_equal(learned.in_parts(double, x, None), 2 * x)
  assert seen == {1, 4, 8, 64}
  pair = learned.in_parts(lambda x: (x, -x), x)
  np.testing.assert_array_equal(pair[1], -x)
  assert isinstance(pair, tuple)


def test_it_is_pickled_by_its_folder(loaded):
  text = pickle.dumps(loaded)
  assert len(text) < 1000
  np.testing.assert_array_equal(pickle.loads(text)(X, 1), loaded(X, 1))


def test_a_fork_is_refused_in_place_of_a_deadlock(loaded, monkeypatch):
  loaded(X, 1)
  monkeypatch.setattr(os, "getpid", lambda: -1)
  with pytest.raises(UserError, match="multiprocessing_context='spawn'"):
    loaded(X, 1)


@pytest.mark.parametrize("arguments, words", [
    ({"seed": -1}, "seed=-1 is no whole number"), ({"seed": 0.5}, "seed=0.5 is no whole"),
    ({"strength": 2}, "strength=2 is not in"), ({"p": -0.1}, "p=-0.1 is not in"),
    ({"latents": "both"}, "latents='both' is neither"),
    ({"images": X[:, :4]}, "add the missing axes, or resize"),
    ({"images": 2 * FLOATS}, "outside 0..1")])
def test_mistakes_take_one_line(loaded, arguments, words):
  with pytest.raises(UserError, match=words) as error:
    loaded(**{"images": X, "seed": 0} | arguments)
  assert len(error.value.problems) == 1


def test_what_an_export_lacks_is_said(made, tmp_path):
  folder = tmp_path / "copy"
  shutil.copytree(made.folder, folder)
  with pytest.raises(UserError, match="F of the stage 'pretrain', not of 'retrain-gen"):
    export.load(folder, "retrain-generator")
  settings = json.loads((folder / programs.SETTINGS).read_text())
  # bank.npy may be left from an earlier export.
  write(folder, settings | {"bank": None, "functions": {"augmenter": ""}})
  with pytest.raises(UserError, match="latents='prior'"):
    export.load(folder)(X, 0)
  with pytest.raises(UserError, match="leave it at 1"):
    export.load(folder)(X, 0, strength=0.5, latents="prior")
  (folder / "augmenter.stablehlo").write_bytes(b"damaged")
  with pytest.raises(UserError, match="cannot be read"):
    export.load(folder)(X, 0, latents="prior")
  (folder / "augmenter.stablehlo").unlink()
  with pytest.raises(UserError, match="has no augmenter.stablehlo"):
    export.load(folder)
  (folder / programs.SETTINGS).write_text("{")
  with pytest.raises(UserError, match="is damaged"):
    export.load(folder)
  with pytest.raises(UserError, match="is no run folder"):
    export.load(tmp_path)


def write(folder, settings):
  (folder / programs.SETTINGS).write_text(json.dumps(settings))
