"""A folder of twelve tiny pictures with a table, for the tests of tables and conditions."""

import pathlib

import numpy as np
from PIL import Image

HEADER = "file_name,product,light,camera"
# (product, light, camera) of picture number 0, 1, …, whose grey value is 10 times that.
ROWS = [(("10", "9")[number // 6], ("room", "spot")[number // 3 % 2], "ab"[number % 2])
        for number in range(12)]


def write(folder: pathlib.Path) -> pathlib.Path:
  """Writes images/00.png … images/11.png and m.csv."""
  (folder / "images").mkdir(parents=True)
  for number in range(len(ROWS)):
    Image.fromarray(np.full((4, 4), 10 * number, np.uint8)).save(
        folder / "images" / f"{number:02}.png")
  table(folder, "m.csv")
  return folder


def table(folder: pathlib.Path, name: str, *, header=HEADER, more=(), leave_out=()
          ) -> pathlib.Path:
  """Writes a CSV of the pictures, less some of them, plus further lines."""
  lines = [f"images/{number:02}.png,{','.join(row)}" for number, row in enumerate(ROWS)
           if number not in leave_out]
  (folder / name).write_text("\n".join([header, *lines, *more]) + "\n")
  return folder / name
