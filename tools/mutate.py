"""Breaks the code in small ways, one at a time, and lists what no test notices.

    python tools/mutate.py [--only=NAME] [--list]

Each mutant below is one edit of one line, with the tests that should notice it. The
edits are made in a copy of the tree; this checkout stays as it is. The exit status is 0
only if all mutants are killed.
"""

import argparse
import dataclasses
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True)
class Mutant:
  """One edit: `old`, found once in `file`, becomes `new`; `tests` should then fail."""
  file: str
  old: str
  new: str
  tests: str

  @property
  def name(self) -> str:
    return f"{self.file.removeprefix('augment_gen/')}: {self.old} → {self.new}"


MUTANTS = (
    Mutant("augment_gen/steps/views.py", "frozen[\"bank\"] if from_bank else None",
           "None", "tests/steps/test_views.py"),
    Mutant("augment_gen/steps/views.py", "jnp.where(swap, t_added, t_x)", "t_x",
           "tests/steps/test_views.py"),
    Mutant("augment_gen/steps/moco.py", "momentum * k + (1.0 - momentum) * q",
           "momentum * q + (1.0 - momentum) * k", "tests/steps/test_moco.py"),
    Mutant("augment_gen/steps/moco.py", "(pointer + keys.shape[0]) %",
           "(pointer + 1) %", "tests/steps/test_moco.py"),
    Mutant("augment_gen/steps/moco.py", "keys = keys[jnp.argsort(order)]",
           "keys = keys[order]", "tests/steps/test_moco.py"),
    Mutant("augment_gen/methods/pretrainers/moco.py",
           "self._net_of(self._groups // plan.parts)", "self._net",
           "tests/methods/test_micro_batches.py"),
    Mutant("augment_gen/methods/augmentation_generator/stages.py",
           "micro_batches.count(stage.batch_size // devices, stage.micro_batch)",
           "micro_batches.count(stage.batch_size, stage.micro_batch)",
           "tests/methods/test_micro_batches.py"),
    Mutant("augment_gen/steps/micro_batches.py", "count(len(arrays[0]), micro_batch), *",
           "1, *", "tests/steps/test_generator.py"),
    Mutant("augment_gen/steps/micro_batches.py", "jnp.mean(a, axis=0), means",
           "a[0], means", "tests/steps/test_micro_batches.py"),
    Mutant("augment_gen/data/feed.py", "<= data.max_device_gib", ">= data.max_device_gib",
           "tests/data/test_feed.py"),
    Mutant("augment_gen/steps/simclr.py",
           "other = jnp.concatenate([len(first) + place, place])",
           "other = jnp.concatenate([place, len(first) + place])",
           "tests/steps/test_simclr.py"),
    Mutant("augment_gen/steps/encoder.py", "parallel.mean(grads), tx", "grads, tx",
           "tests/steps/test_simclr.py"),
    Mutant("augment_gen/steps/simsiam.py",
           "lax.stop_gradient if config.stop_gradient else lambda z: z", "lambda z: z",
           "tests/steps/test_simsiam.py"),
    Mutant("augment_gen/steps/byol.py", "_followed(online.params), state.target_params",
           "_followed(state.net.params), state.target_params",
           "tests/steps/test_byol.py"),
    Mutant("augment_gen/models/norm.py", "groups = abs(self.groups)", "groups = 1",
           "tests/steps/test_byol.py"),
    Mutant("augment_gen/steps/swav.py", "jnp.where(full, 0, len(old))", "len(old)",
           "tests/steps/test_swav.py"),
    Mutant("augment_gen/losses/swav.py", "parallel.gather(mine[None])", "mine[None]",
           "tests/steps/test_swav.py"),
    Mutant("augment_gen/losses/swav.py", "jnp.sum(log_p, axis=0)[None] - log_p[:2]",
           "jnp.sum(log_p, axis=0)[None]", "tests/losses/test_swav.py"),
    Mutant("augment_gen/methods/pretrainers/swav.py", "schedule(step + still)",
           "schedule(step)", "tests/methods/test_pretrainers.py"),
    Mutant("augment_gen/steps/supervised.py", "batch[\"index\"][images]",
           "jnp.sort(batch[\"index\"][images])", "tests/steps/test_supervised.py"),
    Mutant("augment_gen/evaluate/finetune.py",
           "sgd(settings.encoder_lr), sgd(settings.head_lr)",
           "sgd(settings.head_lr), sgd(settings.head_lr)",
           "tests/evaluate/test_finetune.py"),
    Mutant("augment_gen/evaluate/finetune.py", "weight_decay=settings.weight_decay",
           "weight_decay=0.0", "tests/evaluate/test_finetune.py"),
    Mutant("augment_gen/data/splits.py", "_shuffled_classes(labels, seed, draw)",
           "_shuffled_classes(labels, seed, count)", "tests/data/test_base.py"),
    Mutant("augment_gen/evaluate/protocol.py",
           "splits.few_of_each(labels, count, seed, draw)",
           "splits.few_of_each(labels, count, seed, 1)", "tests/evaluate/test_protocol.py"),
    Mutant("augment_gen/tables/statistics.py", "if difference.interval[0] > 0 else None",
           "if difference.mean > 0 else None", "tests/tables/test_statistics.py"),
    Mutant("augment_gen/tables/statistics.py",
           "difference.mean <= 0 or difference.interval[0] <= 0", "difference.mean <= 0",
           "tests/tables/test_statistics.py"),
    Mutant("augment_gen/tables/augmentation_generator.py",
           "line.is_before_training or line.start == ours.start", "True",
           "tests/tables/test_tables.py"),
    Mutant("augment_gen/sweep/plan.py", "or not all(map(of_pretrainer, changed))", "",
           "tests/sweep/test_plan.py"),
    Mutant("augment_gen/tables/results.py", "if len(values) > 1]", "if False]",
           "tests/tables/test_results.py"),
    Mutant("augment_gen/run/profile.py", "devices * float(flops)", "float(flops)",
           "tests/run/test_profile.py"),
    Mutant("augment_gen/evaluate/health.py", "x_round = g_a(x_e,", "x_round = g_a(x_f,",
           "tests/evaluate/test_health.py"),
    Mutant("augment_gen/evaluate/chunks.py", "_PIXELS // (shape[0] * shape[1])", "size",
           "tests/evaluate/test_health.py"),
    Mutant("augment_gen/evaluate/judged.py", "build_augmenter(config).bank(z_f)", "z_f",
           "tests/evaluate/test_judged.py"),
    Mutant("augment_gen/run/takeover.py",
           "and not conflicts(read_config(source), values, _CONTROL)", "",
           "tests/run/test_takeover.py"),
    Mutant("augment_gen/models/conv.py", "identity = jnp.eye(", "identity = 2 * jnp.eye(",
           "tests/models/test_conv.py"),
    Mutant("augment_gen/models/unet.py", "return jnp.repeat(of_pixel, patch**2, axis=-1)",
           "return jnp.tile(of_pixel, patch**2)", "tests/models/test_generators.py"),
    Mutant("augment_gen/steps/generator.py", "of_each(lax.stop_gradient(x_e), x_p)",
           "of_each(x_e, x_p)", "tests/steps/test_generator.py"),
    Mutant("augment_gen/steps/generator.py", "len(x_e))) < share", "len(x_e))) > share",
           "tests/steps/test_generator.py"),
    Mutant("augment_gen/steps/generator.py", "+ losses.bank_weight * bank", "",
           "tests/steps/test_generator.py"),
    Mutant("augment_gen/steps/generator.py", "z_f = parallel.gather(z_f)",
           "z_f = z_f + 0", "tests/steps/test_generator.py"),
    Mutant("augment_gen/steps/generator.py",
           "+ cost_weight(config, done) * jnp.mean(cost))", ")",
           "tests/steps/test_generator.py"),
    Mutant("augment_gen/steps/generator.py", "jnp.clip((done - start) / (1 - start)",
           "jnp.clip(done", "tests/steps/test_generator.py"),
    Mutant("augment_gen/steps/generator.py", "z_shown=shown", "z_shown=None",
           "tests/steps/test_generator.py"),
    Mutant("augment_gen/steps/generator.py", "noisy(kept(x_a), \"noise_a\")",
           "noisy(x_a, \"noise_a\")", "tests/steps/test_generator.py"),
    Mutant("augment_gen/models/outputs.py", "(raw <= floor) & (slope > 0)",
           "(raw <= floor) & (slope < 0)", "tests/models/test_generators.py"),
    Mutant("augment_gen/models/outputs.py",
           "limit(x + _RESIDUAL_UNIT * logits, zeros, zeros, zeros + 1)",
           "jnp.clip(x + _RESIDUAL_UNIT * logits, 0, 1)",
           "tests/models/test_generators.py"),
    Mutant("augment_gen/augment/operators/sensor.py",
           "jnp.minimum(scale * amounts[\"width\"], _WIDEST * period) / 2",
           "scale * amounts[\"width\"] / 2", "tests/augment/test_operators.py"),
    Mutant("augment_gen/models/operator_chain.py",
           "np.float32(of_two_sided), np.float32(1))",
           "np.float32(1), np.float32(1))", "tests/models/test_operator_chain.py"),
    Mutant("augment_gen/models/products.py", "jnp.dot(slope.T, y, precision=precision)",
           "0 * jnp.dot(slope.T, y, precision=precision)", "tests/models/test_products.py"),
    Mutant("augment_gen/models/operator_chain.py", "return {name: jnp.mean(found[name])",
           "return {name: jnp.max(found[name])", "tests/models/test_operator_chain.py"),
    Mutant("augment_gen/models/operator_chain.py",
           "_sorted(parameters[:, :-1] + parameters[:, -1:])",
           "parameters[:, :-1] + parameters[:, -1:]",
           "tests/models/test_operator_chain.py"),
    Mutant("augment_gen/augment/operators/marks.py",
           "starts += jnp.where(density > 0, 0.0, first)", "starts += 0.0 * first",
           "tests/augment/test_operators.py"),
    Mutant("augment_gen/augment/learned.py", 'np.argsort(order, axis=0, kind="stable")',
           "order", "tests/steps/test_generator.py"),
    Mutant("augment_gen/augment/learned.py", "np.lexsort((ties, bank), axis=0)",
           'np.argsort(bank, axis=0, kind="stable")', "tests/steps/test_generator.py"),
    Mutant("augment_gen/losses/adversarial.py", "parallel.mean(jnp.mean(each))",
           "jnp.mean(each)", "tests/losses/test_losses.py"),
    Mutant("augment_gen/augment/operators/sensor.py",
           'scale * amounts["period"]', 'amounts["period"]',
           "tests/augment/test_operators.py"),
    Mutant("augment_gen/augment/operators/sensor.py",
           'lines(0.5)', 'lines(0.0)', "tests/augment/test_operators.py"),
    Mutant("augment_gen/augment/operators/lighting.py",
           '(jnp.square(y) + jnp.square(x)) / 2', 'jnp.square(y)',
           "tests/augment/test_operators.py"),
    Mutant("augment_gen/augment/operators/tone.py",
           '_turned(-2 * jnp.pi', '_turned(2 * jnp.pi', "tests/augment/test_operators.py"),
    Mutant("augment_gen/steps/frozen_encoder.py",
           "np.full(len(y), count / len(y))", "np.ones(len(y))",
           "tests/steps/test_generator.py"),
    Mutant("augment_gen/run/checkpoint.py", "if steps and len(steps) == len(there):",
           "if steps:", "tests/run/test_folder.py"),
    Mutant("augment_gen/run/takeover.py", 'return theirs == ours != ""', "return True",
           "tests/run/test_takeover.py"),
    Mutant("augment_gen/data/decoding.py", "if pictures.may_pass(outcomes[i])]",
           "if False]", "tests/data/test_folder.py"),
    Mutant("augment_gen/data/pictures.py", 'and ";16" in str(image.tile)', "and False",
           "tests/data/test_folder.py"),
    Mutant("augment_gen/evaluate/health.py",
           'out("true_latent_effect", "latent_effect")', "False",
           "tests/evaluate/test_health.py"),
    Mutant("augment_gen/steps/frozen_encoder.py", "_SILENT * typical", "0.0",
           "tests/steps/test_generator.py"),
    Mutant("augment_gen/steps/views.py", "(\"view_1\", \"view_2\")",
           "(\"view_1\", \"view_1\")", "tests/steps/test_views.py"),
    Mutant("augment_gen/steps/state.py", "start += leaf.size", "start += 1",
           "tests/steps/test_state.py"),
    Mutant("augment_gen/steps/state.py", "jnp.minimum(decay, (1.0 + step) / (10.0 + step))",
           "decay", "tests/steps/test_generator.py"),
    Mutant("augment_gen/steps/policy.py",
           "jnp.take_along_axis(log_p, chosen, axis=1)", "log_p[:, :config.draws]",
           "tests/steps/test_crl_tac.py"),
    Mutant("augment_gen/steps/policy.py", "jnp.minimum(spread, most)", "spread",
           "tests/steps/test_crl_tac.py"),
    Mutant("augment_gen/losses/infonce.py", "/ temperature", "* temperature",
           "tests/losses tests/steps/test_moco.py"),
    Mutant("augment_gen/losses/nt_xent.py", "jnp.where(itself, -jnp.inf, logits)",
           "logits", "tests/losses/test_nt_xent.py"),
    Mutant("augment_gen/losses/information.py",
           "left_out = own[:, None, :, None] & same[None, :, None, :]",
           "left_out = same[None, :, None, :] & same[None, :, None, :]",
           "tests/losses/test_information.py"),
    Mutant("augment_gen/losses/latent.py", "jnp.sort", "jnp.abs", "tests/losses"),
    Mutant("augment_gen/losses/adversarial.py", "softplus(-real", "softplus(real",
           "tests/losses"),
    Mutant("augment_gen/losses/adversarial.py", "(each - parallel.mean(",
           "(2 * each - parallel.mean(", "tests/losses"),
    Mutant("augment_gen/evaluate/adabn.py", "var.mean(0) + mean.var(0)", "var.mean(0)",
           "tests/evaluate/test_adabn.py"),
    Mutant("augment_gen/evaluate/chunks.py", "np.concatenate(chunks)[:n]",
           "np.concatenate(chunks)", "tests/evaluate"),
    Mutant("augment_gen/evaluate/features.py", "np.asarray(features)[:present]",
           "np.asarray(features)", "tests/evaluate/test_features.py"),
    Mutant("augment_gen/evaluate/gauges.py", "n * (n - 1) / 2", "n * n / 2",
           "tests/evaluate/test_gauges.py"),
    Mutant("augment_gen/evaluate/protocol.py", "_checksum(variables) != before",
           "False", "tests/evaluate/test_protocol.py"),
    Mutant("augment_gen/run/checkpoint.py", "checksum(state) != check[\"crc32\"]",
           "False", "tests/run/test_folder.py"),
    Mutant("augment_gen/run/checkpoint.py", "if s >= at_least", "if True",
           "tests/run/test_folder.py tests/end_to_end/test_augmentation_generator.py"),
    Mutant("augment_gen/run/checkpoint.py", "usable[-self._keep:]",
           "usable[-1:]", "tests/run/test_folder.py"),
    Mutant("augment_gen/data/feed.py", "self._seed, stream, epoch]",
           "self._seed, stream]", "tests/data/test_feed.py"),
    Mutant("augment_gen/sweep/plan.py", "(*done, *earlier)", "earlier",
           "tests/sweep/test_plan.py"),
    Mutant("augment_gen/sweep/processes.py", "start = log.tell()", "start = 0",
           "tests/sweep/test_processes.py"),
    Mutant("augment_gen/run/takeover.py", '"generator.from_run", *_PLACES}',
           '"generator.from_run"}', "tests/sweep/test_plan.py"),
    Mutant("augment_gen/run/folder.py", 'values["retrain"]["arms"]', '""',
           "tests/sweep/test_plan.py"),
)


def verdict(mutant: Mutant, tree: pathlib.Path) -> str:
  """Returns "killed", "SURVIVED" or "error N"; "stale" if `old` is not found once."""
  path = tree / mutant.file
  text = path.read_text(encoding="utf-8")
  if text.count(mutant.old) != 1:
    return "stale"
  path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
  try:
    status = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:xdist", "-o", "addopts=",
         "--import-mode=importlib", *mutant.tests.split()],
        cwd=tree, check=False, capture_output=True,
        env=None).returncode
  finally:
    path.write_text(text, encoding="utf-8")
  return "killed" if status == 1 else "SURVIVED" if status == 0 else f"error {status}"


def main() -> int:
  """Tries all chosen mutants; returns the exit status."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--only", default="", help="part of a mutant's name")
  parser.add_argument("--list", action="store_true")
  flags = parser.parse_args()
  chosen = [m for m in MUTANTS if flags.only in m.name]
  if flags.list:
    print("\n".join(m.name for m in chosen))
    return 0
  counts: dict[str, int] = {}
  with tempfile.TemporaryDirectory() as folder:
    tree = pathlib.Path(folder) / "tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(
        ".git", "runs", "*.egg-info", "__pycache__"))
    for mutant in chosen:
      start = time.monotonic()
      found = verdict(mutant, tree)
      counts[found] = counts.get(found, 0) + 1
      print(f"{found:9} {mutant.name} ({time.monotonic() - start:.0f} s)", flush=True)
  print(", ".join(f"{count} {name}" for name, count in counts.items()))
  return int(set(counts) != {"killed"})


if __name__ == "__main__":
  sys.exit(main())
