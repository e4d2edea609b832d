"""The PyTorch sides of benchmarks/against_pytorch.py compute what ours compute."""

import dataclasses
import importlib
import json
import math
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from augment_gen.augment.learned import draw_latents
from augment_gen.augment.policy import draw_t
from augment_gen.data.base import ImageSet
from augment_gen.data.task import Task
from augment_gen.evaluate import logistic
from augment_gen.evaluate.knn import knn_predict
from augment_gen.losses.information import entropy
from augment_gen.losses.latent import random_directions
from augment_gen.methods.augmentation_generator import stages
from augment_gen.methods.crl_tac import stages as crl_tac_stages
from augment_gen.methods.pretrainers import pretrainer
from augment_gen.models import latent_maps, operator_chain
from augment_gen.models.build import build_encoder
from augment_gen.models.heads import ProjectedEncoder, ProjectionHead
from augment_gen.run.random import example_keys, stream
from augment_gen.steps import crl_tac as crl_tac_step
from augment_gen.steps import generator as generator_step
from augment_gen.steps import moco as moco_step

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

FOLDER = pathlib.Path(__file__).parents[2] / "benchmarks"
KEY = jax.random.key(7)
BATCH = 8
TINY = ("--config.data.image_size=12", "--config.encoder.width=4",
        "--config.encoder.blocks=(1,1)", "--config.moco.bn_groups=1")

# The gradient as the state of an optimiser that changes nothing.
KEEP = optax.GradientTransformation(
    lambda params: jax.tree.map(jnp.zeros_like, params),
    lambda grads, state, params=None: (jax.tree.map(jnp.zeros_like, grads), grads))


@pytest.fixture(name="side")
def import_side(monkeypatch):
  """Imports a module of benchmarks/pytorch."""
  monkeypatch.syspath_prepend(FOLDER)
  return lambda name: importlib.import_module(f"pytorch.{name}")


def moved(tree, seed, lowest=None, scale=0.1):
  """Adds noise to a tree, because zeros and equal values would hide mistakes."""
  random = np.random.default_rng(seed)
  noise = lambda a: scale * random.normal(size=a.shape).astype(np.float32)
  change = lambda a: a + (noise(a) if lowest is None else np.abs(noise(a)) + lowest)
  return jax.tree.map(change, tree)


def moved_net(net, seed, scale=0.1):
  """Adds noise to a network's parameters and batch statistics."""
  return dataclasses.replace(
      net, params=moved(net.params, seed, scale=scale),
      batch_stats=moved(net.batch_stats, seed + 1, lowest=0.0) if net.batch_stats else {})


def random_images(seed, size=12, channels=1, count=BATCH):
  """Images with black and white pixels, uint8 [N, H, W, C]."""
  random = np.random.default_rng(seed)
  values = random.integers(-100, 356, (count, size, size, channels))
  return np.clip(values, 0, 255).astype(np.uint8)


def planes(images):
  """[B, H, W, C] of NumPy or JAX -> a PyTorch tensor [B, C, H, W] in channels_last."""
  return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)


def tensor(array):
  return torch.from_numpy(np.array(array))


def check_gradients(side, flax_grads, named_parameters, torch_grads):
  """Every parameter has the same gradient on both sides."""
  ours = side("weights").from_flax(flax_grads)
  theirs = {name: torch.zeros_like(param) if grad is None else grad
            for (name, param), grad in zip(named_parameters, torch_grads, strict=True)}
  assert ours.keys() == theirs.keys()
  largest = max(float(grad.abs().max()) for grad in ours.values())
  assert largest > 0
  for name, grad in ours.items():
    np.testing.assert_allclose(theirs[name], grad, rtol=1e-3, atol=2e-5 * largest,
                               err_msg=name)


@pytest.mark.parametrize("encoder,stem,channels", [
    ("resnet18", "imagenet", 1), ("resnet50", "small", 3)])
def test_moco(side, encoder, stem, channels):
  config = side("inputs").read_config([
      "--config=configs/omniglot.py", *TINY, "--config.moco.queue=32",
      "--config.moco.dim=6", "--config.moco.momentum=0.5",
      f"--config.encoder.name={encoder}", f"--config.encoder.stem={stem}",
      f"--config.data.channels={channels}"])
  moco = config.moco
  net = ProjectedEncoder(build_encoder(config),
                         ProjectionHead(moco.dim))
  state = moco_step.init(net, KEEP, moco, (12, 12, channels), KEY)
  state = dataclasses.replace(state, query=moved_net(state.query, 0),
                              key_params=moved(state.key_params, 2))
  views = [jnp.asarray(random_images(seed, 12, channels), jnp.float32) / 255
           for seed in (0, 1)]
  step = jax.jit(moco_step.make_step(net, KEEP, moco, lambda *_: tuple(views)))
  new, metrics = step(state, {}, {}, KEY)

  theirs, layers = side("moco"), side("layers")
  nets = [layers.ProjectedEncoder(layers.ResNet(config.encoder, config.data), moco.dim)
          for _ in range(2)]
  side("weights").load(nets[0], state.query.params, state.query.batch_stats)
  side("weights").load(nets[1], state.key_params, state.key_batch_stats)
  theirs.follow(nets[1], nets[0], moco.momentum)
  order = tensor(jax.random.permutation(stream(KEY, "shuffle"), BATCH))
  keys = theirs.encode_keys(nets[1], planes(views[1]), order)
  np.testing.assert_allclose(keys, new.queue[:BATCH], rtol=1e-4, atol=1e-5)
  loss = theirs.loss(nets[0], planes(views[0]), keys, tensor(state.queue),
                     moco.temperature)
  np.testing.assert_allclose(loss.item(), metrics["loss"], rtol=1e-4)
  check_gradients(
      side, new.query.opt_state, nets[0].named_parameters(),
      torch.autograd.grad(loss, list(nets[0].parameters())))


# At the full steepness of marks, pixels are white up to rounding, which decides the sign
# in L1.
GENTLE = dataclasses.replace(latent_maps.MARKS, steepness=4.0)


NETWORKS, LOSSES = "generator.networks.", "generator.losses."
SAME_CONTENT = "generator.discriminator.same_content"


@pytest.mark.parametrize("config_file,g_a,side_of_images,settings", [
    # "maps", noise, R1 and D_f on G_A(G_E(x̃_f), z). The U-Nets pad 6 / 2 to 4.
    ("quickstart", "unet", 6, {f"{NETWORKS}unet_depth": 2}),
    # "stages", and D_f on both kinds of images.
    ("photos", "unet", 12, {f"{NETWORKS}unet_patch": 1, SAME_CONTENT: 0.5}),
    # Perceptrons, the embedding alone, and the paper's losses.
    ("omniglot", "perceptron", 12,
     {f"{LOSSES}l1_reduction": "sum", f"{LOSSES}latent_slack": 0.1}),
    # The presets' chains, with gate and cost, and a "pooled" G_L. Patches pad 11 to 12.
    ("quickstart", "operators", 11, {f"{LOSSES}bank_weight": 0.5}),
    ("photos", "operators", 12, {SAME_CONTENT: 0.5})])
def test_generator(side, config_file, g_a, side_of_images, settings, monkeypatch):
  monkeypatch.setattr(latent_maps, "MARKS", GENTLE)
  settings = {
      "data.image_size": side_of_images, "moco.queue": 32, "generator.batch_size": BATCH,
      "generator.latent.dim": 9, "generator.discriminator.hidden": 16,
      f"{NETWORKS}hidden": 16, f"{NETWORKS}unet_width": 4, f"{NETWORKS}unet_depth": 1,
      **settings}
  if g_a == "unet":
    settings = side("inputs").UNET | settings
  config = side("inputs").read_config([
      f"--config=configs/{config_file}.py", *TINY,
      *(f"--config.{name}={value}" for name, value in settings.items())])
  assert config.generator.networks.augmenter == g_a
  stage, shape = config.generator, (side_of_images, config.data.channels)
  sets = {"x_p": random_images(0, *shape), "x_f": random_images(1, *shape)}
  pretrained = pretrainer(config, 1).init(KEEP, KEY)
  pretrained = dataclasses.replace(pretrained, query=moved_net(pretrained.query, 0))
  task = Task(*(ImageSet("random", images, None, ()) for images in sets.values()),
              finetune_clean=None, tests={}, num_classes=0, fingerprints={})
  encoder = stages.generator(config, task, pretrained).frozen["encoder"]
  nets = stages.generator_networks(config)
  txs = dict.fromkeys(("augmenter", "eliminator", "disc_f", "disc_p"), KEEP)
  state = generator_step.init(
      nets, txs, stage, sets["x_p"].shape[1:], KEY)
  # Numbers clipped exactly at a bound have half a slope in JAX and a whole one in PyTorch.
  scales = {"augmenter": 0.01} if g_a == "operators" else {}
  state = dataclasses.replace(state, **{
      name: moved_net(getattr(state, name), seed, scales.get(name, 0.1))
      for seed, name in enumerate(txs)})
  batch = {name: jnp.asarray(images, jnp.float32) / 255 for name, images in sets.items()}
  batch["index"] = {name: jnp.arange(BATCH) for name in sets}
  # D_f judges what it does at the end of the stage.
  state = dataclasses.replace(state, step=jnp.int32(1))
  new, metrics = jax.jit(generator_step.make_step(nets, txs, stage, steps=1))(
      state, {"encoder": encoder}, batch, KEY)

  theirs, layers = side("generator"), side("layers")
  resnet = layers.ResNet(config.encoder, config.data).eval().requires_grad_(False)
  side("weights").load(resnet, encoder.variables["params"],
                       encoder.variables["batch_stats"])
  frozen = theirs.Frozen(
      resnet, {name: tensor(y) for name, y in encoder.embeddings.items()},
      tensor(encoder.shift), tensor(encoder.scale))
  augmenter, eliminator, latents = side("build").build(config)
  assert latents == nets.latent_dim
  networks = theirs.Networks(
      augmenter, eliminator,
      *(layers.Discriminator(len(encoder.shift), stage.discriminator) for _ in range(2)))
  for name in txs:
    side("weights").load(getattr(networks, name), getattr(state, name).params)
  x_p, x_f = planes(batch["x_p"]), planes(batch["x_f"])
  loss, y_a, y_e = theirs.generators_loss(
      networks, stage, frozen, x_p, x_f,
      same_draws(theirs, stage, nets.augmenter, latents, batch["x_p"]))
  np.testing.assert_allclose(loss.item(), metrics["generator/loss"], rtol=1e-4)
  index = torch.arange(BATCH)
  real = {name: theirs.see_real(frozen, stage.discriminator.features, x, name, index)
          for name, x in (("x_p", x_p), ("x_f", x_f))}
  d_loss = theirs.discriminators_loss(
      networks, stage, real, y_a.detach(), y_e.detach())
  np.testing.assert_allclose(
      d_loss.item(), sum(metrics[f"discriminator/{name}"]
                         for name in ("loss_f", "loss_p", "penalty")), rtol=1e-4)
  for value, names in ((loss, ("augmenter", "eliminator")), (d_loss, ("disc_f", "disc_p"))):
    for name in names:
      module = getattr(networks, name)
      check_gradients(
          side, getattr(new, name).opt_state, module.named_parameters(),
          torch.autograd.grad(value, list(module.parameters()), retain_graph=True,
                              allow_unused=True))


def same_draws(theirs, stage, g_a, dim, x):
  """What our step draws with `KEY`, and what our G_A draws."""
  strength = stage.losses.cycle_noise
  z, z_e = (draw_latents(example_keys(KEY, name, len(x)), None, dim)
            for name in ("latent", "latent_e"))
  noise = lambda name: planes(generator_step._noisy(
      strength, KEY, jnp.zeros_like(x), name)) if strength else None
  same = jax.vmap(jax.random.uniform)(example_keys(KEY, "judged", len(x)))
  u = u_e = None
  if isinstance(g_a, operator_chain.OperatorChain):
    count = sum(math.prod(operator.draws(x.shape[1:])) for operator in g_a.operators)
    u, u_e = (tensor(jax.vmap(lambda key: jax.random.uniform(key, (count,)))(
        operator_chain.keys_of(latents))) for latents in (z, z_e))
  return theirs.Draws(
      tensor(z), tensor(z_e), tensor(same < stage.discriminator.same_content),
      *(noise(f"noise_{name}") for name in "fae"),
      bank_prior=tensor(jax.random.uniform(stream(KEY, "bank_prior"), (len(x), dim))),
      directions=tensor(random_directions(stream(KEY, "bank_directions"), dim)),
      u=u, u_e=u_e)


@pytest.mark.parametrize("numerator,scale_mass", [
    ("information", "equal"), ("jensen", "learned")])
def test_crl_tac(side, numerator, scale_mass):
  config = side("inputs").read_config([
      "--config=configs/regional_mnist.py", "--config.data.image_size=12",
      "--config.data.canvas=24", "--config.encoder.width=4", "--config.tac.crop=12",
      "--config.tac.scales=(1.0,1.3)", "--config.tac.batch_size=8", "--config.tac.dim=6",
      "--config.tac.policy.batch=4", "--config.tac.policy.draws=5",
      "--config.tac.policy.width=4", "--config.tac.policy.entropy_target=3.1",
      f"--config.tac.numerator={numerator}", f"--config.tac.scale_mass={scale_mass}",
      f"--config.tac.policy.numerator={numerator}"])
  tac, nets = config.tac, crl_tac_stages.networks(config)
  txs = {"encoder": KEEP, "policy": KEEP}
  state = crl_tac_step.init(nets, txs, (24, 24, 1), KEY)
  state = dataclasses.replace(state, encoder=moved_net(state.encoder, 0),
                              policy=moved_net(state.policy, 2))
  images = jnp.asarray(random_images(0, 24), jnp.float32) / 255
  step = crl_tac_step.make_step(nets, txs, tac, learned=True, steps=10)
  new, metrics = jax.jit(step)(state, {}, {"x_p": images}, KEY)

  theirs, layers = side("crl_tac"), side("layers")
  grid = theirs.Grid(24, tac)
  encoder = layers.ProjectedEncoder(
      layers.ConvNet(config.encoder, config.data, tac.crop), tac.dim, tac.head)
  policy = theirs.Policy(grid, config)
  side("weights").load(encoder, state.encoder.params, state.encoder.batch_stats)
  side("weights").load(policy, state.policy.params)
  x, b = planes(images), tac.policy.batch
  log_p = nets.policy.apply({"params": state.policy.params}, images)
  np.testing.assert_allclose(policy(x).detach(), log_p, rtol=1e-4, atol=1e-5)

  # (a)
  chosen = tensor(draw_t(example_keys(KEY, "crops", BATCH), log_p, tac.draws)).long()
  loss = theirs.encoder_loss(encoder, grid, x, chosen, tac)
  np.testing.assert_allclose(-loss.item(), metrics["encoder/information"], rtol=1e-4)
  check_gradients(side, new.encoder.opt_state, encoder.named_parameters(),
                  torch.autograd.grad(loss, list(encoder.parameters())))

  # (b), with the running averages of (a); PyTorch's variance is the unbiased one.
  side("weights").load(encoder.eval(), new.encoder.params, new.encoder.batch_stats)
  chosen = tensor(draw_t(example_keys(KEY, "uniform_draws", b),
                         jnp.zeros((b, grid.size)), tac.policy.draws)).long()
  with torch.no_grad():
    h = encoder(grid.cut(x[:b], chosen)).view(*chosen.shape, -1)
  weight = tac.policy.entropy_weight
  loss = theirs.policy_loss(policy, x[:b], h, chosen, weight, tac.policy)
  spread = jnp.minimum(entropy(log_p[:b]), tac.policy.entropy_target)
  np.testing.assert_allclose(
      -loss.item(), metrics["policy/information"] + weight * jnp.mean(spread), rtol=1e-4)
  check_gradients(side, new.policy.opt_state, policy.named_parameters(),
                  torch.autograd.grad(loss, list(policy.parameters())))


def test_crops_are_ours(side):
  config = side("inputs").read_config(["--config=configs/regional_mnist.py"])
  grid = crl_tac_stages.crop_grid(config)
  images = random_images(0, config.data.side, count=2) / np.float32(255)
  chosen = np.random.default_rng(0).integers(0, grid.size, (2, 40))
  theirs = side("crl_tac").Grid(config.data.side, config.tac)
  assert theirs.size == grid.size
  ours = grid.cut(jnp.asarray(images), jnp.asarray(chosen))
  crops = theirs.cut(planes(images), tensor(chosen)).permute(0, 2, 3, 1)
  np.testing.assert_allclose(crops, ours.reshape(crops.shape), atol=1e-5)


def test_neighbours_are_ours(side):
  (train, labels), (test, _) = (side("inputs").classified(n, 8, 6, seed)
                                for n, seed in ((120, 0), (50, 1)))
  theirs = side("knn").predict(
      tensor(train), tensor(labels).long(), tensor(test), 6, 5, 0.07)
  ours = knn_predict(train, labels, test, 6, 5, 0.07)
  assert np.mean(theirs.numpy() == ours) > 0.97  # ties may be broken otherwise
  assert len(np.unique(ours)) > 1


def test_probes_minimise_the_same_objective(side):
  """All come to the same minimum, and our code and the benchmark's agree on its value."""
  pytest.importorskip("sklearn")
  arguments = {"count": 90, "dim": 4, "classes": 3, "strength": 1e-2, "iterations": 60}
  told = []
  for module, function in (("ours", "probe"), ("probe", "side"),
                           ("probe", "scikit_learn_side")):
    block = getattr(side(module), function)(**arguments, device="cpu", precision="float32")
    block.run(1)
    told.append(float(block.tell().split()[1]))
  np.testing.assert_allclose(told, told[0], rtol=1e-4)
  x, labels = side("inputs").classified(90, 4, 3, seed=0)
  weights = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
  chunks = logistic.to_chunks(np.concatenate([x, np.ones((90, 1), np.float32)], 1), labels)
  np.testing.assert_allclose(
      side("inputs").logistic_objective(x, labels, weights[:-1], weights[-1], 0.0),
      logistic._cross_entropy(jnp.asarray(weights), chunks), rtol=1e-5)


def test_views_keep_their_range(side):
  """One image at a time in torchvision, as float32 in [0, 1]; views differ."""
  augment = side("augment")
  for recipe, channels in (("moco_v2", 3), ("moco_v2", 1), ("handwriting", 1)):
    sources = augment.Sources(
        random_images(0, 16, channels), augment.torchvision_recipe(recipe, 16, channels),
        batch=4, views=2)
    (views,) = sources.batches(1)
    for view in views:
      assert view.shape == (4, channels, 16, 16) and view.dtype == torch.float32
      assert view.min() >= 0 and 0.5 < view.max() <= 1
    assert not torch.equal(*views)


def test_a_failing_side_does_not_stop_the_others(side):
  turns = side("turns")
  arguments = {"count": 30, "queries": 5, "dim": 3, "classes": 2, "k": 2,
               "temperature": 0.1, "device": "cpu", "precision": "float32"}
  good, bad = turns.measure(
      [turns.Side("good", "pytorch.knn:side", arguments),
       turns.Side("bad", "pytorch.knn:side", {**arguments, "k": 10**9})],
      rounds=2, seconds=0.001, log=lambda text: None)
  assert not good.error and len(good.rounds) == 2 and good.median > 0
  assert good.memory > 10 and "accuracy" in good.notes[0]
  assert "RuntimeError" in bad.error and not bad.rounds


def test_the_command_prints_a_table(tmp_path):
  pytest.importorskip("sklearn")
  out = tmp_path / "times.json"
  done = subprocess.run(
      [sys.executable, str(FOLDER / "against_pytorch.py"), "--smoke", "--cases=knn",
       "--rounds=2", "--seconds=0.01", f"--out={out}"],
      capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr
  rows = [line for line in done.stdout.splitlines() if line.startswith("| kNN")]
  found = json.loads(out.read_text())["rows"]
  for row, against, times in zip(rows, ("PyTorch", "scikit-learn"), found, strict=True):
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1] == times["against"] == against
    assert cells[2].endswith(" s") and cells[3].endswith(" s")
    ratios = [a / b for a, b in zip(times["ours"]["rounds"], times["theirs"]["rounds"])]
    assert len(ratios) == 2
    assert cells[5] == f"{min(ratios):.2f}–{max(ratios):.2f}"
