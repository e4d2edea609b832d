"""The figures of a run with what there is to see in them."""

from collections.abc import Iterator
import pathlib
from typing import NamedTuple

from markupsafe import Markup

from augment_gen.figures import amounts as amounts_figure
from augment_gen.figures import embedding_map as map_figure
from augment_gen.figures.canvas import Svg
from augment_gen.report.html import box, image, tag
from augment_gen.report.record import Record


class Caption(NamedTuple):
  """What a figure is called, and what there is to see in it."""
  title: str
  words: str


# By the name of the file. Those of the augmentation generator, in the order of the page.
GENERATOR = {
    "over_training": Caption(
        "The same images and latents over training",
        "Each column is one image x and one latent z, each row G_A(x, z) at a step. Late "
        "rows that still change much say that training should go on."),
    "latents": Caption(
        "G_A under several latents",
        "Each row is an image, each column a latent of the prior. Columns should differ: "
        "if they do not, G_A ignores its latents. The character or the object in a row "
        "should stay."),
    "latent_line": Caption(
        "Along one line of latents",
        "From left to right, z moves in the direction in which the amount of change "
        "varies most (Fig. 5 of the paper)."),
    "operators": Caption(
        "Each operator alone",
        "The image, then one operator of the chain from its weakest to its strongest "
        "amounts."),
    "round_trips": Caption(
        "Round trips",
        "Left: x, what G_A makes of it, and what G_E brings back. Right: a real image x̃ of "
        "X̃_f, what G_E takes away, and what G_A puts back with the latent that G_L read. "
        "Below each image, the probability that D_f (of augmented images) or D_p (of clean "
        "ones) gives it of being real: near 0.5, the discriminator cannot tell."),
    "worst_cases": Caption(
        "Worst cases of the round trip",
        "The images of X̃_f that G_A(G_E(x̃), G_L(x̃)) restores worst, with the mean absolute "
        "error. What is missing on the right cannot be drawn by G_A."),
    "told_apart": Caption(
        "What D_f is surest of",
        "Left: views G_A(x, z) that D_f finds least real. Right: real images of which it "
        "is surest. Look for what one side has and the other has not."),
}
POLICY = {
    "heat_maps": Caption(
        "P(T|X) over images",
        "What the learned crops see of each image, and the middles of the likeliest "
        "crops. The heat should lie on the content."),
    "instances": Caption(
        "Representations, one row for each image",
        "Images are sorted by class. If all rows look the same, the representation has "
        "collapsed."),
    "circle": Caption(
        "Two-dimensional representations",
        "Each point is an image, coloured by its class. The more of the circle is used, "
        "the better images can be told apart."),
}
EXAMPLES = {"examples": Caption(
    "The images", "A few images of every set, spread evenly over it.")}
# Drawn as SVG in place of the file.
_DRAWN_HERE = ("curves", "amounts", "embedding_map")


def figures(record: Record) -> Iterator[Markup]:
  """The figures that the folder has, and a line on those that it lacks."""
  wanted = EXAMPLES | (GENERATOR if record.has_generator else POLICY)
  folder = record.path / "figures"
  others = {path.stem: Caption(path.stem, "") for path in sorted(folder.glob("*.png"))
            if path.stem not in _DRAWN_HERE}
  missing = []
  for name, caption in (wanted | {n: c for n, c in others.items() if n not in wanted}
                        ).items():
    path = folder / f"{name}.png"
    if path.exists():
      yield _figure(_picture(path, caption), caption, _scores(record, name))
    elif name not in ("circle", "operators"):  # only some runs have these
      missing.append(path.name)
    if name == "operators" and record.learned:
      yield _amounts(record.learned)
    if name == "round_trips" and record.points:
      yield _map(record.points)
  if record.has_generator and not record.points:
    missing.append("the map of embeddings")
  if missing:
    yield tag("p", f"Not in this folder: {', '.join(missing)}. These need the images and "
              "the networks, and are made when a stage ends; runs of older code lack some.",
              class_="note")


def _figure(content: Markup, caption: Caption, more: str = "") -> Markup:
  words = " ".join(part for part in (caption.words, more) if part)
  return tag("figure", tag("h3", caption.title), tag("figcaption", words) if words else "",
             box(content, caption.title))


def _picture(path: pathlib.Path, caption: Caption) -> Markup:
  try:
    return image(path, f"{caption.title}. {caption.words}")
  except OSError as error:
    return tag("p", f"{path.name} cannot be read ({error}).", class_="note")


def _scores(record: Record, name: str) -> str:
  """What was measured over all images, for two of the figures."""
  found = record.scores
  if not found:
    return ""
  return {
      "worst_cases": "Over all images measured, the median error is "
                     "{error_median:.3f} and the greatest {error_worst:.3f}.",
      "told_apart": "D_f is right on {percent:.0f} % of {images} images; on average it "
                    "gives real images {d_f_real:.2f} and views {d_f_generated:.2f}.",
  }.get(name, "").format(percent=100 * found["d_f_right"], **found)


def _amounts(learned: dict) -> Markup:
  caption = Caption(
      "How much of each",
      "The distribution of every learned amount, with z from the prior and with z = G_L(x̃) "
      "of the bank: 5 to 95 % as a line, 25 to 75 % thick, the median as a dot, and the "
      "share of images that it touches. Grey, where it is known: the true range.")
  svg = Svg(amounts_figure.WIDTH, amounts_figure.height(learned), caption.title)
  amounts_figure.draw(learned, svg)
  return _figure(tag("div", Markup(svg.element()), class_="drawing wide"), caption)


def _map(points: dict) -> Markup:
  method = points["method"]
  caption = Caption(
      "Map of the embeddings",
      f"{method} of F(x), F(x̃) and F(G_A(x, z)), with F of stage 1. Where the views cover "
      "the images of X̃_f, F cannot tell them apart; where they stay with X_p, G_A changes "
      "nothing that F sees."
      + ("" if method == "t-SNE" else " PCA keeps only the two widest directions; with "
         "scikit-learn installed (pip install 'augment_gen[report]'), runs draw t-SNE."))
  svg = Svg(map_figure.WIDTH, map_figure.HEIGHT, caption.title)
  map_figure.draw(points["sets"], svg)
  return _figure(tag("div", Markup(svg.element()), class_="drawing map"), caption)


