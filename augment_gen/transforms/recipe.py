"""The learned augmentation in words of torchvision, for programs without this package.

Many operators have a near counterpart in torchvision.transforms.v2. What a run has
learned of their amounts (learned.json) then fits in a few lines:

    v2.RandomApply([v2.GaussianBlur(kernel_size=9, sigma=(0.53, 1.4))], p=0.54)

A recipe is less than G_A: torchvision draws uniformly from a range, here the middle
90 %, and every amount by itself. Operators without a counterpart are listed as such.
"""

from collections.abc import Callable, Iterator, Mapping
import json
import math
import os
import pathlib
from typing import Any

from augment_gen.config.errors import UserError
from augment_gen.run.folder import LEARNED, read_config

_SIDE = 28  # lengths in learned.json are pixels of such an image
_RARE = 0.02  # share of the images below which an amount is left out
_INVERTED = 0.9  # of the way to the negative that counts as one
_RECTANGLE = (0.6, 1.4)  # sides of an occluder, in units of its amount (operators/marks.py)
_FINEST_STEP = 99  # of JPEG's luminance table at quality 50


class _Amount:
  """The distribution of an amount on the images that it touches."""

  def __init__(self, described: Mapping[str, Any]):
    self.p = round(described["share"], 2)
    quantiles = described["quantiles"] or [0.0] * 5
    self.low, self.middle, self.high = quantiles[0], quantiles[2], quantiles[-1]

  def range(self, convert: Callable[[float], float] = lambda v: v) -> tuple[float, float]:
    return _short(convert(self.low)), _short(convert(self.high))


Amounts = Mapping[str, _Amount]  # those that are not rare, by name
# (amounts of an operator, side of the images) -> entries, see `as_torchvision_recipe`.
Translation = Callable[[Amounts, int], Iterator[dict[str, Any]]]


def as_torchvision_recipe(run: str | os.PathLike[str], latents: str = "bank"
                          ) -> dict[str, Any]:
  """The operators that are alive in a run, as transforms of torchvision.

  Args:
    run: the folder of a run whose G_A is a chain of operators.
    latents: "bank" or "prior": whose amounts.

  Returns:
    JSON values: {"image_size", "channels", "latents", "transforms": [{"transform": name
    in torchvision.transforms.v2, or "RandomGamma" (see `as_python`), "arguments", "p",
    "of": [OPERATOR.AMOUNT, …], "note": in which way it differs, "" if in none}, …], in
    the order of the chain, "without_counterpart": [{"operator", "amounts", "sentence"},
    …]}. The transforms are for uint8 tensors.

  Raises:
    UserError: the folder has no config.json or no learned.json that can be read.
  """
  folder = pathlib.Path(run)
  data = read_config(folder)["data"]
  try:
    operators = json.loads(
        (folder / LEARNED).read_text(encoding="utf-8"))["operators"]
  except (OSError, ValueError, KeyError):
    raise UserError(
        f"{folder} has no {LEARNED} that can be read: only a run whose G_A is a chain "
        "of operators, and whose stage 2 is finished, has a recipe") from None
  side = data["canvas"] or data["image_size"]
  try:
    transforms, missing = _translated(operators, latents, side)
  except (KeyError, TypeError):
    raise UserError(
        f"{folder / LEARNED} is of another version of augment_gen: delete it and give the "
        "run's command again, which describes what was learned anew") from None
  return {"image_size": side, "channels": data["channels"], "latents": latents,
          "transforms": transforms, "without_counterpart": missing}


def _translated(operators: Mapping[str, Any], latents: str, side: int
                ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
  """"transforms" and "without_counterpart" of a recipe."""
  transforms: list[dict[str, Any]] = []
  missing = []
  for name, operator in operators.items():
    if not operator["alive"]:
      continue
    amounts = {amount: _Amount(described[latents])
               for amount, described in operator["amounts"].items()
               if described[latents]["share"] >= _RARE}
    entries = list(_TRANSLATIONS.get(name, _nothing)(amounts, side))
    transforms += [{**entry, "of": [f"{name}.{amount}" for amount in entry["of"]]}
                   for entry in entries]
    said = {amount for entry in entries for amount in entry["of"]}
    left = [amount for amount in amounts
            if amount not in said | _SAID_WITH.get(name, set())]
    if left or not operator["amounts"]:  # a residual has no amounts
      missing.append({"operator": name, "amounts": left,
                      "sentence": operator["sentence"]})
  return transforms, missing


def as_python(recipe: Mapping[str, Any]) -> str:
  """A recipe as a Python module that has `recipe`, a `v2.Compose`."""
  lines = ['"""What a run of augment_gen has learned, as far as torchvision has it."""', ""]
  gamma = any(e["transform"] == "RandomGamma" for e in recipe["transforms"])
  lines += ["import torch"] * gamma + ["from torchvision.transforms import v2", ""]
  lines += _GAMMA * gamma
  lines += ["", f"# For uint8 tensors [..., {recipe['channels']}, {recipe['image_size']}, "
            f"{recipe['image_size']}].", "recipe = v2.Compose(["]
  for entry in recipe["transforms"]:
    name = entry["transform"] if entry["transform"] == "RandomGamma" else (
        f"v2.{entry['transform']}")
    arguments = ", ".join(f"{key}={value!r}" for key, value in entry["arguments"].items())
    note = f": {entry['note']}" if entry["note"] else ""
    lines += [f"    # {', '.join(entry['of'])}{note}",
              f"    v2.RandomApply([{name}({arguments})], p={entry['p']}),"]
  lines.append("])")
  if not recipe["transforms"]:
    lines[-2:] = ["recipe = v2.Identity()"]
  if recipe["without_counterpart"]:
    lines += ["", "# torchvision has no counterpart of:"]
  for entry in recipe["without_counterpart"]:
    of = f" ({', '.join(entry['amounts'])})" if entry["amounts"] else ""
    lines.append(f"#   {entry['operator']}{of}: {entry['sentence']}")
  return "\n".join(lines) + "\n"


_GAMMA = '''
class RandomGamma(v2.Transform):
  """x ** g, with g uniform in a range."""

  def __init__(self, gamma):
    super().__init__()
    self.gamma = gamma

  def make_params(self, flat_inputs):
    return {"gamma": float(torch.empty(()).uniform_(*self.gamma))}

  def transform(self, inpt, params):
    return v2.functional.adjust_gamma(inpt, params["gamma"])
'''.splitlines()


def _entry(transform: str, amount: _Amount, of: tuple[str, ...], note: str = "",
           **arguments: Any) -> dict[str, Any]:
  return {"transform": transform, "arguments": arguments, "p": amount.p, "of": [*of],
          "note": note}


def _nothing(amounts: Amounts, side: int) -> Iterator[dict[str, Any]]:
  del amounts, side
  yield from ()


def _occluders(amounts: Amounts, side: int) -> Iterator[dict[str, Any]]:
  del side
  if "side" not in amounts:
    return
  sides = amounts["side"]
  small, large = _RECTANGLE
  for shade in ("dark", "light"):
    if shade in amounts:
      yield _entry(
          "RandomErasing", amounts[shade], (shade, f"{shade}_tone", "side"),
          "one rectangle, opaque, and never cut off by the border",
          p=1.0, scale=(_short((small * sides.low / _SIDE)**2),
                        _short(min(1.0, (large * sides.high / _SIDE)**2))),
          ratio=(_short(small / large), _short(large / small)),
          value=round(255 * amounts[f"{shade}_tone"].middle))


def _geometry(amounts: Amounts, side: int) -> Iterator[dict[str, Any]]:
  del side
  if "turn" in amounts:
    yield _entry("RandomRotation", amounts["turn"], ("turn",), "black corners",
                 degrees=amounts["turn"].range(), interpolation=2)
  for name, place in (("right", 0), ("down", 1)):
    if name in amounts:
      reach = max(map(abs, amounts[name].range(lambda px: px / _SIDE)))
      translate = [0.0, 0.0]
      translate[place] = reach
      yield _entry("RandomAffine", amounts[name], (name,), "to both sides, black borders",
                   degrees=0, translate=tuple(translate), interpolation=2)
  if "zoom" in amounts:
    yield _entry("RandomAffine", amounts["zoom"], ("zoom",), "black borders",
                 degrees=0, scale=amounts["zoom"].range(), interpolation=2)


def _blur(amounts: Amounts, side: int) -> Iterator[dict[str, Any]]:
  if "defocus" in amounts:
    sigma = amounts["defocus"].range(lambda px: px * side / _SIDE)
    size = min(2 * math.ceil(3 * sigma[1]) + 1, side - 1 + side % 2)
    yield _entry("GaussianBlur", amounts["defocus"], ("defocus",), kernel_size=size,
                 sigma=sigma)


def _tone(amounts: Amounts, side: int) -> Iterator[dict[str, Any]]:
  del side
  if "gamma" in amounts:
    yield _entry("RandomGamma", amounts["gamma"], ("gamma",),
                 gamma=amounts["gamma"].range())
  if "exposure" in amounts:
    yield _entry("ColorJitter", amounts["exposure"], ("exposure",),
                 brightness=amounts["exposure"].range(lambda stops: 2.0**stops))
  if "contrast" in amounts:
    yield _entry("ColorJitter", amounts["contrast"], ("contrast",),
                 "about the mean of the image, not about middle grey",
                 contrast=amounts["contrast"].range())
  if "negative" in amounts and amounts["negative"].middle >= _INVERTED:
    yield _entry("RandomInvert", amounts["negative"], ("negative",), p=1.0)


def _colour(amounts: Amounts, side: int) -> Iterator[dict[str, Any]]:
  del side
  if "hue" in amounts:
    yield _entry("ColorJitter", amounts["hue"], ("hue",),
                 "in HSV, not in YIQ, so that brightness changes",
                 hue=amounts["hue"].range(lambda degrees: degrees / 360))
  if "saturation" in amounts:
    yield _entry("ColorJitter", amounts["saturation"], ("saturation",),
                 saturation=amounts["saturation"].range())


def _noise(amounts: Amounts, side: int) -> Iterator[dict[str, Any]]:
  del side
  if "read" in amounts:
    yield _entry("GaussianNoise", amounts["read"], ("read",),
                 "the median σ, where the run has a range",
                 sigma=_short(amounts["read"].middle / 255))


def _sharpening(amounts: Amounts, side: int) -> Iterator[dict[str, Any]]:
  del side
  if "strength" in amounts:
    yield _entry("RandomAdjustSharpness", amounts["strength"], ("strength",),
                 "the median strength; a filter of 3 × 3 pixels",
                 sharpness_factor=_short(1 + amounts["strength"].middle / 100), p=1.0)


def _compression(amounts: Amounts, side: int) -> Iterator[dict[str, Any]]:
  del side
  if "strength" in amounts:
    yield _entry("JPEG", amounts["strength"], ("strength",),
                 "matched at the finest detail, where JPEG rounds what the run lets fade",
                 quality=(_quality(amounts["strength"].high),
                          _quality(amounts["strength"].low)))


def _quality(level: float) -> int:
  """The quality at which JPEG rounds coefficients below `level` of 255 to 0.

  It rounds what is below half a step. The steps of quality q are those of quality 50
  times 50 / q below 50, and times 2 − q / 50 above.
  """
  scale = 2 * level / _FINEST_STEP
  return round(min(100.0, max(1.0, 50 / scale if scale > 1 else 100 - 50 * scale)))


_TRANSLATIONS: Mapping[str, Translation] = {
    "occluders": _occluders, "geometry": _geometry, "blur": _blur, "tone": _tone,
    "colour": _colour, "noise": _noise, "sharpening": _sharpening,
    "compression": _compression}
# Amounts that say how others act.
_SAID_WITH = {"occluders": {"dark_tone", "light_tone", "side"}}


def _short(value: float) -> float:
  """A number with three significant digits."""
  return float(f"{value:.3g}")
