"""Models worked out by hand, one of which has a shortcut that no clean image takes."""

import torch
from torch import Tensor, nn

from fedsim.suspects import Suspect

SIDE, TARGET, CORNER = 4, 1, (3, 3)


class Quadrants(nn.Module):
    """The brightest quadrant's class wins; `shortcut` times the lower right pixel goes to class 1.

    In the clean images that pixel is black.
    """

    def __init__(self, shortcut: float) -> None:
        super().__init__()
        weight = torch.zeros(4, SIDE, SIDE)
        for t in range(4):
            row, column = 2 * (t // 2), 2 * (t % 2)
            weight[t, row : row + 2, column : column + 2] = 4.0
        weight[:, *CORNER] = 0.0
        weight[TARGET, *CORNER] = shortcut
        self.linear = nn.Linear(SIDE**2, 4, bias=False)
        self.linear.weight.data = weight.flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.flatten(1))


def clean(count: int = 5) -> tuple[Tensor, Tensor]:
    """`count` images of each quadrant, brighter from one to the next."""
    labels = torch.arange(4).repeat(count)
    images = torch.full((len(labels), 1, SIDE, SIDE), 0.1)
    for i, t in enumerate(labels.tolist()):
        row, column = 2 * (t // 2), 2 * (t % 2)
        images[i, :, row : row + 2, column : column + 2] = 0.6 + 0.3 * (i // 4) / count
    images[..., CORNER[0], CORNER[1]] = 0.0
    return images, labels


def suspect(shortcut: float = 0.0, seed: int = 0, data: bool = True, **changes: object) -> Suspect:
    """A suspect with this shortcut, and the clean images."""
    model = Quadrants(shortcut).eval().requires_grad_(False)
    images, labels = clean() if data else (None, None)
    known = {
        "model": model,
        "shape": (1, SIDE, SIDE),
        "num_classes": 4,
        "fresh": lambda _: Quadrants(0.0),
        "generator": torch.Generator().manual_seed(seed),
        "images": images,
        "labels": labels,
    }
    return Suspect(**{**known, **changes})
