"""What a run has learned in torchvision's terms."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from augment_gen.augment import operators
from augment_gen.config.errors import UserError
from augment_gen.transforms import recipe


def amount(low, middle, high, share=0.54):
  found = {"share": share, "quantiles": [low, low, middle, high, high]}
  return {"bank": found, "prior": {**found, "share": 0.1}}


def operator(alive=True, **amounts):
  return {"alive": alive, "sentence": "It does.", "amounts": amounts}


@pytest.fixture
def run(tmp_path):
  """A folder with 56 pixels and some of what a run may have learned."""
  (tmp_path / "config.json").write_text(json.dumps(
      {"data": {"image_size": 56, "canvas": 0, "channels": 3}}))
  (tmp_path / "learned.json").write_text(json.dumps({"operators": {
      "occluders": operator(dark=amount(0.5, 1, 1), dark_tone=amount(0, 0.1, 0.2),
                            light=amount(0.5, 1, 1, share=0.01),
                            light_tone=amount(0, 0.9, 1, share=0.01),
                            side=amount(7, 7, 7)),
      "specks": operator(light=amount(1, 2, 3)),
      "geometry": operator(turn=amount(-2, 1, 9), right=amount(-2.8, 0, 1.4)),
      "blur": operator(defocus=amount(0.265, 0.5, 0.7), motion=amount(1, 2, 3),
                       turns=amount(0, 90, 180)),
      "tone": operator(exposure=amount(-1, 0, 1), gamma=amount(0.5, 1, 2),
                       contrast=amount(0.5, 1, 1.5), negative=amount(0.9, 1, 1)),
      "colour": operator(saturation=amount(0, 1, 1.5), hue=amount(-18, 9, 36)),
      "noise": operator(alive=False, read=amount(1, 2, 3)),
      "sharpening": operator(strength=amount(10, 50, 90)),
      "compression": operator(strength=amount(20, 40, 60)),
      "residual": operator()}}))
  return tmp_path


def test_ranges_probabilities_and_what_is_missing(run):
  found = recipe.as_torchvision_recipe(run)
  entries = {entry["of"][0]: entry for entry in found["transforms"]}
  # σ 0.265 to 0.7 px of 28 are twice that of 56 pixels.
  assert entries["blur.defocus"] == {
      "transform": "GaussianBlur", "p": 0.54, "of": ["blur.defocus"], "note": "",
      "arguments": {"kernel_size": 11, "sigma": (0.53, 1.4)}}
  assert entries["tone.exposure"]["arguments"] == {"brightness": (0.5, 2.0)}
  assert entries["geometry.turn"]["arguments"]["degrees"] == (-2.0, 9.0)
  assert entries["geometry.right"]["arguments"]["translate"] == (0.1, 0.0)
  erased = entries["occluders.dark"]["arguments"]
  assert erased["value"] == 26 and erased["scale"][0] == pytest.approx(0.0225)
  assert entries["tone.negative"]["transform"] == "RandomInvert"
  assert entries["colour.hue"]["arguments"] == {"hue": (-0.05, 0.1)}
  low, high = entries["compression.strength"]["arguments"]["quality"]
  assert 1 <= low < high <= 100
  assert not any(name.startswith(("noise", "occluders.light")) for name in entries)
  assert [(e["operator"], e["amounts"]) for e in found["without_counterpart"]] == [
      ("specks", ["light"]), ("blur", ["motion", "turns"]), ("residual", [])]
  prior = recipe.as_torchvision_recipe(run, "prior")
  assert {entry["p"] for entry in prior["transforms"]} == {0.1}
  assert json.loads(json.dumps(found))["image_size"] == 56


def test_the_text_is_a_module_of_torchvision(run):
  torch = pytest.importorskip("torch")
  text = recipe.as_python(recipe.as_torchvision_recipe(run))
  assert "#   specks (light): It does.\n" in text and "#   residual: It does.\n" in text
  module: dict = {}
  exec(compile(text, "recipe.py", "exec"), module)
  x = torch.randint(0, 256, (4, 3, 56, 56), dtype=torch.uint8)
  torch.manual_seed(0)
  found = module["recipe"](x)
  assert found.shape == x.shape and found.dtype == x.dtype and not torch.equal(found, x)


@pytest.mark.parametrize("name, amounts, same", [
    ("tone", {"exposure": -1.0}, lambda f, x: f.adjust_brightness(x, 0.5)),
    ("tone", {"gamma": 1.0}, lambda f, x: f.adjust_gamma(x, 2.0)),
    ("tone", {"negative": 1.0}, lambda f, x: f.invert(x)),
    ("geometry", {"turn": 20 / 360},
     lambda f, x: f.rotate(x, 20.0, f.InterpolationMode.BILINEAR)),
    ("colour", {"saturation": -0.5}, lambda f, x: f.adjust_saturation(x, 0.5)),
    ("blur", {"defocus": 1.0}, lambda f, x: f.gaussian_blur(x, [13, 13], [2.0, 2.0]))])
def test_counterparts_without_a_note_do_the_same(name, amounts, same):
  torch = pytest.importorskip("torch")
  from torchvision.transforms.v2 import functional
  x = np.random.default_rng(0).uniform(0.2, 0.8, (56, 56, 3)).astype(np.float32)
  (chosen,) = operators.chosen((name,), 3)
  ours = chosen.function(
      jnp.asarray(x), {a.name: jnp.float32(amounts.get(a.name, 0)) for a in chosen.amounts},
      jnp.zeros(0))
  theirs = same(functional, torch.from_numpy(np.moveaxis(x, -1, 0))).numpy()
  inner = (slice(8, -8), slice(8, -8))  # borders are reflected in two ways
  np.testing.assert_allclose(
      np.asarray(ours)[inner], np.moveaxis(theirs, 0, -1)[inner], atol=0.01)


def test_a_run_without_a_chain_has_none(tmp_path):
  with pytest.raises(UserError, match=r"no readable config\.json"):
    recipe.as_torchvision_recipe(tmp_path)
  (tmp_path / "config.json").write_text(
      '{"data": {"image_size": 28, "canvas": 0, "channels": 1}}')
  with pytest.raises(UserError, match=r"no learned\.json"):
    recipe.as_torchvision_recipe(tmp_path)
  (tmp_path / "learned.json").write_text('{"operators": {"blur": {"alive": true}}}')
  with pytest.raises(UserError, match="of another version of augment_gen: delete it"):
    recipe.as_torchvision_recipe(tmp_path)
