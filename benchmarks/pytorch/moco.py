"""MoCo v2 in PyTorch, on one device; compare augment_gen/steps/moco.py."""

from collections.abc import Callable, Sequence
import copy

import torch
from torch import nn
from torch.nn import functional

from augment_gen.config import Config
import pytorch.augment
from pytorch.inputs import pictures, read_config
from pytorch.layers import optimizer, ProjectedEncoder, ResNet
from pytorch.running import Setting
from pytorch.turns import Block


def loss(net: nn.Module, view: torch.Tensor, keys: torch.Tensor, queue: torch.Tensor,
         temperature: float) -> torch.Tensor:
  """InfoNCE of one view against its keys and the queue.

  Args:
    net: f_q.
    view: float32 [B, C, H, W] in [0, 1].
    keys: float32 [B, D], of unit norm.
    queue: float32 [K, D], of unit norm.
    temperature: τ.

  Returns:
    Scalar float32, the mean over the batch.
  """
  q = net(view)
  positive = (q * keys).sum(1, keepdim=True)
  logits = torch.cat([positive, q @ queue.T], 1) / temperature
  return functional.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long,
                                                      device=q.device))


@torch.no_grad()
def encode_keys(net: nn.Module, view: torch.Tensor, order: torch.Tensor | None,
                ) -> torch.Tensor:
  """f_k of one view in another order, and back: [B, C, H, W] -> [B, D]."""
  if order is None:
    return net(view)
  return net(view[order])[torch.argsort(order)]


@torch.no_grad()
def follow(key_net: nn.Module, net: nn.Module, momentum: float) -> None:
  """θ_k ← m θ_k + (1 − m) θ_q."""
  torch._foreach_lerp_(list(key_net.parameters()), list(net.parameters()), 1 - momentum)


def side(config: Sequence[str], views: str, device: str, precision: str,
         compiled: bool = False) -> Block:
  """Steps of MoCo; `views` as in `ours.moco`."""
  settings, setting = read_config(config), Setting(device, precision, compiled)
  stage, data, moco = settings.pretrain, settings.data, settings.moco
  size, batch = data.side, stage.batch_size
  torch.manual_seed(0)
  net = ProjectedEncoder(ResNet(settings.encoder, data), moco.dim)
  key_net = copy.deepcopy(net).requires_grad_(False)
  net, key_net = setting.place(net), setting.place(key_net)
  step = make_step(settings, setting, net, key_net)
  if views == "given":
    pair = [setting.images(pictures(batch, size, data.channels, seed=seed))
            for seed in (1, 2)]
    return Block(setting.repeat(lambda: step(*pair)))
  sources = pytorch.augment.Sources(
      pictures(4 * batch, size, data.channels, seed=0),
      pytorch.augment.torchvision_recipe(stage.recipe, size, data.channels), batch,
      views=2)

  def run(steps: int) -> None:
    for pair in sources.batches(steps):
      step(*(view.to(device) for view in pair))
    if device == "cuda":
      torch.cuda.synchronize()
  return Block(run, settle=lambda: sources.settle(run))


def make_step(config: Config, setting: Setting, net: nn.Module, key_net: nn.Module,
              ) -> Callable[[torch.Tensor, torch.Tensor], None]:
  """Builds the step `(view for f_q, view for f_k) -> None`."""
  moco = config.moco
  tx = optimizer(net.parameters(), config.pretrain.optimizer)
  queue = functional.normalize(torch.randn(moco.queue, moco.dim, device=setting.device))
  pointer = 0

  def step(view_q, view_k):
    nonlocal pointer
    follow(key_net, net, moco.momentum)
    order = torch.randperm(len(view_k), device=setting.device) if moco.shuffle else None
    with setting.cast():
      keys = encode_keys(key_net, view_k, order)
      value = loss(net, view_q, keys, queue, moco.temperature)
    tx.zero_grad()
    value.backward()
    tx.step()
    queue[pointer:pointer + len(keys)] = keys
    pointer = (pointer + len(keys)) % len(queue)
  return step
