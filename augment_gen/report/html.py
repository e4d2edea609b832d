"""Elements of the page. Text is escaped by MarkupSafe, unless it is `Markup` already."""

import base64
from collections.abc import Iterable, Sequence
import io
import pathlib
import re

from markupsafe import escape, Markup
from PIL import Image

_AS_IT_IS = 200_000  # bytes; larger files are encoded anew
_LOSSLESS = 400_000
_WIDEST = 2400  # pixels
_WEBP = 16383  # pixels of a side, at most
_SCALE = 1.4  # pixels of a sheet to a pixel of the page


def tag(name: str, *children: object, **attributes: object) -> Markup:
  """An element.

  Args:
    name: of the tag.
    *children: `Markup`, or text, which is escaped.
    **attributes: by name, without the "_" that keywords of Python need at their end, and
      with "_" for "-"; None for none.
  """
  given = Markup("").join(
      Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), value)
      for key, value in attributes.items() if value is not None)
  return Markup("<{0}{1}>{2}</{0}>").format(
      Markup(name), given, Markup("").join(map(escape, children)))


def breakable(name: str) -> Markup:
  """A name such as section.long_field, which may go on in the next line after . and _."""
  return Markup(re.sub("([._])", r"\1<wbr>", str(escape(name))))


def bullets(lines: Iterable[object], class_: str | None = None) -> Markup:
  """A list; "" without lines."""
  items = [tag("li", line) for line in lines]
  return tag("ul", *items, class_=class_) if items else Markup("")


def paragraphs(lines: Iterable[object]) -> Markup:
  return Markup("").join(tag("p", line) for line in lines)


def table(body: Sequence[Sequence[object]], title: str, labels: int = 1,
          above: Sequence[str] = ()) -> Markup:
  """A table that scrolls in its box where the page is narrow.

  Args:
    body: the header, then the rows.
    title: read to those who do not see the table.
    labels: number of columns, from the left, that do not contain numbers.
    above: a heading over each column; neighbours that are equal are one.
  """
  numeric = lambda place: None if place < labels else "number"
  head = [tag("tr", *(tag("th", cell, scope="col", class_=numeric(place))
                      for place, cell in enumerate(body[0])))]
  if any(above):
    head.insert(0, tag("tr", *_spans(above)))
  rows = [tag("tr", tag("th", row[0], scope="row"),
              *(tag("td", cell, class_=numeric(place))
                for place, cell in enumerate(row[1:], start=1))) for row in body[1:]]
  return box(tag("table", tag("thead", *head), tag("tbody", *rows)), title)


def _spans(above: Sequence[str]) -> list[Markup]:
  spans: list[tuple[str, int]] = []
  for name in above:
    if spans and spans[-1][0] == name:
      spans[-1] = name, spans[-1][1] + 1
    else:
      spans.append((name, 1))
  return [tag("th", name, scope="colgroup", colspan=count, class_="number")
          if name else tag("td", colspan=count) for name, count in spans]


def box(content: Markup, title: str) -> Markup:
  """A box that scrolls on its own, also with the keyboard."""
  return tag("div", content, class_="box", role="region", aria_label=title, tabindex=0)


def image(path: pathlib.Path, alt: str) -> Markup:
  """A picture inside the page.

  Small files are taken as they are. Larger ones become WebP, without loss if that is
  small enough.

  Raises:
    OSError: the file is damaged.
  """
  data, kind = path.read_bytes(), "png"
  with Image.open(io.BytesIO(data)) as picture:
    size = picture.size
    if len(data) > _AS_IT_IS:
      data, kind = _smaller(picture.convert("RGB")), "webp"
  source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
  width, height = (round(side / _SCALE) for side in size)
  # The style sheet lets narrow pages shrink it, but not beyond recognition.
  return Markup('<img src="{}" alt="{}" width="{}" height="{}" style="--width: {}px" '
                'loading="lazy">').format(source, alt, width, height, width)


def _smaller(picture: Image.Image) -> bytes:
  out = io.BytesIO()
  if fits := max(picture.size) <= _WEBP:
    # Flat colours, as of small images that are enlarged, become small without any loss.
    picture.save(out, "WEBP", lossless=True, method=0)
  if not fits or out.tell() > _LOSSLESS:
    out = io.BytesIO()
    picture.thumbnail((_WIDEST, 4 * _WIDEST))
    picture.save(out, "WEBP", quality=80, method=1)
  return out.getvalue()
