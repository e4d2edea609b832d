"""The learned augmentation in words and numbers.

A chain of operators has amounts with units. `describe` measures their distributions and
says in a sentence for each operator what it does to the images.
"""

from collections.abc import Mapping
import functools
from typing import Any

from jax.tree_util import Partial
import numpy as np

from augment_gen.evaluate.chunks import chunked
from augment_gen.models.operator_chain import OperatorChain, RESIDUAL
from augment_gen.run.forms import jit_quickly

PyTree = Any

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# An operator is alive if it changes images by this many grey levels of 255 on average.
ALIVE = 1.0
# A strength below this share of its span leaves an image as good as unchanged.
_TOUCHED = 0.01
# An amount is spoken of, and drawn, if it touches this share of the images.
SPOKEN_OF = 0.02
_CHUNK = 256
_BY_RESIDUAL = ("A U-Net changes all images by {} grey levels on average, in a way that no "
                "operator can say.")


def describe(chain: OperatorChain, params: PyTree, x: np.ndarray, z: np.ndarray,
             x_f: np.ndarray, bank: np.ndarray,
             true: Mapping[str, tuple[float, float]] | None = None) -> dict[str, Any]:
  """Describes what a trained chain does.

  Args:
    chain: G_A.
    params: its parameters.
    x: float32 [n, H, W, C] in [0, 1], images of X_p.
    z: float32 [n, Z], draws of the prior.
    x_f: float32 [m, H, W, C] in [0, 1], images of X̃_f.
    bank: float32 [m, Z], their latents G_L(x̃).
    true: the true ranges of amounts, if known (`implicit.TRUE_RANGES`).

  Returns:
    JSON values: {"units": …, "operators": {NAME: {"alive": bool, "edit": mean change by
    the operator alone in grey levels of 255, "sentence": str, "amounts": {AMOUNT:
    {"says", "prior": {"share", "quantiles"}, "bank": likewise, "true": [low, high] or
    None}}}}}. A residual U-Net stands beside the operators, as RESIDUAL, without amounts.
    "quantiles" are those of QUANTILES over the touched images, in the unit
    of "says". Lengths are in pixels of a 28 x 28 image.
  """
  prior, of_bank = _amounts(chain, params, x, z), _amounts(chain, params, x_f, bank)
  operators = {}
  for operator in chain.operators:
    edit = 255 * _edit(chain, params, x, z, operator.name)
    amounts = {}
    for amount in operator.amounts:
      name = f"{operator.name}.{amount.name}"
      amounts[amount.name] = {
          "says": amount.says,
          "prior": _distribution(operator, amount, prior),
          "bank": _distribution(operator, amount, of_bank),
          "true": list((true or {}).get(name, ())) or None}
    operators[operator.name] = {
        "alive": edit >= ALIVE, "edit": edit,
        "sentence": _sentence(operator, amounts) if edit >= ALIVE else "",
        "amounts": amounts}
  if chain.residual is not None:
    edit = 255 * _edit(chain, params, x, z, RESIDUAL)
    operators[RESIDUAL] = {
        "alive": edit >= ALIVE, "edit": edit, "amounts": {},
        "sentence": _BY_RESIDUAL.format(_plain(edit)) if edit >= ALIVE else ""}
  return {"quantiles": list(QUANTILES), "operators": operators}


def sentences(described: Mapping[str, Any]) -> list[str]:
  """The sentences of the operators that are alive, the strongest first.

  The last one names the strengths that nobody misses.
  """
  alive = [o for o in described["operators"].values() if o["sentence"]]
  said = [o["sentence"] for o in sorted(alive, key=lambda o: -o["edit"])]
  if unneeded := described.get("unneeded"):
    said.append(f"X̃_f is drawn as well without {', '.join(unneeded)}.")
  return said


def _amounts(chain, params, x: np.ndarray, z: np.ndarray) -> dict[str, np.ndarray]:
  found = jit_quickly(functools.partial(chain.apply, method="amounts"))(
      {"params": params}, z, x)
  return {name: np.asarray(values) for name, values in found.items()}


def _edit(chain, params, x: np.ndarray, z: np.ndarray, only: str) -> float:
  """Mean |change| by one operator alone."""
  change = lambda params, x, z: abs(
      chain.apply({"params": params}, x, z, only) - x).mean(axis=(1, 2, 3))
  return float(np.mean(chunked(Partial(change, params), _CHUNK)(x, z), dtype=np.float64))


def _touched(operator, amount, values) -> np.ndarray:
  """Images on which a strength is not 0, or on which another amount acts, [n]."""
  touched = lambda name: np.abs(values[f"{operator.name}.{name}"]) > _TOUCHED * next(
      a.span for a in operator.amounts if a.name == name)
  return np.any([touched(name) for name in amount.shown_by or (amount.name,)], axis=0)


def _distribution(operator, amount, values) -> dict[str, Any]:
  touched = _touched(operator, amount, values)
  found = amount.reads(values[f"{operator.name}.{amount.name}"][touched])
  return {"share": float(touched.mean()),
          "quantiles": [float(v) for v in np.quantile(found, QUANTILES)]
          if len(found) else None}


def _sentence(operator, amounts) -> str:
  """One sentence about an operator, from the distributions of its amounts; "": none."""
  clauses = []
  for amount in operator.amounts:
    prior = amounts[amount.name]["prior"]
    if prior["share"] < SPOKEN_OF:
      continue
    low, high = (_plain(prior["quantiles"][i]) for i in (0, -1))
    if amount.strength and {low, high} == {_plain(float(amount.reads(np.float64(0))))}:
      continue  # "to 1 of what it was"
    clauses.append(amount.says.format(
        share=f"about {100 * prior['share']:.0f} % of the images",
        range=low if low == high else f"{low} to {high}"))
  sentence = "; ".join(clauses)
  return sentence and sentence[0].upper() + sentence[1:] + "."


def _plain(value: float) -> str:
  """A number with two significant digits, and no exponent."""
  return f"{float(f'{value:.2g}'):g}"
