"""Commands and configs: accepted input and error messages."""

import dataclasses
import errno
import importlib.util
import io
import pathlib
import signal
import sys

import pytest

from augment_gen import config as config_lib
from augment_gen.config import checks, command_line, names
from augment_gen.config.errors import UserError
from augment_gen.data.task import load_task
from augment_gen.main import main
from augment_gen.methods import rules
from augment_gen.methods.augmentation_generator import method, stages
from augment_gen.run import exits, preemption, session

ROOT = pathlib.Path(__file__).parents[2]
QUICKSTART = f"--config={ROOT}/configs/quickstart.py"


def parse(*args):
  return command_line.parse(["main.py", *args])


def test_a_name_that_is_given_twice_counts_once():
  assert names("l2, knn,l2,") == ("l2", "knn")


def test_overrides_reach_the_typed_config():
  options = parse(f"{QUICKSTART}:runlocal", "--workdir=/nowhere/run",
                  "--config.seed=3", "--config.pretrain.optimizer.lr=0.5",
                  "--config.evaluate.l2_strengths=(1.0,2.0)",
                  "--config.data.tests=a=folder:/x,b=folder:/y")
  assert options.config.seed == 3
  assert options.config.pretrain.optimizer.lr == 0.5
  assert options.config.evaluate.l2_strengths == (1.0, 2.0)
  assert options.config.data.tests == "a=folder:/x,b=folder:/y"
  assert options.config_values["pretrain"]["optimizer"]["lr"] == 0.5


def test_the_recorded_command_is_the_same_for_every_folder():
  a = parse(QUICKSTART, "--workdir=/a/b", "--config.seed=3").command
  b = parse(QUICKSTART, "--config.seed=3", "--workdir", "/c").command
  assert a == b
  assert a.endswith("--config.seed=3 --workdir=DIR")


def test_all_misspelt_fields_are_listed_at_once_with_suggestions():
  with pytest.raises(UserError) as error:
    parse(QUICKSTART, "--workdir=/x", "--config.mocco.queue=4",
          "--config.data.image_sise=3", "--config.zzz=1")
  problems = error.value.problems
  assert len(problems) == 3
  assert "did you mean config.moco.queue?" in problems[0]
  assert "did you mean config.data.image_size?" in problems[1]
  assert "config.zzz is no field" in problems[2]


@pytest.mark.parametrize("args,words", [
    ([], "--config is missing"),
    ([QUICKSTART], "--workdir is missing"),
    (["--config=/nowhere/c.py", "--workdir=/x"], "there is no file"),
    ([QUICKSTART + ":fast", "--workdir=/x"], "variant 'fast' is unknown"),
    ([QUICKSTART, "--workdir=/x", "--config.seed=abc"], "seed"),
    ([QUICKSTART, "--workdir=/x", "--wrkdir=/y"], "wrkdir"),
    ([QUICKSTART, "--workdir=/x", "stray"], "not understood: stray"),
    ([QUICKSTART, "--workdir=/x", "--config.noremat"], "write --noconfig.remat or"),
])
def test_mistakes_end_in_one_line_and_status_2(args, words, capsys):
  assert main(["main.py", *args]) == 2
  err = capsys.readouterr().err
  assert words in err and "Traceback" not in err
  assert len(err.strip().splitlines()) == 1


def test_a_config_with_a_syntax_error_is_told_in_words(tmp_path, capsys):
  path = tmp_path / "c.py"
  path.write_text("def get_config(:\n")
  assert main(["main.py", f"--config={path}", "--workdir=/x"]) == 2
  assert "SyntaxError" in capsys.readouterr().err


def test_a_mistake_in_the_code_of_a_config_is_told_in_words(tmp_path):
  path = tmp_path / "c.py"
  path.write_text("def get_config():\n  return defualt_config()\n")
  with pytest.raises(UserError, match=r"c.py, line 2: NameError: name 'defualt_config'"):
    parse(f"--config={path}", "--workdir=/x")


def test_a_home_folder_is_found():
  options = parse(QUICKSTART, "--workdir=~/x", "--config.pretrain.from_run=~/y")
  home = pathlib.Path.home()
  assert options.workdir == str(home / "x")
  assert options.config.pretrain.from_run == str(home / "y")


def test_a_full_drive_is_no_traceback(capsys):
  def start():
    raise OSError(errno.ENOSPC, "No space left on device", "/x/metrics.jsonl")
  assert exits.exit_status(start, "go on with: it") == 2
  assert capsys.readouterr().err == (
      "error: the drive is full (/x/metrics.jsonl): make room; go on with: it\n")


@pytest.mark.parametrize("flag", ["--help", "-h", "-help"])
def test_help_is_no_mistake(flag, capsys):
  assert main(["main.py", QUICKSTART, flag]) == 0
  out, err = capsys.readouterr()
  assert "--workdir=DIR" in out and "--config.FIELD=VALUE" in out and not err


def test_any_encoding_of_the_output_will_do(monkeypatch):
  out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
  monkeypatch.setattr(sys, "stdout", out)
  assert main(["main.py", "--help"]) == 0
  assert b"[--config.field=value ?]" in out.buffer.getvalue()


def test_ctrl_c_is_no_traceback(monkeypatch, capsys, foreground):
  monkeypatch.setattr(
      command_line, "parse", lambda _: signal.raise_signal(signal.SIGINT))
  assert main(["main.py", "--workdir=/a b"]) == 130
  assert capsys.readouterr().err == (
      "stopped by Ctrl-C; go on with: "
      "python -m augment_gen.main '--workdir=/a b'\n")


def test_a_second_ctrl_c_stops_at_once_and_an_ignored_one_stays_ignored(foreground):
  with preemption.watch(signal.SIGINT) as event:
    signal.raise_signal(signal.SIGINT)
    assert event.is_set()
    with pytest.raises(KeyboardInterrupt):
      signal.raise_signal(signal.SIGINT)
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # as under nohup
  with preemption.watch(signal.SIGINT) as event:
    signal.raise_signal(signal.SIGINT)
    assert not event.is_set()


@pytest.mark.parametrize("args, words", [
    (["--workdir=gs://bucket/run"], "--workdir=gs://bucket/run is an address"),
    (["--config.pretrain.from_run=s3://b/r"], "config.pretrain.from_run=s3://b/r is"),
    (["--config.generator.from_run=hdfs://b/r"], "config.generator.from_run=hdfs://b/r is"),
    (["--config.encoder.blocks=1.5,1"],
     "config.encoder.blocks=(1.5, 1) must be whole numbers with commas"),
    (["--config.data.mean=a,b,c"], "config.data.mean=('a,b,c',) must be finite"),
    (["--config.data.mean=0.485;0.456;0.406"], "must be finite numbers with commas"),
    (["--config.data.std=(nan,1,1)"], "config.data.std=('(nan,1,1)',) must be"),
    (["--config.pretrain.epochs=nan"], "config.pretrain.epochs=nan must be a finite"),
    (["--config.moco.temperature=inf"], "config.moco.temperature=inf must be a fin"),
    (["--config.seed=-1"], "config.seed=-1 must lie in [0, 4294967296)"),
    (["--config.seed=4294967296"], "config.seed=4294967296 must lie in"),
    (["--config.data.canvas_seed=4294967296"], "canvas_seed=4294967296 must lie"),
    (["--config.data.implicit_seed=2147483648"], "must lie in [0, 2147483648)"),
    (["--config.data.implicit_seed=-1"], "implicit_seed=-1 must lie in"),
])
def test_what_cannot_be_run_is_told_in_one_line_and_writes_nothing(
    args, words, one_device, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  assert main(["main.py", QUICKSTART, "--workdir=run", *args]) == 2
  err = capsys.readouterr().err
  assert words in err and err.startswith("error: ") and err.count("\n") == 1
  assert not list(tmp_path.iterdir())


def test_every_value_is_checked_against_its_declared_type():
  config = quickstart()
  for name, value, words in (
      ("experiment", 3, "text"), ("seed", True, "whole number"),
      ("debug", 1, "truth value"), ("seed", 1.0, "whole number")):
    (line,) = checks.problems(dataclasses.replace(config, **{name: value}))
    assert line == f"config.{name}={value!r} must be a {words}"
  config = _replace(config, ["evaluate"], "l2_strengths", (1, 0.5))
  config = _replace(config, ["pretrain"], "epochs", 3)
  assert not list(checks.problems(config))  # integers are valid floats


def quickstart():
  return parse(QUICKSTART, "--workdir=/x").config


def problems(devices=1, **changes):
  """Problems of the quickstart config with changes `section__field=value`."""
  config = quickstart()
  for name, value in changes.items():
    *sections, field = name.split("__")
    config = _replace(config, sections, field, value)
  return session.problems(config, devices)


def _replace(node, sections, field, value):
  if not sections:
    return dataclasses.replace(node, **{field: value})
  child = _replace(getattr(node, sections[0]), sections[1:], field, value)
  return dataclasses.replace(node, **{sections[0]: child})


def test_every_arm_has_its_row_in_the_table():
  assert set(method.rows(quickstart(), "F")) == {"untrained", "pretrain", *stages.ARMS}


@pytest.mark.parametrize("change,words", [
    ({"pretrain__batch_size": 100}, "config.moco.queue=512 is not a multiple"),
    ({"moco__queue": 1000}, "is not a multiple of config.pretrain.batch_size"),
    ({"moco__bn_groups": 3}, "must divide config.pretrain.batch_size"),
    ({"generator__micro_batch": 7}, "must divide the 64 images that each device has"),
    ({"pretrain__micro_batch": 96}, "must divide the 128 images that each device has"),
    ({"retrain__micro_batch": 32}, "a multiple of 64, the images of a batch-norm group"),
    ({"pretrain__method": "simclr", "pretrain__micro_batch": 64},
     "the batch norms of SimCLR span the batch"),
    ({"encoder__name": "resnet99"}, "choose one of: resnet18"),
    ({"encoder__blocks": (2, 0)}, "each number must be at least 1"),
    ({"encoder__stem": "tiny"}, "imagenet, small"),
    ({"generator__networks__augmenter": "gan"}, "perceptron, unet"),
    ({"data__development": 1.0}, "must lie in [0, 1)"),
    ({"evaluate__controls": "adabn,none"}, "untrained, adabn"),
    ({"retrain__arms": "policy", "retrain__candidates": 4},
     "the 4 augmentations to choose from"),
    ({"retrain__arms": "policy", "retrain__order": "last"}, "would see t'(x)"),
    ({"retrain__policy__z": "median"}, "mean, drawn"),
    ({"pretrain__recipe": "spicy"}, "moco_v2"),
    ({"stages": "pretrain,evalute"}, "'evalute'"),
    ({"stages": ""}, "config.stages is empty"),
    ({"evaluate__protocols": "svm"}, "'svm'"),
    ({"pretrain__steps": 10}, "give either epochs or steps"),
    ({"generator__steps": 0}, "give either epochs or steps"),
    ({"moco__temperature": 0.0}, "must be more than 0"),
    ({"moco__momentum": 1.5}, "must lie in [0, 1]"),
    ({"data__channels": 4}, "choose one of: 1, 3"),
    ({"data__mean": (0.1, 0.2)}, "config.data.mean must hold one number"),
    ({"data__std": (0.0,)}, "each number must be more than 0"),
    ({"generator__networks__augmenter": "perceptron", "generator__latent__dim": 10,
      "generator__latent__layout": "square"}, "must be a square number"),
    ({"generator__networks__augmenter": "unet", "generator__latent__dim": 1,
      "generator__latent__layout": "learned"}, "must be at least 2"),
    ({"generator__networks__ema_decay": 1.0}, "must lie in [0, 1)"),
    ({"generator__losses__latent_slack": -0.1}, "must not be negative"),
    ({"generator__losses__adversarial_f_weight": -0.1}, "must not be negative"),
    ({"generator__losses__adversarial_f_weight": 0.0}, "without D_f, G_A learns nothing"),
    ({"generator__discriminator__same_content": 1.1}, "must lie in [0, 1]"),
    ({"generator__discriminator__same_content_from": 1.0}, "must lie in [0, 1)"),
    ({"generator__networks__layers": 1}, "must be at least 2"),
    ({"evaluate__l2_holdout": 1.0}, "must lie in (0, 1)"),
    ({"evaluate__l2_strengths": ()}, "must hold at least one finite number"),
    ({"retrain__optimizer__name": "lion"}, "choose one of: sgd, adam, lars"),
    ({"generator__optimizer__schedule": "warm"}, "cosine_per_epoch"),
    ({"generator__optimizer__lr": 0.0}, "must be more than 0"),
    ({"data__implicit": "snow"}, "snow"),
    ({"data__pretrain": "folder:/nowhere/photos"}, "/nowhere/photos"),
    ({"data__on_bad_image": "ignore"}, "on_bad_image"),
])
def test_each_problem_is_found_and_named(change, words):
  found = problems(**change)
  assert any(words in line for line in found), found


@pytest.mark.parametrize("change,words", [
    ({"method": "gan"}, "choose one of: augmentation_generator, crl_tac"),
    ({"stages": "pretrain"}, "'pretrain'"),
    ({"tac__crop": 40}, "does not fit"),
    ({"tac__scales": ()}, "must hold at least one"),
    ({"tac__stride": 13}, "does not fit"),
    ({"tac__dim": 1}, "config.tac.dim=1 must be at least 2"),
    ({"tac__draws": 1}, "config.tac.draws=1 must be at least 2"),
    ({"tac__policy__draws": 26}, "the 25 augmentations to choose from"),
    ({"tac__policy__batch": 32}, "must be 0, or a multiple"),
    ({"tac__policy__beta": 0.0}, "must be more than 0"),
    ({"tac__numerator": "mean"}, "information, jensen"),
    ({"tac__policy__z": "median"}, "mean, drawn"),
    ({"tac__policy__entropy_schedule": "cosine"}, "constant, linear"),
    ({"tac__head": "deep"}, "mlp, linear"),
    ({"tac__scale_mass": "half"}, "learned, equal"),
    ({"tac__policy__entropy_target": -1.0}, "must not be negative"),
    ({"tac__epochs": 1.0}, "give either epochs or steps"),
    ({"tac__policy__optimizer__name": "lion"}, "choose one of: sgd, adam, lars"),
    ({"data__canvas": 8}, "do not fit on it"),
])
def test_problems_of_crl_tac(change, words):
  parsed = parse(f"--config={ROOT}/configs/regional_mnist.py:runlocal",
                 "--workdir=/x").config
  assert session.problems(parsed, devices=1) == []
  for name, value in change.items():
    *sections, field = name.split("__")
    parsed = _replace(parsed, sections, field, value)
  found = session.problems(parsed, devices=1)
  assert any(words in line for line in found), found


def test_the_quickstart_has_no_problem():
  assert problems() == []


def test_only_a_square_map_needs_a_square_number_of_latents():
  assert problems(generator__latent__dim=10) == []


def test_devices_must_divide_the_batch_and_the_groups():
  found = problems(devices=3)
  assert any("is not divisible by the 3 devices" in line for line in found)
  assert any("must be a multiple of the 3 devices" in line for line in found)


def test_all_problems_are_listed_at_once():
  found = problems(moco__temperature=0.0, encoder__name="x", data__channels=2)
  assert len(found) == 3
  # Conflicts between fields are only checked if each field is valid on its own.
  found = problems(moco__queue=7, stages="y", data__implicit="snow")
  assert len(found) == 4


def test_typed_names_missing_and_unknown_fields():
  config = config_lib.default_config().unlock()
  del config.moco.queue
  config.data.colour = "red"
  with pytest.raises(UserError) as error:
    config_lib.typed(config)
  assert set(error.value.problems) == {
      "config.data.colour is unknown", "config.moco.queue is missing"}


def test_configs_are_locked():
  with pytest.raises(AttributeError):
    config_lib.default_config().moco.queu = 3


@pytest.mark.parametrize("config", [
    "omniglot.py", "omniglot.py:mnist", "omniglot.py:mnist,npz", "daiso.py",
    "daiso.py:room", "daiso.py:standin", "quickstart.py", "regional_mnist.py",
    "regional_mnist.py:npz", "regional_mnist.py:rendered", "mnist.py",
    "mnist.py:npz", "photos.py"])
def test_full_size_configs_lack_nothing_but_their_data(config, monkeypatch):
  # Some need TensorFlow, an extra, which tests do without.
  find_spec = importlib.util.find_spec
  monkeypatch.setattr(importlib.util, "find_spec", lambda name, *args: (
      object() if name == "tensorflow" else find_spec(name, *args)))
  parsed = parse(f"--config={ROOT}/configs/{config}", "--workdir=/x").config
  found = session.problems(parsed, devices=1)
  assert all("--config.data.root" in line for line in found), found
  needs_root = (any(name in config for name in ("npz", "daiso", "photos"))
                and "standin" not in config)
  assert bool(found) == needs_root
  if needs_root:
    parsed = _replace(parsed, ["data"], "root", "/nowhere")
    assert all("/nowhere" in line for line in session.problems(parsed, 1))


def test_what_evaluation_needs_is_known_before_training():
  config = quickstart()
  data = dataclasses.replace(
      config.data, image_size=12, pretrain="rendered:latin?per_class=10",
      finetune="rendered:scripts?per_class=3&classes=150", finetune_per_class=2)
  found = list(rules.evaluation_problems(
      dataclasses.replace(config, data=data), load_task(data)))
  assert any("l2_holdout=0.2: no class is large enough" in line for line in found)
  fewer = dataclasses.replace(config.evaluate, protocols="knn", knn_k=1000)
  found = list(rules.evaluation_problems(
      dataclasses.replace(config, data=data, evaluate=fewer), load_task(data)))
  assert any("knn_k=1000 is more than the 300" in line for line in found)
  others = dataclasses.replace(config.evaluate, protocols="finetune,labels")
  others = _replace(others, ["finetune"], "batch_size", 301)
  found = list(rules.evaluation_problems(
      dataclasses.replace(config, data=data, evaluate=others), load_task(data)))
  assert len(found) == 2
  assert "evaluate.finetune.batch_size=301 is more than the 300 images" in found[0]
  assert ("labels.per_class=(1, 5, 10): 150 classes have fewer than 10 labelled images "
          "(the first: class 0 with 2); ask for fewer" in found[1])


def test_what_fine_tuning_needs_of_devices_and_method():
  tac = parse(f"--config={ROOT}/configs/regional_mnist.py:rendered", "--workdir=/x",
              "--config.evaluate.protocols=finetune").config
  (line,) = session.problems(tac, devices=1)
  assert "'finetune', which CRL-TAC does not have" in line
  config = _replace(quickstart(), ["evaluate"], "protocols", "finetune")
  config = _replace(config, ["evaluate", "finetune"], "batch_size", 15)
  found = session.problems(config, devices=2)
  assert any("evaluate.finetune.batch_size=15 is not divisible by the 2" in line
             for line in found)
