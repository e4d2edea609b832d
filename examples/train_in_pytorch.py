"""Trains a classifier in PyTorch on images that a run's G_A has augmented.

    augment-gen export RUN EXPORT
    python examples/train_in_pytorch.py EXPORT IMAGES [EPOCHS]

IMAGES has a folder of images for each class.
"""

import sys

import torch
from torch.utils.data import DataLoader
import torchvision
from torchvision.transforms import v2

from augment_gen import export
from augment_gen.transforms.torchvision import LearnedAugmentation


class FirstChannels(v2.Transform):
  """Leaves the first channels of images; a class, so that workers can be spawned."""

  def __init__(self, channels: int):
    super().__init__()
    self.channels = channels

  def transform(self, inpt, params):
    return inpt[:self.channels]


def main(folder: str, images: str, epochs: int = 10) -> None:
  """Trains, and prints the loss of each epoch."""
  learned = export.load(folder)
  side, _, channels = learned.image_shape
  device = "cuda" if torch.cuda.is_available() else "cpu"
  dataset = torchvision.datasets.ImageFolder(images, transform=v2.Compose([
      v2.ToImage(), v2.Resize((side, side)),
      FirstChannels(channels),  # ImageFolder reads all images as RGB
      LearnedAugmentation(learned, p=0.8),  # uint8, in the workers
      v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5], [0.5])]))
  loader = DataLoader(dataset, batch_size=64, shuffle=True, num_workers=2)
  model = torchvision.models.resnet18(num_classes=len(dataset.classes))
  model.conv1 = torch.nn.Conv2d(channels, 64, 3, padding=1)
  model.to(device)
  optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)
  for epoch in range(epochs):
    for x, labels in loader:
      loss = torch.nn.functional.cross_entropy(model(x.to(device)), labels.to(device))
      optimizer.zero_grad()
      loss.backward()
      optimizer.step()
    print(f"epoch {epoch}: loss {loss.item():.3f}")


if __name__ == "__main__":
  main(*sys.argv[1:3], *map(int, sys.argv[3:]))
