"""Applies a run's G_A to a few images, for the sliders of a notebook.

    python notebooks/learned.py RUN IMAGES COUNT

A process of its own, because JAX may lie in another environment than the notebook. It
prints the names of the latents as a line of JSON. Then it reads lines of JSON, latents by
name, and answers each with a line: a PNG in base64, the images above G_A(x, z).
"""

import base64
import io
import json
import sys

import numpy as np
from PIL import Image

from augment_gen import export
from augment_gen.apply import pictures
from augment_gen.models.build import build_augmenter, latent_dim

_SIDE = 128  # pixels of an image on the screen


def main(run: str, images: str, count: int) -> None:
  """Serves the images and latents that come on stdin."""
  learned = export.load(run)
  config = learned.config
  dim = latent_dim(config)
  names = build_augmenter(config).latents or [f"z{k}" for k in range(dim)]
  spec = images or config.data.pretrain.replace("{root}", config.data.root)
  given = pictures.given(spec, config, "skip", labelled=False)
  # Spread over the set, whose neighbours may show the same thing.
  places = np.linspace(0, len(given.names) - 1, count).astype(int)
  _, x = next(iter(given.read([np.unique(places)])))
  print(json.dumps(list(names)), flush=True)
  for line in sys.stdin:
    latents = json.loads(line)
    z = np.array([[latents.get(name, 0.5) for name in names]] * len(x), np.float32)
    views = np.round(255 * learned.augment(x, z)).astype(np.uint8)
    print(png([x, views]), flush=True)


def png(rows: list[np.ndarray]) -> str:
  """Rows of images, uint8 [n, H, W, C] each, as one PNG in base64."""
  sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in rows])
  image = Image.fromarray(sheet[..., 0] if sheet.shape[-1] == 1 else sheet)
  zoom = max(1, _SIDE // rows[0].shape[1])
  image = image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST)
  buffer = io.BytesIO()
  image.save(buffer, format="PNG")
  return base64.b64encode(buffer.getvalue()).decode()


if __name__ == "__main__":
  main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
