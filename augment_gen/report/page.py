"""The page: sections in order, in one HTML file that needs nothing else."""

from collections.abc import Iterator, Sequence
import importlib.resources
import itertools
from typing import Any

from markupsafe import Markup

from augment_gen import config as config_lib
from augment_gen import tables
from augment_gen.evaluate import health
from augment_gen.figures import curves
from augment_gen.figures.canvas import Svg
from augment_gen.report import gallery, verdict
from augment_gen.report.html import breakable, bullets, paragraphs, table, tag
from augment_gen.report.record import Record
from augment_gen.run.folder import differences
from augment_gen.run.progress import duration
from augment_gen.tables import augmentation_generator, crl_tac, layout

_TONES = {verdict.GOOD: "good", verdict.BAD: "bad", verdict.OPEN: "open"}


def page(records: Sequence[Record]) -> str:
  """The whole page, for one run or several."""
  first = records[0]
  title = first.title if len(records) == 1 else f"{len(records)} runs"
  if len(records) == 1:
    body = list(_run(first, "", whole=True))
  else:
    body = [_section("Verdict over all runs", "verdict", *_verdict(records)),
            _section("Results", "results", *_results(records))]
    for number, record in enumerate(records):
      body += [tag("h1", record.title, id=f"run{number}"),
               tag("p", str(record.path), class_="note"),
               *_run(record, f"run{number}-", whole=False)]
  style = importlib.resources.files(__package__).joinpath("style.css").read_text(
      encoding="utf-8")
  head = Markup(
      '<meta charset="utf-8"><meta name="viewport" content="width=device-width, '
      'initial-scale=1"><meta name="color-scheme" content="light dark">'
      '<link rel="icon" href="data:,">')
  return Markup('<!DOCTYPE html>\n<html lang="en">{}{}</html>\n').format(
      tag("head", head, tag("title", title), tag("style", Markup(style))),
      tag("body", tag("header", tag("p", "augment_gen, report"), tag("h1", title),
                      _contents(records)),
          tag("main", *body)))


def _contents(records: Sequence[Record]) -> Markup:
  """Links to the sections, or to the runs."""
  if len(records) > 1:
    links = [("verdict", "Verdict"), ("results", "Results"), *(
        (f"run{number}", record.title) for number, record in enumerate(records))]
  else:
    links = [("verdict", "Verdict"), ("results", "Results"), ("curves", "Curves"),
             ("gallery", "Gallery"), ("settings", "Settings"),
             ("provenance", "Provenance")]
  return tag("nav", *(tag("a", words, href=f"#{name}") for name, words in links),
             aria_label="sections")


def _run(record: Record, prefix: str, whole: bool) -> Iterator[Markup]:
  """The sections of a run; `whole`: with the table, which several runs share."""
  yield _section("Verdict", f"{prefix}verdict", *_verdict([record]), *_of_run(record))
  if whole:
    yield _section("Results", f"{prefix}results", *_results([record]))
  yield _section("Curves", f"{prefix}curves", *_curves(record))
  yield _section("Gallery", f"{prefix}gallery", *gallery.figures(record))
  yield _section("Settings", f"{prefix}settings", *_settings(record))
  yield _section("Provenance", f"{prefix}provenance", *_provenance(record))


def _section(title: str, name: str, *content: Markup) -> Markup:
  return tag("section", tag("h2", title), *content, id=name)


def _said(said: verdict.Verdict) -> Markup:
  return tag("div", tag("p", said.headline, class_="headline"), bullets(said.said),
             class_=f"verdict {_TONES[said.tone]}")


def _verdict(records: Sequence[Record]) -> Iterator[Markup]:
  yield _said(verdict.of_results(records))


def _of_run(record: Record) -> Iterator[Markup]:
  """What is said of one run alone: health, what was learned, the encoders."""
  if record.has_generator:
    yield _said(verdict.of_health(record))
    if record.health:
      yield tag("details", tag("summary", "The health numbers and their ranges"),
                _health_table(record.health))
    if learned := verdict.of_learned(record):
      yield tag("h3", "What G_A has learned")
      yield bullets(learned)
  if warnings := verdict.of_encoders(record):
    yield tag("h3", "Warnings about encoders")
    yield bullets(warnings)


def _health_table(measured: dict[str, float]) -> Markup:
  body: list[list[object]] = [["number", "measured", "healthy", ""]]
  skipped = health.moot(measured)
  for name, value in measured.items():
    bound = None if name in skipped else health.BOUNDS.get(name)
    healthy = bound is None or bound.complaint(name, value) is None
    body.append([name, f"{value:.3g}", bound.range_words if bound else "-",
                 "" if bound is None else "yes" if healthy else
                 tag("strong", "no")])
  return table(body, "health of the generator")


def _results(records: Sequence[Record]) -> Iterator[Markup]:
  results = [record.results for record in records if record.rows and record.results]
  if not results:
    yield tag("p", "There are no rows yet.")
    return
  protocol = tables.protocols(results)[0]
  of_policy, others = tables.by_method(tables.having(results, protocol))
  for warning in tables.mixture_problems(results, protocol):
    yield tag("p", tag("strong", "Warning: "), warning, ".")
  if others:
    yield from _table(augmentation_generator.of_results(others, protocol),
                      "accuracies")
  for found in crl_tac.of_results(of_policy, protocol) if of_policy else ():
    yield from _table(found, "accuracies of CRL-TAC")
  if of_policy:
    yield tag("p", f"Accuracy in percent; protocol: {protocol}.", class_="note")
  rest = sorted({row["protocol"] for result in results for row in result["rows"]}
                - {protocol})
  if rest:
    yield tag("p", f"results.json also has the protocols {', '.join(rest)}: augment-gen "
              "tables DIR --protocol=NAME prints them.", class_="note")


def _table(found: layout.Table, title: str) -> Iterator[Markup]:
  body = [[tag("strong", cell) if isinstance(cell, layout.Bold) else cell
           for cell in row] for row in found.body]
  yield table(body, title, found.labels, found.above)
  said = (note for note in found.notes if note)
  for is_entry, group in itertools.groupby(said, lambda note: note.startswith("  ")):
    notes = [note.strip() for note in group]
    yield bullets(notes) if is_entry else paragraphs(notes)


def _curves(record: Record) -> Iterator[Markup]:
  stages = curves.panels(record.metrics)
  if not stages:
    yield tag("p", "Nothing was measured twice: there are no curves.")
  for stage, panels in stages.items():
    drawn = []
    for panel in panels:
      names = ", ".join(curve.name for curve in panel.curves)
      svg = Svg(curves.WIDTH, curves.HEIGHT, f"{panel.title} over steps: {names}")
      curves.draw(panel, svg)
      drawn.append(tag("div", Markup(svg.element()), class_="drawing"))
    yield tag("h3", stage)
    yield tag("div", *drawn, class_="panels")


def _settings(record: Record) -> Iterator[Markup]:
  default = config_lib.plain(config_lib.default_config())
  found = sorted(differences(default, record.config))
  if not found:
    yield tag("p", "All settings are the defaults.")
    return
  count = f"{len(found)} settings differ" if len(found) > 1 else "1 setting differs"
  yield tag("p", f"{count} from the defaults of today's code.")
  yield table([["setting", "here", "default"], *(
      [breakable(name), _value(here), _value(there)] for name, there, here in found)],
      "settings that differ from the defaults", labels=3)


def _value(value: Any) -> str:
  return "-" if value is None else repr(value) if value == "" else str(value)


def _provenance(record: Record) -> Iterator[Markup]:
  for number, start in enumerate(record.starts, start=1):
    entries = {
        "began": start.get("time"), "command": tag("code", start.get("command", "-")),
        "commit": start.get("commit") or "unknown",
        "took": duration(start.get("seconds")),
        "finished": "yes" if start.get("finished") else "no",
        "devices": ", ".join(start.get("devices", [])),
        "versions": ", ".join(f"{name} {version}" for name, version in
                              start.get("versions", {}).items())}
    if len(record.starts) > 1:
      yield tag("h3", f"Start {number}")
    yield _entries(entries, f"start {number}")
  known = (record.results or {}).get("provenance", {})
  entries = {f"images of {name}": value for name, value in record.fingerprints.items()}
  if isinstance(known.get("config"), str):
    entries["the config"] = known["config"]
  if isinstance(known.get("protocols"), dict):
    entries |= {f"protocol {name}": value for name, value in known["protocols"].items()}
  if entries:
    yield tag("h3", "Fingerprints")
    yield _entries(entries, "fingerprints")
  if not record.starts:
    yield tag("p", "environment.json is missing: how the run was started is not known.")


def _entries(entries: dict[str, Any], title: str) -> Markup:
  return table([["entry", "value"], *map(list, entries.items())], title, labels=2)
