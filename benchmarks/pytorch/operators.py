"""Imaging operators on batches; compare augment_gen/augment/operators/.

An operator is a function `(image, amounts, u) -> image`: images are float32
[B, C, H, W], contiguous, amounts [B, 1, 1, 1] by name, and u uniform random numbers
[B, …]. What each does is said there. channels_last would gain nothing: the Fourier
transforms need rows of adjacent numbers.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
import math

import torch
from torch.nn import functional

from augment_gen.augment.operators import Operator

Amounts = Mapping[str, torch.Tensor]

_FEWEST, _SOFT = 1e-3, 0.2  # of specks
_DARKEST = 1e-3
_TAPS = 9  # along a motion
_BLOCK, _FINEST = 8, 0.05  # of compression
_LEAST = 1e-7
_LUMA = (0.299, 0.587, 0.114)


def apply_all(chain: Sequence[Operator], image: torch.Tensor,
              amounts: Mapping[str, torch.Tensor], u: torch.Tensor | None,
              ) -> torch.Tensor:
  """Applies operators in order.

  Args:
    chain: our operators, of which the names and the numbers of draws count.
    image: float32 [B, C, H, W], contiguous.
    amounts: [B, 1, 1, 1] each, by OPERATOR.AMOUNT.
    u: uniform on [0, 1), [B, all draws], in the order of our `apply_all`; None to draw.

  Returns:
    float32 [B, C, H, W], contiguous.
  """
  batch, channels, height, width = image.shape
  shapes = [operator.draws((height, width, channels)) for operator in chain]
  sizes = [math.prod(shape) for shape in shapes]
  if u is None:
    u = torch.rand(batch, sum(sizes), device=image.device)
  for operator, numbers, shape in zip(chain, u.split(sizes, 1), shapes):
    own = {amount.name: amounts[f"{operator.name}.{amount.name}"]
           for amount in operator.amounts}
    image = FUNCTIONS[operator.name](image, own, numbers.unflatten(1, shape))
  return image


# --- marks -------------------------------------------------------------------


def _specks(image: torch.Tensor, amounts: Amounts, u: torch.Tensor) -> torch.Tensor:
  density = torch.cat([amounts["light"], amounts["light_large"],
                       amounts["dark"], amounts["dark_large"]], 1)
  starts = ((density - u) / (_SOFT * density + _FEWEST)).clamp(0, 1)
  # Where there are none, the slope is that of the first faint ones.
  first = (density <= 0) & (u < _FEWEST)
  starts = starts + torch.where(first, density - density.detach(), 0.0) / _FEWEST
  small, large = starts[:, ::2], functional.pad(starts[:, 1::2], (1, 0, 1, 0))
  bare = (1 - small) * (1 - large[..., 1:, 1:]) * (1 - large[..., :-1, 1:]) * (
      1 - large[..., 1:, :-1]) * (1 - large[..., :-1, :-1])
  light, dark = (1 - bare).chunk(2, 1)
  return _paint(_paint(image, light, 1.0), dark, 0.0)


def _scratches(image: torch.Tensor, amounts: Amounts, u: torch.Tensor) -> torch.Tensor:
  scale, (y, x) = _pixel(image), _from_centres(image, u)
  angle = math.pi * u[:, 2, :, None, None]
  half = scale * amounts["length"] * (0.5 + u[:, 3, :, None, None]) / 2
  reach = scale * amounts["width"] / 2
  along = torch.cos(angle) * x + torch.sin(angle) * y
  across = torch.cos(angle) * y - torch.sin(angle) * x
  beyond = functional.relu(along.abs() - half)
  distance = torch.sqrt(across.square() + beyond.square() + 1e-4)
  light, dark = (reach + 0.5 - distance).clamp(0, 1).chunk(2, 1)
  return _painted(_painted(image, dark, amounts["dark"], 0.0),
                  light, amounts["light"], 1.0)


def _spots(image: torch.Tensor, amounts: Amounts, u: torch.Tensor) -> torch.Tensor:
  radius = _pixel(image) * amounts["radius"] * (0.5 + u[:, 2, :, None, None])
  y, x = (torch.exp(-0.5 * (distance / radius).square())
          for distance in _from_centres(image, u))
  light, dark = (y * x).chunk(2, 1)
  return _painted(_painted(image, dark, amounts["dark"], 0.0),
                  light, amounts["light"], 1.0)


def _occluders(image: torch.Tensor, amounts: Amounts, u: torch.Tensor) -> torch.Tensor:
  half = _pixel(image) * amounts["side"] / 2
  inside = lambda distance, u: (
      half * (0.6 + 0.8 * u[..., None, None]) + 0.5 - distance.abs()).clamp(0, 1)
  rows, columns = _from_centres(image, u)
  y, x = inside(rows, u[:, 2]), inside(columns, u[:, 3])
  dark, light = (y * x).chunk(2, 1)
  return _painted(_painted(image, dark, amounts["dark"], amounts["dark_tone"]),
                  light, amounts["light"], amounts["light_tone"])


def _grid(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
  """Rows [H, 1] and columns [1, W]."""
  height, width = image.shape[2:]
  return (torch.arange(height, device=image.device, dtype=image.dtype)[:, None],
          torch.arange(width, device=image.device, dtype=image.dtype)[None])


def _pixel(image: torch.Tensor) -> float:
  """The side of a pixel of a 28 x 28 image, in pixels of `image`."""
  return min(image.shape[2:]) / 28


def _from_centres(image: torch.Tensor, u: torch.Tensor,
                  ) -> tuple[torch.Tensor, torch.Tensor]:
  """Distances from objects at u[:, :2], rows [B, n, H, 1] and columns [B, n, 1, W]."""
  (rows, columns), (height, width) = _grid(image), image.shape[2:]
  return (rows - height * u[:, 0, :, None, None], columns - width * u[:, 1, :, None, None])


def _paint(image: torch.Tensor, cover: torch.Tensor, tone: torch.Tensor | float,
           ) -> torch.Tensor:
  """Paints a grey value over the image, with opacity cover [B, 1, H, W]."""
  return image + cover * (tone - image)


def _painted(image: torch.Tensor, covers: torch.Tensor, number: torch.Tensor,
             tone: torch.Tensor | float) -> torch.Tensor:
  """Paints the first `number` of some objects, given their covers [B, n, H, W]."""
  index = torch.arange(covers.shape[1], device=image.device)[:, None, None]
  appears = (index == 0) & (number <= 0)
  opacity = torch.where(appears, number - number.detach(), (number - index).clamp(0, 1))
  # torch.prod has a costly gradient where a factor is 0.
  bare = functools.reduce(torch.mul, (1 - opacity * covers).split(1, 1))
  return _paint(image, 1 - bare, tone)


# --- light -------------------------------------------------------------------


def _ramp(image: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
  """Rises from 0 to 1 across the image in a direction, [B, 1, H, W]."""
  (rows, columns), (height, width) = _grid(image), image.shape[2:]
  cos, sin = torch.cos(2 * math.pi * turns), torch.sin(2 * math.pi * turns)
  reach = cos.abs() * (1 - 1 / width) + sin.abs() * (1 - 1 / height)
  x, y = (columns + 0.5) / width - 0.5, (rows + 0.5) / height - 0.5
  return cos / reach * x + sin / reach * y + 0.5


def _shading(image: torch.Tensor, amounts: Amounts, u: torch.Tensor) -> torch.Tensor:
  return image * (1 - amounts["strength"] * _ramp(image, amounts["turns"]))


def _glare(image: torch.Tensor, amounts: Amounts, u: torch.Tensor) -> torch.Tensor:
  ramp = _ramp(image, amounts["turns"])
  light = amounts["strength"] * (ramp + amounts["evenness"] * (1 - ramp))
  if "warmth" in amounts:
    gains = _warm(amounts["warmth"])
    light = light * torch.exp2(gains - gains.amax(1, keepdim=True))
  return image + (1 - image) * light


# --- lens --------------------------------------------------------------------


def _filtered(image: torch.Tensor, transfer: Callable) -> torch.Tensor:
  """Multiplies the spectrum of images with reflected borders.

  Args:
    image: [B, C, H, W].
    transfer: (ω_y [H', 1], ω_x [1, W'']) -> [B, 1, H', W''], in radians per pixel.
  """
  height, width = image.shape[2:]
  top, left = -(-height // 4), -(-width // 4)
  x = torch.cat([image[..., :left].flip(-1), image, image[..., -left:].flip(-1)], -1)
  x = torch.cat([x[..., :top, :].flip(-2), x, x[..., -top:, :].flip(-2)], -2)
  rows, columns = x.shape[2:]
  response = transfer(
      2 * math.pi * torch.fft.fftfreq(rows, device=x.device)[:, None],
      2 * math.pi * torch.fft.rfftfreq(columns, device=x.device)[None])
  x = torch.fft.irfft2(torch.fft.rfft2(x) * response, s=(rows, columns))
  return x[..., top:top + height, left:left + width].contiguous()


def _gaussian(variance: torch.Tensor | float, omega_y: torch.Tensor, omega_x: torch.Tensor,
              ) -> torch.Tensor:
  """The discrete Gaussian exp(v Δ/2), as a product of rows and columns."""
  return (torch.exp(-variance * (1 - torch.cos(omega_y)))
          * torch.exp(-variance * (1 - torch.cos(omega_x))))


def _blur(image: torch.Tensor, amounts: Amounts, u: torch.Tensor) -> torch.Tensor:
  scale = _pixel(image) ** 2
  length = torch.sqrt(12 * scale * amounts["motion"] + 1e-4)
  angle = 2 * math.pi * amounts["turns"]

  def transfer(omega_y, omega_x):
    along = length * torch.cos(angle) * omega_x + length * torch.sin(angle) * omega_y
    # The taps −t and t together are 2 cos; the middle one is 1.
    line = (1 + 2 * sum(torch.cos(tap / _TAPS * along)
                        for tap in range(1, (_TAPS + 1) // 2))) / _TAPS
    return _gaussian(scale * amounts["defocus"], omega_y, omega_x) * line

  return _filtered(image, transfer)


def _sharpening(image: torch.Tensor, amounts: Amounts, u: torch.Tensor) -> torch.Tensor:
  return _filtered(image, lambda *omega: 1 + amounts["strength"] * (
      1 - _gaussian(_pixel(image) ** 2, *omega)))


# --- tone and colour ---------------------------------------------------------


def _tone(image: torch.Tensor, amounts: Amounts, u: torch.Tensor) -> torch.Tensor:
  x = image.clamp(_DARKEST, 1)
  image = image + x ** torch.exp2(amounts["gamma"]) - x
  image = (image * torch.exp2(amounts["exposure"])).clamp(0, 1)
  image = 0.5 + (1 + amounts["contrast"]) * (image - 0.5)
  return image + amounts["negative"] * (1 - 2 * image)


def _colour(image: torch.Tensor, amounts: Amounts, u: torch.Tensor) -> torch.Tensor:
  image = image * torch.exp2(_warm(amounts["warmth"], amounts["tint"]))
  grey = sum(weight * plane for weight, plane in zip(_LUMA, image.split(1, 1)))
  return grey + (1 + amounts["saturation"]) * (image - grey)


def _warm(warmth: torch.Tensor, tint: torch.Tensor | None = None) -> torch.Tensor:
  """Stops by which R, G and B change, [B, 3, 1, 1]."""
  green = torch.zeros_like(warmth) if tint is None else tint
  return torch.cat([warmth / 2, green, -warmth / 2], 1)


# --- sensor and file ---------------------------------------------------------


def _noise(image: torch.Tensor, amounts: Amounts, u: torch.Tensor) -> torch.Tensor:
  u = u.permute(0, 3, 1, 2).contiguous()
  normal = math.sqrt(2) * torch.erfinv(2 * u.clamp_min(_LEAST) - 1)
  light = torch.sqrt(image.clamp(0, 1) + 1e-4)
  return image + (amounts["read"] + amounts["shot"] * light) * normal


def _raster(image: torch.Tensor, amounts: Amounts, u: torch.Tensor) -> torch.Tensor:
  rows, columns = _grid(image)
  angle = 2 * math.pi * amounts["turns"]
  along = torch.cos(angle) * rows + torch.sin(angle) * columns
  phase = 2 * math.pi * (along / (_pixel(image) * amounts["period"]) + u[:, :, None, None])
  wave = 0.5 + 0.5 * torch.cos(phase)
  image = image * (1 - amounts["dark"] * wave)
  return image + amounts["light"] * wave * (1 - image)


def _cosines(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
  """The DCT-II of a flattened block, [place, frequency], and u + v of each frequency."""
  k = torch.arange(_BLOCK, device=device)
  basis = math.sqrt(2 / _BLOCK) * torch.cos(math.pi / _BLOCK * k[:, None] * (k + 0.5))
  basis[0] /= math.sqrt(2)
  return torch.kron(basis, basis).T, (k[:, None] + k).flatten()


def _compression(image: torch.Tensor, amounts: Amounts, u: torch.Tensor) -> torch.Tensor:
  height, width = image.shape[2:]
  x = functional.pad(image, (0, -width % _BLOCK, 0, -height % _BLOCK), mode="replicate")
  blocks = x.unflatten(3, (-1, _BLOCK)).unflatten(2, (-1, _BLOCK)).transpose(3, 4)
  basis, frequency = _cosines(image.device)
  c = blocks.flatten(4) @ basis  # [B, C, rows, columns, 64]
  square = amounts["strength"][..., None] * frequency / (2 * _BLOCK - 2)
  lost = c * square / (square + c.square() + _FINEST**2)
  change = (lost @ basis.T).unflatten(4, (_BLOCK, _BLOCK)).transpose(3, 4)
  return image - change.reshape(x.shape)[..., :height, :width]


# As light travels. Geometry, which no preset has, has no PyTorch side.
FUNCTIONS: dict[str, Callable[[torch.Tensor, Amounts, torch.Tensor], torch.Tensor]] = {
    "occluders": _occluders, "scratches": _scratches, "specks": _specks, "spots": _spots,
    "shading": _shading, "glare": _glare, "blur": _blur, "tone": _tone, "colour": _colour,
    "noise": _noise, "sharpening": _sharpening, "raster": _raster,
    "compression": _compression}
