"""What came of a run, in words: did the augmentation help, is the generator healthy?

The numbers decide alone what is said. A difference is called clear if its 95 % interval
over seeds leaves out 0. For one seed, where there is no such interval, it must exceed two
standard errors of an accuracy on so many test images, which leaves the spread over seeds
out: the words say so.
"""

from collections.abc import Iterator, Sequence
import dataclasses
import math
from typing import Any

import numpy as np

from augment_gen import tables
from augment_gen.evaluate import amounts, encoder_health, health
from augment_gen.report.record import Record
from augment_gen.tables import augmentation_generator, crl_tac, statistics
from augment_gen.tables import results as results_lib

GOOD, BAD, OPEN = "good", "bad", "open"
# Rows that CRL-TAC is compared with: (method, crops), in words, and whether it is SimCLR.
_RIVALS = ((("SimCLR", "uniform"), "SimCLR on uniform crops", True),
           (("SimCLR, own windows", "own uniform"), "SimCLR on windows of its own", True),
           (("SimCLR", "P"), "SimCLR's encoder on the same crops", False),
           (("untrained encoder", "P"), "an untrained encoder on the same crops", False))
_OURS = ("CRL-TAC", "P")


@dataclasses.dataclass(frozen=True)
class Verdict:
  """What is said of results.

  Attributes:
    tone: GOOD, BAD or OPEN.
    headline: one sentence.
    said: further sentences.
  """
  tone: str
  headline: str
  said: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class _Difference:
  """A difference of accuracies in percentage points, and how sure it is."""
  points: float
  clear: bool
  note: str  # on how sure it is

  @property
  def tone(self) -> str:
    return OPEN if not self.clear else GOOD if self.points > 0 else BAD


def of_results(records: Sequence[Record]) -> Verdict:
  """Whether what was learned has helped, over all seeds of the runs."""
  results = [record.results for record in records if record.results]
  if not any(result["rows"] for result in results):
    return Verdict(OPEN, "Nothing has been evaluated yet: there are no accuracies.", [
        "The same command goes on with the run, up to its stage evaluate."])
  protocol = tables.protocols(results)[0]
  of_policy, others = tables.by_method(results)
  parts = [part for chosen, judge in ((others, _of_generator), (of_policy, _of_policy))
           if chosen for part in judge(chosen, protocol)]
  tones = {part.tone for part in parts}
  return Verdict(tones.pop() if len(tones) == 1 else OPEN,
                 " ".join(part.headline for part in parts),
                 [line for part in parts for line in part.said])


def _of_generator(results: list[dict[str, Any]], protocol: str) -> Iterator[Verdict]:
  found = augmentation_generator.gains(results, protocol)
  if not any(gain.rival == "best control" for gain in found):
    yield Verdict(OPEN, "Whether the learned augmentation helped cannot be said: there is "
                  "no row with G_A beside a control.")
    return
  by_pretrainer: dict[tuple[str, bool], list[augmentation_generator.Gain]] = {}
  for gain in found:
    by_pretrainer.setdefault(gain.ours.start, []).append(gain)
  for (base, saw_finetune), gains in by_pretrainer.items():
    with_base = f"With {base}{' on X_p ∪ X̃_f' * saw_finetune}, "
    judged = _of_pretrainer(gains, results, protocol,
                            with_base if len(by_pretrainer) > 1 else "")
    if judged:
      yield judged


def _of_pretrainer(gains: Sequence[augmentation_generator.Gain], results, protocol: str,
                   beginning: str) -> Verdict | None:
  """Whether G_A has helped one pre-trainer; `beginning`: of all sentences."""
  of_controls = [gain for gain in gains if gain.rival == "best control"]
  if not of_controls:
    return None
  # Latents of the bank, as in the paper, unless there are only others.
  first = min((gain.ours.kind for gain in of_controls), key=len)
  leading = [gain for gain in of_controls if gain.ours.kind == first]
  judged = [(gain, _of_gain(gain, results, protocol)) for gain in leading]
  tones = [difference.tone for _, difference in judged]
  verb = {GOOD: "helped", BAD: "cost accuracy",
          OPEN: "made no clear difference"}.get(
              tones[0] if len(set(tones)) == 1 else "",
              "helped on some test sets only" if GOOD in tones else
              "helped on no test set")
  several = len({gain.column.experiment for gain in leading}) > 1
  # "D → C" is not to be broken over lines.
  where = lambda gain: (f"{gain.column.experiment}, " if several else "") + str(
      gain.column).replace(" ", "\N{NO-BREAK SPACE}")
  the = "the" if beginning else "The"
  return Verdict(
      tones[0] if len(set(tones)) == 1 else OPEN,
      f"{beginning}{the} learned augmentation {verb}: " + ", ".join(
          f"{difference.points:+.1f} points on {where(gain)}"
          for gain, difference in judged) + " against the best control.",
      [f"{where(gain)}: {gain.ours.method} has {gain.accuracies[0]:.1f} %, the best "
       f"control, {gain.best.method}, {gain.accuracies[1]:.1f} % ({difference.note})."
       for gain, difference in judged]
      + [f"{beginning}{text[:1].lower() if beginning else text[:1]}{text[1:]}"
         for text in _of_pretraining(leading)]
      + [_of_rival(gain, where(gain)) for gain in gains
         if gain.ours.kind == first and gain.rival != "best control"])


def _of_pretraining(gains: Sequence[augmentation_generator.Gain]) -> Iterator[str]:
  """What is to be said if no pre-trained encoder is as good as an untrained one."""
  if all(gain.best.encoder == results_lib.UNTRAINED for gain in gains):
    yield ("The best control is an encoder that was not trained at all: pre-training has "
           "learned something else than these classes. X_p may be too small, or show the "
           "same things again and again (methods such as MoCo take each image for a class "
           "of its own), or stage 1 was too short.")


def _of_rival(gain: augmentation_generator.Gain, where: str) -> str:
  if gain.rival == "oracle":
    return (f"{where}: the true augmentation ({gain.best.method}) has "
            f"{gain.accuracies[1]:.1f} %, {-gain.points:+.1f} points against the learned "
            "one.")
  return (f"{where}: an untrained G_A, as strong ({gain.best.method}), has "
          f"{gain.accuracies[1]:.1f} %; training G_A is worth {gain.points:+.1f} points.")


def _of_gain(gain: augmentation_generator.Gain, results, protocol: str) -> _Difference:
  here = [result for result in results if result["experiment"] == gain.column.experiment]
  images = _test_images(here, protocol, train=gain.column.train, test=gain.column.test,
                        method=gain.ours.method)
  return _difference(gain.accuracies, gain.difference, images)


def _test_images(results, protocol: str, **fields: str) -> int | None:
  """The test images of the rows that have these fields."""
  return next((row["test_images"] for result in results for row in result["rows"]
               if row["protocol"] == protocol and "test_images" in row
               and all(row.get(name) == value for name, value in fields.items())), None)


def _difference(accuracies: tuple[float, float], paired: statistics.Difference | None,
                images: int | None) -> _Difference:
  points = accuracies[0] - accuracies[1]
  if paired is not None:
    low, high = paired.interval
    note = ("no spread over the seeds" if math.isnan(low) else
            f"95 % interval over {len(paired.values)} seeds: {low:+.1f} to {high:+.1f}")
    return _Difference(points, low > 0 or high < 0, note)
  if not images:
    return _Difference(points, False, "one seed, and the number of test images is unknown")
  shares = np.array(accuracies) / 100
  error = 100 * float(np.sqrt(np.sum(shares * (1 - shares)) / images))
  clear = abs(points) > 2 * error
  return _Difference(points, clear, f"one seed; with {images} test images, two standard "
                     f"errors are {2 * error:.1f} points")


def _of_policy(results: list[dict[str, Any]], protocol: str) -> Iterator[Verdict]:
  for experiment, cells in crl_tac.cells_by_experiment(results, protocol).items():
    here = [result for result in results if result["experiment"] == experiment]
    said: list[str] = []
    leading: dict[str, tuple[float, str, _Difference]] = {}
    for rival, words, is_simclr in _RIVALS:
      parts = []
      for feature in ("f", "head"):
        ours, theirs = (cells.get((*row, feature)) for row in (_OURS, rival))
        if not ours or not theirs or not ours.keys() & theirs.keys():
          continue
        means = _means(ours, theirs)
        difference = _difference(means, statistics.paired_difference(ours, theirs),
                                 _test_images(here, protocol, method=_OURS[0]))
        on = {"f": "f", "head": "the projection head"}[feature]
        parts.append(f"{difference.points:+.1f} points on {on} ({means[0]:.1f} against "
                     f"{means[1]:.1f} %; {difference.note})")
        if is_simclr and (feature not in leading
                          or means[1] > leading[feature][0]):
          leading[feature] = means[1], words, difference
      if parts:
        said.append(f"Against {words}: {', '.join(parts)}.")
    said += [f"P on the images of test {name}: entropy {found['entropy']:.2f} nats; "
             f"{100 * found['mass_on_content']:.0f} % of its mass lies on crops that hold "
             "at least half of the content." for result in here
             for name, found in result.get("policy", {}).items()]
    if not leading:
      yield Verdict(OPEN, f"{experiment}: there is no row of CRL-TAC beside one of "
                    "SimCLR.", said)
      continue
    _, words, difference = leading.get("f") or next(iter(leading.values()))
    verb = {GOOD: "is better than", BAD: "is worse than",
            OPEN: "does not differ clearly from"}[difference.tone]
    yield Verdict(difference.tone, f"CRL-TAC {verb} {words}: {difference.points:+.1f} "
                  "points.", said)


def _means(ours: dict[int, float], theirs: dict[int, float]) -> tuple[float, float]:
  """Means over common seeds."""
  common = sorted(ours.keys() & theirs.keys())
  return tuple(float(np.mean([of[seed] for seed in common]))  # type: ignore[return-value]
               for of in (ours, theirs))


def of_health(record: Record) -> Verdict:
  """Whether the generator is healthy, with a warning for each number that is not."""
  measured = record.health
  if not measured:
    return Verdict(OPEN, "The health of the generator was not measured: stage 2 has not "
                   "come to its end.")
  judged = [name for name in health.BOUNDS
            if name in measured and name not in health.moot(measured)]
  warnings = health.warnings(measured)
  unknown = health.unmeasured(measured)
  rest = ([f"Not measured, for want of a clean X_f or of any edit: {', '.join(unknown)}."]
          if unknown else [])
  if not warnings:
    return Verdict(GOOD, f"The generator is healthy: all {len(judged)} numbers lie in "
                   "their ranges. Look at its pictures, too.", rest)
  return Verdict(BAD, f"The generator is not healthy: {len(warnings)} of {len(judged)} "
                 "numbers lie outside their ranges. A gain without health is not a "
                 "learned augmentation.", [_sentence(text) for text in warnings] + rest)


def of_learned(record: Record) -> list[str]:
  """What G_A has learned, in sentences; empty if it has no amounts with names."""
  if record.learned is None:
    return []
  return amounts.sentences(record.learned) or ["Nothing: no operator is alive."]


def of_encoders(record: Record) -> list[str]:
  """Warnings about encoders that may have collapsed."""
  gauges = (record.results or {}).get("gauges", {})
  return [f"{stage}: {text}." for stage, measured in gauges.items()
          for text in encoder_health.warnings(measured)]


def _sentence(text: str) -> str:
  """With a capital letter, unless it begins with a symbol, and a full stop."""
  return text[:1].upper() + text[1:] + "."
