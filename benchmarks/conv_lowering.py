"""Measures what models/conv.py gains on CPU: ResNet-18 with and without its products.

  python benchmarks/conv_lowering.py --image_size=28 --batch=256

The first table lists the network's convolutions, in milliseconds, for forward and for
forward + backward. The second gives the whole network in images per second. The forms
are timed in turn. The fastest of `--repeats` rounds counts, because other work on the
machine can only slow them down.
"""

import argparse
from collections.abc import Callable
import functools
import os
import time

import jax
import jax.numpy as jnp

from augment_gen.models import conv, resnet

# Largest output, in places (4x4), for which products are tried: each place compiles one.
_MOST_PLACES = 16


def main():
  args = _arguments()
  if jax.default_backend() != "cpu":
    raise SystemExit("this benchmark is about the CPU backend: set "
                     "JAX_PLATFORMS=cpu")
  print(f"jax {jax.__version__}, {os.cpu_count()} CPUs, "
        f"XLA_FLAGS={os.environ.get('XLA_FLAGS', '')}")
  print(f"ResNet-18, width {args.width}, {args.stem} stem, batch {args.batch}, "
        f"{args.image_size}x{args.image_size}x{args.channels}, float32\n")
  _print_convolutions(args)
  _print_network(args)


def _arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--batch", type=int, default=256)
  parser.add_argument("--image_size", type=int, default=28)
  parser.add_argument("--channels", type=int, default=1)
  parser.add_argument("--width", type=int, default=64)
  parser.add_argument("--stem", choices=resnet.STEMS, default="imagenet")
  parser.add_argument("--repeats", type=int, default=5)
  return parser.parse_args()


def _convolutions(args) -> list[tuple[int, int, int, int, int]]:
  """ResNet-18's convolutions: (image side, channels in and out, kernel, stride)."""
  size, width = args.image_size, args.width
  if args.stem == "imagenet":
    found = [(size, args.channels, width, 7, 2)]
    size = -(-size // 4)
  else:
    found = [(size, args.channels, width, 3, 1)]
  found.append((size, width, width, 3, 1))
  for _ in range(3):
    found.append((size, width, 2 * width, 3, 2))
    found.append((size, width, 2 * width, 1, 2))
    size, width = -(-size // 2), 2 * width
    found.append((size, width, width, 3, 1))
  return found


def _print_convolutions(args):
  print("| convolution | lax | products | auto takes |\n|---|---|---|---|")
  for size, old, new, kernel, stride in _convolutions(args):
    x = jax.random.normal(jax.random.key(0), (args.batch, size, size, old))
    taps = jax.random.normal(jax.random.key(1), (kernel, kernel, old, new))
    apply = functools.partial(
        conv.conv_general_dilated, window_strides=(stride, stride),
        padding=((kernel // 2,) * 2,) * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"))
    backward = jax.value_and_grad(
        lambda x, taps, f=apply: jnp.square(f(x, taps)).mean(), (0, 1))
    side = -(-size // stride)
    forms = ["lax"] + ["products"] * (side**2 <= _MOST_PLACES)
    functions = {
        (form, f): _compiled(form, f, x, taps)
        for form in forms for f in (apply, backward)}
    times = _times(functions, args.repeats)
    cells = {form: " / ".join(f"{1e3 * times[form, f]:.1f}"
                              for f in (apply, backward)) for form in forms}
    with conv.lowering("auto"):
      products = "dot_general" in str(jax.make_jaxpr(apply)(x, taps))
    print(f"| {size}x{size}x{old}, {kernel}x{kernel}x{new}, stride {stride} "
          f"| {cells['lax']} | {cells.get('products', '')} "
          f"| {'products' if products else 'lax'} |", flush=True)


def _print_network(args):
  network = resnet.ResNet18(width=args.width, stem=args.stem)
  images = jax.random.uniform(
      jax.random.key(0),
      (args.batch, args.image_size, args.image_size, args.channels))
  variables = jax.jit(functools.partial(network.init, train=False))(
      jax.random.key(1), images)

  def forward(variables, images):
    return network.apply(variables, images, train=False)[0]

  def loss(params, variables, images):
    (y, _), updated = network.apply(
        {**variables, "params": params}, images, train=True,
        mutable=["batch_stats"])
    return jnp.square(y).mean(), updated

  def backward(variables, images):
    return jax.value_and_grad(loss, has_aux=True)(
        variables["params"], variables, images)

  functions = {
      (form, f): _compiled(form, f, variables, images)
      for form in ("lax", "auto") for f in (forward, backward)}
  times = _times(functions, args.repeats)
  print("\n| network | forward | forward + backward |\n|---|---|---|")
  for form in ("lax", "auto"):
    print(f"| {form} | {args.batch / times[form, forward]:.0f} images/s "
          f"| {args.batch / times[form, backward]:.0f} images/s |")


def _compiled(form: str, f: Callable, *args) -> Callable[[], jax.Array]:
  with conv.lowering(form):
    # Each form gets a new wrapper, so that `jit` does not find the other form's trace.
    compiled = jax.jit(lambda *args: f(*args)).lower(*args).compile()
  return functools.partial(compiled, *args)


def _times(functions: dict, repeats: int) -> dict:
  """The fastest of `repeats` rounds for each function, in seconds."""
  best = dict.fromkeys(functions, float("inf"))
  for _ in range(repeats + 1):  # The first one warms up and is never the fastest.
    for name, f in functions.items():
      start = time.perf_counter()
      jax.block_until_ready(f())
      best[name] = min(best[name], time.perf_counter() - start)
  return best


if __name__ == "__main__":
  main()
