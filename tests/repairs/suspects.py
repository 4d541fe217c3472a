"""Small suspects: networks and images for which the outcome can be worked out by hand."""

from typing import Any

import torch
from torch import nn

from fedsim.models import models
from fedsim.seeding import seeded
from fedsim.suspects import Suspect


def suspect(model: nn.Module, images=None, labels=None, seed: int = 0, **known: Any) -> Suspect:
    """A suspect of two classes unless its labels tell more."""
    shape = (1, 2, 2) if images is None else tuple(images.shape[1:])
    classes = 2 if labels is None else int(labels.max()) + 1
    generator = torch.Generator().manual_seed(seed)

    def fresh(draw: torch.Generator) -> nn.Module:
        raise AssertionError("a repair needs no other network")

    return Suspect(model, shape, classes, fresh, generator, images, labels, **known)


def built(name: str, shape=(1, 8, 8), num_classes: int = 3, **parameters: Any) -> nn.Module:
    """A network with random weights, as a check after training is given it."""
    with seeded(7, "model"):
        model = models.build(name, **parameters)(shape, num_classes)
    return model.eval().requires_grad_(False)


def clouds(count: int = 24, size: int = 8, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy images whose class is their brightest row."""
    draw = torch.Generator().manual_seed(1)
    labels = torch.arange(count) % classes
    images = 0.3 * torch.rand(count, 1, size, size, generator=draw)
    images[torch.arange(count), 0, labels] += 0.7
    return images, labels


def threshold_network() -> nn.Module:
    """Four pixels, four ReLU units that copy them, two logits: pixels 0 and 2 against 1 and 3."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.eye(4))
        model[1].bias.zero_()
        model[3].weight.copy_(torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 1]]))
        model[3].bias.zero_()
    return model.eval().requires_grad_(False)


def halves_lit(dim: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Class 0 lights pixel 0, class 1 pixel 1; pixel 2 is dim in all, pixel 3 dark."""
    labels = torch.arange(20) % 2
    images = torch.zeros(20, 1, 2, 2)
    images.view(20, 4)[torch.arange(20), labels] = 1
    images[:, 0, 1, 0] = dim
    return images, labels
