"""Groups of settings that several configs share."""

import ml_collections


def working_generator(config: ml_collections.ConfigDict) -> None:
  """Settings with which the generator learns an implicit augmentation in minutes.

  G_A is a chain of imaging operators, which learns what light, lens and sensor did to
  X̃_f (docs/experiments/017 and 018, on characters). configs/photos.py starts from it, too.

  NOTE(paper): On EMNIST-Omniglot the paper has momentum SGD 3e-4 and only perceptrons,
  and gives neither λ, Z nor the form of the output. configs/omniglot.py has its settings.
  """
  generator = config.generator
  generator.batch_size = 64
  generator.optimizer.name = "adam"
  generator.optimizer.lr = 1e-3
  generator.optimizer.momentum = 0.5  # β1
  # The players oscillate, so the parameters of a single step are a poor sample.
  generator.networks.ema_decay = 0.995
  generator.networks.augmenter = "operators"
  generator.networks.eliminator = "unet"
  generator.networks.unet_width = 8
  generator.networks.unet_depth = 1
  # Of G_E, and of G_A where it is a network. As an "edit", G_E puts out black for every
  # negative (docs/experiments/036).
  generator.networks.output = "residual"
  # A pooled embedding does not show where things are or how large they are.
  generator.discriminator.features = "maps"
  generator.discriminator.r1_weight = 1.0
  # Cheap while operators must grow, dear when what explains nothing must vanish
  # (docs/experiments/023).
  generator.losses.cost_weight = 0.2
  generator.losses.cost_rise = 4.0
  # In the second half D_f judges G_A(G_E(x̃), z), which shows what x̃ shows. X_p may differ
  # from X_f in more than the change, such as the width of strokes: judged on G_A(x_p, z)
  # to the end, G_A would try to bridge that, too (docs/experiments/018 and 020).
  generator.discriminator.same_content = 1.0
  generator.discriminator.same_content_from = 0.5
  # D_f alone trains G_A. An operator that G_E cannot undo yet, such as dots, would
  # otherwise vanish before G_E has learned to undo it.
  generator.losses.cycle_trains_augmenter = False
  # Dots of x̃ cannot be drawn again in their places, so the first term of (13) would make
  # G_E leave them there.
  generator.losses.cycle_f_weight = 0.0
  generator.losses.cycle_weight = 39.2
  generator.losses.latent_weight = 2.5
  # G_E learns on images that are not quite like those that G_A draws.
  generator.losses.cycle_noise = 0.25
  # A stop of exposure does far more than an eighth of another range.
  generator.losses.cost_of_two_sided = 5.0
  # X_p and X_f differ in more than the implicit augmentation. D_p sees this, and at full
  # weight makes G_E redraw the content. But only D_p says whether G_E takes a blur away as
  # a whole: at 0.05, G_A came to draw a part of it (docs/experiments/038).
  generator.losses.adversarial_p_weight = 0.2


def generator_on_photographs(config: ml_collections.ConfigDict) -> None:
  """`working_generator`, for photographs of 64 × 64 and more.

  Photographs vary in light, colour and detail by themselves, so that D has little to go
  by: it sees the pixels, too, with a weaker penalty, and strengths cost less
  (docs/experiments/024).
  """
  working_generator(config)
  generator = config.generator
  generator.epochs = 0
  generator.steps = 3000
  generator.networks.unet_width = 16
  generator.networks.unet_depth = 3  # sees as far as a change of light reaches
  generator.networks.unet_patch = 2  # 3 s a step, not 5 (docs/experiments/021)
  edit_logits(config)
  generator.discriminator.features = "pixels"
  generator.discriminator.r1_weight = 0.1
  generator.losses.cost_weight = 0.1


def edit_logits(config: ml_collections.ConfigDict) -> None:
  """G_E as an edit, with the weights that were measured with it on photographs.

  `working_generator` has other values, which are measured on characters alone
  (docs/experiments/036 and 038).
  """
  config.generator.networks.output = "edit"
  config.generator.losses.cost_of_two_sided = 1.0
  config.generator.losses.adversarial_p_weight = 0.05


def short_pretraining(config: ml_collections.ConfigDict,
                      recipe: str = "handwriting") -> None:
  """Any of the pre-trainers for a thousand steps instead of a million.

  Call this after the encoder is set.

  NOTE(paper): All embeddings are nearly the same at first. With the official settings of
  MoCo they still are after a thousand steps. SGD spreads them too slowly. A long queue of
  keys from a moving key encoder rewards moving all embeddings rather than telling images
  apart. docs/experiments/001 has the trials, and 033 those of the other pre-trainers, of
  which SimSiam and SwAV need a lower learning rate.
  """
  config.moco.queue = 512
  config.moco.momentum = 0.99
  config.moco.bn_groups = 2
  # The heads are as wide, in proportion to F's features, as on a ResNet-50. With 2,048
  # units on 256 features, SimSiam collapses, and BYOL's heads take most of the time.
  features = config.encoder.width * (32 if config.encoder.name == "resnet50" else 8)
  config.simsiam.dim, config.simsiam.predictor_dim = features, features // 4
  config.byol.hidden = 2 * features
  config.byol.momentum = 0.99
  config.swav.hidden = features
  # Fewer kinds of images than on ImageNet: fewer prototypes, and a queue as short.
  config.swav.prototypes, config.swav.queue = 300, 384
  config.swav.queue_start_epochs, config.swav.freeze_epochs = 0.5, 0.25
  # The official small crops show nothing of most small images.
  config.swav.small_crops, config.swav.small_side = 4, 0.5
  config.swav.small_area_min, config.swav.small_area_max = 0.2, 0.4
  for stage in (config.pretrain, config.retrain):
    stage.recipe = recipe
    stage.batch_size = 128
    stage.optimizer.name = "adam"
    stage.optimizer.lr = 1e-3
    stage.optimizer.weight_decay = 0.0
    stage.optimizer.schedule = "cosine"
  config.evaluate.finetune.recipe = recipe
  # NOTE(paper): The paper does not say whether G_A comes before or after the hand-made
  # augmentations. If G_A comes first, crops, rotations and resampling blur what it draws:
  # 28.1 / 25.8 instead of 50.0 / 41.2 on MNIST-Omniglot. Without hand-made augmentations,
  # as (15) is printed: 40.1 / 36.5 (docs/experiments/013).
  config.retrain.order = "last"


def simclr(config: ml_collections.ConfigDict) -> None:
  """SimCLR instead of MoCo v2, trained as in its paper (Chen et al. 2020).

  It uses LARS with a learning rate of 0.3 · batch / 256, weight decay 1e-6, a warm-up of
  ten epochs (a tenth of a stage below a hundred) and a cosine schedule, crops as small as
  8 %, and strong colour changes. Call this preset, and those below, after the batch sizes
  and the epochs are set. On sets much smaller than ImageNet, the learning rate needs
  tuning, and so does τ. We have measured none of them.
  """
  config.simclr.temperature = 0.1
  _train_with(config, "simclr", recipe="simclr", name="lars", lr=0.3,
              weight_decay=1e-6, schedule="cosine", warmup_epochs=10.0)


def simsiam(config: ml_collections.ConfigDict) -> None:
  """SimSiam instead of MoCo v2, trained as in its paper (Chen & He 2021, section 4)."""
  _train_with(config, "simsiam", recipe="moco_v2", name="sgd", lr=0.05,
              weight_decay=1e-4, schedule="cosine_per_epoch")


def byol(config: ml_collections.ConfigDict) -> None:
  """BYOL instead of MoCo v2, trained as in its paper (Grill et al. 2020, section 3.3).

  These are the settings for 1000 epochs. For 300, the official code has a learning rate
  of 0.3, weight decay 1e-6 and byol.momentum 0.99.

  NOTE(paper): The recipe is SimCLR's. BYOL's own has weaker colour changes, solarises
  some images, and blurs one view always and the other hardly ever.
  """
  _train_with(config, "byol", recipe="simclr", name="lars", lr=0.2,
              weight_decay=1.5e-6, schedule="cosine", warmup_epochs=10.0)


def swav(config: ml_collections.ConfigDict) -> None:
  """SwAV instead of MoCo v2, trained as in its official code for batches of 256.

  NOTE(paper): The official LARS also scales and decays biases and batch norms, and the
  cosine ends at a thousandth of the learning rate, not at 0. For batches of 4096 there is
  no queue, a learning rate of 4.8, and a warm-up of ten epochs.
  """
  config.swav.queue = 15 * config.pretrain.batch_size
  _train_with(config, "swav", recipe="swav", name="lars", lr=0.6,
              weight_decay=1e-6, schedule="cosine")


def _train_with(config: ml_collections.ConfigDict, method: str, recipe: str, lr: float,
                **optimizer: str | float) -> None:
  """Sets a pre-trainer, its recipe and its optimiser; `lr` is for batches of 256.

  A warm-up takes a tenth of a stage at most.
  """
  config.pretrain.method = method
  for stage in (config.pretrain, config.retrain):
    stage.recipe = recipe
    stage.optimizer.update(optimizer, lr=lr * stage.batch_size / 256)
    if stage.epochs:
      stage.optimizer.warmup_epochs = min(
          stage.optimizer.warmup_epochs, stage.epochs / 10)


def imagenet_colours(config: ml_collections.ConfigDict) -> None:
  """Colour images with the usual normalisation for ImageNet."""
  config.data.channels = 3
  config.data.mean = (0.485, 0.456, 0.406)
  config.data.std = (0.229, 0.224, 0.225)


def runlocal(config: ml_collections.ConfigDict) -> None:
  """Two steps of every stage on a few rendered characters: seconds on a CPU."""
  config.data.pretrain = "rendered:latin?per_class=1"
  config.data.finetune = "rendered:scripts?per_class=6&classes=8"
  config.data.finetune_per_class = 4
  config.retrain.arms = "generator,control"
  config.encoder.blocks = (1, 1, 1)  # compiling takes most of the time
  config.moco.queue = 32
  config.moco.bn_groups = 8
  for stage in (config.pretrain, config.generator, config.retrain):
    stage.batch_size = 16
    stage.epochs = 0
    stage.steps = 2
  config.generator.networks.hidden = 16
  config.generator.discriminator.hidden = 16
  _brief(config)


def crl_tac(config: ml_collections.ConfigDict) -> None:
  """CRL-TAC on MNIST: the data, a small encoder and its training."""
  config.method = "crl_tac"
  config.data.pretrain = config.data.finetune = "tfds:mnist:train"
  config.data.tests = "test=tfds:mnist:test"
  config.data.finetune_per_class = 0
  config.data.implicit = "none"
  config.data.finetune_name = "train"
  config.data.mean, config.data.std = (0.13,), (0.31,)
  config.encoder.name = "convnet"
  config.encoder.width = 32
  # NOTE(paper): The poster gives D = 50 and nothing else of this. docs/experiments/007 and
  # 008 have our measurements.
  config.tac.steps = 1600
  config.tac.batch_size, config.tac.draws = 128, 4
  # Crops are about as large as a digit (20 pixels of ink), so most of them miss a part of
  # it. h must therefore hold what the parts have in common.
  config.tac.crop, config.tac.scales = 16, (1.0, 1.4)
  config.tac.scale_mass = "equal"
  config.tac.top = 16
  config.tac.head = "linear"
  # Few images with many draws each: among 32 draws, hardly two show the digit.
  config.tac.policy.batch, config.tac.policy.draws = 16, 96
  config.tac.policy.optimizer.schedule = "cosine"
  config.tac.policy.entropy_weight = 3.0
  config.tac.policy.entropy_target = 3.2
  config.evaluate.l2_strengths = (1e-4,)
  config.evaluate.protocols = "l2"


def mnist_npz(config: ml_collections.ConfigDict) -> None:
  """MNIST for CRL-TAC, from {root}/mnist.npz."""
  train = "npz:{root}/mnist.npz?images=x_train&labels=y_train"
  config.data.pretrain = config.data.finetune = train
  config.data.tests = "test=npz:{root}/mnist.npz?images=x_test&labels=y_test"


def rendered_characters(config: ml_collections.ConfigDict) -> None:
  """Rendered Latin characters for CRL-TAC, instead of MNIST."""
  config.experiment += ", rendered characters"
  train = "rendered:latin?per_class=200"
  config.data.pretrain = config.data.finetune = train
  config.data.tests = "test=rendered:latin?per_class=40&seed=1"


def tac_runlocal(config: ml_collections.ConfigDict) -> None:
  """Two steps of every stage of CRL-TAC on a few rendered characters."""
  rendered_characters(config)
  train = "rendered:latin?per_class=6"
  config.data.pretrain = config.data.finetune = train
  config.data.tests = "test=rendered:latin?per_class=1&seed=1"
  config.tac.crop, config.tac.stride, config.tac.scales = 12, 4, (1.0, 1.3)
  config.tac.top = 4
  config.tac.simclr.crop, config.tac.simclr.scales = 8, (1.0, 1.5)
  config.tac.simclr.batch_size = 16
  config.tac.batch_size, config.tac.policy.batch = 16, 8
  config.tac.policy.draws = 6
  config.tac.steps = 2
  _brief(config)


def _brief(config: ml_collections.ConfigDict) -> None:
  """What all `:runlocal` share: a narrow encoder, short probes, everything logged."""
  # Another experiment: no paper's numbers stand beside these.
  config.experiment += ", two steps"
  config.encoder.width = 4
  config.evaluate.l2_iterations = 3
  config.evaluate.moco_epochs = 2
  config.evaluate.finetune.epochs = 1.0
  config.evaluate.finetune.batch_size = 16
  config.evaluate.labels.per_class = (1, 2)
  config.evaluate.labels.draws = 2
  config.log.every_steps = 1
  config.log.checkpoint_every_steps = 1
  config.log.figure_images = 4
